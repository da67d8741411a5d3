const BUCKETS_SECONDS = [0.005, 0.025, 0.1, 0.5, 2.5, 10];

interface Series {
  count: number;
  sumSeconds: number;
  readonly buckets: number[];
}

/** Counts of answered requests by route, method and status, with durations. */
export interface RequestMetrics {
  observe(request: {
    readonly route: string;
    readonly method: string;
    readonly status: number;
    readonly seconds: number;
  }): void;
  /** Prometheus text format. */
  render(): string;
}

export function createRequestMetrics(): RequestMetrics {
  const series = new Map<string, Series>();
  return {
    observe: ({ route, method, status, seconds }) => {
      const labels = `route="${route}",method="${method}",status="${status}"`;
      const known = series.get(labels) ?? { count: 0, sumSeconds: 0, buckets: BUCKETS_SECONDS.map(() => 0) };
      series.set(labels, known);
      known.count += 1;
      known.sumSeconds += seconds;
      for (const [index, bound] of BUCKETS_SECONDS.entries()) {
        if (seconds <= bound) known.buckets[index] = (known.buckets[index] ?? 0) + 1;
      }
    },
    render: () => {
      const name = "argosy_northbound_request_seconds";
      const lines = [`# HELP ${name} Time to answer a request.`, `# TYPE ${name} histogram`];
      for (const [labels, { count, sumSeconds, buckets }] of series) {
        for (const [index, bound] of BUCKETS_SECONDS.entries())
          lines.push(`${name}_bucket{${labels},le="${bound}"} ${buckets[index] ?? 0}`);
        lines.push(
          `${name}_bucket{${labels},le="+Inf"} ${count}`,
          `${name}_sum{${labels}} ${sumSeconds}`,
          `${name}_count{${labels}} ${count}`,
        );
      }
      return `${lines.join("\n")}\n`;
    },
  };
}

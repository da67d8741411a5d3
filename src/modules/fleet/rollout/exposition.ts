import { type Counts, NO_COUNTS } from "../../../kernel/gates/index.js";

/** One line of a Prometheus page. */
interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads what a model server tells on /metrics (Prometheus' text form) of the inferences it answered. */
export function countsOfModelServer(page: string): Counts {
  const samples = samplesOf(page);
  const total = (name: string): number =>
    samples.filter((sample) => sample.name === name).reduce((sum, { value }) => sum + value, 0);
  const good = total("argosy_modelserver_inferences_total");
  const failed = total("argosy_modelserver_inference_failures_total");
  if (good + failed === 0) return NO_COUNTS;
  const buckets = new Map<number, number>();
  for (const { name, labels, value } of samples) {
    const bound = Number(labels["le"]);
    if (name !== "argosy_modelserver_inference_seconds_bucket" || !Number.isFinite(bound)) continue;
    const boundMs = Math.round(bound * 1e6) / 1e3;
    buckets.set(boundMs, (buckets.get(boundMs) ?? 0) + value);
  }
  const within = [...buckets].map(([boundMs, count]) => ({ boundMs, count })).sort((a, b) => a.boundMs - b.boundMs);
  return { requests: good + failed, good, within };
}

function samplesOf(page: string): Sample[] {
  return page.split("\n").flatMap((line) => {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line);
    if (match?.[1] === undefined) return [];
    const labels: Record<string, string> = {};
    for (const [, key = "", value = ""] of (match[2] ?? "").matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g))
      labels[key] = value;
    return [{ name: match[1], labels, value: Number(match[3]) }];
  });
}

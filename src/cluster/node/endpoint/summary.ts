import type { Clock } from "../../../kernel/clock/index.js";
import type { ResourceUsage } from "../isolation/cgroup.js";
import type { PodManager } from "../pods/manager.js";
import type { ContainerRecord, PodRuntime } from "../runtime/types.js";

/** Whose figures are told. */
export interface SummaryPlace {
  readonly pods: PodManager;
  readonly runtime: PodRuntime;
  readonly clock: Clock;
  readonly nodeName: string;
}

/** Rates are taken over at least this long, and at most `maxWindowMs`: what was before says nothing of now. */
const minWindowMs = 10_000;
const maxWindowMs = 90_000;
/** Where nothing useful is remembered, a second look after this long. */
const quickWindowMs = 1000;

interface Sample {
  readonly atMs: number;
  readonly cpuNanos: number;
}

/** What was measured of a container, with the rate since an earlier sample. */
interface Measured extends ResourceUsage {
  readonly nanoCores: number;
  readonly windowMs: number;
}

/**
 * kubelet's /stats/summary, the part that says who uses how much. Nothing is measured unless somebody asks; who asks again
 * and again gets the use since the time before.
 */
export class UsageSummary {
  readonly #place: SummaryPlace;
  /** Samples by container attempt, oldest first. */
  readonly #samples = new Map<string, readonly Sample[]>();

  constructor(place: SummaryPlace) {
    this.#place = place;
  }

  /** Takes a second where no rate can be told yet. */
  async read(): Promise<object> {
    const records = this.#running();
    const isNew = records.some((record) => this.#earlier(record) === undefined);
    if (isNew) {
      for (const record of records) this.#take(record);
      await this.#place.clock.sleep(quickWindowMs);
    }
    const measured = new Map(records.map((record) => [idOf(record), this.#measure(record, isNew)]));
    for (const id of this.#samples.keys()) if (!measured.has(id)) this.#samples.delete(id);
    return this.#describe(measured);
  }

  #running(): ContainerRecord[] {
    const { pods, runtime } = this.#place;
    return pods
      .pods()
      .flatMap((pod) => runtime.containers(pod.metadata.uid))
      .filter((record) => record.state === "running");
  }

  /** The sample that a rate can begin at. */
  #earlier(record: ContainerRecord): Sample | undefined {
    const nowMs = this.#place.clock.monotonicMs();
    return this.#samples
      .get(idOf(record))
      ?.findLast(({ atMs }) => nowMs - atMs >= minWindowMs && nowMs - atMs <= maxWindowMs);
  }

  #take(record: ContainerRecord): ResourceUsage {
    const { runtime, clock } = this.#place;
    const usage = runtime.usage(record) ?? { memoryBytes: 0, cpuNanos: 0 };
    const nowMs = clock.monotonicMs();
    const kept = (this.#samples.get(idOf(record)) ?? []).filter(({ atMs }) => nowMs - atMs <= maxWindowMs);
    this.#samples.set(idOf(record), [...kept, { atMs: nowMs, cpuNanos: usage.cpuNanos }]);
    return usage;
  }

  #measure(record: ContainerRecord, isQuick: boolean): Measured {
    const before = isQuick ? this.#samples.get(idOf(record))?.at(-1) : this.#earlier(record);
    const usage = this.#take(record);
    const spanMs = before === undefined ? 0 : this.#place.clock.monotonicMs() - before.atMs;
    const spent = usage.cpuNanos - (before?.cpuNanos ?? 0);
    const nanoCores = spanMs <= 0 ? 0 : Math.max(0, Math.round((spent * 1000) / spanMs));
    return { ...usage, nanoCores, windowMs: spanMs };
  }

  #describe(measured: ReadonlyMap<string, Measured>): object {
    const { runtime, clock, nodeName } = this.#place;
    const time = new Date(clock.now()).toISOString();
    const pods = this.#place.pods.pods().map((pod) => {
      const { name, namespace = "default", uid } = pod.metadata;
      const containers = runtime.containers(uid).flatMap((record) => {
        const use = measured.get(idOf(record));
        return use === undefined ? [] : [containerStats(record, use, time)];
      });
      return {
        podRef: { name, namespace, uid },
        startTime: pod.status?.startTime ?? null,
        containers,
        ...totalOf(containers, time),
      };
    });
    return { node: { nodeName, ...totalOf(pods, time) }, pods };
  }
}

function idOf(record: ContainerRecord): string {
  return `${record.podUid}/${record.name}/${record.attempt}`;
}

function containerStats(record: ContainerRecord, use: Measured, time: string) {
  const { cpuNanos, nanoCores, windowMs, memoryBytes } = use;
  return {
    name: record.name,
    startTime: new Date(record.startedAtMs).toISOString(),
    // kubelet does not say over which time its rate is; who passes it on has to.
    windowSeconds: windowMs / 1000,
    cpu: { time, usageNanoCores: nanoCores, usageCoreNanoSeconds: cpuNanos },
    memory: { time, usageBytes: memoryBytes, workingSetBytes: memoryBytes, rssBytes: memoryBytes },
  };
}

type Stats = Pick<ReturnType<typeof containerStats>, "cpu" | "memory">;

function totalOf(parts: readonly Stats[], time: string): Stats {
  const sum = (value: (part: Stats) => number): number => parts.reduce((total, part) => total + value(part), 0);
  return {
    cpu: {
      time,
      usageNanoCores: sum(({ cpu }) => cpu.usageNanoCores),
      usageCoreNanoSeconds: sum(({ cpu }) => cpu.usageCoreNanoSeconds),
    },
    memory: {
      time,
      usageBytes: sum(({ memory }) => memory.usageBytes),
      workingSetBytes: sum(({ memory }) => memory.workingSetBytes),
      rssBytes: sum(({ memory }) => memory.rssBytes),
    },
  };
}

import { findCondition, type Pod, type Service, timeOf } from "../../../kernel/kinds/index.js";

interface Known {
  readonly pods: ReadonlyMap<string, number>;
}

const maxServices = 10_000;

/** When what a Service's endpoints say last changed, as far as the objects tell: by it, people measure how long the news takes. */
export class TriggerTimes {
  readonly #known = new Map<string, Known>();

  /** The time of the change that the coming write tells of; `undefined` where nothing tells it. Asked at each look at the Service. */
  next({ metadata }: Service, pods: readonly Pod[]): string | undefined {
    const before = this.#known.get(metadata.uid);
    const now = new Map<string, number>();
    let earliest: number | undefined;
    for (const pod of pods) {
      const changed = Date.parse(findCondition(pod.status?.conditions, "Ready")?.lastTransitionTime ?? "");
      if (Number.isNaN(changed)) continue;
      now.set(pod.metadata.name, changed);
      if (changed > (before?.pods.get(pod.metadata.name) ?? 0)) earliest = Math.min(earliest ?? changed, changed);
    }
    this.#known.delete(metadata.uid);
    this.#known.set(metadata.uid, { pods: now });
    const [oldest] = this.#known.keys();
    if (this.#known.size > maxServices && oldest !== undefined) this.#known.delete(oldest);
    if (before === undefined) return metadata.creationTimestamp;
    return earliest === undefined ? undefined : timeOf(earliest);
  }
}

import type { Clock } from "../../kernel/clock/index.js";
import type { KubeObject } from "../../kernel/kinds/index.js";
import type { Target } from "./member-apply.js";
import { driftOf } from "./member-owners.js";

/** So many times in a row an object is put back at once. */
const AT_ONCE = 5;
const FIRST_WAIT_MS = 1000;
const LAST_WAIT_MS = 60_000;
/** Who leaves an object alone for so long has stopped. */
const QUIET_MS = 5 * LAST_WAIT_MS;

interface Repair {
  /** The object as it is, with its owners. */
  readonly current: KubeObject;
  readonly cluster: string;
  readonly isApplied: boolean;
}

interface Row {
  readonly content: string;
  readonly count: number;
  readonly atMs: number;
}

/** Keeps the hub and somebody who undoes what it puts back from keeping each other, and the member, busy. */
export class Repairs {
  readonly #clock: Clock;
  readonly #rows = new Map<string, Row>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Notes that an object is put back now, which `isApplied` says was as it should be before. Returns why it has to wait instead, when that happened
   * too often of late.
   */
  begin(target: Target, content: string, { current, cluster, isApplied }: Repair): string | undefined {
    const text = textOf(target);
    const row = this.#rows.get(text);
    const nowMs = this.#clock.monotonicMs();
    const isInRow = row?.content === content && nowMs - row.atMs < QUIET_MS;
    // Not applied yet, and nothing of late: it is made for the first time.
    if (!isInRow && !isApplied) return undefined;
    const count = isInRow ? row.count : 0;
    const waitMs = count < AT_ONCE ? 0 : Math.min(FIRST_WAIT_MS * 2 ** (count - AT_ONCE), LAST_WAIT_MS);
    if (isInRow && nowMs - row.atMs < waitMs) return words(target, current, cluster);
    this.#rows.set(text, { content, count: count + 1, atMs: nowMs });
    return undefined;
  }

  forget(target: Target): void {
    this.#rows.delete(textOf(target));
  }
}

function words(target: Target, current: KubeObject, cluster: string): string {
  const drifts = driftOf(current, target.manifest);
  const fields = drifts.map(({ path, managers }) =>
    managers.length === 0 ? path : `${path} (changed by ${managers.join(", ")})`,
  );
  return `${target.kind.kind} ${target.name} in cluster ${cluster} is changed again and again: ${fields.join(", ")}; it is put back, each time later`;
}

function textOf({ kind, namespace, name }: Target): string {
  return `${kind.plural}.${kind.group}/${namespace}/${name}`;
}

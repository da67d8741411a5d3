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

  /** Why an object that is not as it should be has to wait, because it was put back so often of late; `undefined`: it need not. */
  hold(target: Target, content: string, current: KubeObject, cluster: string): string | undefined {
    const row = this.#row(target, content);
    if (row === undefined || row.count < AT_ONCE) return undefined;
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** (row.count - AT_ONCE), LAST_WAIT_MS);
    return this.#clock.monotonicMs() - row.atMs < waitMs ? words(target, current, cluster) : undefined;
  }

  /** Notes that an object was put back: that it was as it should be before, and that the write changed it. */
  made(target: Target, content: string): void {
    const count = this.#row(target, content)?.count ?? 0;
    this.#rows.set(textOf(target), { content, count: count + 1, atMs: this.#clock.monotonicMs() });
  }

  /** Whether an object was put back of late. */
  isAtOdds(target: Target, content: string): boolean {
    return this.#row(target, content) !== undefined;
  }

  #row(target: Target, content: string): Row | undefined {
    const row = this.#rows.get(textOf(target));
    return row?.content === content && this.#clock.monotonicMs() - row.atMs < QUIET_MS ? row : undefined;
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

import type { DaemonSet } from "../../../kernel/kinds/index.js";

const firstMs = 1000;
const maxMs = 15 * 60_000;

/** How long a node's failed pods wait for their replacement: a second, doubled each time, at most 15 minutes; forgotten after twice that. */
export class FailureBackoff {
  readonly #entries = new Map<string, { readonly atMs: number; readonly delayMs: number }>();

  /** Milliseconds that are left to wait; at 0 the next wait begins. */
  take({ metadata }: DaemonSet, node: string, nowMs: number): number {
    for (const [id, { atMs }] of this.#entries) if (nowMs - atMs > 2 * maxMs) this.#entries.delete(id);
    const id = `${metadata.uid}/${metadata.generation ?? 0}/${node}`;
    const before = this.#entries.get(id);
    const leftMs = before === undefined ? 0 : before.atMs + before.delayMs - nowMs;
    if (leftMs > 0) return leftMs;
    const delayMs = before === undefined ? firstMs : Math.min(before.delayMs * 2, maxMs);
    this.#entries.set(id, { atMs: nowMs, delayMs });
    return 0;
  }
}

import type { Clock, Timer } from "../../../kernel/clock/index.js";
import { findCondition } from "../../../kernel/kinds/index.js";
import type { Pace } from "../status/pace.js";
import type { BindingStatus, ResourceBinding } from "./kinds.js";

/** A status with what the scheduler says in it. */
export type Report = (status: BindingStatus | undefined) => BindingStatus;

interface Held {
  readonly generation: number;
  readonly report: Report;
  readonly dueMs: number;
  /** Called when nobody wrote it in time. */
  readonly wake: () => void;
  isOverdue: boolean;
}

const SWEEP_MS = 250;

/**
 * What the scheduler has to say of new bindings. Their members answer in a moment, and then their status is written anyway: one write tells
 * both. What nobody wrote in time the scheduler writes itself; after a restart nothing is held, and it looks at every binding.
 */
export class Reports {
  readonly #pace: Pace;
  /** By uid, the first due first. */
  readonly #held = new Map<string, Held>();
  #clock: Clock | undefined;
  #timer: Timer | undefined;

  constructor(pace: Pace) {
    this.#pace = pace;
  }

  /** Nothing is held from before. */
  start(clock: Clock, signal: AbortSignal): void {
    this.#clock = clock;
    signal.addEventListener("abort", () => this.#stop(), { once: true });
  }

  /** Holds a report of a binding that has no status yet. Returns whether it does: one that is overdue is to be written now. */
  hold({ metadata, status }: ResourceBinding, report: Report, wake: () => void): boolean {
    const known = this.#held.get(metadata.uid);
    if (this.#clock === undefined || status !== undefined || known?.isOverdue === true) {
      this.#held.delete(metadata.uid);
      return false;
    }
    const generation = metadata.generation ?? 0;
    const dueMs = known?.dueMs ?? this.#clock.monotonicMs() + this.#pace.patienceMs();
    this.#held.set(metadata.uid, { generation, report, dueMs, wake, isOverdue: false });
    this.#arm(this.#clock);
    return true;
  }

  /** The binding's status with what is held of it, and what to call when that is written. */
  merged({ metadata, status }: ResourceBinding): {
    readonly status: BindingStatus | undefined;
    readonly written: () => void;
  } {
    const { uid, generation } = metadata;
    const held = this.#held.get(uid);
    const isTold = findCondition(status?.conditions, "Scheduled") !== undefined;
    if (held === undefined || held.generation !== generation || isTold) return { status, written: () => {} };
    return {
      status: held.report(status),
      // What came to be held meanwhile is not.
      written: () => {
        if (this.#held.get(uid) === held) this.#held.delete(uid);
      },
    };
  }

  /** It is written, or its binding is gone. */
  settle(uid: string): void {
    this.#held.delete(uid);
  }

  #arm(clock: Clock): void {
    this.#timer ??= clock.setTimer(SWEEP_MS, () => {
      this.#timer = undefined;
      this.#sweep(clock.monotonicMs());
      if (this.#held.size > 0) this.#arm(clock);
    });
  }

  #sweep(nowMs: number): void {
    for (const held of this.#held.values()) {
      if (held.dueMs > nowMs) return;
      if (held.isOverdue) continue;
      held.isOverdue = true;
      held.wake();
    }
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#clock = undefined;
    this.#held.clear();
  }
}

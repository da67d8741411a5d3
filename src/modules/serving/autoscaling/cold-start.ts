/** The way from a request that met no pod to its answer, in parts. */
import type { ActivatorReport } from "../../../dataplane/gateway/index.js";
import type { Pod } from "../../../kernel/kinds/index.js";

/** A cold start and what it was made of, in milliseconds. */
export interface ColdStartParts {
  /** RFC 3339. */
  readonly at: string;
  readonly totalMs: number;
  /** Until a pod was asked for. */
  readonly queueMs: number;
  /** Until it had a node. */
  readonly scheduleMs: number;
  /** Until its program ran: images, models that are fetched ahead of it. */
  readonly fetchMs: number;
  /** Until it answered the gateway's probe. */
  readonly loadMs: number;
  /** Until the first request was answered. */
  readonly answerMs: number;
  readonly budgetMs?: number;
  readonly withinBudget?: boolean;
}

/** Follows one cold start after the other, by what is seen of the gateway and of pods. */
export class ColdStartWatch {
  #number = 0;
  #askedAt: number | undefined;
  #scheduledAt: number | undefined;
  #startedAt: number | undefined;
  #isTold = true;

  /** Pods were asked for, because requests wait. */
  asked(cold: NonNullable<ActivatorReport["cold"]>, nowMs: number): void {
    if (cold.number === this.#number) return;
    this.#number = cold.number;
    this.#askedAt = nowMs;
    this.#scheduledAt = undefined;
    this.#startedAt = undefined;
    this.#isTold = false;
  }

  /** One is under way. */
  get isRunning(): boolean {
    return !this.#isTold;
  }

  /** What is to be seen of the pods now. */
  seen(pods: readonly Pod[], nowMs: number): void {
    if (this.#isTold) return;
    if (pods.some(({ spec }) => spec.nodeName !== undefined)) this.#scheduledAt ??= nowMs;
    if (pods.some(isRunning)) this.#startedAt ??= nowMs;
  }

  /** The parts, once, when the first answer was given. */
  result(cold: ActivatorReport["cold"], budgetMs: number | undefined): ColdStartParts | undefined {
    const { beganAt, admittedAt, answeredAt, number } = cold ?? {};
    if (this.#isTold || number !== this.#number || beganAt === undefined) return undefined;
    if (admittedAt === undefined || answeredAt === undefined) return undefined;
    this.#isTold = true;
    // What was seen later than what follows from it had happened before.
    const asked = clamp(this.#askedAt ?? beganAt, beganAt, admittedAt);
    const scheduled = clamp(this.#scheduledAt ?? asked, asked, admittedAt);
    const started = clamp(this.#startedAt ?? scheduled, scheduled, admittedAt);
    const totalMs = answeredAt - beganAt;
    return {
      at: new Date(beganAt).toISOString(),
      totalMs,
      queueMs: asked - beganAt,
      scheduleMs: scheduled - asked,
      fetchMs: started - scheduled,
      loadMs: admittedAt - started,
      answerMs: answeredAt - admittedAt,
      ...(budgetMs === undefined ? {} : { budgetMs, withinBudget: totalMs <= budgetMs }),
    };
  }
}

function isRunning({ status }: Pod): boolean {
  return status?.containerStatuses?.some(({ state }) => state?.running !== undefined) === true;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

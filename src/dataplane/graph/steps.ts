/** Asking steps: fields and deadlines that go along, tries, bounds, counts and spans. */

import { onAbort } from "../../kernel/clock/index.js";
import type { Clock, Random } from "../../kernel/clock/types.js";
import { type BodyHold, HttpError } from "../../kernel/http1/index.js";
import type { Tracer } from "../../kernel/traces/index.js";
import { type ClientAnswer, type StepClient, StepUnreachable } from "./client.js";
import { Message } from "./message.js";
import type { RouterMetrics } from "./metrics.js";
import type { GraphStep, GraphTimes } from "./read.js";
import { type Answer, type Asking, type AskStep, GraphFailure } from "./run.js";
import type { Slots } from "./slots.js";

/** What steps of all requests share. */
export interface StepTools {
  readonly client: Pick<StepClient, "post">;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: RouterMetrics;
  readonly tracer: Tracer | undefined;
  readonly times: GraphTimes;
  readonly maxBodyBytes: number;
  /** For steps that are asked at once. */
  readonly slots: Slots;
}

/** What steps of one request share. */
export interface RequestScope {
  /** Fields of the request that go on to every step. */
  readonly fields: Readonly<Record<string, string>>;
  readonly traceparent: string | undefined;
  /** Monotonic milliseconds; infinite where it may take as long as it takes. */
  readonly deadlineMs: number;
  readonly hold: BodyHold;
}

/** What goes on of an answer beside its body. */
const KEPT_FIELDS = [
  "content-type",
  "content-encoding",
  "inference-header-content-length",
  "cache-control",
  "retry-after",
];
/** Short answers are sent in one piece. */
const MAX_WHOLE_BYTES = 65_536;
/** Doubling ends here. */
const LONGEST_PAUSE_MS = 60_000;

/** What asks the steps of one request. */
export function createAsk(tools: StepTools, scope: RequestScope): AskStep {
  return (step, request, asking) => new StepCall(tools, scope, step, asking).run(request);
}

class StepCall {
  readonly #tools: StepTools;
  readonly #scope: RequestScope;
  readonly #step: GraphStep;
  readonly #asking: Asking;
  readonly #labels: { readonly node: string; readonly step: string };

  constructor(tools: StepTools, scope: RequestScope, step: GraphStep, asking: Asking) {
    this.#tools = tools;
    this.#scope = scope;
    this.#step = step;
    this.#asking = asking;
    this.#labels = { node: asking.node.name, step: step.label };
  }

  async run(request: Message): Promise<Answer> {
    const { retry } = this.#step;
    const { clock, random, metrics } = this.#tools;
    const { signal } = this.#asking;
    for (let tries = 1; ; tries++) {
      const isFinal = retry === undefined || tries > retry.attempts;
      try {
        const answer = await this.#try(request, isFinal);
        if (isFinal || !retry.onStatus.has(answer.status)) return answer;
      } catch (error) {
        if (isFinal || signal.aborted || !(error instanceof GraphFailure) || error.status < 500) throw error;
      }
      metrics.retried(this.#labels);
      const longest = Math.min(LONGEST_PAUSE_MS, retry.backoffMs * 2 ** (tries - 1));
      await clock.sleep(longest * (0.5 + random.next() / 2), signal);
    }
  }

  async #try(request: Message, isFinal: boolean): Promise<Answer> {
    const { clock, metrics, tracer } = this.#tools;
    const begun = clock.monotonicMs();
    const { node, step } = this.#labels;
    const span = tracer?.begin(this.#scope.traceparent, `${node}/${step}`, "client");
    const end = (outcome: string, isError: boolean): void => {
      metrics.asked(this.#labels, outcome, (clock.monotonicMs() - begun) / 1000);
      span?.end({
        isError,
        attributes: { "argosy.graph.node": node, "argosy.graph.step": step, "argosy.graph.outcome": outcome },
      });
    };
    try {
      const answer = await this.#exchange(request, { traceparent: span?.traceparent, isFinal, end });
      return answer;
    } catch (error) {
      const failure = this.#failureOf(error);
      end(
        failure.status === 504 ? "timeout" : failure.status === 499 ? "cancelled" : "unreachable",
        failure.status !== 499,
      );
      throw failure;
    }
  }

  async #exchange(
    request: Message,
    {
      traceparent,
      isFinal,
      end,
    }: { traceparent: string | undefined; isFinal: boolean; end: (outcome: string, isError: boolean) => void },
  ): Promise<Answer> {
    const { clock, client, times, slots } = this.#tools;
    const { signal } = this.#asking;
    const { url } = this.#step;
    if (url === undefined) throw new GraphFailure(500, "the step has no address");
    const give = await slots.take(signal);
    const controller = new AbortController();
    const unlink = onAbort(signal, () => controller.abort(signal.reason));
    if (signal.aborted) controller.abort(signal.reason);
    const limitMs = this.#step.timeoutMs ?? times.stepMs;
    const timer =
      limitMs === undefined
        ? undefined
        : clock.setTimer(limitMs, () =>
            controller.abort(new GraphFailure(504, `${this.#name()} did not answer within ${limitMs} ms`)),
          );
    let isStream = false;
    const release = (): void => {
      timer?.cancel();
      unlink();
      give();
    };
    try {
      const fields = this.#fieldsFor(request, traceparent, limitMs);
      const answer = await client.post({
        ...{ url, fields, body: request.body },
        ...{ mostBytes: this.#tools.maxBodyBytes, signal: controller.signal },
      });
      const { status } = answer;
      const isPassed = this.#asking.isLast && (isFinal || this.#step.retry?.onStatus.has(status) !== true);
      isStream = isPassed && (answer.length === undefined || answer.length > MAX_WHOLE_BYTES);
      const kept = keptFields(answer);
      if (isStream) {
        timer?.cancel();
        end(String(status), status >= 500);
        return { status, message: new Message(Buffer.alloc(0), kept), stream: closing(answer.pieces, release) };
      }
      const body = await this.#readWhole(answer);
      end(String(status), status >= 500);
      return { status, message: new Message(body, kept) };
    } finally {
      if (!isStream) release();
    }
  }

  async #readWhole({ pieces, length }: ClientAnswer): Promise<Buffer> {
    const { maxBodyBytes } = this.#tools;
    const read: Buffer[] = [];
    let bytes = 0;
    const isTooLong = length !== undefined && length > maxBodyBytes;
    for await (const piece of pieces) {
      bytes += piece.length;
      if (isTooLong || bytes > maxBodyBytes)
        throw new GraphFailure(500, `${this.#name()} answered with more than ${maxBodyBytes} bytes`);
      this.#scope.hold.take(piece.length);
      read.push(piece);
    }
    const [only] = read;
    return read.length === 1 && only !== undefined ? only : Buffer.concat(read);
  }

  #fieldsFor(request: Message, traceparent: string | undefined, limitMs: number | undefined): Record<string, string> {
    const { fields, deadlineMs } = this.#scope;
    const left = Math.min(limitMs ?? Number.POSITIVE_INFINITY, deadlineMs - this.#tools.clock.monotonicMs());
    return {
      ...fields,
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(Number.isFinite(left) ? { "x-request-timeout-ms": String(Math.max(1, Math.floor(left))) } : {}),
      "content-type": "application/json",
      ...request.fields,
    };
  }

  #name(): string {
    return `step ${this.#labels.step} of node ${this.#labels.node}`;
  }

  #failureOf(error: unknown): GraphFailure {
    const { reason } = this.#asking.signal;
    if (error === reason && error instanceof GraphFailure && error.status === 504)
      return new GraphFailure(504, `${this.#name()}: ${error.message}`, { cause: error });
    if (error instanceof GraphFailure) return error;
    if (error instanceof StepUnreachable)
      return new GraphFailure(500, `${this.#name()}: ${error.message}`, { cause: error });
    if (error instanceof HttpError) return new GraphFailure(error.status, error.message, { cause: error });
    throw error;
  }
}

function keptFields({ fields }: ClientAnswer): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of KEPT_FIELDS) {
    const value = fields.get(name);
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

async function* closing(pieces: AsyncGenerator<Buffer>, release: () => void): AsyncGenerator<Buffer> {
  try {
    yield* pieces;
  } finally {
    release();
  }
}

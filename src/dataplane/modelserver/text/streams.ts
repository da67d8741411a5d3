/** Server-sent events: answers that begin when their first part is there, so that what fails at once is an ordinary refusal. */
import type { Http1Answer } from "../../../kernel/http1/index.js";
import { HttpError } from "../../../kernel/http1/index.js";

/** One event. */
export const sseEvent = (value: unknown): string =>
  `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`;

/**
 * Makes the answer of a stream of events; resolves with its first event. What fails later becomes an event by `describe`, the
 * stream's last. `onEnd` is called once, with what failed.
 */
export async function streamAnswer(
  events: AsyncGenerator<string>,
  describe: (error: HttpError) => unknown,
  onEnd: (error: unknown) => void,
): Promise<Http1Answer> {
  let first: IteratorResult<string>;
  try {
    first = await events.next();
  } catch (error) {
    onEnd(error);
    throw error;
  }
  async function* all(): AsyncGenerator<string> {
    let failure: unknown;
    try {
      if (first.done !== true) yield first.value;
      yield* events;
    } catch (error) {
      failure = error;
      yield sseEvent(describe(error instanceof HttpError ? error : new HttpError(500, "internal error")));
    } finally {
      onEnd(failure);
    }
  }
  return {
    status: 200,
    type: "text/event-stream; charset=utf-8",
    headers: { "cache-control": "no-cache", "x-accel-buffering": "no" },
    body: all(),
  };
}

/** HTTP/2 and gRPC of a server as one part, so that it can be loaded when the first client speaks it. */
import type { Http1Answer, Http1Request } from "../../../kernel/http1/index.js";
import type { ServerContext } from "../context.js";
import { Http2Front } from "./front.js";
import { answerRest } from "./rest.js";
import { createServices } from "./services.js";
import { statusName } from "./status.js";

/** What the server gives it. */
export interface Http2Host {
  /** Changes once, when it is known what is served. */
  readonly context: () => ServerContext;
  readonly reflection: boolean;
  readonly answer: (request: Http1Request) => Http1Answer | Promise<Http1Answer>;
  readonly fail: (error: unknown, request: Http1Request | undefined) => Http1Answer;
}

const TIMES = { bodyMs: 120_000, idleMs: 600_000 };

/** Makes it. */
export function openHttp2({ context, reflection, answer, fail }: Http2Host): Http2Front {
  const { clock, maxBodyBytes, chargeBody, metrics, log, tracer } = context();
  let served: { context: ServerContext; find: ReturnType<typeof createServices> } | undefined;
  const findMethod: ReturnType<typeof createServices> = (path) => {
    const now = context();
    if (served?.context !== now) served = { context: now, find: createServices(now, reflection) };
    return served.find(path);
  };
  return new Http2Front({
    ...{ clock, maxMessageBytes: maxBodyBytes, chargeBody, tracer, findMethod },
    onFault: (path, error) => log.error("call failed", { path, err: error }),
    onEnd: (path, code) => metrics.call(findMethod(path) === undefined ? "" : path, statusName(code)),
    answer: (stream) => answerRest({ maxBodyBytes, chargeBody, answer, fail }, stream),
    ...TIMES,
  });
}

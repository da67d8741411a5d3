/** Inference requests over HTTP, from the head to the counted answer: what V1 and V2 share. */
import { type Http1Answer, type Http1Request, HttpError, readBody } from "../../kernel/http1/index.js";
import { type CloudEvent, openEvent, wrapAnswer } from "./cloudevents.js";
import type { ServerContext } from "./context.js";
import { encodeAnswer } from "./http.js";
import type { Caller } from "./inference.js";
import type { ServedModel } from "./repository.js";
import { readPredictRequest, writePredictAnswer } from "./v1.js";
import { readInferRequest, writeInferAnswer } from "./v2.js";

/** The model that a path names. */
export interface Wanted {
  readonly name: string;
  readonly version: string | undefined;
}

/** When the parts of a request ended, monotonic milliseconds; handlers fill them in. */
interface Marks {
  read: number;
  ran: number;
}

interface Asked {
  readonly model: ServedModel;
  readonly body: Buffer;
  readonly caller: Caller;
  readonly marks: Marks;
}

/** V2's infer. */
export function infer(request: Http1Request, context: ServerContext, wanted: Wanted): Promise<Http1Answer> {
  const { inference, clock } = context;
  return counted(request, context, wanted, async ({ model, body, caller, marks }) => {
    const checked = readInferRequest(body, request.header("inference-header-content-length"), model);
    marks.read = clock.monotonicMs();
    const { timeoutUs } = checked;
    const outputs = await inference.run(
      model,
      checked.inputs,
      timeoutUs === undefined ? caller : { ...caller, timeoutMs: timeoutUs / 1000 },
    );
    marks.ran = clock.monotonicMs();
    const { body: answer, headLength } = writeInferAnswer(model, checked, outputs);
    if (headLength === undefined) return { status: 200, body: answer };
    return {
      status: 200,
      type: "application/octet-stream",
      headers: { "inference-header-content-length": String(headLength) },
      body: answer,
    };
  });
}

/** V1's predict. */
export function predict(request: Http1Request, context: ServerContext, wanted: Wanted): Promise<Http1Answer> {
  const { inference, clock } = context;
  return counted(request, context, wanted, async ({ model, body, caller, marks }) => {
    const checked = readPredictRequest(body, model);
    marks.read = clock.monotonicMs();
    const outputs = await inference.run(model, checked.inputs, caller);
    marks.ran = clock.monotonicMs();
    return { status: 200, body: writePredictAnswer(checked, outputs) };
  });
}

/** Reads the body, opens an event, answers and counts. */
export async function counted(
  request: Http1Request,
  context: ServerContext,
  { name, version }: Wanted,
  answer: (asked: Asked) => Promise<Http1Answer>,
): Promise<Http1Answer> {
  const { clock, metrics } = context;
  const model = context.inference.find(name, version);
  const counters = metrics.of(model.name, model.version);
  const charge = context.chargeBody();
  let begun = clock.monotonicMs();
  try {
    const read = readBody(request, context.maxBodyBytes, charge);
    const body = read instanceof Promise ? await read : read;
    begun = clock.monotonicMs();
    const event: CloudEvent | undefined = openEvent(request, body);
    const marks = { read: begun, ran: begun };
    const caller = { timeoutMs: timeoutOf(request), isGone: () => request.isGone };
    const made = await answer({ model, body: event?.data ?? body, caller, marks });
    const result = event === undefined ? made : wrapAnswer(event, made, { model: model.name, context });
    const done = clock.monotonicMs();
    counters.answered(marks.read - begun, marks.ran - marks.read, done - marks.ran, clock.now());
    const encoded = encodeAnswer(request, result);
    return encoded instanceof Promise ? await encoded : encoded;
  } catch (error) {
    counters.refused(clock.monotonicMs() - begun);
    throw error;
  } finally {
    charge.close();
  }
}

/** Headers that say how many milliseconds the client waits: our own name, and the one that Envoy sets. */
const TIMEOUT_HEADERS = ["x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms"] as const;

/** What a request says of its time, in milliseconds. Throws 400. */
export function timeoutOf(request: Http1Request): number | undefined {
  for (const name of TIMEOUT_HEADERS) {
    const value = request.header(name);
    if (value === undefined) continue;
    if (!/^\d{1,10}$/.test(value))
      throw new HttpError(400, `${name} is "${value.slice(0, 40)}"; expected milliseconds`);
    return value === "0" ? undefined : Number(value);
  }
  return undefined;
}

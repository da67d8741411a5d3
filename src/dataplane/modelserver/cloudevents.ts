/** CloudEvents 1.0 around V1 and V2 requests, in binary mode (`ce-` headers) and structured mode. */
import { type Http1Answer, type Http1Request, HttpError } from "../../kernel/http1/index.js";
import { describe, parseJson } from "../../kernel/tensors/index.js";
import { decodeBase64 } from "./base64.js";
import type { ServerContext } from "./context.js";
import { isJsonMap, readText } from "./v2.js";

/** A request that came as an event. */
export interface CloudEvent {
  readonly mode: "binary" | "structured";
  /** The request. */
  readonly data: Buffer;
}

const STRUCTURED = "application/cloudevents+json";
const REQUIRED = ["id", "source", "type"] as const;
const ANSWER_TYPE = "io.kserve.inference.response";

/** The event that a request is, if it is one. Throws 400 for one that lacks what every event has, 415 for other event formats. */
export function openEvent(request: Http1Request, body: Buffer): CloudEvent | undefined {
  const type = request.header("content-type")?.toLowerCase();
  if (type?.startsWith("application/cloudevents") === true) {
    if (!/^application\/cloudevents\+json\s*(?:;|$)/.test(type))
      throw new HttpError(415, `events come as ${STRUCTURED} or with ce- headers, not as ${type.slice(0, 80)}`);
    return { mode: "structured", data: openStructured(body) };
  }
  if (request.header("ce-specversion") === undefined) {
    // Without the version it is an event all the same where the rest of one is there.
    const parts = REQUIRED.filter((name) => request.header(`ce-${name}`) !== undefined);
    if (parts.length < REQUIRED.length) return undefined;
    throw new HttpError(400, "the event has no ce-specversion");
  }
  checkAttributes((name) => request.header(`ce-${name}`), "ce-");
  return { mode: "binary", data: body };
}

function checkAttributes(attribute: (name: string) => unknown, prefix: string): void {
  const version = attribute("specversion");
  if (version !== "1.0" && version !== "0.3")
    throw new HttpError(
      400,
      `${prefix}specversion is ${JSON.stringify(version)?.slice(0, 40) ?? "missing"}; 1.0 is known`,
    );
  for (const name of REQUIRED) {
    const value = attribute(name);
    if (typeof value !== "string" || value === "") throw new HttpError(400, `the event has no ${prefix}${name}`);
  }
}

function openStructured(body: Buffer): Buffer {
  const event = parseJson(readText(body));
  if (!isJsonMap(event)) throw new HttpError(400, `the event must be an object, not ${describe(event)}`);
  checkAttributes((name) => (Object.hasOwn(event, name) ? event[name] : undefined), "");
  const { data, data_base64: encoded } = event;
  if (encoded !== undefined) {
    const bytes = typeof encoded === "string" ? decodeBase64(encoded) : undefined;
    if (bytes === undefined) throw new HttpError(400, "the event's data_base64 is not base64");
    if (data !== undefined) throw new HttpError(400, "the event has both data and data_base64");
    return bytes;
  }
  if (data === undefined || data === null) throw new HttpError(400, "the event has no data");
  if (typeof data === "string") return Buffer.from(data);
  return rawData(body) ?? Buffer.from(JSON.stringify(data));
}

/** The bytes of `data` as they came, so that long integers keep their digits; `undefined` where that is not simple. */
function rawData(body: Buffer): Buffer | undefined {
  const text = body.toString("utf8");
  const match = /"data"\s*:\s*(?=\{)/.exec(text);
  if (match === null || !/\d{16}/.test(text)) return undefined;
  const start = match.index + match[0].length;
  let depth = 0;
  let isText = false;
  for (let at = start; at < text.length; at++) {
    const character = text[at];
    if (isText) {
      if (character === "\\") at++;
      else if (character === '"') isText = false;
    } else if (character === '"') isText = true;
    else if (character === "{") depth++;
    else if (character === "}" && --depth === 0) return Buffer.from(text.slice(start, at + 1));
  }
  return undefined;
}

/** The answer as an event of the request's mode. */
export function wrapAnswer(
  { mode }: CloudEvent,
  answer: Http1Answer,
  { model, context: { clock, random } }: { model: string; context: Pick<ServerContext, "clock" | "random"> },
): Http1Answer {
  const attributes = {
    ...{ specversion: "1.0", id: random.uuid(), type: ANSWER_TYPE, source: `io.kserve.inference.${model}` },
    time: new Date(clock.now()).toISOString(),
  };
  const { body } = answer;
  if (mode === "binary") {
    const headers = Object.entries(attributes).map(([name, value]) => [`ce-${name}`, headerText(value)]);
    return { ...answer, headers: { ...answer.headers, ...Object.fromEntries(headers) } };
  }
  const head = JSON.stringify({ ...attributes, datacontenttype: answer.type ?? "application/json" }).slice(0, -1);
  if (typeof body === "string") return { ...answer, type: STRUCTURED, body: `${head},"data":${body}}` };
  if (!(body instanceof Uint8Array)) throw new HttpError(400, "a stream cannot be an event");
  const encoded = Buffer.from(body.buffer, body.byteOffset, body.length).toString("base64");
  return { status: answer.status, type: STRUCTURED, body: `${head},"data_base64":"${encoded}"}` };
}

/** A value of an attribute as a header: names may hold anything, header values may not; percent-encoding as the HTTP binding says. */
export const headerText = (value: string): string =>
  value.replaceAll(/[^\x21-\x7e]|[%"]/gu, (part) => (/\p{Cs}/u.test(part) ? "%EF%BF%BD" : encodeURIComponent(part)));

import {
  Framing,
  HeadFault,
  latin1,
  parseResponseHead,
  type RequestHead,
  type ResponseHead,
} from "../../kernel/http1/index.js";
import type { Logger } from "../../kernel/log/types.js";
import type { Backend, Endpoint, Route } from "./balance.js";
import type { ClientConnection } from "./client-connection.js";
import type { KnownAnswer } from "./known-heads.js";
import type { Reply } from "./replies.js";
import { addedLines, type Session } from "./sessions.js";
import type { Shadow } from "./shadow.js";
import type { RouteTable } from "./table.js";

/** No endpoint tried yet; shared, so that the usual request allocates nothing for it. */
export const NONE_TRIED: readonly Endpoint[] = [];

const MAX_RESPONSE_HEAD = 65_536;

/** Bytes of a client in which a head ends at `bodyStart`; valid for the call. */
export interface Arrived {
  readonly chunk: Buffer;
  readonly length: number;
  /** The Latin-1 form of the beginning. */
  readonly text: string;
  readonly bodyStart: number;
}

/** An answer's head with the bytes that came along with it. */
export interface AnswerRead {
  readonly answer: ResponseHead;
  readonly buffer: Buffer;
  readonly length: number;
  /** Latin-1 form of everything since the beginning of the head, which ends at `end`. */
  readonly text: string;
  readonly end: number;
  /** Where the text's first character stands in the buffer; negative: before it. */
  readonly offset: number;
}

/** Reads an answer's head from what came earlier and what came now; a string is what is to be kept until more comes. */
export function readAnswerHead(
  earlier: string,
  {
    buffer,
    length,
    known,
  }: { readonly buffer: Buffer; readonly length: number; readonly known?: KnownAnswer | undefined },
  onInterim: (head: string) => void,
): AnswerRead | HeadFault | string {
  let text = earlier === "" ? latin1(buffer, 0, length) : earlier + latin1(buffer, 0, length);
  let offset = -earlier.length;
  const same = known?.find(text);
  if (known !== undefined && same !== undefined)
    return { answer: same, buffer, length, text, end: known.length - 4, offset };
  for (;;) {
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return text.length > MAX_RESPONSE_HEAD ? new HeadFault(502, "its head is too long") : text;
    const answer = parseResponseHead(text, end + 2);
    if (answer instanceof HeadFault) return answer;
    if (answer.status >= 200 || answer.status === 101) {
      if (offset === 0) known?.keep(answer, buffer, end);
      return { answer, buffer, length, text, end, offset };
    }
    // Interim answers: 100 was the gateway's to give; others are the client's.
    if (answer.status !== 100) onInterim(text.slice(0, end + 4));
    text = text.slice(end + 4);
    offset += end + 4;
  }
}

/** Whether an answer without a length is a stream that may rest for long. */
export function isEventStream(answer: ResponseHead): boolean {
  return answer.fields.contentLength < 0 && /(?:^|\r\n)content-type:\s*text\/event-stream/i.test(answer.fields.rest);
}

/** How an attempt failed before the backend's answer began. */
export interface Failure {
  readonly kind: "connect" | "closed" | "silent" | "timeout" | "malformed" | "status";
  readonly detail: string;
}

/** Where requests are held, one that did not even reach a pod goes to the next: pods come and go there, and each that cannot be reached is out at once. */
const MOST_UNREACHED = 32;

/** How often a request may be sent again. */
export function mostAttempts({ isActivated, table }: Route, { kind }: Failure): number {
  return isActivated && kind === "connect" ? Math.max(MOST_UNREACHED, table.retry.attempts) : table.retry.attempts;
}

/** Whether another attempt can do no harm: nothing was sent, or nothing was answered and sending twice is allowed. */
export function mayRepeat(failure: Failure, isAllowed: boolean): boolean {
  if (failure.kind === "connect") return true;
  return isAllowed && (failure.kind === "closed" || failure.kind === "silent" || failure.kind === "status");
}

/** Whether a request may reach two backends. */
export function isRepeatable({ table }: Route, { method }: RequestHead): boolean {
  return table.retry.nonIdempotent || isIdempotent(method);
}

/** Methods that may be sent twice (RFC 9110 9.2.2). */
export function isIdempotent(method: string): boolean {
  switch (method) {
    case "GET":
    case "HEAD":
    case "OPTIONS":
    case "PUT":
    case "DELETE":
    case "TRACE":
      return true;
    default:
      return false;
  }
}

/** The request head as the backend gets it. */
export function renderRequestHead(
  head: RequestHead,
  client: ClientConnection,
  to: { readonly route: Route; readonly backend: Backend; readonly isUpgrade: boolean },
): string {
  const host = to.backend.table.host ?? head.fields.host;
  const start = `${head.method} ${to.route.rewriteTarget(head.target)} HTTP/1.${head.minor}\r\nHost: ${host}\r\n`;
  const lines = start + head.fields.rest + forwardedLines(head, client, to.route);
  if (to.isUpgrade) return `${lines}Connection: Upgrade\r\nUpgrade: ${head.fields.upgrade}\r\n\r\n`;
  // An HTTP/1.0 client cannot take chunks, so the backend is asked in HTTP/1.0 too.
  return head.minor === 0 ? `${lines}Connection: close\r\n\r\n` : `${lines}\r\n`;
}

/** The request head as shadows get it; the client's connection is looked at now, and not when the copies go out. */
export function renderCopyHead(head: RequestHead, client: ClientConnection, route: Route): (shadow: Shadow) => string {
  const start = `${head.method} ${route.rewriteTarget(head.target)} HTTP/1.${head.minor}\r\n`;
  const rest = head.fields.rest + forwardedLines(head, client, route);
  const end = head.minor === 0 ? "Connection: close\r\n\r\n" : "\r\n";
  return ({ table }) =>
    `${start}Host: ${table.host ?? head.fields.host}\r\n${rest}X-Argosy-Shadow: ${printable(table.name)}\r\n${end}`;
}

/** A text as it can stand in a header line. */
function printable(text: string): string {
  return text.replaceAll(/[^!-~]/g, "?");
}

/** Whole header lines of the gateway's own in an answer. */
export function answerLines(
  by: {
    readonly route: RouteTable;
    readonly session: Session | undefined;
    readonly backend: Backend | undefined;
    readonly endpoint: Endpoint | undefined;
  },
  isSecure: boolean,
): string {
  const name = by.route.nameBackend ? (by.backend?.nameLine ?? "") : "";
  return addedLines(by.route.affinity, by.session, { name, token: by.endpoint?.token ?? "", isSecure });
}

/** The answer's head as the client gets it; `minor` is the client's, `added` are whole header lines. */
export function renderAnswerHead(
  answer: ResponseHead,
  connection: "keep" | "close" | "upgrade",
  minor: number,
  added: string,
): string {
  const start = `HTTP/1.1 ${answer.statusText}\r\n${answer.fields.rest}${added}`;
  if (connection === "upgrade") return `${start}Connection: Upgrade\r\nUpgrade: ${answer.fields.upgrade}\r\n\r\n`;
  if (connection === "close") return `${start}Connection: close\r\n\r\n`;
  return minor === 0 ? `${start}Connection: keep-alive\r\n\r\n` : `${start}\r\n`;
}

/** Where the answer's body ends (RFC 9112 6.3); `undefined` when the client cannot be given it. */
export function frameAnswer(answer: ResponseHead, head: RequestHead, hasUpgrade = false): Framing | undefined {
  if (answer.status === 101) return hasUpgrade ? new Framing("close") : undefined;
  const { isChunked, contentLength } = answer.fields;
  if (head.method === "HEAD" || answer.status === 204 || answer.status === 304) return new Framing("none");
  if (isChunked) return head.minor === 0 ? undefined : new Framing("chunked");
  return contentLength >= 0 ? new Framing("length", contentLength) : new Framing("close");
}

// `X-Forwarded-*` lines: the client's own are replaced, or appended to where the listener trusts its clients.
function forwardedLines(head: RequestHead, client: ClientConnection, route: Route): string {
  const { fields } = head;
  const scheme = client.listener.isSecure ? "https" : "http";
  let forwardedFor = client.address;
  let host = fields.host;
  let proto = scheme;
  let prefix = route.table.rewrite === undefined ? "" : route.prefix;
  if (client.listener.trustForwarded) {
    if (fields.forwardedFor !== "") forwardedFor = `${fields.forwardedFor}, ${forwardedFor}`;
    if (fields.forwardedHost !== "") host = fields.forwardedHost;
    if (fields.forwardedProto !== "") proto = fields.forwardedProto;
    prefix = fields.forwardedPrefix + prefix;
  }
  const lines = `X-Forwarded-For: ${forwardedFor}\r\nX-Forwarded-Host: ${host}\r\nX-Forwarded-Proto: ${proto}\r\n`;
  return prefix === "" ? lines : `${lines}X-Forwarded-Prefix: ${prefix}\r\n`;
}

/**
 * Why an answer is none for the client; undefined when it is one. Another gateway's own answers say whether its backends saw the
 * request; `repeated` are the statuses that the route takes for no answer.
 */
export function refusalOf(answer: ResponseHead, repeated: readonly number[]): Failure | undefined {
  const { gatewayReason } = answer.fields;
  const detail = `the gateway there answered ${answer.status} ${gatewayReason}`;
  if (gatewayReason === "NoHealthyBackend" || gatewayReason === "NoRoute") return { kind: "connect", detail };
  if (gatewayReason === "BackendFailed") return { kind: "closed", detail };
  return repeated.includes(answer.status) ? { kind: "status", detail: `it answered ${answer.status}` } : undefined;
}

/** What the client is told when no attempt is left. */
export function failureReply({ kind, detail }: Failure, backend: Backend, endpoint: Endpoint): Reply {
  const message = `backend "${backend.table.name}" at ${endpoint.address}: ${detail}`;
  return kind === "timeout"
    ? { status: 504, reason: "BackendTimeout", message, retryAfterSeconds: 1 }
    : { status: 502, reason: "BackendFailed", message, retryAfterSeconds: 1 };
}

/** Counts and logs an answer that broke off. */
export function noteBroken(log: Logger, route: Route, backend: Backend | undefined, detail: string): void {
  if (backend === undefined) return;
  backend.stats.failures++;
  log.debug("answer broken off by backend", { route: route.table.id, backend: backend.table.name, detail });
}

/** Whether the connection of a whole answer can carry another request. */
export function isReusable(answer: ResponseHead, head: RequestHead): boolean {
  return !answer.fields.close && head.minor === 1 && (answer.minor === 1 || answer.fields.keepAlive);
}

/** Why no backend of the route can be used, backend by backend; of a request that is for one of them, why not that one. */
export function describeUnavailable(route: Route, session?: Session): string {
  if (session?.by === "pin") {
    const backend = route.backends.find(({ table }) => table.name === session.value);
    const why =
      backend === undefined ? "it does not answer, or is not there" : backend.reason || "tried without success";
    return `the request is for ${session.value} alone, by the ${route.table.pin?.by ?? "pin"} ${route.table.pin?.name ?? ""}: ${why}`;
  }
  if (route.backends.length === 0) return "the route has no backend";
  const reasons = route.backends
    .slice(0, 8)
    .map((backend) => `${backend.table.name}: ${backend.reason === "" ? "tried without success" : backend.reason}`);
  const more = route.backends.length > 8 ? ` and ${route.backends.length - 8} more` : "";
  return `no backend can take the request (${reasons.join("; ")}${more})`;
}

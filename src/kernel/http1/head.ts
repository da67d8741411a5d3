import { TOKEN } from "./token.js";

/** Why a message head was refused: status and reason to answer with. */
export class HeadFault {
  readonly status: number;
  readonly message: string;

  constructor(status: number, message: string) {
    this.status = status;
    this.message = message;
  }
}

/** What the relay must know of a head's fields; all other fields are kept word for word in `rest`. */
export class Fields {
  host = "";
  hostCount = 0;
  /** -1: none. */
  contentLength = -1;
  isChunked = false;
  hasOtherCoding = false;
  close = false;
  keepAlive = false;
  connectionUpgrade = false;
  upgrade = "";
  expectContinue = false;
  hasOtherExpectation = false;
  forwardedFor = "";
  forwardedHost = "";
  forwardedProto = "";
  forwardedPrefix = "";
  /** Reason of another gateway's own answer; empty in answers of backends. */
  gatewayReason = "";
  /** `timeout` of a Keep-Alive field, in seconds; -1: none. */
  keepAliveSeconds = -1;
  /** Field names that Connection declares to be for this hop only. */
  nominated: string[] = [];
  /** Field lines to pass on, each with its CRLF. */
  rest = "";
}

export interface RequestHead {
  readonly method: string;
  /** Path and query, begins with `/` (or is `*`). */
  readonly target: string;
  /** HTTP/1.x. */
  readonly minor: number;
  /** Lower case, without port. */
  readonly host: string;
  readonly fields: Fields;
}

export interface ResponseHead {
  readonly status: number;
  readonly minor: number;
  /** From the status code on, without CRLF. */
  readonly statusText: string;
  readonly fields: Fields;
}

export const MAX_HEAD_BYTES = 32_768;
const MAX_TARGET_LENGTH = 16_384;
const MAX_FIELDS = 128;

// Control characters, and CR or LF that are not a pair: what request smuggling is made of.
const FORBIDDEN = /[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n)|(?<!\r)\n/;
/** Without `#`: a fragment is never sent (RFC 9112 3.2). */
const TARGET = /^[\x21\x22\x24-\x7e\x80-\xff]+$/;
const HOST = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.~!$&'()*+,;=%-]*)(?::\d*)?$/;
const DIGITS = /^\d{1,15}$/;

type FieldRule = (fields: Fields, value: string) => void;

/** Fields with a meaning for the relay. */
const RULES = new Map<string, FieldRule>([
  ["host", readHost],
  ["content-length", readContentLength],
  ["transfer-encoding", readTransferEncoding],
  ["connection", readConnection],
  ["proxy-connection", () => {}],
  ["keep-alive", readKeepAlive],
  ["te", () => {}],
  ["upgrade", readUpgrade],
  ["expect", readExpect],
  ["x-forwarded-for", readForwardedFor],
  ["x-forwarded-host", readForwardedHost],
  ["x-forwarded-proto", readForwardedProto],
  ["x-forwarded-prefix", readForwardedPrefix],
  ["x-argosy-gateway", readGatewayReason],
]);
/** Of those, the ones that are passed on word for word; the others are dropped, or written anew. */
const KEPT = new Set(["content-length", "transfer-encoding", "x-argosy-gateway"]);
const RULE_LENGTHS = new Uint8Array(256);
for (const name of RULES.keys()) RULE_LENGTHS[name.length] = 1;

/** Parses a request head; `end` is where its empty line begins, plus 2. Strict: what is ambiguous is refused (RFC 9112). */
export function parseRequestHead(text: string, end: number): RequestHead | HeadFault {
  const lineEnd = text.indexOf("\r\n");
  const firstSpace = text.indexOf(" ");
  const lastSpace = text.lastIndexOf(" ", lineEnd);
  if (firstSpace <= 0 || lastSpace <= firstSpace || lastSpace > lineEnd)
    return new HeadFault(400, "the request line is malformed");
  for (let index = 0; index < firstSpace; index++) {
    if (TOKEN[text.charCodeAt(index)] !== 1) return new HeadFault(400, "the method is no token");
  }
  const version = text.slice(lastSpace + 1, lineEnd);
  const minor = version === "HTTP/1.1" ? 1 : version === "HTTP/1.0" ? 0 : -1;
  if (minor < 0)
    return /^HTTP\/\d/.test(version)
      ? new HeadFault(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
      : new HeadFault(400, "the request line is malformed");
  const head = text.length === end ? text : text.slice(0, end);
  if (FORBIDDEN.test(head)) return new HeadFault(400, "the head has control characters or bare line ends");
  const fields = parseFields(head, lineEnd + 2, end);
  if (fields instanceof HeadFault) return fields;
  const method = text.slice(0, firstSpace);
  return checkRequest(method, text.slice(firstSpace + 1, lastSpace), minor, fields);
}

function checkRequest(method: string, rawTarget: string, minor: number, fields: Fields): RequestHead | HeadFault {
  if (rawTarget.length > MAX_TARGET_LENGTH)
    return new HeadFault(414, `the request target is longer than ${MAX_TARGET_LENGTH} bytes`);
  if (!TARGET.test(rawTarget)) return new HeadFault(400, "the request target has characters that are not allowed");
  if (method === "CONNECT") return new HeadFault(501, "CONNECT is not served");
  const target = readTarget(rawTarget, method, fields);
  if (target === undefined) return new HeadFault(400, "the request target must be a path");
  if (fields.hostCount > 1) return new HeadFault(400, "more than one Host");
  if (fields.hostCount === 0 && minor === 1) return new HeadFault(400, "Host is missing");
  if (!HOST.test(fields.host)) return new HeadFault(400, "Host is malformed");
  if (fields.hasOtherCoding) return new HeadFault(501, "of transfer codings only chunked is known");
  if (fields.isChunked && (fields.contentLength >= 0 || minor === 0)) {
    return new HeadFault(400, "Transfer-Encoding together with Content-Length, or in HTTP/1.0");
  }
  if (fields.hasOtherExpectation) return new HeadFault(417, "of expectations only 100-continue is known");
  return { method, target: normalisePath(target), minor, host: withoutPort(fields.host).toLowerCase(), fields };
}

/** The path of an origin-form or absolute-form target (the latter's authority takes the place of Host). */
function readTarget(target: string, method: string, fields: Fields): string | undefined {
  if (target.charCodeAt(0) === 47) return target;
  if (target === "*" && method === "OPTIONS") return target;
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target);
  if (absolute === null) return undefined;
  fields.host = absolute[1] ?? "";
  const path = absolute[2] ?? "";
  return path.startsWith("/") ? path : `/${path}`;
}

function withoutPort(host: string): string {
  const colon = host.charCodeAt(0) === 91 ? host.indexOf("]:") + 1 : host.indexOf(":");
  return colon <= 0 ? host : host.slice(0, colon);
}

/** Parses a response head; faults are the backend's. */
export function parseResponseHead(text: string, end: number): ResponseHead | HeadFault {
  const lineEnd = text.indexOf("\r\n");
  const minor = text.startsWith("HTTP/1.1 ") ? 1 : text.startsWith("HTTP/1.0 ") ? 0 : -1;
  const status = Number(text.slice(9, 12));
  const after = text.charCodeAt(12);
  if (minor < 0 || !(status >= 100 && status <= 999) || (after !== 32 && after !== 13))
    return new HeadFault(502, "the status line is malformed");
  const head = text.length === end ? text : text.slice(0, end);
  if (FORBIDDEN.test(head)) return new HeadFault(502, "the head has control characters or bare line ends");
  const fields = parseFields(head, lineEnd + 2, end);
  if (fields instanceof HeadFault) return new HeadFault(502, fields.message);
  if (fields.hasOtherCoding || (fields.isChunked && fields.contentLength >= 0))
    return new HeadFault(502, "the length of the answer is ambiguous");
  return { status, minor, statusText: text.slice(9, lineEnd), fields };
}

function parseFields(text: string, start: number, end: number): Fields | HeadFault {
  const fields = new Fields();
  let position = start;
  let copied = start;
  for (let count = 0; position < end; count++) {
    if (count === MAX_FIELDS) return new HeadFault(431, `more than ${MAX_FIELDS} header fields`);
    const colon = endOfName(text, position);
    if (colon < 0) return new HeadFault(400, "a header field has no valid name");
    const next = text.indexOf("\r\n", colon) + 2;
    if (RULE_LENGTHS[colon - position] === 1) {
      const name = text.slice(position, colon).toLowerCase();
      const rule = RULES.get(name);
      rule?.(fields, trimmed(text, colon + 1, next - 2));
      if (rule !== undefined && !KEPT.has(name)) {
        if (copied < position) fields.rest += text.slice(copied, position);
        copied = next;
      }
      if (fields.contentLength === -2) return new HeadFault(400, "Content-Length is malformed or given twice");
    }
    position = next;
  }
  if (copied < end) fields.rest += text.slice(copied, end);
  if (fields.nominated.length > 0) dropNominated(fields);
  return fields;
}

/** Index of the colon that ends a field name; -1 when the name is empty or no token (so folded lines and "name :" fail). */
function endOfName(text: string, start: number): number {
  let index = start;
  while (TOKEN[text.charCodeAt(index)] === 1) index++;
  return index > start && text.charCodeAt(index) === 58 ? index : -1;
}

function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9;
}

function readHost(fields: Fields, value: string): void {
  fields.host = value;
  fields.hostCount++;
}

function readContentLength(fields: Fields, value: string): void {
  fields.contentLength = fields.contentLength === -1 && DIGITS.test(value) ? Number(value) : -2;
}

function readTransferEncoding(fields: Fields, value: string): void {
  if (fields.isChunked || value.toLowerCase() !== "chunked") fields.hasOtherCoding = true;
  fields.isChunked = true;
}

function readConnection(fields: Fields, value: string): void {
  for (const part of value.split(",")) {
    const token = part.trim().toLowerCase();
    if (token === "close") fields.close = true;
    else if (token === "keep-alive") fields.keepAlive = true;
    else if (token === "upgrade") fields.connectionUpgrade = true;
    else if (token !== "" && token !== "te") fields.nominated.push(token);
  }
}

function readKeepAlive(fields: Fields, value: string): void {
  const match = /(?:^|[,\s])timeout\s*=\s*(\d{1,6})/i.exec(value);
  if (match !== null) fields.keepAliveSeconds = Number(match[1]);
}

function readUpgrade(fields: Fields, value: string): void {
  fields.upgrade = value;
}

function readExpect(fields: Fields, value: string): void {
  if (value.toLowerCase() === "100-continue") fields.expectContinue = true;
  else fields.hasOtherExpectation = true;
}

function readForwardedFor(fields: Fields, value: string): void {
  fields.forwardedFor = fields.forwardedFor === "" ? value : `${fields.forwardedFor}, ${value}`;
}

function readForwardedHost(fields: Fields, value: string): void {
  fields.forwardedHost = value;
}

function readForwardedProto(fields: Fields, value: string): void {
  fields.forwardedProto = value;
}

function readGatewayReason(fields: Fields, value: string): void {
  fields.gatewayReason = value;
}

function readForwardedPrefix(fields: Fields, value: string): void {
  fields.forwardedPrefix = value;
}

// Framing fields are not at the sender's disposal: naming them in Connection must not remove them from a message that has a body.
const NOT_NOMINABLE = new Set(["content-length", "transfer-encoding", "host"]);

function dropNominated(fields: Fields): void {
  const names = new Set(fields.nominated.filter((name) => !NOT_NOMINABLE.has(name)));
  const lines = fields.rest.split("\r\n").slice(0, -1);
  const kept = lines.filter((line) => !names.has(line.slice(0, line.indexOf(":")).toLowerCase()));
  fields.rest = kept.map((line) => `${line}\r\n`).join("");
}

/** Resolves `.` and `..` segments, also when written as %2e: a prefix rewrite must not be left by climbing out of it. */
export function normalisePath(target: string): string {
  if (!target.includes("/.") && !/%2e/i.test(target)) return target;
  const question = target.indexOf("?");
  const path = question < 0 ? target : target.slice(0, question);
  const segments: string[] = [];
  const parts = path.split("/").slice(1);
  for (const [index, part] of parts.entries()) {
    const dots = part.replaceAll(/%2e/gi, ".");
    if (dots === "..") segments.pop();
    if (dots !== ".." && dots !== ".") segments.push(part);
    else if (index === parts.length - 1) segments.push("");
  }
  return `/${segments.join("/")}${question < 0 ? "" : target.slice(question)}`;
}

/** Bytes as text, one character each. */
export function latin1(buffer: Buffer, start: number, end: number): string {
  return buffer.toString("latin1", start, end);
}

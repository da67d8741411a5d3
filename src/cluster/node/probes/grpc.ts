import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { messageOf } from "../../../kernel/errors/index.js";
import { type Dial, withinTime } from "./http.js";

/** What a health service said: its answer, an error by gRPC's status, or nothing in time. */
export type HealthAnswer =
  | { readonly kind: "answer"; readonly status: string }
  | { readonly kind: "error"; readonly code: number; readonly message: string }
  | { readonly kind: "unreachable"; readonly message: string }
  | { readonly kind: "timeout" };

export interface HealthRequest {
  readonly host: string;
  readonly port: number;
  readonly service: string;
  readonly userAgent: string;
  readonly timeoutMs: number;
  readonly connect: Dial;
}

const statusNames = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const unknownCode = 2;
const unimplementedCode = 12;
const maxAnswer = 64 * 1024;

/** Calls grpc.health.v1.Health/Check without TLS, as kubelet does. Never throws. */
export async function askHealth(request: HealthRequest): Promise<HealthAnswer> {
  const limit = AbortSignal.timeout(request.timeoutMs);
  try {
    const socket = await withinTime(request.connect(request.host, request.port), limit);
    const host = request.host.includes(":") ? `[${request.host}]` : request.host;
    return await talk(connect(`http://${host}:${request.port}`, { createConnection: () => socket }), request, limit);
  } catch (error) {
    return { kind: "unreachable", message: messageOf(error) };
  }
}

function talk(session: ClientHttp2Session, request: HealthRequest, limit: AbortSignal): Promise<HealthAnswer> {
  return new Promise((resolve) => {
    const end = (answer: HealthAnswer): void => {
      limit.removeEventListener("abort", over);
      session.destroy();
      resolve(answer);
    };
    let isConnected = false;
    const over = (): void =>
      end(isConnected ? { kind: "timeout" } : { kind: "unreachable", message: "the server speaks no HTTP/2" });
    limit.addEventListener("abort", over);
    session.once("remoteSettings", () => {
      isConnected = true;
    });
    const failed = (error: unknown): void => end({ kind: "unreachable", message: messageOf(error) });
    session.on("error", failed);
    call(session, request).then(end, failed);
  });
}

function call(session: ClientHttp2Session, { service, userAgent }: HealthRequest): Promise<HealthAnswer> {
  const stream = session.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Check",
    "content-type": "application/grpc",
    "user-agent": userAgent,
    te: "trailers",
  });
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let head: IncomingHttpHeaders = {};
    let tail: IncomingHttpHeaders = {};
    stream.on("response", (headers) => {
      head = headers;
    });
    stream.on("trailers", (headers) => {
      tail = headers;
    });
    stream.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxAnswer) chunks.push(chunk);
    });
    stream.on("error", reject);
    stream.on("close", () => resolve(answerOf(head, tail, Buffer.concat(chunks))));
    stream.end(frameOf(service));
  });
}

/** A message with the field `service` (1, text), behind gRPC's five bytes. */
function frameOf(service: string): Buffer {
  const text = Buffer.from(service);
  const message = text.length === 0 ? text : Buffer.concat([Buffer.from([0x0a]), varint(text.length), text]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

function answerOf(head: IncomingHttpHeaders, tail: IncomingHttpHeaders, body: Buffer): HealthAnswer {
  const httpStatus = head[":status"];
  if (httpStatus !== undefined && Number(httpStatus) !== 200) {
    const message = `unexpected HTTP status code received from server: ${String(httpStatus)}`;
    return { kind: "error", code: Number(httpStatus) === 404 ? unimplementedCode : unknownCode, message };
  }
  // An answer without a message has its status among the headers.
  const status = tail["grpc-status"] ?? head["grpc-status"];
  const message = String(tail["grpc-message"] ?? head["grpc-message"] ?? "");
  if (status !== undefined && String(status) !== "0")
    return { kind: "error", code: Number(status), message: decodeURIComponent(message) };
  const value = servingStatusOf(body);
  if (value === undefined) return { kind: "error", code: 13, message: "the answer is no HealthCheckResponse" };
  return { kind: "answer", status: statusNames[value] ?? String(value) };
}

/** Field 1 of the message; 0 when it is left out. `undefined`: not such a message. */
function servingStatusOf(body: Buffer): number | undefined {
  if (body.length < 5 || body[0] !== 0 || body.length < 5 + body.readUInt32BE(1)) return undefined;
  const message = body.subarray(5, 5 + body.readUInt32BE(1));
  if (message.length === 0) return 0;
  if (message[0] !== 0x08) return undefined;
  let value = 0;
  for (let index = 1; index < message.length && index < 6; index += 1) {
    const byte = message[index] ?? 0;
    value += (byte & 0x7f) * 2 ** (7 * (index - 1));
    if (byte < 0x80) return value;
  }
  return undefined;
}

const codeNames = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
];

/** Why the service is not healthy, in kubelet's words; `undefined`: it is. */
export function healthFault(answer: HealthAnswer, { host, port, timeoutMs }: HealthRequest): string | undefined {
  const limit = `${timeoutMs / 1000}s`;
  switch (answer.kind) {
    case "unreachable":
      // kubelet tries to connect until the time is over, whatever is in the way.
      return `timeout: failed to connect service "${host}:${port}" within ${limit}: context deadline exceeded`;
    case "timeout":
      return `timeout: health rpc did not complete within ${limit}`;
    case "error": {
      if (answer.code === unimplementedCode)
        return `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${answer.message}`;
      if (codeNames[answer.code] === "DeadlineExceeded") return `timeout: health rpc did not complete within ${limit}`;
      const name = codeNames[answer.code] ?? `Code(${answer.code})`;
      return `error: health rpc probe failed: rpc error: code = ${name} desc = ${answer.message}`;
    }
    case "answer":
      return answer.status === "SERVING" ? undefined : `service unhealthy (responded with "${answer.status}")`;
  }
}

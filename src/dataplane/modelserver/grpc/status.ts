/** gRPC's status codes, and which one stands for a refusal by HTTP's. */
import { HttpError } from "../../../kernel/http1/index.js";

/** Codes by name (grpc.io/docs/guides/status-codes). */
export const GRPC = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
} as const;

const OF_HTTP: Readonly<Record<number, number>> = {
  400: GRPC.INVALID_ARGUMENT,
  403: GRPC.PERMISSION_DENIED,
  404: GRPC.NOT_FOUND,
  408: GRPC.DEADLINE_EXCEEDED,
  413: GRPC.RESOURCE_EXHAUSTED,
  415: GRPC.UNIMPLEMENTED,
  422: GRPC.INVALID_ARGUMENT,
  429: GRPC.RESOURCE_EXHAUSTED,
  499: GRPC.CANCELLED,
  501: GRPC.UNIMPLEMENTED,
  503: GRPC.UNAVAILABLE,
  504: GRPC.DEADLINE_EXCEEDED,
};

/** What a call ends with. */
export interface GrpcStatus {
  readonly code: number;
  readonly message: string;
}

/** The status for what a handler threw; faults of ours are told no details of. */
export function statusOf(error: unknown): GrpcStatus {
  if (!(error instanceof HttpError)) return { code: GRPC.INTERNAL, message: "internal error" };
  return { code: OF_HTTP[error.status] ?? GRPC.INTERNAL, message: error.message };
}

const NAMES: readonly string[] = Object.entries(GRPC).reduce<string[]>((names, [name, code]) => {
  names[code] = name;
  return names;
}, []);

/** A code's name, for metrics. */
export const statusName = (code: number): string => NAMES[code] ?? "UNKNOWN";

/** `grpc-message` is percent-encoded UTF-8. */
export const encodeMessage = (message: string): string =>
  message.slice(0, 2000).replaceAll(/[^\x20-\x24\x26-\x7e]+/g, (part) => {
    let out = "";
    for (const byte of Buffer.from(part)) out += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    return out;
  });

const UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 };

/** `grpc-timeout` in milliseconds; `undefined` without one. Throws a 400 `HttpError`. */
export function readTimeoutHeader(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const match = /^(\d{1,8})([HMSmun])$/.exec(value);
  if (match === null)
    throw new HttpError(400, `grpc-timeout is "${value.slice(0, 40)}"; expected up to 8 digits and a unit`);
  return Number(match[1]) * (UNITS_MS[match[2] ?? ""] ?? 0);
}

import type { Clock } from "../clock/types.js";
import { ArgosyError } from "../errors/index.js";
import type { LogFields, Logger } from "./types.js";

/** What is written: this level and everything more urgent. */
export type LogLevel = "error" | "warn" | "info" | "debug" | "silent";

const urgency: Readonly<Record<LogLevel, number>> = { silent: 0, error: 1, warn: 2, info: 3, debug: 4 };
/** Field names whose values never reach a log. */
const secretName =
  /^(authorization|cookie|set-cookie|.*(password|passwd|secret|token|privatekey|private_key|keypem|clientkey))$/i;
const maxTextLength = 8_000;
const maxDepth = 6;
const maxItems = 100;

function plainError(error: Error, depth: number): Record<string, unknown> {
  return {
    name: error.name,
    ...(error instanceof ArgosyError ? { code: error.code } : {}),
    message: error.message,
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: plain(error.cause, depth + 1) }),
  };
}

/** A bounded copy that JSON can carry: errors spelt out, secrets masked, cycles and depth cut. */
function plain(value: unknown, depth: number): unknown {
  if (typeof value === "string") return value.length > maxTextLength ? `${value.slice(0, maxTextLength)}…` : value;
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "function" || typeof value === "symbol") return String(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth >= maxDepth) return "…";
  if (value instanceof Error) return plainError(value, depth);
  if (value instanceof Uint8Array) return `<${value.byteLength} bytes>`;
  if (Array.isArray(value)) return value.slice(0, maxItems).map((item) => plain(item, depth + 1));
  const copy: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value).slice(0, maxItems)) {
    copy[name] = secretName.test(name) && typeof member !== "boolean" ? "<masked>" : plain(member, depth + 1);
  }
  return copy;
}

/**
 * Makes a logger of JSON lines `{"time","level","msg",…fields}`. `write` gets each line with its newline and must not throw;
 * default level is `info`. Fields never replace `time`, `level` or `msg`.
 */
export function createLogger(options: {
  readonly clock: Pick<Clock, "now">;
  readonly write: (line: string) => void;
  readonly level?: LogLevel;
  readonly fields?: LogFields;
}): Logger {
  const threshold = urgency[options.level ?? "info"];
  const base = options.fields ?? {};
  const at =
    (level: LogLevel) =>
    (message: string, fields?: LogFields): void => {
      if (urgency[level] > threshold) return;
      const head = { time: new Date(options.clock.now()).toISOString(), level, msg: message };
      options.write(`${JSON.stringify(Object.assign({}, head, plain({ ...base, ...fields }, 0), head))}\n`);
    };
  return {
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: at("debug"),
    with: (fields) => createLogger({ ...options, fields: { ...base, ...fields } }),
  };
}

const nothing = (): void => undefined;

/** A logger that says nothing. */
export const silentLogger: Logger = {
  error: nothing,
  warn: nothing,
  info: nothing,
  debug: nothing,
  with: () => silentLogger,
};

/** Settings that V2 clients may read and change while the server runs: what is logged. */
import { HttpError } from "../../kernel/http1/index.js";
import type { Logger } from "../../kernel/log/types.js";

/** A setting's value. */
export type Setting = string | number | boolean;

const LEVELS = { log_error: "error", log_warning: "warn", log_info: "info" } as const;

/** Settings of one server. */
export interface ServerSettings {
  /** A logger that heeds them. */
  readonly log: Logger;
  /** At least 1: each request is logged. */
  readonly verbosity: number;
  logging(): Readonly<Record<string, Setting>>;
  /** Changes what is named, all or nothing. Throws a 400 `HttpError`. */
  setLogging(changes: Readonly<Record<string, unknown>>): void;
  tracing(): Readonly<Record<string, string | readonly string[]>>;
  /** Throws a 400 `HttpError` for everything but what is so already: traces of single requests are not written here. */
  setTracing(changes: Readonly<Record<string, unknown>>): void;
}

/** Settings as they are at the start. */
export function createSettings(inner: Logger): ServerSettings {
  const shown = { error: true, warn: true, info: true };
  let verbosity = 0;
  const gate = (target: Logger): Logger => ({
    error: (message, fields) => shown.error && target.error(message, fields),
    warn: (message, fields) => shown.warn && target.warn(message, fields),
    info: (message, fields) => shown.info && target.info(message, fields),
    debug: (message, fields) => (verbosity > 1 ? target.info(message, fields) : target.debug(message, fields)),
    with: (fields) => gate(target.with(fields)),
  });
  const logging = (): Record<string, Setting> => ({
    ...{ log_file: "", log_info: shown.info, log_warning: shown.warn, log_error: shown.error },
    ...{ log_verbose_level: verbosity, log_format: "default" },
  });
  const tracing = { trace_level: ["OFF"], trace_rate: "1000", trace_count: "-1", log_frequency: "0", trace_file: "" };
  return {
    log: gate(inner),
    get verbosity() {
      return verbosity;
    },
    logging,
    setLogging(changes) {
      const now = logging();
      for (const [name, value] of Object.entries(changes)) checkSetting(name, value, now);
      for (const [name, level] of Object.entries(LEVELS)) {
        const value = changes[name];
        if (typeof value === "boolean") shown[level] = value;
      }
      const { log_verbose_level: level } = changes;
      if (typeof level === "number") verbosity = level;
    },
    tracing: () => tracing,
    setTracing(changes) {
      const now = new Map<string, unknown>(Object.entries(tracing));
      for (const [name, value] of Object.entries(changes)) {
        if (!now.has(name)) throw new HttpError(400, `there is no trace setting ${name.slice(0, 60)}`);
        const isSame = JSON.stringify(value) === JSON.stringify(now.get(name)) || value === null || value === "OFF";
        if (!isSame)
          throw new HttpError(
            400,
            `${name} cannot be changed: traces go by traceparent to the collector (--otlp-endpoint)`,
          );
      }
    },
  };
}

function checkSetting(name: string, value: unknown, now: Readonly<Record<string, Setting>>): void {
  const known = now[name];
  if (known === undefined || !Object.hasOwn(now, name))
    throw new HttpError(400, `there is no log setting ${name.slice(0, 60)}; there are ${Object.keys(now).join(", ")}`);
  if ((name === "log_file" || name === "log_format") && value !== known)
    throw new HttpError(400, `${name} cannot be changed: the log goes to standard error`);
  if (typeof value !== typeof known)
    throw new HttpError(
      400,
      `${name} must be a ${typeof known}, not ${JSON.stringify(value)?.slice(0, 40) ?? "nothing"}`,
    );
  if (typeof value === "number" && !(Number.isSafeInteger(value) && value >= 0))
    throw new HttpError(400, `${name} must be a whole number from 0`);
}

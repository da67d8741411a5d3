/** Fields of a log line; errors go under `err`, objects as `{kind, namespace, name}`. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Structured log: a constant lower-case message and fields. error: someone must act; warn: healed by itself; info: state changed; debug: decisions. */
export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** A logger whose lines all carry these fields. */
  with(fields: LogFields): Logger;
}

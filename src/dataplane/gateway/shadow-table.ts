import { type PlaceTable, parsePlace } from "./place-table.js";
import type { Reader } from "./table-reader.js";

/** Who gets copies of a route's requests. What it answers is counted and dropped; no client ever waits for it. */
export interface ShadowTable extends PlaceTable {
  readonly name: string;
  /** Share of the requests that are copied. Default 100. */
  readonly percent: number;
  /** Only requests that go to backends of these names; empty (default): all. */
  readonly of: readonly string[];
  /** Copies on their way at once; what comes beyond is not copied. Default 64. */
  readonly maxConcurrent: number;
  /** Requests with longer bodies are not copied. Default 1 MiB. */
  readonly maxBodyBytes: number;
  /** From the copy being sent to the last byte of its answer. Default 10 s. */
  readonly timeoutMs: number;
}

/** One of a route's shadows. Throws `InputError`. */
export function parseShadow(reader: Reader): ShadowTable {
  reader.only(["name", "host", "addresses", "tls", "percent", "of", "maxConcurrent", "maxBodyBytes", "timeoutMs"]);
  const whole = (name: string, maximum: number, fallback: number): number =>
    reader.number(name, { minimum: 1, maximum, integer: true, fallback });
  return {
    name: reader.text("name"),
    ...parsePlace(reader),
    percent: reader.number("percent", { minimum: 0, maximum: 100, fallback: 100 }),
    of: reader.has("of") ? reader.texts("of") : [],
    maxConcurrent: whole("maxConcurrent", 4096, 64),
    maxBodyBytes: whole("maxBodyBytes", 67_108_864, 1_048_576),
    timeoutMs: whole("timeoutMs", 600_000, 10_000),
  };
}

import { isObject } from "../../kernel/schema/index.js";
import { TOKEN_PATTERN } from "./table.js";
import type { Reader } from "./table-reader.js";

/** Requests that say to which backend they go, whatever its weight. */
export interface PinTable {
  readonly by: "header" | "cookie";
  readonly name: string;
  /** Value → backend. Other values, and backends that the route has not, mean nothing. */
  readonly backends: Readonly<Record<string, string>>;
}

const MAX_VALUES = 512;

/** Throws `InputError`. */
export function parsePin(reader: Reader): PinTable {
  reader.only(["by", "name", "backends"]);
  const by = reader.text("by");
  const name = reader.text("name");
  if (by !== "header" && by !== "cookie") return reader.fail("by", 'must be "header" or "cookie"');
  if (!TOKEN_PATTERN.test(name)) reader.fail("name", `"${name}" is no name of a header or cookie`);
  const value = reader.field("backends");
  if (!isObject(value) || Object.keys(value).length > MAX_VALUES)
    return reader.fail("backends", "must be an object of backends by value");
  const backends: Record<string, string> = {};
  for (const [key, backend] of Object.entries(value)) {
    if (typeof backend !== "string") return reader.fail("backends", "must be an object of backends by value");
    backends[key] = backend;
  }
  return { by, name, backends };
}

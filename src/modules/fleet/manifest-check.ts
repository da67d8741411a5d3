import type { StatusCause } from "../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/index.js";
import { didYouMean, isObject, knownNames, prune, type Schema, validateSchema } from "../../kernel/schema/index.js";
import { withoutSecrets } from "./member-apply.js";

/**
 * What a kind's schema has against a manifest that is to be applied somewhere: wrong types, values, missing and unknown fields. Paths begin
 * with `place`. Status does not count, it is not delivered. Pure.
 */
export function checkManifest(schema: Schema, manifest: JsonObject, place: string): StatusCause[] {
  const { status: _status, ...rest } = manifest;
  const whole = withoutNulls(rest);
  const pruned = structuredClone(whole);
  const unknown = prune(schema, pruned).map((field): StatusCause => {
    const near = didYouMean(lastOf(field), knownNames(schema, field));
    const hint = near === undefined ? "" : `; did you mean "${near}"?`;
    return { reason: "UnknownField", field: `${place}.${field}`, message: `unknown field${hint}` };
  });
  const invalid = validateSchema(schema, pruned, place).map((cause) => ({
    ...cause,
    message: withoutSecrets(cause.message, manifest),
  }));
  return [...unknown, ...invalid];
}

function lastOf(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1).replace(/\[\d+\]$/, "");
}

/** Null is how a manifest leaves something out. */
function withoutNulls(object: JsonObject): JsonObject {
  const cleaned = (value: Json): Json =>
    Array.isArray(value) ? value.map(cleaned) : isObject(value) ? withoutNulls(value) : value;
  return Object.fromEntries(
    Object.entries(object).flatMap(([name, value]): [string, Json][] =>
      value === undefined || value === null ? [] : [[name, cleaned(value)]],
    ),
  );
}

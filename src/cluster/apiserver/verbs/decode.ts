import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest } from "../failures.js";
import { parseBody } from "../request/body.js";
import type { Call } from "./context.js";
import type { WriteOptions } from "./options.js";

/** Reads the body as an object of the call's kind: duplicates and unknown fields are refused, warned of or ignored as asked; defaults are filled in. */
export function decodeBody(call: Call, options: Pick<WriteOptions, "fieldValidation">): JsonObject {
  const { request, type } = call;
  const { value, duplicates } = parseBody(request.body, request.headers["content-type"], type.kind);
  const { object, unknownFields } = type.decode(value);
  const faults = fieldFaults(duplicates, unknownFields);
  if (faults.length > 0 && options.fieldValidation === "Strict") {
    throw badRequest(
      `${type.kind} in version "${type.version}" cannot be handled as a ${type.kind}: strict decoding error: ${faults.join(", ")}`,
    );
  }
  if (options.fieldValidation === "Warn") call.warnings.push(...faults);
  type.applyDefaults(object);
  return object;
}

/** In upstream's words and order. */
export function fieldFaults(duplicates: readonly string[], unknown: readonly string[]): string[] {
  return [
    ...duplicates.map((field) => `duplicate field "${field}"`),
    ...unknown.map((field) => `unknown field "${field}"`),
  ];
}

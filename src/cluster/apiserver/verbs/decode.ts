import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest } from "../failures.js";
import { equalJson, isObject, stringAt } from "../fields.js";
import { ownBody, parseBody } from "../request/body.js";
import type { Call } from "./context.js";
import type { WriteOptions } from "./options.js";

/** Reads the body as an object of the call's kind: duplicates and unknown fields are refused, warned of or ignored as asked; defaults are filled in. */
export function decodeBody(call: Call, options: Pick<WriteOptions, "fieldValidation">): JsonObject {
  const { request, type } = call;
  const own = ownBody(request, omittedMembers(call));
  const { value, duplicates } = isObject(own)
    ? { value: own, duplicates: [] }
    : parseBody(request.body, request.headers["content-type"], type.kind);
  const { object, unknownFields } = type.decode(value);
  const faults = fieldFaults(duplicates, unknownFields);
  if (faults.length > 0 && options.fieldValidation === "Strict") {
    throw badRequest(
      `${type.kind} in version "${type.version}" cannot be handled as a ${type.kind}: strict decoding error: ${faults.join(", ")}`,
    );
  }
  if (options.fieldValidation === "Warn") call.warnings.push(...faults);
  dropRepeatedOwners(call, object);
  type.applyDefaults(object);
  return object;
}

/** What of an object is not read where a client in this process sends it: the write leaves it as it is. */
export function omittedMembers({ request, type, info }: Call): readonly string[] {
  return request.content === undefined || info.verb !== "update" ? [] : (type.leftAloneBy?.(info.subresource) ?? []);
}

/** An owner that is named twice is named once. */
function dropRepeatedOwners(call: Call, object: JsonObject): void {
  const metadata = object["metadata"];
  if (!isObject(metadata)) return;
  const owners = metadata["ownerReferences"];
  if (!Array.isArray(owners) || owners.length < 2) return;
  const kept = owners.filter((owner, index) => owners.findIndex((other) => equalJson(owner, other)) === index);
  if (kept.length === owners.length) return;
  const repeated = owners.filter((owner, index) => owners.findIndex((other) => equalJson(owner, other)) < index);
  const uids = repeated.map((owner) => (isObject(owner) ? stringAt(owner, "uid") : "")).join(" ");
  metadata["ownerReferences"] = kept;
  call.warnings.push(
    `.metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: [${uids}]`,
  );
}

/** In upstream's words and order. */
export function fieldFaults(duplicates: readonly string[], unknown: readonly string[]): string[] {
  return [
    ...duplicates.map((field) => `duplicate field "${field}"`),
    ...unknown.map((field) => `unknown field "${field}"`),
  ];
}

import type { Json, JsonObject, Kind } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import { badRequest, invalid } from "../failures.js";
import { undecodable } from "./decode.js";
import { asObject, asString } from "./read.js";

const excerptLength = 30;

/** Checks that a body is of a definition's kind, as upstream does for kinds that it has no struct for. Throws 400, or 422 for another kind. */
export function checkCoordinates(raw: JsonObject, kind: Kind): void {
  const { apiVersion, kind: sent } = raw;
  for (const [name, value] of Object.entries({ apiVersion, kind: sent }))
    if (value !== undefined && value !== null && typeof value !== "string")
      throw unrecognized(
        raw,
        kind,
        `couldn't get version/kind; json parse error: json: cannot unmarshal ${goKind(value)} into Go struct field .${name} of type string`,
      );
  if (asString(sent) === "") throw unrecognized(raw, kind, `Object 'Kind' is missing in '${JSON.stringify(raw)}'`);
  const version = asString(apiVersion);
  const expected = apiVersionOf(kind);
  if (version.split("/").length > 2) throw unrecognized(raw, kind, `unexpected GroupVersion string: ${version}`);
  if (version !== expected)
    throw badRequest(`the API version in the data (${version}) does not match the expected API version (${expected})`);
  if (sent === kind.kind) return;
  const message = `Invalid value: ${JSON.stringify(sent)}: must be ${kind.kind}`;
  const name = asString(asObject(raw["metadata"])["name"]);
  throw invalid({ group: kind.group, kind: asString(sent) }, name, [
    { reason: "FieldValueInvalid", field: "kind", message },
  ]);
}

/** 400 of metadata that is no object. */
export function unreadableMetadata(metadata: Json, kind: Kind): Error {
  return undecodable(kind, `json: cannot unmarshal ${goKind(metadata)} into Go value of type v1.ObjectMeta`);
}

function unrecognized(raw: JsonObject, kind: Kind, why: string): Error {
  const text = JSON.stringify(raw);
  const excerpt = text.length <= excerptLength ? text : `${text.slice(0, excerptLength)} ...`;
  return badRequest(`the object provided is unrecognized (must be of type ${kind.kind}): ${why} (${excerpt})`);
}

function goKind(value: Json): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

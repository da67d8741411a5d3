import type { StatusCause } from "../../kernel/errors/index.js";
import {
  type Json,
  type JsonObject,
  labelFaults,
  labelValueFaults,
  pathSegmentFaults,
  qualifiedNameFaults,
  subdomainFaults,
} from "../../kernel/kinds/index.js";
import {
  asObject,
  asString,
  didYouMean,
  isObject,
  knownNames,
  prune,
  type Schema,
  validateSchema,
} from "../../kernel/schema/index.js";
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

/** What every API server has against an object's name, namespace, labels and annotations. Paths begin with `place`. Pure. */
export function checkMetadata(manifest: JsonObject, place: string): StatusCause[] {
  const metadata = asObject(manifest["metadata"]);
  const causes: StatusCause[] = [];
  const note = (field: string, value: string, faults: readonly string[]): void => {
    for (const fault of faults)
      causes.push({
        reason: "FieldValueInvalid",
        field: `${place}.metadata.${field}`,
        message: `Invalid value: ${JSON.stringify(value)}: ${fault}`,
      });
  };
  const name = asString(metadata["name"]);
  const namespace = asString(metadata["namespace"]);
  if (name !== "") note("name", name, nameFaultsOf(manifest)(name));
  if (namespace !== "") note("namespace", namespace, labelFaults(namespace));
  for (const [key, value] of Object.entries(asObject(metadata["labels"]))) {
    note("labels", key, qualifiedNameFaults(key));
    note("labels", asString(value), labelValueFaults(asString(value)));
  }
  for (const key of Object.keys(asObject(metadata["annotations"])))
    note("annotations", key, qualifiedNameFaults(key.toLowerCase()));
  return causes;
}

/** RBAC's names need only fit into a path; everybody else's are DNS names. */
function nameFaultsOf({ apiVersion, kind }: JsonObject): (name: string) => string[] {
  if (asString(apiVersion).startsWith("rbac.authorization.k8s.io/")) return pathSegmentFaults;
  return apiVersion === "v1" && kind === "Namespace" ? labelFaults : subdomainFaults;
}

/** Fields of a manifest that are not delivered, because they are the member's own affair. Pure. */
export function undeliveredFields({ metadata, status }: JsonObject): string[] {
  const isSet = (value: Json | undefined): boolean =>
    Array.isArray(value) ? value.length > 0 : isObject(value) && Object.keys(value).length > 0;
  const { finalizers, ownerReferences } = asObject(metadata);
  return [
    ...(isSet(finalizers) ? ["metadata.finalizers"] : []),
    ...(isSet(ownerReferences) ? ["metadata.ownerReferences"] : []),
    ...(isSet(status) ? ["status"] : []),
  ];
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

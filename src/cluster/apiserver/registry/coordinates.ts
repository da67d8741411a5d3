import type { JsonObject, Kind } from "../../../kernel/kinds/object.js";
import { apiVersionOf, parseApiVersion } from "../../../kernel/kinds/object.js";
import { badRequest } from "../failures.js";
import { asString } from "./read.js";

const scheme = "pkg/api/legacyscheme/scheme.go:30";

/** Checks that a body, where it says what it is, is of the kind. `isKnown` says whether a kind exists at all. Throws a 400 `ApiError`. */
export function checkApiVersionAndKind(
  raw: JsonObject,
  kind: Kind,
  isKnown: (group: string, version: string, kind: string) => boolean,
): void {
  const expected = apiVersionOf(kind);
  const apiVersion = asString(raw["apiVersion"]) || expected;
  const sent = asString(raw["kind"]) || kind.kind;
  if (apiVersion === expected && sent === kind.kind) return;
  const { group, version } = parseApiVersion(apiVersion);
  const refuse = (why: string) =>
    badRequest(`${sent} in version "${version}" cannot be handled as a ${kind.kind}: ${why}`);
  if (!isKnown(group, version, sent))
    throw refuse(`no kind "${sent}" is registered for version "${apiVersion}" in scheme "${scheme}"`);
  if (sent !== kind.kind)
    throw refuse(`converting (${version}.${sent}) to (${packageOf(kind.group)}.${kind.kind}): unknown conversion`);
  throw badRequest(`the API version in the data (${apiVersion}) does not match the expected API version (${expected})`);
}

function packageOf(group: string): string {
  return group === "" ? "core" : (group.split(".")[0] ?? group);
}

import type { JsonObject, Kind } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import { badRequest } from "../failures.js";
import { asString } from "./read.js";

/** Checks that a body, where it says what it is, is of the kind. Throws a 400 `ApiError`. */
export function checkApiVersionAndKind(raw: JsonObject, kind: Kind): void {
  const apiVersion = asString(raw["apiVersion"]);
  const sentKind = asString(raw["kind"]);
  const expected = apiVersionOf(kind);
  if (sentKind !== "" && sentKind !== kind.kind) {
    const version = apiVersion === "" ? expected : apiVersion;
    const short = version.slice(version.lastIndexOf("/") + 1);
    throw badRequest(
      `${sentKind} in version "${short}" cannot be handled as a ${kind.kind}: converting (${short}.${sentKind}) to (${packageOf(kind.group)}.${kind.kind}): unknown conversion`,
    );
  }
  if (apiVersion !== "" && apiVersion !== expected) {
    const short = apiVersion.slice(apiVersion.lastIndexOf("/") + 1);
    throw badRequest(
      `${kind.kind} in version "${short}" cannot be handled as a ${kind.kind}: no kind "${kind.kind}" is registered for version "${apiVersion}" in scheme "pkg/api/legacyscheme/scheme.go:30"`,
    );
  }
}

function packageOf(group: string): string {
  return group === "" ? "core" : (group.split(".")[0] ?? group);
}

import type { JsonObject } from "../../../../kernel/kinds/object.js";

/**
 * Roles by name, each as lines of `VERBS | GROUPS | RESOURCES`, `VERBS | GROUPS | RESOURCES | NAMES` or `VERBS | PATHS`; `core`
 * is the group without a name.
 */
export type RoleTable = Readonly<Record<string, string>>;

/** The rules of one role of a table. */
export function rulesIn(text: string): JsonObject[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .map(ruleIn);
}

function ruleIn(line: string): JsonObject {
  const [verbs = [], groups = [], resources, names] = line.split("|").map((part) => part.trim().split(/\s+/));
  if (resources === undefined) return { nonResourceURLs: groups, verbs };
  return {
    apiGroups: groups.map((group) => (group === "core" ? "" : group)),
    resources,
    ...(names === undefined ? {} : { resourceNames: names }),
    verbs,
  };
}

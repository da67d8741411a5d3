import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { asList, asObject, asObjects, asString, ensureObject } from "./read.js";

/** Which of a definition's names are free, and why the others are not. */
export interface AcceptedNames {
  readonly names: JsonObject;
  readonly complete: boolean;
  readonly reason: string;
  readonly message: string;
}

function conditionsOf(object: JsonObject): readonly JsonObject[] {
  return asObjects(asObject(object["status"])["conditions"]);
}

function isTrue(object: JsonObject, type: string): boolean {
  return conditionsOf(object).some((condition) => condition["type"] === type && condition["status"] === "True");
}

/** Whether the definition was found good and is served. */
export function isEstablished(object: JsonObject): boolean {
  return isTrue(object, "Established");
}

/** Whether the definition is being deleted. */
export function isTerminating(object: JsonObject): boolean {
  return asObject(object["metadata"])["deletionTimestamp"] !== undefined;
}

/** Names of one group that others have been given. */
function takenNames(group: string, others: readonly JsonObject[]): { resources: Set<string>; kinds: Set<string> } {
  const resources = new Set<string>();
  const kinds = new Set<string>();
  for (const other of others) {
    if (asObject(other["spec"])["group"] !== group) continue;
    const accepted = asObject(asObject(other["status"])["acceptedNames"]);
    for (const name of [accepted["plural"], accepted["singular"], ...asList(accepted["shortNames"])])
      resources.add(asString(name));
    for (const kind of [accepted["kind"], accepted["listKind"]]) kinds.add(asString(kind));
  }
  resources.delete("");
  kinds.delete("");
  return { resources, kinds };
}

/** Gives a definition the names that no other definition of its group has. */
export function acceptNames(object: JsonObject, others: readonly JsonObject[]): AcceptedNames {
  const spec = asObject(object["spec"]);
  const wanted = asObject(spec["names"]);
  const taken = takenNames(asString(spec["group"]), others);
  const names: JsonObject = { ...asObject(asObject(object["status"])["acceptedNames"]) };
  const faults: { reason: string; message: string }[] = [];
  const take = (field: string, reason: string, used: ReadonlySet<string>): void => {
    const value = asString(wanted[field]);
    if (used.has(value)) faults.push({ reason, message: `${JSON.stringify(value)} is already in use` });
    else if (value !== "") names[field] = value;
  };
  take("plural", "PluralConflict", taken.resources);
  take("singular", "SingularConflict", taken.resources);
  const shortNames = asList(wanted["shortNames"]);
  const used = shortNames.filter((name) => taken.resources.has(asString(name)));
  for (const name of used)
    faults.push({ reason: "ShortNamesConflict", message: `${JSON.stringify(name)} is already in use` });
  if (used.length === 0) setList(names, "shortNames", shortNames);
  take("kind", "KindConflict", taken.kinds);
  take("listKind", "ListKindConflict", taken.kinds);
  setList(names, "categories", asList(wanted["categories"]));
  const last = faults.at(-1);
  return {
    names: { ...names, plural: names["plural"] ?? "", kind: names["kind"] ?? "" },
    complete: last === undefined,
    reason: last?.reason ?? "NoConflicts",
    message: last?.message ?? "no conflicts found",
  };
}

function setList(object: JsonObject, field: string, list: readonly Json[]): void {
  if (list.length === 0) delete object[field];
  else object[field] = [...list];
}

/** Writes acceptedNames and the conditions NamesAccepted and Established. */
export function establish(object: JsonObject, accepted: AcceptedNames, now: string): void {
  const status = ensureObject(object, "status");
  status["acceptedNames"] = accepted.names;
  setCondition(status, now, {
    type: "NamesAccepted",
    status: accepted.complete ? "True" : "False",
    reason: accepted.reason,
    message: accepted.message,
  });
  if (accepted.complete && !isEstablished(object))
    setCondition(status, now, {
      type: "Established",
      status: "True",
      reason: "InitialNamesAccepted",
      message: "the initial names have been accepted",
    });
  else if (!accepted.complete && !isEstablished(object))
    setCondition(status, now, {
      type: "Established",
      status: "False",
      reason: "NotAccepted",
      message: "not all names are accepted",
    });
  storeVersions(object, status);
}

/** Versions in which objects may be stored; the storage version is always one. */
export function storeVersions(object: JsonObject, status: JsonObject): void {
  const storage = asObjects(asObject(object["spec"])["versions"]).find((version) => version["storage"] === true);
  const stored = asList(status["storedVersions"]);
  const name = asString(storage?.["name"]);
  if (name !== "" && !stored.includes(name)) status["storedVersions"] = [...stored, name];
}

/** Writes the condition Terminating. */
export function setTerminating(
  object: JsonObject,
  status: "True" | "False",
  words: { reason: string; message: string; now: string },
): void {
  setCondition(ensureObject(object, "status"), words.now, {
    type: "Terminating",
    status,
    reason: words.reason,
    message: words.message,
  });
}

function setCondition(
  status: JsonObject,
  now: string,
  condition: { type: string; status: string; reason: string; message: string },
): void {
  const conditions = asObjects(status["conditions"]);
  const before = conditions.find((one) => one["type"] === condition.type);
  const since = before !== undefined && before["status"] === condition.status ? before["lastTransitionTime"] : now;
  const next: JsonObject = {
    type: condition.type,
    status: condition.status,
    lastTransitionTime: since,
    reason: condition.reason,
    message: condition.message,
  };
  if (before !== undefined && equalJson(before, next)) return;
  status["conditions"] =
    before === undefined ? [...conditions, next] : conditions.map((one) => (one === before ? next : one));
}

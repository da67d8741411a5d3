import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asObject, asObjects, asString } from "../registry/read.js";
import { contains, FieldSet, overlaps, parseFieldsV1, toFieldsV1 } from "./field-set.js";
import type { Written } from "./known-ways.js";

/** One entry of metadata.managedFields. */
export interface Manager {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
  readonly set: FieldSet;
  /** How it is stored, if that has not changed. */
  readonly entry?: JsonObject;
  /** How a set is written; counts where it is the manager's. */
  readonly written?: Written;
}

/** An entry as it is stored: what is not looked at is not parsed. A changed copy (`{ ...manager, set }`) has no `entry`. */
class StoredManager implements Manager {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
  readonly #entry: JsonObject;
  #set: FieldSet | undefined;

  constructor(entry: JsonObject) {
    this.manager = asString(entry["manager"]);
    this.operation = entry["operation"] === "Apply" ? "Apply" : "Update";
    this.apiVersion = asString(entry["apiVersion"]);
    this.subresource = asString(entry["subresource"]);
    this.time = asString(entry["time"]);
    this.#entry = entry;
  }

  get set(): FieldSet {
    this.#set ??= parseFieldsV1(this.#entry["fieldsV1"]);
    return this.#set;
  }

  get entry(): JsonObject {
    return this.#entry;
  }
}

/** Entries by identity: manager, operation, version (of updates) and subresource. */
export type Managers = Map<string, Manager>;

/** Updates beyond this many are folded together, oldest first. */
const maximumUpdateManagers = 10;
const foldedName = "ancient-changes";

/** What makes two entries the same. */
export function managerIdentity(entry: Pick<Manager, "manager" | "operation" | "apiVersion" | "subresource">): string {
  const version = entry.operation === "Update" ? entry.apiVersion : "";
  const { manager, operation, subresource } = entry;
  return `${operation} ${subresource.length} ${version.length} ${subresource}${version}${manager}`;
}

/** Whether a manager owns any field of a set. */
export function ownsAny({ entry, set }: Manager, fields: FieldSet): boolean {
  return entry === undefined ? !set.intersection(fields).isEmpty : overlaps(entry["fieldsV1"], fields);
}

/** Whether a manager owns all of a set, as its entry is stored. */
export function covers({ entry }: Manager, fields: FieldSet): boolean {
  return entry !== undefined && contains(entry["fieldsV1"], fields);
}

/** A manager whose fields stay as they are stored. */
export function atTime(manager: Manager, time: string): Manager {
  const { entry } = manager;
  return entry === undefined ? { ...manager, time } : new StoredManager({ ...entry, time });
}

/** Reads metadata.managedFields; none where an entry makes no sense. `isStored`: they were written here, and stay as they are while nothing changes. */
export function readManagers(object: JsonObject | undefined, isStored = false): Managers {
  const managers: Managers = new Map();
  const entries = asObjects(asObject(object?.["metadata"])["managedFields"]);
  if (!entries.every(isSensible)) return managers;
  for (const entry of entries) {
    const stored = new StoredManager(entry);
    const manager = isStored ? stored : parsed(stored);
    // Of two entries that say the same the last one counts, as upstream.
    managers.set(managerIdentity(manager), manager);
  }
  return managers;
}

/** To be written anew. */
function parsed(stored: Manager): Manager {
  return { ...stored, set: stored.set };
}

function isSensible(entry: JsonObject): boolean {
  const { operation, apiVersion, fieldsType } = entry;
  return (operation === "Apply" || operation === "Update") && isText(apiVersion) && fieldsType === "FieldsV1";
}

const isText = (value: Json | undefined): boolean => typeof value === "string" && value !== "";

/** Writes metadata.managedFields; without entries the field goes. */
export function writeManagers(object: JsonObject, managers: Managers): void {
  const metadata = asObject(object["metadata"]);
  const all = managers.size > maximumUpdateManagers ? foldOldest(managers) : managers;
  const entries = [...all.values()].filter((entry) => !ownsNothing(entry));
  if (entries.length > 1) entries.sort(order);
  if (entries.length === 0) delete metadata["managedFields"];
  else metadata["managedFields"] = entries.map(toEntry);
  if (object["metadata"] !== metadata) object["metadata"] = metadata;
}

/** What is stored owns something: others are not written. */
function ownsNothing(manager: Manager): boolean {
  return manager.entry === undefined && manager.set.isEmpty;
}

function toEntry(entry: Manager): Json {
  if (entry.entry !== undefined) return entry.entry;
  const { set, written } = entry;
  return {
    manager: entry.manager,
    operation: entry.operation,
    apiVersion: entry.apiVersion,
    ...(entry.time === "" ? {} : { time: entry.time }),
    fieldsType: "FieldsV1",
    fieldsV1: written?.set === set ? written.fieldsV1 : toFieldsV1(set),
    ...(entry.subresource === "" ? {} : { subresource: entry.subresource }),
  };
}

function order(a: Manager, b: Manager): number {
  return (
    byText(a.operation, b.operation) ||
    byText(a.time, b.time) ||
    byText(a.manager, b.manager) ||
    byText(a.apiVersion, b.apiVersion) ||
    byText(a.subresource, b.subresource)
  );
}

/** As upstream, by characters. */
function byText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function foldOldest(managers: Managers): Managers {
  const updates = [...managers.values()]
    .filter((entry) => entry.operation === "Update" && !ownsNothing(entry))
    .sort(order);
  if (updates.length <= maximumUpdateManagers) return managers;
  const result: Managers = new Map(managers);
  const folded = updates.slice(0, updates.length - maximumUpdateManagers + 1);
  for (const entry of folded) result.delete(managerIdentity(entry));
  const set = folded.reduce((sum, entry) => sum.union(entry.set), new FieldSet());
  const newest = folded.at(-1);
  if (newest !== undefined) {
    const entry: Manager = { ...newest, manager: foldedName, subresource: "", set };
    result.set(managerIdentity(entry), entry);
  }
  return result;
}

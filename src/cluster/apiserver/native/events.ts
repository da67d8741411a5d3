import type { Faults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { ageOf } from "../registry/ages.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column, nameColumn } from "../registry/columns.js";
import { asNumber, asObject, asString, at } from "../registry/read.js";
import { countAt } from "./common.js";
import { qualifiedName } from "./rules.js";

function lastSeen(object: JsonObject, now: number): string {
  const series = at(object, "series", "lastObservedTime");
  const last = series ?? object["lastTimestamp"] ?? object["deprecatedLastTimestamp"] ?? object["eventTime"];
  return ageOf(last, now);
}

const about = (object: JsonObject): JsonObject => asObject(object["involvedObject"] ?? object["regarding"]);
const source = (object: JsonObject): string =>
  asString(at(object, "source", "component")) ||
  asString(object["reportingComponent"] ?? object["reportingController"]);
/** Who reported an event, and which of them. */
function reporter(object: JsonObject): string {
  const from = object["source"] ?? object["deprecatedSource"];
  const by = asString(at(from, "component")) || asString(object["reportingComponent"] ?? object["reportingController"]);
  const instance = asString(at(from, "host")) || asString(object["reportingInstance"]);
  return instance === "" ? by : `${by}, ${instance}`;
}

const eventFields = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];

interface Naming {
  /** What events are about. */
  readonly reference: string;
  readonly controller: string;
  readonly isNew: boolean;
}

const none = (value: Json | undefined): boolean => value === undefined || value === null || value === "";
const longestText = 128;
const longestNote = 1024;

/** What holds in both groups; upstream calls fields by their names in its own structs. */
function validateAny(object: JsonObject, { controller, isNew }: Naming, faults: Faults): void {
  const namespace = asString(at(object, "metadata", "namespace"));
  const wanted = asString(about(object)["namespace"]);
  const isHere = namespace === "" || namespace === "default";
  const misplaced = (): void => faults.invalid("involvedObject.namespace", wanted, "does not match event.namespace");
  if (none(object["eventTime"])) {
    if (wanted === "" ? !isHere : wanted !== namespace) misplaced();
    return;
  }
  if (wanted === "" && namespace !== "default" && namespace !== "kube-system") misplaced();
  const by = asString(object["reportingController"] ?? object["reportingComponent"]);
  if (by === "") faults.required(controller);
  qualifiedName(by, controller, faults);
  for (const field of ["reportingInstance", "action", "reason"]) {
    const text = asString(object[field]);
    if (text === "") faults.required(field);
    if (Buffer.byteLength(text) > longestText) faults.invalid(field, "", `can have at most ${longestText} characters`);
  }
  const note = asString(isNew ? object["note"] : object["message"]);
  if (Buffer.byteLength(note) > longestNote)
    faults.invalid("message", "", `can have at most ${longestNote} characters`);
}

function validateSeries(object: JsonObject, faults: Faults): void {
  const { series } = object;
  if (series === undefined) return;
  if (countAt(object, "series", "count") < 2) faults.invalid("series.count", "", "should be at least 2");
  if (none(at(series, "lastObservedTime"))) faults.required("series.lastObservedTime");
}

/** What holds of new events of the newer group. */
function validateNew(object: JsonObject, faults: Faults): void {
  validateSeries(object, faults);
  if (none(object["eventTime"])) faults.required("eventTime");
  const type = asString(object["type"]);
  if (type !== "Normal" && type !== "Warning") faults.invalid("type", "", `has invalid value: ${type}`);
  const unset = (field: string): void => faults.invalid(field, "", "needs to be unset");
  for (const field of ["firstTimestamp", "lastTimestamp"])
    if (!none(object[newNames.get(field) ?? field])) unset(field);
  if (countAt(object, "deprecatedCount") !== 0) unset("count");
  const from = asObject(object["deprecatedSource"]);
  if (asString(from["component"]) !== "" || asString(from["host"]) !== "") unset("source");
}

const fixed = [
  "involvedObject",
  "reason",
  "message",
  "source",
  "firstTimestamp",
  "lastTimestamp",
  "count",
  "reason",
  "type",
  "eventTime",
  "action",
  "related",
  "reportingController",
  "reportingInstance",
];
const structs = new Set(["involvedObject", "source", "related"]);
const times = new Set(["firstTimestamp", "lastTimestamp", "eventTime"]);

/** An event of the newer group is what it is, but for its series. */
function validateChange(object: JsonObject, old: JsonObject, faults: Faults): void {
  if (!equalJson(object["series"], old["series"])) validateSeries(object, faults);
  for (const field of fixed) {
    const name = newNames.get(field) ?? field;
    const [now, before] = [object[name], old[name]];
    if (!isSame(field, now, before)) faults.invalid(field, now ?? blankOf(field), "field is immutable");
  }
}

function isSame(field: string, now: Json | undefined, before: Json | undefined): boolean {
  if ((none(now) && none(before)) || (field === "count" && (now ?? 0) === (before ?? 0))) return true;
  return equalJson(now, before) || (structs.has(field) && equalJson(now ?? {}, before ?? {}));
}

/** What stands for a field that is not there. */
function blankOf(field: string): Json {
  if (structs.has(field) || times.has(field)) return null;
  return field === "count" ? 0 : "";
}

const event = (naming: Naming): Behaviour => ({
  complete: true,
  plainNames: !naming.isNew,
  updateChecks: { "": naming.isNew ? [0, 1] : [0, 0] },
  validate: (object, faults) => validateAny(object, naming, faults),
  ...(naming.isNew ? { validateCreate: validateNew, validateUpdate: validateChange } : {}),
  selectable: {
    ...Object.fromEntries(
      eventFields.map((field) => [
        `${naming.reference}.${field}`,
        (object: JsonObject) => asString(about(object)[field]),
      ]),
    ),
    reason: (object) => asString(object["reason"]),
    type: (object) => asString(object["type"]),
    reportingComponent: (object) => asString(object["reportingComponent"] ?? object["reportingController"]),
    source,
  },
  allColumns: true,
  columns: [
    column("Last Seen", lastSeen),
    column("Type", (object) => asString(object["type"])),
    column("Reason", (object) => asString(object["reason"])),
    column("Object", (object) => `${asString(about(object)["kind"]).toLowerCase()}/${asString(about(object)["name"])}`),
    column("Subobject", (object) => asString(about(object)["fieldPath"]), { wide: true }),
    column("Source", reporter, { wide: true }),
    column("Message", (object) => (asString(object["message"]) || asString(object["note"])).trim()),
    column("First Seen", (object, now) => ageOf(object["firstTimestamp"] ?? object["eventTime"], now), { wide: true }),
    column("Count", (object) => asNumber(at(object, "series", "count")) ?? Math.max(countAt(object, "count"), 1), {
      wide: true,
    }),
    { ...nameColumn, priority: 1 },
  ],
});

/** Fields by their names in the core group, where events are stored, and in events.k8s.io. */
const names: readonly (readonly [string, string])[] = [
  ["involvedObject", "regarding"],
  ["message", "note"],
  ["source", "deprecatedSource"],
  ["firstTimestamp", "deprecatedFirstTimestamp"],
  ["lastTimestamp", "deprecatedLastTimestamp"],
  ["count", "deprecatedCount"],
  ["reportingComponent", "reportingController"],
];
const newNames = new Map(names);
const coreNames = new Map(names.map(([core, other]) => [other, core]));

function renamed(object: JsonObject, apiVersion: string, to: ReadonlyMap<string, string>): JsonObject {
  const result: JsonObject = {};
  for (const [field, value] of Object.entries(object))
    if (value !== undefined) result[to.get(field) ?? field] = field === "apiVersion" ? apiVersion : value;
  return result;
}

function fromCore(stored: JsonObject): JsonObject {
  const object = renamed(stored, "events.k8s.io/v1", newNames);
  for (const field of ["reportingController", "reportingInstance"]) if (object[field] === "") delete object[field];
  return object;
}

function toCore(object: JsonObject): JsonObject {
  return { reportingComponent: "", reportingInstance: "", ...renamed(object, "v1", coreNames) };
}

/** Events in both groups: the same objects. */
export const eventBehaviours: BehaviourTable = {
  "/Event": event({ reference: "involvedObject", controller: "reportingComponent", isNew: false }),
  "events.k8s.io/Event": {
    ...event({ reference: "regarding", controller: "reportingController", isNew: true }),
    conversions: { v1: { fromStorage: fromCore, toStorage: toCore } },
  },
};

import type { JsonObject } from "../../../kernel/kinds/object.js";
import { ageOf } from "../registry/ages.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column, nameColumn } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { qualifiedNameFaults } from "../registry/names.js";
import { asNumber, asObject, asString, at } from "../registry/read.js";
import { countAt } from "./common.js";

function lastSeen(object: JsonObject, now: number): string {
  const series = at(object, "series", "lastObservedTime");
  const last = series ?? object["lastTimestamp"] ?? object["deprecatedLastTimestamp"] ?? object["eventTime"];
  return ageOf(last, now);
}

const about = (object: JsonObject): JsonObject => asObject(object["involvedObject"] ?? object["regarding"]);
const source = (object: JsonObject): string =>
  asString(at(object, "source", "component")) ||
  asString(object["reportingComponent"] ?? object["reportingController"]);
const eventFields = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];

/** An event lies in the namespace of what it is about; those about cluster-scoped objects lie in default. */
function validatePlace(object: JsonObject, field: string, faults: Faults): void {
  const namespace = asString(at(object, "metadata", "namespace"));
  const wanted = asString(about(object)["namespace"]);
  const fits =
    wanted === "" ? namespace === "" || namespace === "default" || namespace === "kube-system" : wanted === namespace;
  if (!fits) faults.invalid(`${field}.namespace`, wanted, "does not match event.namespace");
}

function validateNewEvent(object: JsonObject, faults: Faults): void {
  if (object["eventTime"] === undefined || object["eventTime"] === null) faults.required("eventTime");
  const type = asString(object["type"]);
  if (type !== "Normal" && type !== "Warning") faults.invalid("type", "", `has invalid value: ${type}`);
  const controller = asString(object["reportingController"]);
  if (controller === "") faults.required("reportingController");
  else for (const fault of qualifiedNameFaults(controller)) faults.invalid("reportingController", controller, fault);
  for (const field of ["reportingInstance", "action", "reason"])
    if (asString(object[field]) === "") faults.required(field);
}

const event = (reference: string, strict: boolean): Behaviour => ({
  validate(object, faults) {
    validatePlace(object, reference, faults);
    if (strict) validateNewEvent(object, faults);
  },
  selectable: {
    ...Object.fromEntries(
      eventFields.map((field) => [`${reference}.${field}`, (object: JsonObject) => asString(about(object)[field])]),
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
    column("Source", source, { wide: true }),
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
  "/Event": event("involvedObject", false),
  "events.k8s.io/Event": {
    ...event("regarding", true),
    conversions: { v1: { fromStorage: fromCore, toStorage: toCore } },
  },
};

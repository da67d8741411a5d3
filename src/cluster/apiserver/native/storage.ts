import { tryParseQuantity } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { validateLabels } from "../registry/metadata.js";
import { labelFaults, qualifiedNameFaults, subdomainFaults } from "../registry/names.js";
import {
  asList,
  asNumber,
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  isEmpty,
  setDefault,
} from "../registry/read.js";
import { immutable, textAt } from "./common.js";
import { validateTolerations } from "./pods/scheduling.js";

const maximumParameters = 512;
const maximumParameterBytes = 256 * 1024;

function oneOf(object: JsonObject, field: string, known: readonly string[], faults: Faults): void {
  const value = asString(object[field]);
  if (value !== "" && !known.includes(value)) faults.unsupported(field, value, known);
}

function validateParameters(parameters: Json | undefined, faults: Faults): void {
  const entries = Object.entries(asObject(parameters));
  if (entries.length > maximumParameters) {
    faults.tooLong("parameters", maximumParameters);
    return;
  }
  for (const [key] of entries) if (key === "") faults.invalid("parameters", key, "field can not be empty.");
  const bytes = entries.reduce((sum, [key, value]) => sum + key.length + asString(value).length, 0);
  if (bytes > maximumParameterBytes) faults.tooLong("parameters", maximumParameterBytes);
}

function validateTopology(term: JsonObject, path: string, faults: Faults): void {
  const keys = new Set<string>();
  for (const [index, requirement] of asObjects(term["matchLabelExpressions"]).entries()) {
    const place = `${path}.matchLabelExpressions[${index}]`;
    const key = asString(requirement["key"]);
    const values = asList(requirement["values"]).map(asString);
    if (values.length === 0) faults.required(`${place}.values`);
    for (const [order, value] of values.entries())
      if (values.indexOf(value) < order) faults.duplicate(`${place}.values[${order}]`, value);
    for (const fault of qualifiedNameFaults(key)) faults.invalid(`${place}.key`, key, fault);
    if (keys.has(key)) faults.duplicate(`${place}.key`, key);
    keys.add(key);
  }
}

const storageClass: Behaviour = {
  deletion: { returnsObject: true },
  complete: true,
  defaults(object) {
    setDefault(object, "reclaimPolicy", "Delete");
    setDefault(object, "volumeBindingMode", "Immediate");
  },
  validate(object, faults) {
    const provisioner = asString(object["provisioner"]);
    if (provisioner === "") faults.required("provisioner");
    else
      for (const fault of qualifiedNameFaults(provisioner.toLowerCase()))
        faults.invalid("provisioner", provisioner.toLowerCase(), fault);
    validateParameters(object["parameters"], faults);
    oneOf(object, "reclaimPolicy", ["Delete", "Retain"], faults);
    const mode = asString(object["volumeBindingMode"]);
    const modes = ["Immediate", "WaitForFirstConsumer"];
    if (!modes.includes(mode)) faults.unsupported("volumeBindingMode", mode, modes);
    for (const [index, term] of asObjects(object["allowedTopologies"]).entries())
      validateTopology(term, `allowedTopologies[${index}]`, faults);
  },
  validateUpdate(object, old, faults) {
    for (const field of ["parameters", "provisioner", "reclaimPolicy"])
      if (!equalJson(object[field] ?? {}, old[field] ?? {}))
        faults.forbidden(field, `updates to ${field} are forbidden.`);
    immutable(object, old, ["volumeBindingMode"], faults);
  },
  columns: [
    column("Provisioner", (object) => asString(object["provisioner"])),
    column("ReclaimPolicy", (object) => asString(object["reclaimPolicy"])),
    column("VolumeBindingMode", (object) => asString(object["volumeBindingMode"])),
    column("AllowVolumeExpansion", (object) => object["allowVolumeExpansion"] === true),
  ],
};

const groupPolicies = ["File", "None", "ReadWriteOnceWithFSType"];
const lifecycleModes = ["Persistent", "Ephemeral"];
const shortestTokenSeconds = 600;

function validateTokenRequests(requests: Json | undefined, faults: Faults): void {
  const audiences = new Set<string>();
  for (const [index, request] of asObjects(requests).entries()) {
    const path = `spec.tokenRequests[${index}]`;
    const audience = asString(request["audience"]);
    const seconds = asNumber(request["expirationSeconds"]);
    if (audiences.has(audience)) faults.duplicate(`${path}.audience`, audience);
    else if (seconds !== undefined && seconds < shortestTokenSeconds)
      faults.invalid(`${path}.expirationSeconds`, seconds, "may not specify a duration less than 10 minutes");
    else if (seconds !== undefined && seconds > 2 ** 32)
      faults.invalid(`${path}.expirationSeconds`, seconds, "may not specify a duration larger than 2^32 seconds");
    audiences.add(audience);
  }
}

const driver: Behaviour = {
  complete: true,
  needsVersion: true,
  generation: "updated",
  deletion: { returnsObject: true },
  defaults(object) {
    const spec = ensureObject(object, "spec");
    setDefault(spec, "attachRequired", true);
    setDefault(spec, "podInfoOnMount", false);
    setDefault(spec, "storageCapacity", false);
    setDefault(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if (isEmpty(spec["volumeLifecycleModes"])) spec["volumeLifecycleModes"] = ["Persistent"];
    setDefault(spec, "requiresRepublish", false);
    setDefault(spec, "seLinuxMount", false);
  },
  prepare: (object) => {
    // A feature of later versions, off in this one.
    delete asObject(object["spec"])["nodeAllocatableUpdatePeriodSeconds"];
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    const policy = asString(spec["fsGroupPolicy"]);
    if (!groupPolicies.includes(policy)) faults.unsupported("spec.fsGroupPolicy", policy, groupPolicies);
    validateTokenRequests(spec["tokenRequests"], faults);
    for (const mode of asList(spec["volumeLifecycleModes"]))
      if (!lifecycleModes.includes(asString(mode)))
        faults.unsupported("spec.volumeLifecycleModes", mode, lifecycleModes);
  },
  validateUpdate(object, old, faults) {
    const [spec, before] = [asObject(object["spec"]), asObject(old["spec"])];
    for (const [field, shown] of Object.entries({ attachRequired: "attachedRequired", volumeLifecycleModes: "" }))
      if (!equalJson(spec[field], before[field]))
        faults.invalid(`spec.${shown || field}`, spec[field], "field is immutable");
  },
  columns: [
    column("AttachRequired", (object) => at(object, "spec", "attachRequired") === true, { type: "boolean" }),
    column("PodInfoOnMount", (object) => at(object, "spec", "podInfoOnMount") === true, { type: "boolean" }),
    column("StorageCapacity", (object) => at(object, "spec", "storageCapacity") === true, { type: "boolean" }),
    column("TokenRequests", (object) => {
      const audiences = asObjects(at(object, "spec", "tokenRequests")).map((one) => asString(one["audience"]));
      return audiences.length === 0 ? "<unset>" : audiences.join(",");
    }),
    column("RequiresRepublish", (object) => at(object, "spec", "requiresRepublish") === true, { type: "boolean" }),
    column("Modes", (object) =>
      asList(at(object, "spec", "volumeLifecycleModes"))
        .map(asString)
        .join(","),
    ),
  ],
};

function validateNodeDriver(one: JsonObject, path: string, faults: Faults): void {
  const name = asString(one["name"]);
  validateDriverName(name, `${path}.name`, faults);
  const id = asString(one["nodeID"]);
  if (id === "") faults.required(`${path}.nodeID`);
  if (id.length > 256) faults.invalid(`${path}.nodeID`, id, "must be 256 characters or less");
  const count = asNumber(at(one, "allocatable", "count"));
  if (count !== undefined && count < 0)
    faults.invalid(`${path}.allocatable.count`, count, "must be greater than or equal to 0");
}

/** The name of a storage driver: a domain of at most 63 characters. */
export function validateDriverName(name: string, path: string, faults: Faults): void {
  if (name === "") faults.required(path);
  if (name.length > 63) faults.tooLong(path, 63);
  for (const fault of subdomainFaults(name.toLowerCase())) faults.invalid(path, name, fault);
}

const csiNode: Behaviour = {
  deletion: { returnsObject: true },
  checkedTwice: "all",
  complete: true,
  needsVersion: true,
  validate(object, faults) {
    const names = new Set<string>();
    for (const [index, one] of asObjects(at(object, "spec", "drivers")).entries()) {
      const path = `spec.drivers[${index}]`;
      validateNodeDriver(one, path, faults);
      const name = asString(one["name"]);
      if (names.has(name)) faults.duplicate(`${path}.name`, name);
      names.add(name);
      const keys = new Set<string>();
      for (const key of asList(one["topologyKeys"]).map(asString)) {
        if (key === "") faults.required(path);
        if (keys.has(key)) faults.duplicate(path, key);
        keys.add(key);
        for (const fault of qualifiedNameFaults(key)) faults.invalid(path, key, fault);
      }
    }
  },
  validateUpdate(object, old, faults) {
    for (const before of asObjects(at(old, "spec", "drivers")))
      for (const now of asObjects(at(object, "spec", "drivers")))
        if (now["name"] === before["name"] && !equalJson(now, before))
          faults.invalid("spec.drivers", now, "field is immutable");
  },
  columns: [column("Drivers", (object) => asList(at(object, "spec", "drivers")).length, { type: "integer" })],
};

const attachment: Behaviour = {
  deletion: { returnsObject: true },
  checkedTwice: "all",
  complete: true,
  needsVersion: true,
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    const attacher = asString(spec["attacher"]);
    if (attacher === "") faults.required("spec.attacher");
    const source = asObject(spec["source"]);
    const name = source["persistentVolumeName"];
    const both = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    if (name === undefined && source["inlineVolumeSpec"] === undefined) faults.required("spec.source", both);
    else if (name !== undefined && source["inlineVolumeSpec"] !== undefined) faults.forbidden("spec.source", both);
    else if (name === "")
      faults.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName");
    const node = asString(spec["nodeName"]);
    for (const fault of subdomainFaults(node)) faults.invalid("spec.nodeName", node, fault);
  },
  validateCreate(object, faults) {
    const attacher = textAt(object, "spec", "attacher");
    validateDriverName(attacher, "spec.attacher", faults);
    const name = at(object, "spec", "source", "persistentVolumeName");
    if (name !== undefined)
      for (const fault of subdomainFaults(asString(name)))
        faults.invalid("spec.source.persistentVolumeName", name, fault);
  },
  validateUpdate: (object, old, faults) => {
    if (!equalJson(object["spec"], old["spec"])) faults.invalid("spec", object["spec"], "field is immutable");
  },
  columns: [
    { ...column("Attacher", (object) => textAt(object, "spec", "attacher")), format: "name" },
    column("PV", (object) => textAt(object, "spec", "source", "persistentVolumeName")),
    column("Node", (object) => textAt(object, "spec", "nodeName")),
    column("Attached", (object) => at(object, "status", "attached") === true, { type: "boolean" }),
  ],
};

function validateOverhead(overhead: Json | undefined, faults: Faults): void {
  for (const [name, value] of Object.entries(asObject(overhead))) {
    const path = `overhead.limits[${name}]`;
    const quantity = tryParseQuantity(asString(value));
    for (const fault of qualifiedNameFaults(name)) faults.invalid(path, name, fault);
    if (quantity !== undefined && quantity.nanos < 0n)
      faults.invalid(path, value, "must be greater than or equal to 0");
  }
}

const runtimeClass: Behaviour = {
  createsOnUpdate: true,
  complete: true,
  needsVersion: true,
  validate(object, faults) {
    const handler = asString(object["handler"]);
    for (const fault of labelFaults(handler)) faults.invalid("handler", handler, fault);
    validateOverhead(at(object, "overhead", "podFixed"), faults);
    const scheduling = asObject(object["scheduling"]);
    if (scheduling["nodeSelector"] !== undefined)
      validateLabels(scheduling["nodeSelector"], "scheduling.nodeSelector", faults);
    validateTolerations(scheduling["tolerations"], "scheduling.tolerations.tolerations", faults);
  },
  validateUpdate: (object, old, faults) => immutable(object, old, ["handler"], faults),
  columns: [column("Handler", (object) => asString(object["handler"]))],
};

const attributesClass: Behaviour = {
  deletion: { returnsObject: true },
  columns: [column("DriverName", (object) => asString(object["driverName"]))],
};

/** How volumes come about and are attached, and what runs containers. */
export const storageBehaviours: BehaviourTable = {
  "storage.k8s.io/StorageClass": storageClass,
  "storage.k8s.io/CSIDriver": driver,
  "storage.k8s.io/CSINode": csiNode,
  "storage.k8s.io/VolumeAttachment": attachment,
  "storage.k8s.io/VolumeAttributesClass": attributesClass,
  "node.k8s.io/RuntimeClass": runtimeClass,
};

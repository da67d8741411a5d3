import type { Faults } from "../../../kernel/kinds/index.js";
import { labelFaults, subdomainFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import { validateLabels } from "../registry/metadata.js";
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
import { validateResources } from "./pods/resources.js";
import { validateTolerations } from "./pods/scheduling.js";
import { checkDriverName } from "./pods/volume-sources.js";
import { oldLabelWords } from "./pods/warnings.js";
import { follows, needed, oneOf, qualifiedName } from "./rules.js";
import { validateVolumeSpec, warnOfTopologies } from "./volumes.js";

const maximumParameters = 512;
const maximumBytes = 256 * 1024;

function bytesOf(map: Json | undefined): number {
  return Object.entries(asObject(map)).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(asString(value)),
    0,
  );
}

/** Returns whether there are as few as there may be. */
function validateParameters(parameters: Json | undefined, faults: Faults): boolean {
  const keys = Object.keys(asObject(parameters));
  if (keys.length > maximumParameters) {
    faults.tooLong("parameters", maximumParameters);
    return false;
  }
  if (keys.includes("")) faults.invalid("parameters", "", "field can not be empty.");
  if (bytesOf(parameters) > maximumBytes) faults.tooLong("parameters", maximumBytes);
  return true;
}

function validateProvisioner(value: Json | undefined, path: string, faults: Faults): void {
  const provisioner = asString(value).toLowerCase();
  if (provisioner === "") faults.required(path);
  else qualifiedName(provisioner, path, faults);
}

/** Terms with their keys and values, whatever their order; upstream starts its list of those seen with as many empty ones. */
function validateTopologies(terms: readonly JsonObject[], faults: Faults): void {
  const seen: Json[] = terms.map(() => ({}));
  for (const [index, term] of terms.entries()) {
    const path = `allowedTopologies[${index}]`;
    validateTopology(term, path, faults);
    const shape = Object.fromEntries(
      asObjects(term["matchLabelExpressions"]).map(({ key, values }): [string, Json] => [
        asString(key),
        [...new Set(asList(values).map(asString))].sort(),
      ]),
    );
    for (const other of seen) if (equalJson(other, shape)) faults.duplicate(`${path}.matchLabelExpressions`, "");
    seen.push(shape);
  }
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
    qualifiedName(key, `${place}.key`, faults);
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
    validateProvisioner(object["provisioner"], "provisioner", faults);
    validateParameters(object["parameters"], faults);
    if (object["reclaimPolicy"] !== "") oneOf(object["reclaimPolicy"], ["Delete", "Retain"], "reclaimPolicy", faults);
    oneOf(object["volumeBindingMode"], ["Immediate", "WaitForFirstConsumer"], "volumeBindingMode", faults);
    const topologies = asObjects(object["allowedTopologies"]);
    validateTopologies(topologies, faults);
    warnOfTopologies(topologies, "allowedTopologies", faults);
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
  updateChecks: { "": [0, 1] },
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
  checkDriverName(name, `${path}.name`, faults);
  const id = asString(one["nodeID"]);
  if (id === "") faults.required(`${path}.nodeID`);
  if (id.length > 256) faults.invalid(`${path}.nodeID`, id, "must be 256 characters or less");
  const count = asNumber(at(one, "allocatable", "count"));
  if (count !== undefined && count < 0)
    faults.invalid(`${path}.allocatable.count`, count, "must be greater than or equal to 0");
}

const csiNode: Behaviour = {
  updateChecks: { "": [2, 0] },
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
        qualifiedName(key, path, faults);
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

const longestError = 1024;

function validateAttachmentStatus(status: JsonObject, faults: Faults): void {
  if (bytesOf(status["attachmentMetadata"]) > maximumBytes) faults.tooLong("status.attachmentMetadata", maximumBytes);
  for (const field of ["attachError", "detachError"]) {
    const text = asString(at(status, field, "message"));
    if (Buffer.byteLength(text) > longestError) faults.tooLong(`status.${field}.message`, maximumBytes);
    const code = asNumber(at(status, field, "errorCode"));
    if (code !== undefined && code < 0)
      faults.invalid(`status.${field}.errorCode`, code, "must be between 0 and 2147483647, inclusive");
  }
}

function validateAttached(source: JsonObject, faults: Faults): void {
  const path = "spec.source";
  const [name, inlined] = [source["persistentVolumeName"], source["inlineVolumeSpec"]];
  const both = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
  if (name === undefined && inlined === undefined) faults.required(path, both);
  else if (name !== undefined && inlined !== undefined) faults.forbidden(path, both);
  else if (name === "") faults.required(`${path}.persistentVolumeName`, "must specify non empty persistentVolumeName");
  else if (inlined !== undefined)
    validateVolumeSpec(asObject(inlined), { path: `${path}.inlineVolumeSpec`, name: "", isInline: true }, faults);
}

const attachment: Behaviour = {
  resets: { status: [["metadata"], ["spec"]] },
  deletion: { returnsObject: true },
  checkedTwice: "all",
  updateChecks: { "": [2, 0], status: [2, 0] },
  complete: true,
  needsVersion: true,
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    needed(spec, "attacher", "spec", faults);
    validateAttached(asObject(spec["source"]), faults);
    follows(subdomainFaults, asString(spec["nodeName"]), "spec.nodeName", faults);
    validateAttachmentStatus(asObject(object["status"]), faults);
  },
  validateCreate(object, faults) {
    checkDriverName(textAt(object, "spec", "attacher"), "spec.attacher", faults);
    const name = at(object, "spec", "source", "persistentVolumeName");
    if (name !== undefined) follows(subdomainFaults, asString(name), "spec.source.persistentVolumeName", faults);
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

function validateScheduling(scheduling: JsonObject, faults: Faults): void {
  const path = "scheduling.nodeSelector";
  if (scheduling["nodeSelector"] !== undefined) validateLabels(scheduling["nodeSelector"], path, faults);
  for (const key of Object.keys(asObject(scheduling["nodeSelector"]))) {
    const words = oldLabelWords(key);
    if (words !== undefined) faults.warn(`${path}: ${words}`);
  }
  const tolerations = asObjects(scheduling["tolerations"]);
  validateTolerations(scheduling["tolerations"], "scheduling.tolerations.tolerations", faults);
  const seen = new Set<string>();
  for (const [index, toleration] of tolerations.entries()) {
    const key = JSON.stringify(["key", "operator", "value", "effect"].map((field) => asString(toleration[field])));
    if (seen.has(key)) faults.duplicate(`scheduling.tolerations[${index}]`, shownToleration(toleration));
    seen.add(key);
  }
}

/** As upstream shows a toleration in a message. */
function shownToleration({ key, operator, value, effect, tolerationSeconds }: JsonObject): JsonObject {
  return {
    Key: asString(key),
    Operator: asString(operator),
    Value: asString(value),
    Effect: asString(effect),
    TolerationSeconds: tolerationSeconds ?? null,
  };
}

const runtimeClass: Behaviour = {
  createsOnUpdate: true,
  anyFinalizers: true,
  complete: true,
  needsVersion: true,
  validate(object, faults) {
    follows(labelFaults, asString(object["handler"]), "handler", faults);
    if (object["overhead"] !== undefined)
      validateResources({ limits: asObject(at(object, "overhead", "podFixed")) }, "overhead", faults);
    if (object["scheduling"] !== undefined) validateScheduling(asObject(object["scheduling"]), faults);
  },
  validateUpdate: (object, old, faults) => immutable(object, old, ["handler"], faults),
  columns: [column("Handler", (object) => asString(object["handler"]))],
};

function validateAttributes(object: JsonObject, faults: Faults): void {
  validateProvisioner(object["driverName"], "driverName", faults);
  const few = validateParameters(object["parameters"], faults);
  if (few && isEmpty(object["parameters"])) faults.required("parameters", "must contain at least one key/value pair");
}

const attributesClass: Behaviour = {
  deletion: { returnsObject: true },
  complete: true,
  updateChecks: { "": [2, 1] },
  validateCreate: validateAttributes,
  validateUpdate(object, old, faults) {
    validateAttributes(object, faults);
    for (const field of ["driverName", "parameters"])
      if (!equalJson(object[field] ?? null, old[field] ?? null))
        faults.forbidden(field, `updates to ${field} are forbidden.`);
    validateAttributes(object, faults);
  },
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

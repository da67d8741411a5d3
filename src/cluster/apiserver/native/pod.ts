import type { JsonObject } from "../../../kernel/kinds/object.js";
import { cloneJson, equalJson } from "../../../kernel/schema/index.js";
import type { BehaviourTable } from "../registry/behaviour.js";
import { column, nameColumn } from "../registry/columns.js";
import { asObject, asObjects, asString, at, ensureObject, setDefault } from "../registry/read.js";
import { showContainers, showLabels, textAt } from "./common.js";
import { defaultPod, defaultPodSpec, mirrorServiceAccount, qosClass } from "./pod-defaults.js";
import { podSummary } from "./pod-summary.js";
import { prepareNewPod } from "./pods/preparation.js";
import { validatePodTemplate } from "./pods/spec.js";
import { validateNewPod, validatePod, validatePodUpdate } from "./pods/update.js";
import { warnOfPod, warnOfPodName } from "./pods/warnings.js";

const orNone = (text: string): string => (text === "" ? "<none>" : text);

/** Resizing changes what containers ask for and may use, nothing else; other containers than there are stay to be refused. */
function resizeContainers(result: JsonObject, sent: JsonObject): void {
  const [spec, wishes] = [asObject(result["spec"]), asObject(sent["spec"])];
  const fields = ["containers", "initContainers"];
  if (fields.some((field) => asObjects(spec[field]).length !== asObjects(wishes[field]).length)) {
    // As it was sent: validation says what is wrong with it.
    delete result["status"];
    Object.assign(result, sent);
    return;
  }
  for (const field of fields) {
    const [now, wished] = [asObjects(spec[field]), asObjects(wishes[field])];
    if (now.some((container, index) => container["name"] !== wished[index]?.["name"])) spec[field] = [...wished];
    else for (const [index, container] of now.entries()) resizeOne(container, asObject(wished[index]));
  }
}

function resizeOne(container: JsonObject, wished: JsonObject): void {
  for (const part of ["resources", "resizePolicy"]) {
    const wish = wished[part];
    if (wish === undefined) delete container[part];
    else container[part] = cloneJson(wish);
  }
}

function podTemplateSpec(object: JsonObject): JsonObject {
  return asObject(at(object, "template", "spec"));
}

const selectable = {
  "spec.nodeName": (pod: JsonObject) => textAt(pod, "spec", "nodeName"),
  "spec.restartPolicy": (pod: JsonObject) => textAt(pod, "spec", "restartPolicy"),
  "spec.schedulerName": (pod: JsonObject) => textAt(pod, "spec", "schedulerName"),
  "spec.serviceAccountName": (pod: JsonObject) => textAt(pod, "spec", "serviceAccountName"),
  "spec.hostNetwork": (pod: JsonObject) => String(at(pod, "spec", "hostNetwork") === true),
  "status.phase": (pod: JsonObject) => textAt(pod, "status", "phase"),
  "status.podIP": (pod: JsonObject) => textAt(pod, "status", "podIP"),
  "status.podIPs": (pod: JsonObject) =>
    asObjects(at(pod, "status", "podIPs"))
      .map((one) => asString(one["ip"]))
      .join(","),
  "status.nominatedNodeName": (pod: JsonObject) => textAt(pod, "status", "nominatedNodeName"),
};

/** Pods and their templates. */
export const podBehaviours: BehaviourTable = {
  "/Pod": {
    resets: { status: [["spec"], ["metadata", "deletionTimestamp"], ["metadata", "ownerReferences"]] },
    complete: true,
    generation: true,
    defaults: (pod) => defaultPod(asObject(pod["spec"])),
    prepare(pod, old, context) {
      mirrorServiceAccount(asObject(pod["spec"]));
      const before = at(old, "status", "qosClass");
      if (context.subresource === "status" && before !== undefined)
        setDefault(ensureObject(pod, "status"), "qosClass", before);
      if (old === undefined) prepareNewPod(pod, context);
    },
    initialStatus: (pod) => ({ phase: "Pending", qosClass: qosClass(asObject(pod["spec"])) }),
    validate: validatePod,
    validateCreate(pod, faults) {
      validateNewPod(pod, faults);
      warnOfPodName(textAt(pod, "metadata", "name"), faults);
      warnOfPod(pod, "", faults);
    },
    statusOnly: true,
    validateUpdate: validatePodUpdate,
    subresourceFields: { ephemeralcontainers: [["spec", "ephemeralContainers"]] },
    subresourceWrites: { resize: resizeContainers },
    selectable,
    columns: [
      column("Ready", (pod) => podSummary(pod, 0).ready),
      column("Status", (pod) => podSummary(pod, 0).status),
      column("Restarts", (pod, now) => podSummary(pod, now).restarts),
      column("IP", (pod) => orNone(textAt(pod, "status", "podIP")), { wide: true }),
      column("Node", (pod) => orNone(textAt(pod, "spec", "nodeName")), { wide: true }),
      column("Nominated Node", (pod) => orNone(textAt(pod, "status", "nominatedNodeName")), { wide: true }),
      column("Readiness Gates", readinessGates, { wide: true }),
    ],
  },
  "/PodTemplate": {
    complete: true,
    generation: true,
    updateChecks: { "": [0, 1] },
    defaults: (object) => defaultPodSpec(podTemplateSpec(object)),
    validate: (object, faults) => validatePodTemplate(asObject(object["template"]), "template", faults),
    validateCreate: (object, faults) => warnOfPod(asObject(object["template"]), "template", faults),
    validateUpdate(object, old, faults) {
      if (!equalJson(object["template"] ?? {}, old["template"] ?? {}))
        warnOfPod(asObject(object["template"]), "template", faults);
    },
    allColumns: true,
    columns: [
      nameColumn,
      column("Containers", (object) => showContainers(object, ["template", "spec", "containers"]).names),
      column("Images", (object) => showContainers(object, ["template", "spec", "containers"]).images),
      column("Pod Labels", (object) => showLabels(at(object, "template", "metadata", "labels"))),
    ],
  },
};

function readinessGates(pod: JsonObject): string {
  const gates = asObjects(at(pod, "spec", "readinessGates"));
  if (gates.length === 0) return "<none>";
  const conditions = asObjects(at(pod, "status", "conditions"));
  const met = gates.filter((gate) =>
    conditions.some((one) => one["type"] === gate["conditionType"] && one["status"] === "True"),
  );
  return `${met.length}/${gates.length}`;
}

import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneJson, equalJson } from "../../../kernel/schema/index.js";
import type { BehaviourTable } from "../registry/behaviour.js";
import { column, nameColumn } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { asList, asNumber, asObject, asObjects, asString, at, ensureObject, setDefault } from "../registry/read.js";
import type { WriteContext } from "../types.js";
import { showContainers, showLabels, textAt } from "./common.js";
import { defaultPod, defaultPodSpec, mirrorServiceAccount, qosClass } from "./pod-defaults.js";
import { podSummary } from "./pod-summary.js";
import { validatePodSpec } from "./pod-validation.js";

const orNone = (text: string): string => (text === "" ? "<none>" : text);

/** Fields of a pod that may change once it is there, in upstream's words. */
const changeable =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

function validatePodUpdate(object: JsonObject, old: JsonObject, faults: Faults, context: WriteContext): void {
  if (context.subresource === "ephemeralcontainers") {
    validateEphemeral(object, old, faults);
    return;
  }
  if (context.subresource === "resize") return;
  const spec = asObject(object["spec"]);
  const oldSpec = asObject(old["spec"]);
  for (const field of ["containers", "initContainers"])
    if (asList(spec[field]).length !== asList(oldSpec[field]).length) {
      faults.forbidden(
        `spec.${field}`,
        `pod updates may not add or remove ${field === "containers" ? "containers" : "init containers"}`,
      );
      return;
    }
  const deadline = asNumber(spec["activeDeadlineSeconds"]);
  const oldDeadline = asNumber(oldSpec["activeDeadlineSeconds"]);
  if (oldDeadline !== undefined && deadline === undefined)
    faults.invalid("spec.activeDeadlineSeconds", null, "must not update from a positive integer to nil value");
  else if (deadline !== undefined && oldDeadline !== undefined && deadline > oldDeadline)
    faults.invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value");
  const missing = asObjects(oldSpec["tolerations"]).filter(
    (toleration) => !asObjects(spec["tolerations"]).some((one) => equalJson(fixedPart(one), fixedPart(toleration))),
  );
  if (missing.length > 0)
    faults.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
  if (!equalJson(withoutChangeable(spec), withoutChangeable(oldSpec))) faults.forbidden("spec", changeable);
}

function validateEphemeral(object: JsonObject, old: JsonObject, faults: Faults): void {
  const now = asObjects(at(object, "spec", "ephemeralContainers"));
  for (const before of asObjects(at(old, "spec", "ephemeralContainers"))) {
    const same = now.find((one) => one["name"] === before["name"]);
    const name = JSON.stringify(before["name"]);
    if (same === undefined)
      faults.forbidden("spec.ephemeralContainers", `existing ephemeral containers ${name} may not be removed\n`);
    else if (!equalJson(same, before))
      faults.forbidden("spec.ephemeralContainers", `existing ephemeral containers ${name} may not be changed\n`);
  }
}

function fixedPart(toleration: JsonObject): JsonObject {
  const { tolerationSeconds: _, ...rest } = toleration;
  return rest;
}

function withoutChangeable(spec: JsonObject): JsonObject {
  const {
    activeDeadlineSeconds: _,
    tolerations: __,
    containers,
    initContainers,
    schedulingGates: ____,
    terminationGracePeriodSeconds: _____,
    ...rest
  } = spec;
  const fixed = (list: Json | undefined): Json => asObjects(list).map(({ image: ______, ...container }) => container);
  return { ...rest, containers: fixed(containers), initContainers: fixed(initContainers) };
}

/** Resizing changes what containers ask for and may use, nothing else. */
function resizeContainers(result: JsonObject, sent: JsonObject): void {
  for (const field of ["containers", "initContainers"])
    for (const container of asObjects(at(result, "spec", field))) {
      const wish = asObjects(at(sent, "spec", field)).find((one) => one["name"] === container["name"]);
      if (wish?.["resources"] !== undefined) container["resources"] = cloneJson(wish["resources"]);
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
    ownChecks: ["spec.restartPolicy"],
    generation: true,
    defaults: (pod) => defaultPod(asObject(pod["spec"])),
    prepare(pod, old, { subresource }) {
      mirrorServiceAccount(asObject(pod["spec"]));
      const before = at(old, "status", "qosClass");
      if (subresource === "status" && before !== undefined) setDefault(ensureObject(pod, "status"), "qosClass", before);
    },
    initialStatus: (pod) => ({ phase: "Pending", qosClass: qosClass(asObject(pod["spec"])) }),
    validate: (pod, faults) => validatePodSpec(asObject(pod["spec"]), "spec", faults),
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
    generation: true,
    defaults: (object) => defaultPodSpec(podTemplateSpec(object)),
    validate: (object, faults) => validatePodSpec(podTemplateSpec(object), "template.spec", faults),
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

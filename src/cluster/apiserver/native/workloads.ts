import type { Faults } from "../../../kernel/kinds/index.js";
import { labelFaults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson, isObject } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable, Column } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import {
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  isEmpty,
  setDefault,
  setDefaultText,
} from "../registry/read.js";
import { validateClaimSpec } from "./claims.js";
import { countAt, immutable, nonNegative, showContainers, showLabels, showSelector, sortedMap } from "./common.js";
import { defaultPodSpec } from "./pod-defaults.js";
import { validateEndlessTemplate, validatePodTemplate } from "./pods/spec.js";
import { warnOfClaim, warnOfPod } from "./pods/warnings.js";
import { validateRollout } from "./rollouts.js";
import { oneOf, optional } from "./rules.js";
import { isSelector, validateSelector } from "./selectors.js";
import { validateMatch, validateSelectedTemplate, validateStatefulTemplate } from "./templates.js";
import {
  daemonCounts,
  deploymentCounts,
  replicaCounts,
  statefulCounts,
  validateStatusCounts,
} from "./workload-status.js";

const specOf = (object: JsonObject): JsonObject => ensureObject(object, "spec");
const templateContainers = ["spec", "template", "spec", "containers"];

function defaultTemplate(object: JsonObject): void {
  const template = asObject(specOf(object)["template"]);
  if (template["spec"] !== undefined) defaultPodSpec(asObject(template["spec"]));
}

const wideColumns: readonly Column[] = [
  column("Containers", (object) => showContainers(object, templateContainers).names, { wide: true }),
  column("Images", (object) => showContainers(object, templateContainers).images, { wide: true }),
  column("Selector", (object) => showSelector(at(object, "spec", "selector")), { wide: true }),
];

const count = (name: string, ...path: string[]): Column =>
  column(name, (object) => countAt(object, ...path), { type: "integer" });

/** As a change alone: upstream does not look at the rest of the metadata again. */
const changeOnly = { "": [0, 1] } as const;

function warnOfTemplate(object: JsonObject, faults: Faults): void {
  const template = at(object, "spec", "template");
  if (template !== undefined) warnOfPod(asObject(template), "spec.template", faults);
}

/** Only changes that make a new generation are worth a warning. */
function warnIfNew(object: JsonObject, old: JsonObject, faults: Faults): void {
  if (at(object, "metadata", "generation") !== at(old, "metadata", "generation")) warnOfTemplate(object, faults);
}

function warnOfClaims(object: JsonObject, faults: Faults): void {
  for (const [index, claim] of asObjects(at(object, "spec", "volumeClaimTemplates")).entries())
    warnOfClaim(asObject(claim["spec"]), `spec.volumeClaimTemplates[${index}].spec`, faults);
}

const deployment: Behaviour = {
  resets: { status: [["spec"], ["metadata", "labels"]] },
  complete: true,
  statusOnly: true,
  updateChecks: changeOnly,
  generation: true,
  defaults(object) {
    const spec = specOf(object);
    setDefault(spec, "replicas", 1);
    setDefault(spec, "revisionHistoryLimit", 10);
    setDefault(spec, "progressDeadlineSeconds", 600);
    const strategy = ensureObject(spec, "strategy");
    setDefaultText(strategy, "type", "RollingUpdate");
    if (strategy["type"] === "RollingUpdate") {
      const rolling = ensureObject(strategy, "rollingUpdate");
      setDefault(rolling, "maxUnavailable", "25%");
      setDefault(rolling, "maxSurge", "25%");
    }
    defaultTemplate(object);
  },
  prepare(object, old, context) {
    // As upstream: whoever reports the status of a deployment does not label it.
    if (context.subresource !== "status" || old === undefined) return;
    const labels = at(old, "metadata", "labels");
    if (labels === undefined) delete asObject(object["metadata"])["labels"];
    else asObject(object["metadata"])["labels"] = { ...asObject(labels) };
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    nonNegative(spec, "replicas", "spec", faults);
    validateSelectedTemplate(spec, faults);
    validateRollout("Deployment", spec["strategy"], faults);
    for (const field of ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"])
      nonNegative(spec, field, "spec", faults);
    const deadline = spec["progressDeadlineSeconds"];
    if (typeof deadline === "number" && deadline <= countAt(spec, "minReadySeconds"))
      faults.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
  },
  validateCreate: warnOfTemplate,
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") validateStatusCounts(object, old, faults, deploymentCounts);
    else {
      immutable(object, old, ["spec", "selector"], faults);
      warnIfNew(object, old, faults);
    }
  },
  columns: [
    column("Ready", (object) => `${countAt(object, "status", "readyReplicas")}/${countAt(object, "spec", "replicas")}`),
    column("Up-to-date", (object) => countAt(object, "status", "updatedReplicas")),
    column("Available", (object) => countAt(object, "status", "availableReplicas")),
    ...wideColumns,
  ],
};

const replicaSet: Behaviour = {
  complete: true,
  statusOnly: true,
  updateChecks: changeOnly,
  generation: true,
  defaults(object) {
    setDefault(specOf(object), "replicas", 1);
    defaultTemplate(object);
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    for (const field of ["replicas", "minReadySeconds"]) nonNegative(spec, field, "spec", faults);
    validateSelectedTemplate(spec, faults);
  },
  validateCreate: warnOfTemplate,
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") validateStatusCounts(object, old, faults, replicaCounts);
    else {
      immutable(object, old, ["spec", "selector"], faults);
      warnIfNew(object, old, faults);
    }
  },
  selectable: { "status.replicas": (object) => String(countAt(object, "status", "replicas")) },
  columns: [
    count("Desired", "spec", "replicas"),
    count("Current", "status", "replicas"),
    count("Ready", "status", "readyReplicas"),
    ...wideColumns,
  ],
};

const statefulSetChangeable = [
  "replicas",
  "ordinals",
  "template",
  "updateStrategy",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
  "minReadySeconds",
];

function validateStatefulSpec(spec: JsonObject, faults: Faults, skipsTemplate: boolean): void {
  const policy = asString(spec["podManagementPolicy"]);
  if (policy === "") faults.required("spec.podManagementPolicy");
  else if (policy !== "OrderedReady" && policy !== "Parallel")
    faults.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'");
  validateRollout("StatefulSet", spec["updateStrategy"], faults);
  const retention = spec["persistentVolumeClaimRetentionPolicy"];
  if (retention !== undefined)
    for (const field of ["whenDeleted", "whenScaled"])
      oneOf(at(retention, field), ["Retain", "Delete"], `spec.persistentVolumeClaimRetentionPolicy.${field}`, faults);
  for (const field of ["replicas", "minReadySeconds"]) nonNegative(spec, field, "spec", faults);
  const start = countAt(spec, "ordinals", "start");
  if (start < 0) faults.invalid("spec.ordinals.start", start, "must be greater than or equal to 0");
  validateStatefulTemplate(spec, faults, skipsTemplate);
}

const statefulSet: Behaviour = {
  nameFaults: labelFaults,
  complete: true,
  statusOnly: true,
  updateChecks: changeOnly,
  generation: true,
  defaults(object) {
    const spec = specOf(object);
    setDefaultText(spec, "podManagementPolicy", "OrderedReady");
    const strategy = ensureObject(spec, "updateStrategy");
    setDefaultText(strategy, "type", "RollingUpdate");
    if (strategy["type"] === "RollingUpdate") setDefault(ensureObject(strategy, "rollingUpdate"), "partition", 0);
    const retention = ensureObject(spec, "persistentVolumeClaimRetentionPolicy");
    setDefaultText(retention, "whenDeleted", "Retain");
    setDefaultText(retention, "whenScaled", "Retain");
    setDefault(spec, "replicas", 1);
    setDefault(spec, "revisionHistoryLimit", 10);
    for (const claim of asObjects(spec["volumeClaimTemplates"])) {
      claim["apiVersion"] = "v1";
      claim["kind"] = "PersistentVolumeClaim";
      setDefaultText(ensureObject(claim, "spec"), "volumeMode", "Filesystem");
      setDefaultText(ensureObject(claim, "status"), "phase", "Pending");
    }
    defaultTemplate(object);
  },
  validate(object, faults) {
    validateStatefulSpec(asObject(object["spec"]), faults, false);
  },
  validateCreate(object, faults) {
    const spec = asObject(object["spec"]);
    for (const [index, claim] of asObjects(spec["volumeClaimTemplates"]).entries())
      validateClaimSpec(asObject(claim["spec"]), `spec.volumeClaimTemplates[${index}].spec`, faults);
    optional(labelFaults, spec["serviceName"], "spec.serviceName", faults);
    warnOfTemplate(object, faults);
    warnOfClaims(object, faults);
  },
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") {
      validateStatusCounts(object, old, faults, statefulCounts);
      return;
    }
    warnIfNew(object, old, faults);
    const fixed = (one: JsonObject): JsonObject =>
      Object.fromEntries(
        Object.entries(asObject(one["spec"])).filter(([field]) => !statefulSetChangeable.includes(field)),
      );
    const names = statefulSetChangeable.map((name) => `'${name}'`);
    if (!equalJson(fixed(object), fixed(old)))
      faults.forbidden(
        "spec",
        `updates to statefulset spec for fields other than ${names.slice(0, -1).join(", ")} and ${names.at(-1)} are forbidden`,
      );
  },
  columns: [
    column("Ready", (object) => `${countAt(object, "status", "readyReplicas")}/${countAt(object, "spec", "replicas")}`),
    ...wideColumns.slice(0, 2),
  ],
};

const templateGeneration = "deprecated.daemonset.template.generation";

const daemonSet: Behaviour = {
  complete: true,
  statusOnly: true,
  updateChecks: changeOnly,
  generation: true,
  defaults(object) {
    const spec = specOf(object);
    const strategy = ensureObject(spec, "updateStrategy");
    setDefaultText(strategy, "type", "RollingUpdate");
    if (strategy["type"] === "RollingUpdate") {
      const rolling = ensureObject(strategy, "rollingUpdate");
      setDefault(rolling, "maxUnavailable", 1);
      setDefault(rolling, "maxSurge", 0);
    }
    setDefault(spec, "revisionHistoryLimit", 10);
    // Upstream's own struct has a number for it: it is there whoever sends a DaemonSet.
    setDefault(ensureObject(ensureObject(object, "metadata"), "annotations"), templateGeneration, "0");
    defaultTemplate(object);
  },
  prepare(object, old) {
    const annotations = ensureObject(ensureObject(object, "metadata"), "annotations");
    const before = Number(at(old, "metadata", "annotations", templateGeneration) ?? 0);
    const changed = old === undefined || !equalJson(at(object, "spec", "template"), at(old, "spec", "template"));
    annotations[templateGeneration] = String(changed ? before + 1 : before);
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    const { selector } = spec;
    const template = asObject(spec["template"]);
    validateSelector(selector, "spec.selector", faults);
    if (isSelector(selector)) validateMatch(selector, template, "spec.template", faults);
    if (selector !== undefined && isEmpty(selector))
      faults.invalid("spec.selector", {}, "empty selector is invalid for daemonset");
    validatePodTemplate(template, "spec.template", faults);
    validateEndlessTemplate(template, "spec.template", "DaemonSet", faults);
    nonNegative(spec, "minReadySeconds", "spec", faults);
    validateRollout("DaemonSet", spec["updateStrategy"], faults);
    nonNegative(spec, "revisionHistoryLimit", "spec", faults);
  },
  validateCreate: warnOfTemplate,
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") validateStatusCounts(object, old, faults, daemonCounts);
    else {
      immutable(object, old, ["spec", "selector"], faults);
      if (!equalJson(at(object, "spec", "template"), at(old, "spec", "template"))) warnOfTemplate(object, faults);
    }
  },
  columns: [
    count("Desired", "status", "desiredNumberScheduled"),
    count("Current", "status", "currentNumberScheduled"),
    count("Ready", "status", "numberReady"),
    count("Up-to-date", "status", "updatedNumberScheduled"),
    count("Available", "status", "numberAvailable"),
    column("Node Selector", (object) => nodeSelector(object)),
    ...wideColumns,
  ],
};

function nodeSelector(object: JsonObject): string {
  const selector = asObject(at(object, "spec", "template", "spec", "nodeSelector"));
  return isEmpty(selector) ? "<none>" : showSelector({ matchLabels: selector });
}

/** A ReplicationController's selector is a plain map of labels. */
function validateControllerTemplate(spec: JsonObject, faults: Faults): void {
  const selector = asObject(spec["selector"]);
  if (isEmpty(selector)) faults.required("spec.selector");
  if (spec["template"] === undefined) {
    faults.required("spec.template");
    return;
  }
  const template = asObject(spec["template"]);
  const labels = at(template, "metadata", "labels");
  if (Object.entries(selector).some(([key, value]) => at(labels, key) !== value))
    faults.invalid("spec.template.metadata.labels", sortedMap(labels), "`selector` does not match template `labels`");
  validatePodTemplate(template, "spec.template", faults);
  validateEndlessTemplate(template, "spec.template", "ReplicationController", faults);
}

/** Workloads of apps/v1 and their ancestor. */
export const workloadBehaviours: BehaviourTable = {
  "apps/Deployment": deployment,
  "apps/ReplicaSet": replicaSet,
  "apps/StatefulSet": statefulSet,
  "apps/DaemonSet": daemonSet,
  "apps/ControllerRevision": {
    complete: true,
    validateUpdate: (object, old, faults) => immutable(object, old, ["data"], faults),
    validate: (object, faults) => nonNegative(object, "revision", "", faults),
    validateCreate(object, faults) {
      const { data } = object;
      if (data === undefined || data === null) faults.required("data", "data is mandatory");
      else if (!isObject(data)) faults.required("data", "data must be a valid JSON object");
    },
    columns: [
      column("Controller", (object) => {
        const owner = asObjects(at(object, "metadata", "ownerReferences")).find((one) => one["controller"] === true);
        return owner === undefined
          ? "<none>"
          : `${asString(owner["kind"]).toLowerCase()}.apps/${asString(owner["name"])}`;
      }),
      column("Revision", (object) => countAt(object, "revision")),
    ],
  },
  "/ReplicationController": {
    checkedTwice: "spec",
    complete: true,
    statusOnly: true,
    generation: true,
    defaults(object) {
      const spec = specOf(object);
      setDefault(spec, "replicas", 1);
      const labels = at(spec, "template", "metadata", "labels");
      if (!isEmpty(labels)) {
        if (isEmpty(spec["selector"])) spec["selector"] = { ...asObject(labels) };
        const metadata = ensureObject(object, "metadata");
        if (isEmpty(metadata["labels"])) metadata["labels"] = { ...asObject(labels) };
      }
      defaultTemplate(object);
    },
    validate(object, faults) {
      const spec = asObject(object["spec"]);
      for (const field of ["replicas", "minReadySeconds"]) nonNegative(spec, field, "spec", faults);
      validateControllerTemplate(spec, faults);
    },
    validateCreate: warnOfTemplate,
    validateUpdate(object, old, faults, { subresource }) {
      if (subresource === "status") validateStatusCounts(object, old, faults, replicaCounts);
      else warnIfNew(object, old, faults);
    },
    columns: [
      count("Desired", "spec", "replicas"),
      count("Current", "status", "replicas"),
      count("Ready", "status", "readyReplicas"),
      ...wideColumns.slice(0, 2),
      column("Selector", (object) => showLabels(at(object, "spec", "selector")), { wide: true }),
    ],
  },
};

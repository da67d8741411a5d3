import type { JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable, Column } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { validateLabels } from "../registry/metadata.js";
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
import {
  alwaysRestarts,
  countAt,
  immutable,
  nonNegative,
  showContainers,
  showLabels,
  showSelector,
  validatePercent,
  validateTemplate,
} from "./common.js";
import { defaultPodSpec } from "./pod-defaults.js";
import { validatePodSpec } from "./pod-validation.js";

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

const isNone = (value: JsonObject[string]): boolean => value === 0 || value === "0%";

const deployment: Behaviour = {
  ownChecks: ["spec.template.spec.restartPolicy", "spec.strategy.type"],
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
    for (const field of ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"])
      nonNegative(spec, field, "spec", faults);
    validateTemplate(spec, "deployment", faults);
    alwaysRestarts(spec, faults);
    knownStrategy(spec, "strategy", ["Recreate", "RollingUpdate"], faults);
    validateRollingUpdate(asObject(spec["strategy"]), faults);
    const deadline = countAt(spec, "progressDeadlineSeconds");
    if (deadline <= countAt(spec, "minReadySeconds") && deadline !== 0)
      faults.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
  },
  validateUpdate: (object, old, faults) => immutable(object, old, ["spec", "selector"], faults),
  columns: [
    column("Ready", (object) => `${countAt(object, "status", "readyReplicas")}/${countAt(object, "spec", "replicas")}`),
    column("Up-to-date", (object) => countAt(object, "status", "updatedReplicas")),
    column("Available", (object) => countAt(object, "status", "availableReplicas")),
    ...wideColumns,
  ],
};

/** Upstream shows the whole struct, in Go's names. */
function knownStrategy(spec: JsonObject, field: string, known: readonly string[], faults: Faults): void {
  const type = asString(at(spec, field, "type"));
  if (!known.includes(type)) faults.unsupported(`spec.${field}`, { Type: type, RollingUpdate: null }, known);
}

function validateRollingUpdate(strategy: JsonObject, faults: Faults): void {
  const rolling = strategy["rollingUpdate"];
  if (strategy["type"] === "Recreate" && rolling !== undefined)
    faults.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'");
  if (rolling === undefined || strategy["type"] !== "RollingUpdate") return;
  const { maxUnavailable, maxSurge } = asObject(rolling);
  validatePercent(maxUnavailable, "spec.strategy.rollingUpdate.maxUnavailable", faults);
  validatePercent(maxSurge, "spec.strategy.rollingUpdate.maxSurge", faults);
  if (isNone(maxUnavailable) && isNone(maxSurge))
    faults.invalid("spec.strategy.rollingUpdate.maxUnavailable", maxUnavailable, "may not be 0 when `maxSurge` is 0");
}

const replicaSet: Behaviour = {
  ownChecks: ["spec.template.spec.restartPolicy", "spec.updateStrategy.type"],
  generation: true,
  defaults(object) {
    setDefault(specOf(object), "replicas", 1);
    defaultTemplate(object);
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    for (const field of ["replicas", "minReadySeconds"]) nonNegative(spec, field, "spec", faults);
    validateTemplate(spec, "deployment", faults);
    alwaysRestarts(spec, faults);
  },
  validateUpdate: (object, old, faults) => immutable(object, old, ["spec", "selector"], faults),
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

const statefulSet: Behaviour = {
  ownChecks: ["spec.template.spec.restartPolicy", "spec.updateStrategy.type", "spec.podManagementPolicy"],
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
      setDefaultText(claim, "apiVersion", "v1");
      setDefaultText(claim, "kind", "PersistentVolumeClaim");
      setDefaultText(ensureObject(claim, "spec"), "volumeMode", "Filesystem");
      setDefaultText(ensureObject(claim, "status"), "phase", "Pending");
    }
    defaultTemplate(object);
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    for (const field of ["replicas", "minReadySeconds"]) nonNegative(spec, field, "spec", faults);
    knownStrategy(spec, "updateStrategy", ["RollingUpdate", "OnDelete"], faults);
    const policy = asString(spec["podManagementPolicy"]);
    if (policy !== "OrderedReady" && policy !== "Parallel")
      faults.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'");
    nonNegative(
      asObject(at(spec, "updateStrategy", "rollingUpdate")),
      "partition",
      "spec.updateStrategy.rollingUpdate",
      faults,
    );
    validateTemplate(spec, "statefulset", faults);
    alwaysRestarts(spec, faults);
  },
  validateUpdate(object, old, faults) {
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
  ownChecks: ["spec.template.spec.restartPolicy", "spec.updateStrategy.type"],
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
    for (const field of ["minReadySeconds", "revisionHistoryLimit"]) nonNegative(spec, field, "spec", faults);
    knownStrategy(spec, "updateStrategy", ["RollingUpdate", "OnDelete"], faults);
    validateTemplate(spec, "daemonset", faults);
    alwaysRestarts(spec, faults);
  },
  validateUpdate: (object, old, faults) => immutable(object, old, ["spec", "selector"], faults),
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
  const labels = asObject(at(template, "metadata", "labels"));
  if (Object.entries(selector).some(([key, value]) => labels[key] !== value))
    faults.invalid(
      "spec.template.metadata.labels",
      at(template, "metadata", "labels") ?? null,
      "`selector` does not match template `labels`",
    );
  validateLabels(labels, "spec.template.labels", faults);
  validatePodSpec(asObject(template["spec"]), "spec.template.spec", faults);
  alwaysRestarts(spec, faults);
  if (at(template, "spec", "activeDeadlineSeconds") !== undefined)
    faults.forbidden(
      "spec.template.spec.activeDeadlineSeconds",
      "activeDeadlineSeconds in ReplicationController is not Supported",
    );
}

/** Workloads of apps/v1 and their ancestor. */
export const workloadBehaviours: BehaviourTable = {
  "apps/Deployment": deployment,
  "apps/ReplicaSet": replicaSet,
  "apps/StatefulSet": statefulSet,
  "apps/DaemonSet": daemonSet,
  "apps/ControllerRevision": {
    validateUpdate: (object, old, faults) => immutable(object, old, ["data"], faults),
    validate: (object, faults) => nonNegative(object, "revision", "", faults),
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
    columns: [
      count("Desired", "spec", "replicas"),
      count("Current", "status", "replicas"),
      count("Ready", "status", "readyReplicas"),
      ...wideColumns.slice(0, 2),
      column("Selector", (object) => showLabels(at(object, "spec", "selector")), { wide: true }),
    ],
  },
};

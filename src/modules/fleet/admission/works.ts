import { Faults, type Json, type JsonObject } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { cloneObject, isObject } from "../../../kernel/schema/index.js";
import { ClusterResourceBindingKind, ResourceBindingKind } from "../bindings/kinds.js";
import { WorkKind } from "../kinds.js";
import { KARMADA } from "../names.js";
import {
  ACCEPTED,
  deniedFor,
  isUntouched,
  labelOf,
  metadataOf,
  objectIn,
  objectsIn,
  setLabel,
  textIn,
} from "./denial.js";

/** Label of a Work, and of what it carries: its identifier for life. */
export const WORK_ID = "work.karmada.io/permanent-id";
const DEPENDENCIES = "resourcebinding.karmada.io/dependencies";
const BINDINGS = [
  { kind: ResourceBindingKind, idLabel: "resourcebinding.karmada.io/permanent-id" },
  { kind: ClusterResourceBindingKind, idLabel: "clusterresourcebinding.karmada.io/permanent-id" },
] as const;

/** What a server fills in, and no other server must be told. */
const SERVER_FIELDS = [
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "generation",
  "managedFields",
  "resourceVersion",
  "selfLink",
  "uid",
  "ownerReferences",
  "finalizers",
] as const;

/** Completes Works and bindings: identifiers, and manifests without what only one server can mean. */
export function workAdmission(): ModuleAdmission[] {
  return [
    {
      kind: WorkKind,
      level: "continuum",
      complete: (object, _old, { uuid }) => {
        if (labelOf(object, WORK_ID) === "") setLabel(object, WORK_ID, uuid());
        const workload = objectIn(objectIn(object, "spec"), "workload");
        for (const manifest of objectsIn(workload, "manifests")) {
          prune(manifest);
          mark(manifest, labelOf(object, WORK_ID));
        }
      },
    },
    ...BINDINGS.map(
      ({ kind, idLabel }): ModuleAdmission => ({
        kind,
        level: "continuum",
        complete: (object, old, { uuid }) => {
          if (old === undefined && labelOf(object, idLabel) === "") setLabel(object, idLabel, uuid());
        },
        ...(kind === ResourceBindingKind
          ? { review: async (object, old) => (isUntouched(object, old) ? ACCEPTED : bindingReview(object)) }
          : {}),
      }),
    ),
  ];
}

/** A manifest as the hub keeps it in a Work with this identifier: whoever compares what he wants with what is there compares with this. */
export function keptManifest(manifest: JsonObject, workId: string): JsonObject {
  const kept = cloneObject(manifest);
  prune(kept);
  mark(kept, workId);
  return kept;
}

function bindingReview(object: JsonObject): ReturnType<typeof deniedFor> {
  const faults = new Faults();
  const text = objectIn(metadataOf(object), "annotations")[DEPENDENCIES];
  if (typeof text === "string" && !isListOfObjects(text))
    faults.invalid(`metadata.annotations.${DEPENDENCIES}`, text, "annotation value must be a valid JSON");
  return deniedFor("resourcebinding.karmada.io", faults);
}

function isListOfObjects(text: string): boolean {
  try {
    const value: Json = JSON.parse(text);
    return value === null || (Array.isArray(value) && value.every(isObject));
  } catch {
    return false;
  }
}

function prune(manifest: JsonObject): void {
  const metadata = metadataOf(manifest);
  for (const field of SERVER_FIELDS) delete metadata[field];
  delete manifest["status"];
  pruners[textIn(manifest, "kind")]?.(manifest);
}

/** What servers fill in by kind. */
const pruners: Readonly<Record<string, (manifest: JsonObject) => void>> = {
  Deployment: (manifest) => {
    const annotations = objectIn(metadataOf(manifest), "annotations");
    delete annotations["deployment.kubernetes.io/revision"];
    delete annotations["deployment.kubernetes.io/revision-history"];
  },
  Job: (manifest) => {
    const spec = objectIn(manifest, "spec");
    // A member that removes a finished Job would have it made anew from here.
    delete spec["ttlSecondsAfterFinished"];
    if (spec["manualSelector"] === true) return;
    const selected = objectIn(objectIn(spec, "selector"), "matchLabels");
    const labels = objectIn(objectIn(objectIn(spec, "template"), "metadata"), "labels");
    for (const key of ["controller-uid", "batch.kubernetes.io/controller-uid"]) {
      delete selected[key];
      delete labels[key];
    }
    for (const key of ["job-name", "batch.kubernetes.io/job-name"]) delete labels[key];
  },
  Secret: (manifest) => {
    if (manifest["type"] !== "kubernetes.io/service-account-token") return;
    delete objectIn(metadataOf(manifest), "annotations")["kubernetes.io/service-account.uid"];
    delete manifest["data"];
  },
  ServiceAccount: (manifest) => {
    const own = `${textIn(metadataOf(manifest), "name")}-token-`;
    if (Array.isArray(manifest["secrets"]))
      manifest["secrets"] = objectsIn(manifest, "secrets").filter((secret) => !textIn(secret, "name").startsWith(own));
  },
  Service: (manifest) => {
    const spec = objectIn(manifest, "spec");
    if (textIn(spec, "clusterIP") === "" || spec["clusterIP"] === "None") return;
    delete spec["clusterIP"];
    delete spec["clusterIPs"];
  },
  PersistentVolumeClaim: (manifest) => {
    delete objectIn(metadataOf(manifest), "annotations")["volume.kubernetes.io/selected-node"];
  },
};

/** Names the labels and annotations that come from the hub, so that in the member others may add theirs. */
function mark(manifest: JsonObject, id: string): void {
  setLabel(manifest, WORK_ID, id);
  const metadata = metadataOf(manifest);
  const names = (field: string, besides: readonly string[]): string =>
    [...new Set([...Object.keys(objectIn(metadata, field)), ...besides])].sort().join(",");
  metadata["annotations"] = {
    ...objectIn(metadata, "annotations"),
    [KARMADA.managedAnnotations]: names("annotations", [KARMADA.managedAnnotations, KARMADA.managedLabels]),
    [KARMADA.managedLabels]: names("labels", []),
  };
}

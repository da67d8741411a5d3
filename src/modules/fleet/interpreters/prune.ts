import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { valueAt, withValueAt } from "./fields.js";

/** Metadata that a server fills in, or that is about one server only. */
const OWN_METADATA: ReadonlySet<string> = new Set([
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
]);

/** Labels that a Job's controller puts on its pods. */
const JOB_LABELS = ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/**
 * An object without what is true of it in the hub only: identity, status, what servers and controllers filled in. The rest is shared with the given
 * one, which stays as it is.
 */
export function withoutIrrelevant(object: JsonObject): JsonObject {
  const { status: _status, ...rest } = object;
  const { metadata } = rest;
  if (isObject(metadata)) rest["metadata"] = ownOf(metadata);
  return PRUNERS[asString(object["kind"])]?.(rest) ?? rest;
}

function ownOf(metadata: JsonObject): JsonObject {
  const own: JsonObject = {};
  for (const [field, value] of Object.entries(metadata))
    if (!OWN_METADATA.has(field) && value !== undefined) own[field] = value;
  return own;
}

type Prune = (object: JsonObject) => JsonObject;

function without(object: JsonObject, path: readonly string[]): JsonObject {
  return withValueAt(object, path, undefined);
}

const pruneDeployment: Prune = (object) =>
  ["deployment.kubernetes.io/revision", "deployment.kubernetes.io/revision-history"].reduce(
    (copy, name) => without(copy, ["metadata", "annotations", name]),
    object,
  );

const pruneJob: Prune = (object) => {
  // The member would delete the Job, and the hub make it anew.
  let job = without(object, ["spec", "ttlSecondsAfterFinished"]);
  if (valueAt(object, ["spec", "manualSelector"]) === true) return job;
  for (const label of JOB_LABELS) {
    job = without(job, ["spec", "selector", "matchLabels", label]);
    job = without(job, ["spec", "template", "metadata", "labels", label]);
  }
  return job;
};

const pruneService: Prune = (object) => {
  const address = valueAt(object, ["spec", "clusterIP"]);
  if (address === undefined || address === "None") return object;
  return without(without(object, ["spec", "clusterIP"]), ["spec", "clusterIPs"]);
};

const pruneSecret: Prune = (object) =>
  object["type"] === "kubernetes.io/service-account-token"
    ? without(without(object, ["metadata", "annotations", "kubernetes.io/service-account.uid"]), ["data"])
    : object;

const pruneAccount: Prune = (object) => {
  const prefix = `${asString(asObject(object["metadata"])["name"])}-token-`;
  const secrets = asObjects(object["secrets"]);
  const made = secrets.filter((secret) => asString(secret["name"]).startsWith(prefix));
  return made.length === 0
    ? object
    : withValueAt(
        object,
        ["secrets"],
        secrets.filter((secret) => !made.includes(secret)),
      );
};

const pruneClaim: Prune = (object) =>
  without(object, ["metadata", "annotations", "volume.kubernetes.io/selected-node"]);

const PRUNERS: Readonly<Record<string, Prune>> = {
  Deployment: pruneDeployment,
  Job: pruneJob,
  Secret: pruneSecret,
  Service: pruneService,
  ServiceAccount: pruneAccount,
  PersistentVolumeClaim: pruneClaim,
};

/** Names of the annotations and labels that the hub gives an object, so that what it takes back later goes from members too. */
const MANAGED_ANNOTATIONS = "resourcetemplate.karmada.io/managed-annotations";
const MANAGED_LABELS = "resourcetemplate.karmada.io/managed-labels";
/** Label of a Work and of what it carries. */
export const WORK_ID = "work.karmada.io/permanent-id";

/** A manifest as a Work stores it: pruned, with the Work's permanent id, and with the names of its own labels and annotations. */
export function asManifest(object: JsonObject, permanentId: string): JsonObject {
  const pruned = withoutIrrelevant(object);
  const metadata = isObject(pruned["metadata"]) ? pruned["metadata"] : {};
  const labels: JsonObject = {
    ...asObject(metadata["labels"]),
    ...(permanentId === "" ? {} : { [WORK_ID]: permanentId }),
  };
  const { [MANAGED_ANNOTATIONS]: _a, [MANAGED_LABELS]: _l, ...annotations } = asObject(metadata["annotations"]);
  return {
    ...pruned,
    metadata: {
      ...metadata,
      ...(Object.keys(labels).length === 0 ? {} : { labels }),
      annotations: {
        ...annotations,
        [MANAGED_ANNOTATIONS]: inOrder([MANAGED_ANNOTATIONS, MANAGED_LABELS, ...Object.keys(annotations)]),
        [MANAGED_LABELS]: inOrder(Object.keys(labels)),
      },
    },
  };
}

/** The last lists of names as they were given: most objects of a hub have the same. */
const ordered = new Map<string, string>();
const maxOrdered = 64;

/** Sorted, with commas. */
function inOrder(names: readonly string[]): string {
  const given = names.join("\n");
  const known = ordered.get(given);
  if (known !== undefined) return known;
  const text = names.toSorted().join(",");
  const [oldest] = ordered.keys();
  if (ordered.size >= maxOrdered && oldest !== undefined) ordered.delete(oldest);
  ordered.set(given, text);
  return text;
}

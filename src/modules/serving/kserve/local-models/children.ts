/** What a local model is made of: a volume and a claim in a namespace, jobs on nodes. Pure. */
import { posix } from "node:path";
import type { JsonObject, KubeObject, Node, PersistentVolume } from "../../../../kernel/kinds/index.js";
import { ownerReferenceTo } from "../../../../kernel/kinds/index.js";
import { toJson, toJsonObject } from "../../../../kernel/schema/index.js";
import { MODEL_SERVER_IMAGE } from "../../images.js";
import { fetcherOf, type StorageAccess } from "../storage.js";
import type { LocalModelNodeGroup } from "../storage-kinds.js";
import { JOBS_NAMESPACE, jobName, KEY_LABEL, NODE_LABEL, nodeMark, volumeName, WORK_LABEL } from "./names.js";
import { baseFolder, type PlacedModel } from "./plan.js";

const MODELS = "/mnt/models";

/** A model in a namespace. */
export interface ModelVolume {
  readonly key: string;
  readonly namespace: string;
  readonly group: LocalModelNodeGroup;
  /** Its pods may only read it: a model of all namespaces is no namespace's to change. */
  readonly isReadOnly: boolean;
}

const modesOf = ({ isReadOnly }: ModelVolume): JsonObject => (isReadOnly ? { accessModes: ["ReadOnlyMany"] } : {});

/** The volume: the model's own folder below the group's, so that who mounts it sees no other model. */
export function volumeOf(volume: ModelVolume): JsonObject {
  const { key, namespace, group } = volume;
  const name = volumeName(key, group.metadata.name, namespace);
  const { local: _, hostPath: __, claimRef: ___, ...rest } = toJsonObject(group.spec.persistentVolumeSpec);
  return {
    metadata: { name, labels: { [KEY_LABEL]: key } },
    spec: {
      ...rest,
      ...modesOf(volume),
      hostPath: { path: `${baseFolder(group) ?? ""}/models/${key}`, type: "DirectoryOrCreate" },
      claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace, name },
      // Its files are removed by a job on each node.
      persistentVolumeReclaimPolicy: "Retain",
    },
  };
}

/** The claim for it. */
export function claimOf(volume: ModelVolume): JsonObject {
  const { key, namespace, group } = volume;
  const name = volumeName(key, group.metadata.name, namespace);
  return {
    metadata: { name, namespace, labels: { [KEY_LABEL]: key } },
    spec: { ...toJsonObject(group.spec.persistentVolumeClaimSpec), ...modesOf(volume), volumeName: name },
  };
}

interface Removal {
  readonly key: string;
  /** Of the volume and of its claim. */
  readonly name: string;
}

/** The volume by which a model is removed, folder and all: what that folder lies in. */
export function removalVolumeOf({ spec }: PersistentVolume, { key, name }: Removal): JsonObject {
  const claimRef = { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace: JOBS_NAMESPACE, name };
  const hostPath = { path: posix.dirname(spec.hostPath?.path ?? ""), type: "DirectoryOrCreate" };
  return {
    metadata: { name, labels: { [KEY_LABEL]: key } },
    spec: { ...toJsonObject(spec), hostPath, accessModes: ["ReadWriteOnce"], claimRef },
  };
}

/** The claim for it. */
export function removalClaimOf({ spec }: PersistentVolume, { key, name }: Removal): JsonObject {
  const { capacity = {}, storageClassName } = toJsonObject(spec);
  return {
    metadata: { name, namespace: JOBS_NAMESPACE, labels: { [KEY_LABEL]: key } },
    spec: {
      accessModes: ["ReadWriteOnce"],
      ...(storageClassName === undefined ? {} : { storageClassName }),
      resources: { requests: capacity },
      volumeName: name,
    },
  };
}

/** A job on a node. */
interface NodeJob {
  readonly node: Node;
  readonly namespace: string;
  readonly owner: KubeObject;
}

/** The job that brings a model to a node; its size is the most that it may bring. */
export function fetchJob(
  { model, group }: PlacedModel,
  { node, namespace, owner, access }: NodeJob & { readonly access: StorageAccess },
): JsonObject {
  const { container, volumes } = fetcherOf(model.uri, {
    name: "storage-initializer",
    target: { mountPath: MODELS, mount: { name: "local-models", mountPath: MODELS } },
    image: MODEL_SERVER_IMAGE,
    access,
    maxBytes: model.bytes,
  });
  const claim = volumeName(model.key, group.name, namespace);
  return jobOf(
    "fetch",
    { key: model.key, claim },
    { node, namespace, owner },
    {
      serviceAccountName: model.account,
      containers: [container],
      volumes,
    },
  );
}

/** The job that removes a model's files from a node. */
export function removeJob(model: { readonly key: string; readonly claim: string }, on: NodeJob): JsonObject {
  return jobOf("remove", model, on, {
    containers: [
      {
        name: "remove-model",
        image: MODEL_SERVER_IMAGE,
        imagePullPolicy: "IfNotPresent",
        args: ["--clear", posix.join(MODELS, model.key)],
        terminationMessagePolicy: "FallbackToLogsOnError",
        volumeMounts: [{ name: "local-models", mountPath: MODELS }],
      },
    ],
    volumes: [],
  });
}

function jobOf(
  work: "fetch" | "remove",
  { key, claim }: { readonly key: string; readonly claim: string },
  { node, namespace, owner }: NodeJob,
  pod: { readonly containers: JsonObject[]; readonly volumes: JsonObject[]; readonly serviceAccountName?: string },
): JsonObject {
  const mark = nodeMark(node.metadata.uid);
  const labels = { [KEY_LABEL]: key, [NODE_LABEL]: mark, [WORK_LABEL]: work };
  return {
    metadata: {
      name: jobName(work, key, mark),
      ...{ namespace, labels },
      ownerReferences: [toJson(ownerReferenceTo(owner))],
    },
    spec: {
      backoffLimit: 2,
      template: {
        metadata: { labels },
        spec: {
          ...pod,
          volumes: [{ name: "local-models", persistentVolumeClaim: { claimName: claim } }, ...pod.volumes],
          nodeName: node.metadata.name,
          restartPolicy: "Never",
          automountServiceAccountToken: false,
          tolerations: [{ operator: "Exists" }],
        },
      },
    },
  };
}

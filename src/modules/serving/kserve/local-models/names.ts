/** Names of what local models are made of. */
import { createHash } from "node:crypto";

/** The field manager of everything here. */
export const LOCAL_MODELS = "local-models";
/** Where the models of LocalModelCaches are downloaded; KServe's name for it. */
export const JOBS_NAMESPACE = "kserve-localmodel-jobs";
/** On jobs, claims and volumes: which model. */
export const KEY_LABEL = "localmodel.serving.argosy.dev/key";
/** On jobs: which node, by `nodeMark`. */
export const NODE_LABEL = "localmodel.serving.argosy.dev/node";
/** On jobs: what they do. */
export const WORK_LABEL = "localmodel.serving.argosy.dev/work";

/** Annotation of a LocalModelNode: what is being taken away from it. */
export const LEAVING = "localmodel.serving.argosy.dev/leaving";
/** Annotation of a LocalModelNodeGroup: how much of its space the models of one namespace may take; default: half of it. */
export const NAMESPACE_LIMIT = "serving.argosy.dev/storage-limit-per-namespace";

const hashOf = (text: string, length: number): string =>
  createHash("sha256").update(text).digest("hex").slice(0, length);

/** Names a model's folder: for all namespaces by its URI, as KServe does; that of one namespace is nobody else's. */
export const modelKey = (uri: string, namespace: string | undefined): string =>
  hashOf(namespace === undefined ? uri : `${namespace}\0${uri}`, 16);

/** The label of nodes that have a model. */
export const presenceLabel = (key: string): string => `localmodel.serving.argosy.dev/${key}`;

/** A node as it is now: one that is made again under its name has nothing. */
export const nodeMark = (uid: string): string => hashOf(uid, 10);

/** The job that brings a model to a node, or takes it away. */
export const jobName = (work: "fetch" | "remove", key: string, mark: string): string =>
  `localmodel-${work}-${key}-${mark}`;

/** Volume and claim of a model in a namespace. */
export const volumeName = (key: string, group: string, namespace: string): string =>
  `localmodel-${key}-${hashOf(`${group}\0${namespace}`, 10)}`;

/** Volume and claim by which a model is removed. */
export const removalVolumeName = (key: string, group: string): string =>
  volumeName(key, `${group}\0remove`, JOBS_NAMESPACE);

/** Under which name a model stands in a LocalModelNode's status. */
export const statusName = (name: string, namespace: string | undefined): string =>
  namespace === undefined ? name : `${namespace}/${name}`;

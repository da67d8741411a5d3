/** For tests: the module in a cluster in memory, with pods and answers that are told. */
import type { Deployment, JsonObject, KindDefinition } from "../../../kernel/kinds/index.js";
import { DeploymentKind, PodKind } from "../../../kernel/kinds/index.js";
import { type Stage, startStage } from "../stage.fixture.js";
import type { InferenceService } from "./inference-service-kind.js";
import { InferenceServiceKind } from "./inference-service-kind.js";
import { ClusterServingRuntimeKind, ServingRuntimeKind } from "./runtime-kinds.js";
import {
  ClusterStorageContainerKind,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  LocalModelNodeGroupKind,
  LocalModelNodeKind,
  TrainedModelKind,
} from "./storage-kinds.js";

export const namespace = "models";

export type Setup = Stage;

/** The others' shapes are large, and have no part in this. */
const KINDS = [
  InferenceServiceKind,
  ServingRuntimeKind,
  ClusterServingRuntimeKind,
  ClusterStorageContainerKind,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  LocalModelNodeKind,
  LocalModelNodeGroupKind,
  TrainedModelKind,
];

/** Starts the module in a cluster of its own, with the controllers of InferenceServices and of more kinds. */
export function startServing(more: readonly KindDefinition[] = []): Promise<Setup> {
  const kinds = [...new Set([...KINDS, ...more])];
  const served = new Set(kinds.map(({ kind }) => kind));
  return startStage({ namespace, kinds, isWanted: (spec) => served.has(spec.kind.kind) });
}

/** Applies an InferenceService as a user does. */
export const applyService = (cluster: Setup, name: string, spec: JsonObject, metadata: JsonObject = {}) =>
  cluster.client
    .resource(InferenceServiceKind)
    .apply({ metadata: { ...metadata, name, namespace }, spec }, { fieldManager: "user", force: true, namespace });

/** The InferenceService once it looks as wanted. */
export function until(
  cluster: Setup,
  name: string,
  wanted: (service: InferenceService) => boolean,
): Promise<InferenceService> {
  const informer = cluster.informers.informer(InferenceServiceKind);
  return new Promise((resolve) => {
    const check = (): void => {
      const service = informer.get({ namespace, name });
      if (service !== undefined && wanted(service)) {
        remove();
        resolve(service);
      }
    };
    const remove = informer.onChange(check);
    setImmediate(check);
  });
}

/** A condition's status and reason: `True Answers`. */
export function conditionOf(service: InferenceService, type: string): string {
  const found = service.status?.conditions?.find((condition) => condition.type === type);
  return found === undefined ? "absent" : `${found.status} ${found.reason ?? ""}`;
}

/** The Deployment once it is there and as wanted. */
export async function deploymentOf(
  cluster: Setup,
  name: string,
  wanted: (deployment: Deployment) => boolean = () => true,
): Promise<Deployment> {
  for (;;) {
    const found = await cluster.client.resource(DeploymentKind).find(name, { namespace });
    if (found !== undefined && wanted(found)) return found;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Stands in for the Deployment controller and the kubelet: all its pods are new, `ready` of them are ready. */
export async function settle(cluster: Setup, name: string, ready?: number): Promise<void> {
  const { metadata, spec } = await deploymentOf(cluster, name);
  const replicas = spec.replicas ?? 1;
  const readyReplicas = ready ?? replicas;
  const status = {
    ...{ observedGeneration: metadata.generation ?? 1, replicas, updatedReplicas: replicas },
    ...{ readyReplicas, availableReplicas: readyReplicas },
  };
  await cluster.client.resource(DeploymentKind).patch(name, "merge", { status }, { namespace, subresource: "status" });
}

/** A pod of a Deployment that says how it is. */
export async function addPod(cluster: Setup, name: string, deployment: Deployment, status: JsonObject): Promise<void> {
  const template = JSON.parse(JSON.stringify(deployment.spec.template));
  const pods = cluster.client.resource(PodKind);
  await pods.create(
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace, labels: template.metadata.labels },
      spec: {
        containers: [{ name: "kserve-container", image: "x", args: template.spec.containers[0].args ?? [] }],
        initContainers: [{ name: "storage-initializer", image: "x" }],
      },
    },
    { namespace },
  );
  await pods.patch(name, "merge", { status }, { namespace, subresource: "status" });
}

/** Says that a host answers. */
export function answer(cluster: Setup, ...names: string[]): void {
  for (const name of names)
    cluster.answers.set(`${name}.${namespace}.cloud.argosy.localhost`, { status: 200, body: "{}" });
}

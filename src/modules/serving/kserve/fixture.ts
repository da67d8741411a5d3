/** For tests: the module in a cluster in memory, with pods and answers that are told. */
import { checksOf } from "../../../cluster/apiserver/index.js";
import { systemClock } from "../../../kernel/clock/index.js";
import { createManager } from "../../../kernel/control/index.js";
import type { Deployment, JsonObject, KindDefinition } from "../../../kernel/kinds/index.js";
import { DeploymentKind, PodKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { memoryLedger } from "../../../stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { createServingModule, type ProbeResult } from "../index.js";
import type { InferenceService } from "./inference-service-kind.js";
import { InferenceServiceKind } from "./inference-service-kind.js";
import { ClusterServingRuntimeKind, ServingRuntimeKind } from "./runtime-kinds.js";
import {
  ClusterStorageContainerKind,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  LocalModelNodeGroupKind,
  LocalModelNodeKind,
} from "./storage-kinds.js";

export const namespace = "models";

/** The agent's identity: it has the rights that the module asks for, and no more. */
const AGENT = { token: "agent-token", user: { username: "argosy:agent", groups: ["system:authenticated"] } };

export interface Setup extends TestCluster {
  /** Host → what it answers; others answer as a gateway without such a route. */
  readonly answers: Map<string, ProbeResult>;
  readonly asked: string[];
  readonly ledger: ReturnType<typeof memoryLedger>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

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
];

/** Starts the module in a cluster of its own, with the controllers of InferenceServices and of more kinds. */
export async function startServing(more: readonly KindDefinition[] = []): Promise<Setup> {
  const kinds = [...new Set([...KINDS, ...more])];
  const served = new Set(kinds.map(({ kind }) => kind));
  const answers = new Map<string, ProbeResult>();
  const asked: string[] = [];
  const ledger = memoryLedger({ clock: systemClock });
  const module = createServingModule({
    ledger,
    probe: async (url) => {
      asked.push(url);
      return answers.get(new URL(url).hostname) ?? { status: 404, body: "no such host", gateway: "NoRoute" };
    },
    address: ({ name }) => ({ domain: `${name}.argosy.localhost`, port: 8081 }),
  });
  const admission = (module.admission ?? []).filter(({ level }) => level === "cluster");
  const cluster: TestCluster = await startTestCluster({
    name: "cloud",
    kinds,
    tokens: [AGENT],
    checks: checksOf(admission, () => cluster),
  });
  await grant(cluster, JSON.parse(JSON.stringify(module.rules.cluster ?? [])));
  const run = () => {
    const agent = cluster.as(AGENT.token);
    const manager = createManager({ cluster: agent, clock: systemClock, random: cluster.random, log: silentLogger });
    for (const spec of module.controllers("cluster", agent)) if (served.has(spec.kind.kind)) manager.add(spec);
    manager.start();
    return manager;
  };
  await cluster.client.json("POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: namespace },
  });
  let manager = run();
  return {
    ...cluster,
    answers,
    asked,
    ledger,
    restart: async () => {
      await manager.close();
      manager = run();
    },
    stop: async () => {
      await manager.close();
      await cluster.close();
    },
  };
}

async function grant(cluster: TestCluster, rules: JsonObject[]): Promise<void> {
  const apiVersion = "rbac.authorization.k8s.io/v1";
  const metadata = { name: "agent" };
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "agent" };
  const subjects = [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: AGENT.user.username }];
  await cluster.client.json("POST", `/apis/${apiVersion}/clusterroles`, {
    apiVersion,
    kind: "ClusterRole",
    metadata,
    rules,
  });
  await cluster.client.json("POST", `/apis/${apiVersion}/clusterrolebindings`, {
    ...{ apiVersion, kind: "ClusterRoleBinding", metadata, roleRef, subjects },
  });
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

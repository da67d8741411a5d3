import { checksOf } from "../../../../src/cluster/apiserver/index.js";
import { workloadControllers } from "../../../../src/cluster/workloads/index.js";
import type { ApiClient } from "../../../../src/kernel/client/index.js";
import { type Random, seededRandom, systemClock } from "../../../../src/kernel/clock/index.js";
import type { ClusterAccess } from "../../../../src/kernel/control/index.js";
import { defineKind, type KindDefinition, toCrd } from "../../../../src/kernel/kinds/index.js";
import type { JsonObject } from "../../../../src/kernel/kinds/object.js";
import { s } from "../../../../src/kernel/schema/index.js";
import { fnv1a } from "../../../../src/modules/fleet/placement/hash.js";
import { memoryLedger } from "../../../../src/stores/ledger/index.js";
import { installKinds, startTestCluster } from "../../../../src/testing/index.js";
import { startStack } from "../../../../src/testing/real-stack.js";
import { type Built, joinKarmada, startKarmada } from "../../home/karmada.js";
import { addMember, adminOf, type Ends, endAll, kindsOf, moduleFor, runControllers } from "../sides.js";
import { FLEET_GROUP } from "./templates.js";
import { MEMBERS } from "./types.js";

/** A hub that carries out Karmada's policies, and its members, in which nothing runs. */
export interface FleetSide {
  readonly name: "karmada" | "argosy";
  readonly hub: ApiClient;
  readonly members: ReadonlyMap<string, ApiClient>;
  /** Whether all its programs run. */
  isAlive(): boolean;
  close(): Promise<void>;
}

const customKind = (kind: string): KindDefinition =>
  defineKind({
    group: FLEET_GROUP,
    version: "v1",
    kind,
    plural: `${kind.toLowerCase()}s`,
    description: "test",
    spec: s.preserveUnknown(),
    status: s.preserveUnknown().optional(),
  });
const [widget, gizmo] = [customKind("Widget"), customKind("Gizmo")];
const kindsIn = (member: string): KindDefinition[] => (member === "member4" ? [gizmo] : [widget, gizmo]);

const gates = "Failover=true,PropagationPolicyPreemption=true";
const pace = { "kube-api-qps": "200", "kube-api-burst": "400" };
const FLAGS = {
  controllers: {
    ...pace,
    "cluster-api-qps": "200",
    "cluster-api-burst": "400",
    "feature-gates": gates,
    "enable-no-execute-taint-eviction": "true",
    "resource-eviction-rate": "50",
    "cluster-status-update-frequency": "1s",
    "cluster-failure-threshold": "3s",
    "cluster-success-threshold": "3s",
  },
  scheduler: { ...pace, "feature-gates": gates },
  webhook: { "allow-no-execute-taint-policy": "true", "feature-gates": gates },
};

/** A Node; a status that a kubelet would write is written by the world. */
const nodeOf = (index: number): JsonObject => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: `node${index + 1}` },
});

async function makeNodes(client: ApiClient): Promise<void> {
  for (const index of [0, 1]) await client.json("POST", "/api/v1/nodes", nodeOf(index));
  const headers = { "content-type": "application/merge-patch+json" };
  for (const index of [0, 1])
    await client.json("PATCH", `/api/v1/nodes/node${index + 1}`, { spec: { taints: null } }, { headers });
}

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** A real Karmada with real members: API servers only. */
export async function startRealFleet(built: Built): Promise<FleetSide> {
  const ends: Ends = [];
  try {
    const kinds = [widget, gizmo].map((kind) => ({
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `${kind.plural}.${kind.group}` },
      spec: toCrd(kind)["spec"],
    }));
    const starts = await Promise.allSettled([
      startKarmada(built, { ...FLAGS, kinds }),
      ...MEMBERS.map(() => startStack(built.plane)),
    ]);
    const [karmada, ...stacks] = starts;
    for (const start of starts) if (start.status === "fulfilled") ends.push(() => start.value.close());
    for (const start of starts) if (start.status === "rejected") throw start.reason;
    if (karmada.status !== "fulfilled") throw new Error("no Karmada");
    const members = new Map<string, ApiClient>();
    for (const [index, name] of MEMBERS.entries()) {
      const start = stacks[index];
      if (start?.status !== "fulfilled") continue;
      const { client } = adminOf(name, start.value, ends);
      members.set(name, client);
      await installKinds(client, kindsIn(name));
      await makeNodes(client);
      const { url, caPem, token } = start.value;
      await joinKarmada(karmada.value.client, { name, url, caPem, token });
    }
    const { client: hub } = karmada.value;
    const pids = karmada.value.pids();
    return { name: "karmada", hub, members, isAlive: () => pids.every(runs), close: () => endAll(ends) };
  } catch (error) {
    await endAll(ends);
    throw error;
  }
}

/** Chance of which the identifiers can be steered: of equal weights it is their hash that decides. */
export class SteeredRandom implements Random {
  readonly #random = seededRandom(1);
  /** Whether hashes of identifiers are to be odd; `undefined`: as they come. */
  isOdd: boolean | undefined;

  next(): number {
    return this.#random.next();
  }

  int(limit: number): number {
    return this.#random.int(limit);
  }

  suffix(length: number): string {
    return this.#random.suffix(length);
  }

  uuid(): string {
    let id = this.#random.uuid();
    for (let tries = 0; tries < 100 && this.isOdd !== undefined && isOdd(id) !== this.isOdd; tries += 1)
      id = this.#random.uuid();
    return id;
  }
}

/** What decides between equal weights. */
export const isOdd = (uid: string): boolean => fnv1a(uid) % 2 === 1;

/** Embedded API servers with Argosy's engine. */
export async function startOwnFleet(random: Random): Promise<FleetSide> {
  const ends: Ends = [];
  try {
    const members = new Map<string, ClusterAccess>();
    for (const name of MEMBERS) {
      const cluster = await startTestCluster({ name, kinds: kindsIn(name) });
      ends.push(() => cluster.close());
      members.set(name, cluster);
      await makeNodes(cluster.client);
    }
    const module = moduleFor("argosy", members);
    const kinds = [...kindsOf(module), widget, gizmo];
    const checks = checksOf(module.admission ?? [], () => hub);
    const hub = await startTestCluster({ name: "hub", kinds, checks, random });
    ends.push(() => hub.close());
    for (const name of MEMBERS) await addMember(hub.client, name);
    const ledger = memoryLedger({ clock: systemClock });
    // As in a real hub: namespaces, claims and owners are looked after, no workload runs.
    const own = workloadControllers({ ledger, clusterName: "hub", scheduler: false, workloads: false });
    runControllers(hub, [...own, ...module.controllers("continuum", hub)], ends);
    const clients = new Map([...members].map(([name, { client }]) => [name, client] as const));
    return { name: "argosy", hub: hub.client, members: clients, isAlive: () => true, close: () => endAll(ends) };
  } catch (error) {
    await endAll(ends);
    throw error;
  }
}

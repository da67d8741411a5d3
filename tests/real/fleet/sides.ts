import { checksOf } from "../../../src/cluster/apiserver/index.js";
import { type ApiClient, createClient, createInformerSet, httpTransport } from "../../../src/kernel/client/index.js";
import { systemClock, systemRandom } from "../../../src/kernel/clock/index.js";
import { type ClusterAccess, createManager, type Manager } from "../../../src/kernel/control/index.js";
import type { KindDefinition } from "../../../src/kernel/kinds/index.js";
import { createLogger } from "../../../src/kernel/log/index.js";
import type { Module } from "../../../src/kernel/module/types.js";
import { recordingGateway, TestRuntimeKind, TestServiceKind } from "../../../src/modules/fleet/fixture.js";
import { createFleetModule } from "../../../src/modules/fleet/index.js";
import { memoryLedger } from "../../../src/stores/ledger/index.js";
import { installKinds, startTestCluster } from "../../../src/testing/index.js";
import { serveChecks } from "../../../src/testing/real-checks.js";
import { type RealStack, startStack } from "../../../src/testing/real-stack.js";
import { type Built, joinKarmada, startKarmada } from "../home/karmada.js";
import { playServing } from "./serving.js";

/** A hub with the fleet's controllers and its members, in which models answer by play. */
export interface Side {
  readonly name: "karmada" | "argosy";
  readonly hub: ApiClient;
  readonly members: ReadonlyMap<string, ApiClient>;
  close(): Promise<void>;
}

/** Releases that never answer, by `namespace/cluster/release`. */
export const broken = new Set<string>();

export const MEMBERS = ["cloud", "edge", "far-edge"] as const;
const memberKinds = [TestServiceKind, TestRuntimeKind];
const log = createLogger({ clock: systemClock, level: "error", write: (line) => process.stderr.write(line) });
/** What clients and controllers here have in common. */
export const common = { clock: systemClock, random: systemRandom, log };

/** It looks at clusters more often than it would. */
const QUICK = { "cluster-status-update-frequency": "1s", "cluster-success-threshold": "3s" };

/** What ends the parts of a side, the last first. */
export type Ends = (() => Promise<void>)[];

/** Ends them all, whatever fails. */
export async function endAll(ends: Ends): Promise<void> {
  for (const end of ends.splice(0).reverse())
    await end().catch((error: unknown) => process.stderr.write(`closing: ${String(error)}\n`));
}

function accessOf(name: string, client: ApiClient, ends: Ends): ClusterAccess {
  const informers = createInformerSet({ client, ...common });
  ends.push(async () => {
    await informers.close();
    await client.close();
  });
  return { name, client, informers };
}

/** A real cluster, as its administrator. */
export function adminOf(name: string, { url, caPem, token }: RealStack, ends: Ends): ClusterAccess {
  const transport = httpTransport({ server: url, caPem, token });
  return accessOf(name, createClient({ transport, ...common }), ends);
}

/** The fleet's module, without anything beside it. */
export function moduleFor(engine: "karmada" | "argosy", members: ReadonlyMap<string, ClusterAccess>): Module {
  return createFleetModule({
    engine,
    members: (name) => members.get(name),
    gateway: recordingGateway(),
    ledger: memoryLedger({ clock: systemClock }),
    headListener: { name: "head", host: "127.0.0.1", port: 0 },
    ingressListener: () => undefined,
  });
}

/** What a module serves. */
export const kindsOf = (module: Module): KindDefinition[] => module.kinds.map(({ definition }) => definition);

/** Runs controllers in a cluster. */
export function runControllers(cluster: ClusterAccess, specs: ReturnType<Module["controllers"]>, ends: Ends): Manager {
  const manager = createManager({ cluster, ...common });
  for (const spec of specs) manager.add(spec);
  manager.start();
  ends.push(() => manager.close());
  return manager;
}

/** The module's controllers in the hub, and play in the members. */
function runModule(module: Module, hub: ClusterAccess, members: ReadonlyMap<string, ClusterAccess>, ends: Ends): void {
  for (const member of members.values()) runControllers(member, [playServing(member.name, broken)], ends);
  runControllers(hub, module.controllers("continuum", hub), ends);
}

/** A real Karmada with real members: API servers only. */
export async function startKarmadaSide(built: Built): Promise<Side> {
  const ends: Ends = [];
  try {
    const [karmada, ...stacks] = await Promise.all([
      startKarmada(built, { scheduler: {}, controllers: QUICK }),
      ...MEMBERS.map(() => startStack(built.plane)),
    ]);
    ends.push(() => karmada.close(), ...stacks.map((stack) => () => stack.close()));
    const hub = adminOf("hub", karmada.stack, ends);
    const members = new Map<string, ClusterAccess>();
    for (const [index, name] of MEMBERS.entries()) {
      const stack = stacks[index];
      if (stack === undefined) continue;
      members.set(name, adminOf(name, stack, ends));
      await installKinds(members.get(name)?.client ?? hub.client, memberKinds);
      await joinKarmada(karmada.client, { name, url: stack.url, caPem: stack.caPem, token: stack.token });
    }
    const module = moduleFor("karmada", members);
    await installKinds(hub.client, [...kindsOf(module), ...memberKinds]);
    const manager = runControllers(hub, [], ends);
    const checks = checksOf(module.admission ?? [], () => hub);
    ends.push(await serveChecks(manager, karmada.stack.authority, checks));
    runModule(module, hub, members, ends);
    return sideOf("karmada", hub, members, ends);
  } catch (error) {
    await endAll(ends);
    throw error;
  }
}

/** Makes a hub know a member, by push. */
export async function addMember(hub: ApiClient, name: string): Promise<void> {
  await hub.json("POST", "/apis/cluster.karmada.io/v1alpha1/clusters", {
    apiVersion: "cluster.karmada.io/v1alpha1",
    kind: "Cluster",
    metadata: { name },
    spec: { syncMode: "Push" },
  });
}

/** Embedded API servers with Argosy's engine. */
export async function startOwnSide(): Promise<Side> {
  const ends: Ends = [];
  try {
    const members = new Map<string, ClusterAccess>();
    for (const name of MEMBERS) {
      const cluster = await startTestCluster({ name, kinds: memberKinds });
      ends.push(() => cluster.close());
      members.set(name, cluster);
    }
    const module = moduleFor("argosy", members);
    const kinds = [...kindsOf(module), ...memberKinds];
    const hub = await startTestCluster({ name: "hub", kinds, checks: checksOf(module.admission ?? [], () => hub) });
    ends.push(() => hub.close());
    for (const name of MEMBERS) await addMember(hub.client, name);
    runModule(module, hub, members, ends);
    return sideOf("argosy", hub, members, ends);
  } catch (error) {
    await endAll(ends);
    throw error;
  }
}

function sideOf(name: Side["name"], hub: ClusterAccess, members: ReadonlyMap<string, ClusterAccess>, ends: Ends): Side {
  return {
    name,
    hub: hub.client,
    members: new Map([...members].map(([member, { client }]) => [member, client])),
    close: () => endAll(ends),
  };
}

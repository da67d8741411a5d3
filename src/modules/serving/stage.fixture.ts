/** For tests: the module in a cluster in memory, with answers that are told. It ends with the test. */
import { checksOf } from "../../cluster/apiserver/index.js";
import { systemClock } from "../../kernel/clock/index.js";
import { type ControllerSpec, createManager } from "../../kernel/control/index.js";
import type { KindDefinition } from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import type { PolicyRule } from "../../kernel/module/types.js";
import { memoryLedger } from "../../stores/ledger/index.js";
import type { Ledger } from "../../stores/ledger/types.js";
import { atEnd } from "../../testing/at-end.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { createServingModule, type ProbeResult } from "./index.js";

/** The agent's identity: it has the rights that the module asks for, and no more. */
const AGENT = { token: "agent-token", user: { username: "argosy:agent", groups: ["system:authenticated"] } };

/** What differs between the stages. */
export interface StageOptions {
  /** Where the tests' objects are; made. */
  readonly namespace: string;
  readonly kinds: readonly KindDefinition[];
  /** Which of the controllers run. */
  readonly isWanted: (spec: ControllerSpec) => boolean;
  /** Default: one in memory. */
  readonly ledger?: Ledger;
}

/** A cluster in memory with the module in it. */
export interface Stage extends TestCluster {
  /** Host → what it answers; others answer as a gateway without such a route. */
  readonly answers: Map<string, ProbeResult>;
  readonly asked: string[];
  readonly ledger: Ledger;
  /** The controllers end, and others begin. */
  restart(): Promise<void>;
}

/** Starts one. */
export async function startStage({ namespace, kinds, isWanted, ...options }: StageOptions): Promise<Stage> {
  const answers = new Map<string, ProbeResult>();
  const asked: string[] = [];
  const ledger = options.ledger ?? memoryLedger({ clock: systemClock });
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
    ...{ name: "cloud", kinds, tokens: [AGENT], checks: checksOf(admission, () => cluster) },
  });
  atEnd(() => cluster.close());
  await grant(cluster, module.rules.cluster ?? []);
  const run = () => {
    const agent = cluster.as(AGENT.token);
    const manager = createManager({ cluster: agent, clock: systemClock, random: cluster.random, log: silentLogger });
    for (const spec of module.controllers("cluster", agent)) if (isWanted(spec)) manager.add(spec);
    manager.start();
    return manager;
  };
  await cluster.client.json("POST", "/api/v1/namespaces", {
    ...{ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
  });
  let manager = run();
  atEnd(() => manager.close());
  return {
    ...cluster,
    answers,
    asked,
    ledger,
    restart: async () => {
      await manager.close();
      manager = run();
    },
  };
}

async function grant(cluster: TestCluster, rules: readonly PolicyRule[]): Promise<void> {
  const apiVersion = "rbac.authorization.k8s.io/v1";
  const metadata = { name: "agent" };
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "agent" };
  const subjects = [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: AGENT.user.username }];
  await cluster.client.json("POST", `/apis/${apiVersion}/clusterroles`, {
    ...{ apiVersion, kind: "ClusterRole", metadata, rules: JSON.parse(JSON.stringify(rules)) },
  });
  await cluster.client.json("POST", `/apis/${apiVersion}/clusterrolebindings`, {
    ...{ apiVersion, kind: "ClusterRoleBinding", metadata, roleRef, subjects },
  });
}

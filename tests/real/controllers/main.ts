import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type ControlledCluster, startOwn, startReal } from "./clusters.js";
import { scenarios } from "./scenarios.js";
import type { Scenario } from "./script.js";
import { Stage } from "./stage.js";

/** What to compare. */
export interface ControllerRun {
  readonly programs: string;
  /** Names of scenarios. */
  readonly only?: RegExp;
  /** Where every difference is written. */
  readonly out?: string;
  /** Share of the steps after which something may differ. */
  readonly atMost: number;
}

interface Pair {
  readonly real: Stage;
  readonly own: Stage;
}

/** What only one of two lists has. */
function difference(real: readonly string[], own: readonly string[]): string[] {
  return [
    ...real.filter((line) => !own.includes(line)).map((line) => `- ${line}`),
    ...own.filter((line) => !real.includes(line)).map((line) => `+ ${line}`),
  ];
}

/** Looks at both until they are alike and stay so, or for so long. */
async function settled({ real, own }: Pair, limitMs: number): Promise<string[]> {
  await sleep(700);
  for (const end = Date.now() + limitMs; ; await sleep(600)) {
    const [left, right] = await Promise.all([real.look(), own.look()]);
    const lines = difference(left, right);
    if (lines.length === 0 || Date.now() > end) return lines;
  }
}

async function runScenario(pair: Pair, { name, steps }: Scenario): Promise<string[]> {
  const report: string[] = [];
  const known = new Set<string>();
  for (const [say, act] of steps) {
    try {
      await Promise.all([act(pair.real), act(pair.own)]);
    } catch (error) {
      return [...report, `### ${name}, ${say}: ${String(error)}`];
    }
    const lines = (await settled(pair, 9000)).filter((line) => !known.has(line));
    for (const line of lines) known.add(line);
    if (lines.length > 0) report.push(`### ${name}, ${say}`, ...lines);
  }
  return report;
}

/** Nodes for daemons. They are there by API alone. */
async function makeNodes({ client }: ControlledCluster): Promise<void> {
  for (const [name, disk] of [
    ["node-a", "ssd"],
    ["node-b", "hdd"],
  ]) {
    const zone = disk === "ssd" ? "east" : "west";
    const labels = { disk: disk ?? "", "topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name ?? "" };
    const status = {
      allocatable: { cpu: "4", memory: "8Gi", pods: "110" },
      conditions: [{ type: "Ready", status: "True", reason: "Test", message: "" }],
    };
    await client.json("POST", "/api/v1/nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: name ?? "", labels },
    });
    const headers = { "content-type": "application/merge-patch+json" };
    await client.json("PATCH", `/api/v1/nodes/${name}/status`, { status }, { headers });
  }
}

const heartbeats = ["node-a", "node-b", "nodes-1"];

/** Nobody else says that the nodes are alive. */
async function keepAlive({ client }: ControlledCluster, signal: AbortSignal): Promise<void> {
  const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
  const headers = { "content-type": "application/merge-patch+json" };
  for (const name of heartbeats)
    await client.json("POST", leases, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name } });
  while (!signal.aborted) {
    const spec = {
      holderIdentity: "test",
      leaseDurationSeconds: 40,
      renewTime: new Date().toISOString().replace("Z", "000Z"),
    };
    for (const name of heartbeats) await client.json("PATCH", `${leases}/${name}`, { spec }, { headers });
    await sleep(5000, undefined, { signal }).catch(() => undefined);
  }
}

/** The same objects and the same kubelet's part for a real cluster's controllers and for ours: what they make of it. */
export async function compareControllers(run: ControllerRun): Promise<void> {
  const [realCluster, ownCluster] = await Promise.all([startReal(run.programs), startOwn()]);
  const chosen = scenarios.filter(({ name }) => run.only?.test(name) !== false);
  const report: string[] = [];
  const over = new AbortController();
  let beating: Promise<unknown> = Promise.resolve();
  try {
    await Promise.all([makeNodes(realCluster), makeNodes(ownCluster)]);
    beating = Promise.all([keepAlive(realCluster, over.signal), keepAlive(ownCluster, over.signal)]);
    const waiting = [...chosen];
    const work = async (): Promise<void> => {
      for (let scenario = waiting.shift(); scenario !== undefined; scenario = waiting.shift()) {
        const body = { apiVersion: "v1", kind: "Namespace", metadata: { name: scenario.name } };
        const [real, own] = [new Stage(realCluster.client, scenario.name), new Stage(ownCluster.client, scenario.name)];
        await Promise.all([
          real.send("POST", "/api/v1/namespaces", body),
          own.send("POST", "/api/v1/namespaces", body),
        ]);
        await settled({ real, own }, 8000);
        report.push(...(await runScenario({ real, own }, scenario)));
      }
    };
    await Promise.all([work(), work(), work(), work(), work()]);
  } finally {
    over.abort();
    await beating;
    await Promise.all([realCluster.close(), ownCluster.close()]);
  }
  const steps = chosen.reduce((sum, one) => sum + one.steps.length, 0);
  const differing = report.filter((line) => line.startsWith("### ")).length;
  if (run.out !== undefined) writeFileSync(run.out, `${report.join("\n")}\n`);
  process.stdout.write(`${steps} steps of ${chosen.length} scenarios: after ${differing} something new differs\n`);
  if (differing / Math.max(1, steps) <= run.atMost) return;
  process.stdout.write(
    `${report
      .map((line) => line.slice(0, 1500))
      .slice(0, 80)
      .join("\n")}\n`,
  );
  process.exitCode = 1;
}

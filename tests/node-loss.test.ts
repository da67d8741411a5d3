import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { detectIsolation } from "../src/cluster/node/index.js";
import type { ApiClient } from "../src/kernel/client/types.js";
import { systemClock } from "../src/kernel/clock/index.js";
import { type JsonObject, PodKind } from "../src/kernel/kinds/index.js";
import { argosy, type Running, startArgosy } from "./support/argosy.js";
import { clientOf } from "./support/fleet.js";
import { Caller, Load } from "./support/load.js";
import { labelIn, requestV2, volumeOf, writeModels } from "./support/numbered-models.js";
import { eventually } from "./support/polling.js";
import { processesOf } from "./support/processes.js";

// An embedded member with two nodes, the second by an agent of its own, which is killed with all of its pods while requests flow.
const root = process.getuid?.() === 0 && detectIsolation().mode !== "none";
const why = root ? undefined : "two node agents on a machine need root, for networks of their own";
const namespace = "models";
/** A backend that is gone may cost requests for so long. */
const healthWindowMs = 2000;
const folder = mkdtempSync(join(tmpdir(), "argosy-node-loss-"));
const data = join(folder, "up");
const agentData = join(folder, "agent");
let server: Running | undefined;
let member: ApiClient;
let caller: Caller | undefined;

async function run(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await argosy(...words);
  expect(code, stderr).toBe(0);
  return stdout;
}

async function apply(name: string, ...items: JsonObject[]): Promise<void> {
  const file = join(folder, `${name}.json`);
  writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  await run("apply", "--kubeconfig", join(data, "kubeconfig"), "--context", "one", "-f", file);
}

/** A second node, by an agent with its own rights. */
async function addNode(): Promise<void> {
  const at = join(folder, "box-2");
  const named = ["--node-name", "box-2"];
  await run("agent", "credentials", "--data", data, "--context", "one", ...named, "--output", at);
  const rights = join(folder, "rights.yaml");
  writeFileSync(rights, await run("agent", "rbac", "--level", "node", ...named));
  await run("apply", "--kubeconfig", join(data, "kubeconfig"), "--context", "one", "-f", rights);
  const identity = ["--kubeconfig", join(at, "kubeconfig"), "--serving-certificate", join(at, "serving.pem")];
  await startArgosy(["agent", "--level", "node", "--data", agentData, ...identity, ...named]).says("ready: ");
}

/** Everything that works on the second node; returns their commands. */
function killNode(): readonly string[] {
  const processes = processesOf(agentData);
  for (const { pid } of processes) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It went with another one.
    }
  }
  return processes.map(({ command }) => command);
}

beforeAll(async () => {
  if (why !== undefined) return;
  server = startArgosy(["up", "--members", "one=1", "--data", data]);
  await server.says("ready: ");
  await addNode();
  member = await clientOf(data, "one");
}, 120_000);

afterAll(async () => {
  killNode();
  caller?.close();
  await member?.close();
  if (server !== undefined) await argosy("down", "--data", data);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}, 120_000);

test.skipIf(why !== undefined)(
  `a node is lost with all its pods while requests flow: none is lost after the health window${why === undefined ? "" : ` (skipped, because ${why})`}`,
  async () => {
    const models = join(folder, "models");
    mkdirSync(models);
    chmodSync(models, 0o755);
    writeModels(models, 1);
    await apply(
      "sturdy",
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
      ...volumeOf(models, namespace),
      sturdy,
    );
    const path = `/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/inferenceservices/sturdy`;
    let seen: { status?: { url?: string; conditions?: { type: string; status: string }[] } } = {};
    await eventually(
      "it is Ready",
      async () => {
        seen = (await member.json("GET", path)) as typeof seen;
        const ready = seen.status?.conditions?.find(({ type }) => type === "Ready");
        return ready?.status === "True" ? true : undefined;
      },
      { boundMs: 60_000, seen: () => seen.status?.conditions },
    );
    const pods = (await member.resource(PodKind).list({ namespace })).items;
    expect(new Set(pods.map(({ spec }) => spec.nodeName)).size).toBe(2);

    const url = new URL(seen.status?.url ?? "");
    caller = new Caller(Number(url.port));
    const asking = caller;
    const ask = () => asking.ask(url.host, "/v2/models/sturdy/infer", requestV2, 5000);
    const load = new Load(ask);
    await eventually("requests flow", () => (load.sent.length > 50 ? true : undefined));
    const lostAt = Date.now();
    const killed = killNode();
    await systemClock.sleep(healthWindowMs + 2000);
    await load.stop();

    expect(killed.filter((command) => /^\S*node\S* \S*programs\/model-server\.js/.test(command))).toHaveLength(1);
    expect(load.lost().filter(({ atMs }) => atMs < lostAt - 1000)).toEqual([]);
    expect(load.lost(lostAt + healthWindowMs)).toEqual([]);
    expect(load.sent.filter(({ atMs }) => atMs > lostAt + healthWindowMs).length).toBeGreaterThan(10);
    expect(labelIn((await ask()).body)).toBe(1);
  },
  120_000,
);

/** Two pods, one on each node. */
const sturdy = {
  apiVersion: "serving.kserve.io/v1beta1",
  kind: "InferenceService",
  metadata: { name: "sturdy", namespace },
  spec: {
    predictor: {
      minReplicas: 2,
      model: { modelFormat: { name: "onnx" }, storageUri: "pvc://models/1" },
      topologySpreadConstraints: [
        {
          ...{ maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "DoNotSchedule" },
          labelSelector: { matchLabels: { "serving.kserve.io/inferenceservice": "sturdy" } },
        },
      ],
    },
  },
};

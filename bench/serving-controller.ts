/**
 * The controllers of a member with many InferenceServices. Three processes: an API server with a directory on the disk, `argosy agent --level
 * cluster` with its gateway, and this program, which makes the services and stands in for what a node would do: it says of every Deployment that
 * its pods are ready, gives every Service an endpoint, and answers there as all models.
 * - settled: from the first service made until the last one is Ready; CPU of the agent and of its gateway, and of the API server apart.
 * - rest: CPU of both while nothing changes.
 * - restart: the agent ended and started again, until it has looked at every service; what it writes meanwhile.
 * Run: `node dist/bench/serving-controller.js [--services 5000] [--namespaces 50] [--rest 30] [--profile DIR]`. JSON to stdout.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { freePort } from "../src/testing/ports.js";
import type { Address } from "./apiserver/connection.js";
import { Pool, sleep, until, watch } from "./fleet/client.js";
import { type Member, serveMember, startMembers } from "./fleet/members.js";
import { adopt, cpuOf, residentMbOf, type Started, start } from "./fleet/processes.js";

const { values } = parseArgs({
  options: {
    services: { type: "string", default: "5000" },
    namespaces: { type: "string", default: "50" },
    rest: { type: "string", default: "30" },
    profile: { type: "string", default: "" },
    "serve-member": { type: "string", default: "" },
    data: { type: "string", default: "" },
  },
});
const [services, namespaces, restSeconds] = [Number(values.services), Number(values.namespaces), Number(values.rest)];
const program = fileURLToPath(new URL("../../bin/argosy.mjs", import.meta.url));
const SERVICES = "inferenceservices";

interface Event {
  readonly type: string;
  readonly object: {
    readonly metadata: { readonly name: string; readonly namespace: string; readonly generation?: number };
    readonly spec?: { readonly replicas?: number; readonly ports?: readonly { readonly name: string }[] };
    readonly status?: {
      readonly observedGeneration?: number;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    };
  };
}

/** Calls back with each event of a kind in the cluster. */
async function follow(address: Address, path: string, onEvent: (event: Event) => void): Promise<() => void> {
  return watch(address, path, (line) => {
    if (line !== "") onEvent(JSON.parse(line) as Event);
  });
}

/** Stands in for deployment controller, kubelet and endpoint controller. */
async function standIn(address: Address, modelPort: number): Promise<() => void> {
  const pool = await Pool.open(address, 8);
  const fail = (error: unknown): never => {
    throw error;
  };
  const stops = [
    await follow(address, "/apis/apps/v1/deployments", ({ type, object }) => {
      const { metadata, spec, status } = object;
      const observedGeneration = metadata.generation ?? 1;
      if (type === "DELETED" || status?.observedGeneration === observedGeneration) return;
      const replicas = spec?.replicas ?? 1;
      const counts = { replicas, updatedReplicas: replicas, readyReplicas: replicas, availableReplicas: replicas };
      const path = `/apis/apps/v1/namespaces/${metadata.namespace}/deployments/${metadata.name}/status`;
      pool.send("PUT", path, { ...object, status: { observedGeneration, ...counts } }).catch((error: unknown) => {
        // It was changed meanwhile: its next event says so.
        if (!String(error).includes("answered 409")) fail(error);
      });
    }),
    await follow(address, "/api/v1/services", ({ type, object: { metadata, spec } }) => {
      if (type !== "ADDED" || metadata.name === "kubernetes") return;
      pool
        .send("POST", `/apis/discovery.k8s.io/v1/namespaces/${metadata.namespace}/endpointslices`, {
          apiVersion: "discovery.k8s.io/v1",
          kind: "EndpointSlice",
          metadata: { name: metadata.name, labels: { "kubernetes.io/service-name": metadata.name } },
          addressType: "IPv4",
          endpoints: [{ addresses: ["127.0.0.1"], conditions: { ready: true } }],
          ports: (spec?.ports ?? []).map(({ name }) => ({ name, port: modelPort, protocol: "TCP" })),
        })
        .catch(fail);
    }),
  ];
  return () => {
    for (const stop of stops) stop();
    pool.close();
  };
}

/** One agent, its gateway, and what they have taken since a moment. */
class Measured {
  readonly #agent: Started;
  readonly #gateway: ReturnType<typeof adopt>;

  private constructor(agent: Started, gateway: ReturnType<typeof adopt>) {
    this.#agent = agent;
    this.#gateway = gateway;
  }

  static async start(folder: string, ingressPort: number): Promise<Measured> {
    const profiling = values.profile === "" ? [] : ["--cpu-prof", "--cpu-prof-dir", values.profile];
    const data = join(folder, "agent");
    const words = [...profiling, program, "agent", "--level", "cluster", "--cluster", "cloud", "--data", data];
    const agent = start([
      ...words,
      "--kubeconfig",
      join(folder, "kubeconfig"),
      "--ingress",
      `127.0.0.1:${ingressPort}`,
    ]);
    await agent.said("stderr", /^ready: /, 60);
    return new Measured(agent, adopt(join(data, "gateway", "gateway.pid")));
  }

  get agent(): number {
    return this.#agent.child.pid ?? 0;
  }

  get gateway(): number {
    return this.#gateway.pid() ?? 0;
  }

  async end(): Promise<void> {
    await this.#agent.end();
  }
}

const seconds = (micros: number): number => Math.round(micros / 1e4) / 100;

/** CPU that processes take while something is done. */
async function costOf(
  pids: Readonly<Record<string, number>>,
  act: () => Promise<void>,
): Promise<Record<string, number>> {
  const before = Object.entries(pids).map(([name, pid]) => [name, pid, cpuOf([pid])] as const);
  const began = performance.now();
  await act();
  const spent = before.map(([name, pid, micros]) => [`${name}CpuSeconds`, seconds(cpuOf([pid]) - micros)] as const);
  return { ...Object.fromEntries(spent), seconds: seconds((performance.now() - began) * 1000) };
}

async function measure(member: Member, folder: string): Promise<Record<string, unknown>> {
  const { address } = member;
  const models = createServer((request, response) => {
    request.resume();
    response.setHeader("content-type", "application/json").end('{"ready":true}');
  });
  const modelPort = await listen(models);
  writeFileSync(join(folder, "kubeconfig"), kubeconfigOf(address), { mode: 0o600 });
  const ingressPort = await freePort();
  let measured = await Measured.start(folder, ingressPort);
  const stopStandIn = await standIn(address, modelPort);
  const ready = new Set<string>();
  let writes = 0;
  const stopFollowing = await follow(address, `/apis/serving.kserve.io/v1beta1/${SERVICES}`, ({ type, object }) => {
    if (type === "MODIFIED") writes++;
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    const isReady = object.status?.conditions?.some((each) => each.type === "Ready" && each.status === "True");
    if (isReady === true) ready.add(key);
    else ready.delete(key);
  });
  const pids = () => ({ agent: measured.agent, gateway: measured.gateway, apiServer: member.pid });
  const pool = await Pool.open(address, 8);
  for (let index = 0; index < namespaces; index++)
    await pool.send("POST", "/api/v1/namespaces", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: `team-${index}` },
    });

  const settled = await costOf(pids(), async () => {
    await Promise.all(Array.from({ length: services }, (_, index) => makeService(pool, index)));
    await until("all are Ready", 1800, () => ready.size === services);
  });
  const writesEach = Math.round((writes / services) * 100) / 100;
  const residentMb = residentMbOf([measured.agent]);
  writes = 0;
  const rest = await costOf(pids(), () => sleep(restSeconds * 1000));
  const writesAtRest = writes;

  await measured.end();
  writes = 0;
  measured = await Measured.start(folder, ingressPort);
  const before = { gateway: measured.gateway, apiServer: member.pid };
  const restart = await costOf(before, () => sleep(restSeconds * 1000));
  const restarted = { ...restart, agentCpuSeconds: seconds(cpuOf([measured.agent])), statusWrites: writes };

  stopFollowing();
  stopStandIn();
  pool.close();
  await measured.end();
  models.closeAllConnections();
  models.close();
  return {
    settled: { ...settled, writesEach, residentMb },
    rest: { ...rest, statusWrites: writesAtRest },
    restart: restarted,
  };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      const bound = server.address();
      resolve(typeof bound === "object" ? (bound?.port ?? 0) : 0);
    }),
  );
}

async function makeService(pool: Pool, index: number): Promise<void> {
  const namespace = `team-${index % namespaces}`;
  await pool.send("POST", `/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/${SERVICES}`, {
    apiVersion: "serving.kserve.io/v1beta1",
    kind: "InferenceService",
    metadata: { name: `model-${index}`, namespace },
    spec: { predictor: { model: { modelFormat: { name: "onnx" }, storageUri: `file:///models/${index}` } } },
  });
}

function kubeconfigOf({ port, token, caPem }: Address): string {
  const authority = Buffer.from(caPem ?? "").toString("base64");
  return JSON.stringify({
    "current-context": "cloud",
    clusters: [
      { name: "cloud", cluster: { server: `https://127.0.0.1:${port}`, "certificate-authority-data": authority } },
    ],
    users: [{ name: "agent", user: { token } }],
    contexts: [{ name: "cloud", context: { cluster: "cloud", user: "agent" } }],
  });
}

async function main(): Promise<void> {
  if (values["serve-member"] !== "") return serveMember(values["serve-member"], values.data);
  const folder = mkdtempSync(join(tmpdir(), "argosy-bench-serving-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const [load] = loadavg();
  const [member] = await startMembers(["cloud"]);
  if (member === undefined) throw new Error("the member did not start");
  try {
    const result = await measure(member, folder);
    const machine = { node: process.version, cpus: cpus().length, loadBefore: load };
    process.stdout.write(
      `${JSON.stringify({ bench: "serving-controller", services, namespaces, ...machine, ...result }, null, 2)}\n`,
    );
  } finally {
    await member.stop();
  }
}

await main();

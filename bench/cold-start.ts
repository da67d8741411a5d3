/**
 * Zero to first answer: an InferenceService without pods is asked through its address, and the gateway's activator holds the request until a pod of
 * the real model server answers it. Beside it the first request to services whose pod was made ahead of it, as `prewarm` does.
 *
 *     node dist/bench/cold-start.js [--services 5] [--rounds 3]
 *
 * A fleet with one member in a data directory of its own; the model is a perceptron of 19 KB. `cold`: it lies on the node (a claim, as models of a
 * LocalModelCache do), and pods mount it. `fetched`: it lies in the fleet's artifact store, and each pod's server asks the store for
 * it (the content is kept on the node). `prewarmed`: a pod is there that no user has asked yet. Milliseconds from the connection to the answer's last byte as the client sees them, and the parts that the autoscaler
 * tells (docs/scaling.md). All services start and go to zero (some 40 s), then each is asked once, one after the other; then again. JSON to stdout.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { AwsClient } from "aws4fetch";
import { Agent, fetch } from "undici";
import { type ApiClient, createClient, httpTransport, loadKubeconfig } from "../src/kernel/client/index.js";
import { systemClock, systemRandom } from "../src/kernel/clock/index.js";
import { pause, round } from "./modelserver/load.js";
import { jsonRequest, MODEL, networkBytes } from "./modelserver/workload.js";

const { values } = parseArgs({
  options: { services: { type: "string", default: "5" }, rounds: { type: "string", default: "3" } },
});
const program = fileURLToPath(new URL("../../bin/argosy.mjs", import.meta.url));
const data = mkdtempSync(join(tmpdir(), "argosy-bench-"));
const namespace = "models";
const names = (kind: string): string[] =>
  Array.from({ length: Number(values.services) }, (_, index) => `${kind}-${index}`);
const [cold, fetched, warm] = [names("cold"), names("fetched"), names("warm")];

interface Sample {
  readonly ms: number;
  /** As the autoscaler tells them. */
  readonly parts?: Readonly<Record<string, unknown>>;
}

async function clientOf(cluster: string): Promise<ApiClient> {
  const { transport } = await loadKubeconfig(join(data, "kubeconfig"), cluster);
  return createClient({ transport: httpTransport(transport), clock: systemClock, random: systemRandom });
}

interface Document {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly data?: Readonly<Record<string, string>>;
  readonly status?: { readonly url?: string; readonly conditions?: readonly { type: string; status: string }[] };
}

const read = async (client: ApiClient, path: string): Promise<Document> =>
  (await client.json("GET", path)) as unknown as Document;
const list = async (client: ApiClient, path: string): Promise<readonly Document[]> =>
  ((await client.json("GET", path)) as unknown as { items: Document[] }).items;

/** Puts the model into the artifact store, with the store's own writing key. */
async function upload(): Promise<void> {
  const { artifacts } = JSON.parse(readFileSync(join(data, "addresses.json"), "utf8")) as { artifacts: string };
  const secretAccessKey = readFileSync(join(data, "pki", "artifact-writer.key"), "utf8").trim();
  const aws = new AwsClient({ accessKeyId: "argosy-writer", secretAccessKey, service: "s3", region: "us-east-1" });
  const body = Buffer.from(networkBytes());
  const signed = await aws.sign(`${artifacts}/artifacts/bench/network/model.onnx`, { method: "PUT", body });
  const dispatcher = new Agent({ connect: { ca: readFileSync(join(data, "pki", "ca.crt"), "utf8") } });
  const answer = await fetch(signed.url, {
    method: "PUT",
    headers: Object.fromEntries(signed.headers),
    body,
    dispatcher,
  });
  if (!answer.ok) throw new Error(`the artifact store answered ${answer.status}: ${await answer.text()}`);
  await dispatcher.close();
}

async function deploy(hub: ApiClient, member: ApiClient): Promise<void> {
  const reader = await read(hub, "/api/v1/namespaces/argosy-system/secrets/artifact-reader");
  await member.json("POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: namespace },
  });
  await member.json("POST", `/api/v1/namespaces/${namespace}/secrets`, {
    ...{ apiVersion: "v1", kind: "Secret", type: "Opaque", data: { ...reader.data } },
    metadata: { name: "store", labels: { "tensorstack.dev/resource": "s3" } },
  });
  const model = join(data, "bench-model");
  mkdirSync(model, { recursive: true });
  writeFileSync(join(model, "model.onnx"), networkBytes());
  const claim = { accessModes: ["ReadOnlyMany"], storageClassName: "", resources: { requests: { storage: "1Mi" } } };
  await member.json("POST", "/api/v1/persistentvolumes", {
    ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "bench" } },
    spec: {
      ...{ accessModes: claim.accessModes, capacity: { storage: "1Mi" }, hostPath: { path: model } },
      claimRef: { namespace, name: "bench" },
    },
  });
  await member.json("POST", `/api/v1/namespaces/${namespace}/persistentvolumeclaims`, {
    ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "bench" } },
    spec: { ...claim, volumeName: "bench" },
  });
  for (const name of [...cold, ...fetched, ...warm]) {
    const annotations = { "autoscaling.knative.dev/window": "6s" };
    await member.json("POST", `/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/inferenceservices`, {
      ...{ apiVersion: "serving.kserve.io/v1beta1", kind: "InferenceService", metadata: { name, annotations } },
      spec: {
        predictor: {
          minReplicas: warm.includes(name) ? 1 : 0,
          scaleMetric: "concurrency",
          model: {
            modelFormat: { name: "onnx" },
            storageUri: fetched.includes(name) ? "s3://artifacts/bench/network/" : "pvc://bench",
          },
        },
      },
    });
  }
}

async function until(what: string, look: () => Promise<boolean>): Promise<void> {
  step(what);
  for (const end = performance.now() + 180_000; performance.now() < end; await pause(200)) if (await look()) return;
  throw new Error(`not within three minutes: ${what}`);
}

const isReady = async (member: ApiClient): Promise<boolean> =>
  (await list(member, `/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/inferenceservices`)).every(
    ({ status }) => status?.conditions?.some(({ type, status: word }) => type === "Ready" && word === "True") === true,
  );

const isAtZero = async (member: ApiClient): Promise<boolean> =>
  (await list(member, `/api/v1/namespaces/${namespace}/pods`)).every(({ metadata }) =>
    metadata.name.startsWith("warm"),
  );

/** One request on a connection of its own. */
function ask(url: string): Promise<number> {
  const { hostname, port } = new URL(url);
  // Requests name the service's model, which is called as the service.
  const text = jsonRequest()
    .bytes.toString("latin1")
    .replace(`/${MODEL}/`, `/${hostname.split(".")[0]}/`);
  const head = text.replace("Host: localhost", `Host: ${hostname}`);
  const bytes = Buffer.from(head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), "latin1");
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect({ port: Number(port), host: "127.0.0.1", noDelay: true }, () => socket.write(bytes));
    socket.setEncoding("latin1");
    socket.on("data", (piece: string) => {
      answer += piece;
    });
    socket.on("error", reject);
    socket.on("close", () => {
      if (answer.startsWith("HTTP/1.1 200")) resolve(round(performance.now() - begun, 1));
      else reject(new Error(`${url} answered ${answer.slice(0, 500)}`));
    });
  });
}

async function urlOf(member: ApiClient, name: string): Promise<string> {
  const { status } = await read(
    member,
    `/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/inferenceservices/${name}`,
  );
  if (status?.url === undefined) throw new Error(`${name} has no address`);
  return status.url;
}

async function coldStart(member: ApiClient, name: string): Promise<Sample> {
  const url = await urlOf(member, name);
  const since = Date.now();
  const ms = await ask(url);
  for (const end = performance.now() + 10_000; performance.now() < end; await pause(50)) {
    const deployments = await list(member, `/apis/apps/v1/namespaces/${namespace}/deployments`);
    const told = deployments.find(({ metadata }) => metadata.name.startsWith(`${name}-`))?.metadata.annotations;
    const parts = JSON.parse(told?.["serving.argosy.dev/cold-start"] ?? "{}") as { at?: string };
    if (parts.at === undefined || Date.parse(parts.at) < since) continue;
    step(`${name}: ${ms} ms ${JSON.stringify(parts)}`);
    // The next one begins when this one's pod is no work for the cluster any more.
    await pause(500);
    return { ms, parts };
  }
  throw new Error(`${name}: no parts were told`);
}

async function main(): Promise<void> {
  const loadBefore = round(loadavg()[0] ?? 0, 2);
  step("a fleet");
  await up();
  await upload();
  const [hub, member] = [await clientOf("hub"), await clientOf("cloud")];
  await deploy(hub, member);
  await until("all ready", () => isReady(member));
  const starts: Record<"cold" | "fetched", Sample[]> = { cold: [], fetched: [] };
  const warmMs: number[] = [];
  for (const name of warm) warmMs.push(await ask(await urlOf(member, name)));
  for (let turn = 0; turn < Number(values.rounds); turn++) {
    await until("no pods", () => isAtZero(member));
    await pause(2000);
    for (const [index, name] of cold.entries()) {
      starts.cold.push(await coldStart(member, name));
      starts.fetched.push(await coldStart(member, fetched[index] ?? ""));
    }
  }
  const figures = {
    cold: spread(starts.cold.map(({ ms }) => ms)),
    fetched: spread(starts.fetched.map(({ ms }) => ms)),
    prewarmed: spread(warmMs),
  };
  const bar = (what: keyof typeof figures, atMost: number) => {
    const { least, median } = figures[what];
    return { figure: `ms from zero to the first answer, ${what}`, least, median, atMost, holds: median <= atMost };
  };
  print({
    bench: "cold-start",
    takenAt: new Date().toISOString(),
    machine: {
      ...{ cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, loadBefore },
      words: `${cpus().length} cores of ${cpus()[0]?.model ?? "an unknown processor"}, Node ${process.version}, load average ${loadBefore} before`,
    },
    ...{ ...figures, starts, warmMs, bars: [bar("cold", 300), bar("fetched", 300), bar("prewarmed", 50)] },
  });
}

async function up(): Promise<void> {
  const child = spawn(process.execPath, [program, "up", "--data", data, "--members", "cloud=1", "--detach"], {
    stdio: ["ignore", 2, 2],
  });
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`up ended with ${String(code)}`);
}

function spread(all: readonly number[]): { least: number; median: number; most: number } {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  return { least: at(0), median: at(Math.floor(sorted.length / 2)), most: at(sorted.length - 1) };
}

function step(what: string): void {
  process.stderr.write(`  ${what}\n`);
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

try {
  await main();
} finally {
  spawnSync(process.execPath, [program, "down", "--data", data]);
  rmSync(data, { recursive: true, force: true });
}

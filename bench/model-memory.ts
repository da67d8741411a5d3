/**
 * What a model server with many small models takes, and how soon it answers.
 *
 *     node dist/bench/model-memory.js [--models 1000] [--starts 7] [--budget-mib 64]
 *
 * Makes a repository of ONNX networks (64-64-10, 20 KB each), serves it once with room for all and once with a budget that a part
 * of them fits (the others come back when asked for), and asks every model once, checking the answer against the weights. Then
 * starts a server of one model several times: wall and CPU time from spawn to its first answer. JSON to stdout.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { seededRandom } from "../src/kernel/clock/index.js";
import { encodeOnnxModel } from "../src/kernel/onnx/index.js";

const { values } = parseArgs({
  options: {
    models: { type: "string", default: "1000" },
    starts: { type: "string", default: "7" },
    "budget-mib": { type: "string", default: "64" },
  },
});
const main = fileURLToPath(new URL("../programs/model-server.js", import.meta.url));

/** A network whose answer to zeros is its last biases. */
function network(seed: number): { bytes: Uint8Array; answer: number } {
  const random = seededRandom(seed);
  const weights = (count: number) => Float32Array.from({ length: count }, () => random.next() - 0.5);
  const last = weights(10);
  const bytes = encodeOnnxModel({
    producer: "bench",
    graph: {
      name: "network",
      inputs: [{ name: "x", type: "FP32", shape: ["batch", 64] }],
      outputs: [{ name: "y", type: "FP32", shape: ["batch", 10] }],
      constants: [
        { name: "w1", type: "FP32", shape: [64, 64], data: weights(64 * 64) },
        { name: "b1", type: "FP32", shape: [64], data: new Float32Array(64) },
        { name: "w2", type: "FP32", shape: [64, 10], data: weights(640) },
        { name: "b2", type: "FP32", shape: [10], data: last },
      ],
      nodes: [
        { op: "Gemm", inputs: ["x", "w1", "b1"], outputs: ["h"] },
        { op: "Relu", inputs: ["h"], outputs: ["r"] },
        { op: "Gemm", inputs: ["r", "w2", "b2"], outputs: ["y"] },
      ],
    },
  });
  return { bytes, answer: last[0] ?? 0 };
}

interface Running {
  readonly child: ChildProcess;
  readonly url: string;
  readonly startedAt: number;
}

function serve(args: readonly string[]): Promise<Running> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [main, "--http", "0", ...args], { stdio: ["ignore", "pipe", "ignore"] });
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const url = /listening on (http\S+)/.exec(said)?.[1];
      if (url !== undefined) resolve({ child, url, startedAt });
    });
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
}

async function stop({ child }: Running): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill();
  await ended;
}

const residentMib = (pid = 0): number => Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) / 256;

function cpuMs(pid = 0): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function waitReady(url: string): Promise<void> {
  while ((await fetch(`${url}/v2/health/ready`)).status !== 200)
    await new Promise((resolve) => setTimeout(resolve, 20));
}

const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 64], data: new Array(64).fill(0) }] });

async function ask(url: string, name: string): Promise<number | undefined> {
  const answer = await fetch(`${url}/v2/models/${name}/infer`, { method: "POST", body });
  const text = await answer.text();
  return answer.status === 200 ? JSON.parse(text).outputs[0].data[0] : undefined;
}

async function askAll(folder: string, answers: readonly number[], args: readonly string[]) {
  const server = await serve(["--repository", folder, ...args]);
  await waitReady(server.url);
  const readyMs = performance.now() - server.startedAt;
  const afterLoadMib = residentMib(server.child.pid);
  const loadCpuMs = cpuMs(server.child.pid);
  let wrong = 0;
  const asked = performance.now();
  for (let round = 0; round < 2; round++) {
    for (const [index, answer] of answers.entries()) {
      const got = await ask(server.url, `m${index}`);
      if (got === undefined || Math.abs(got - answer) > 1e-5) wrong++;
    }
  }
  const page = await (await fetch(`${server.url}/metrics`)).text();
  const metric = (name: string): number => Number(new RegExp(`^${name} (\\S+)`, "m").exec(page)?.[1] ?? Number.NaN);
  const result = {
    readyMs: Math.round(readyMs),
    loadCpuMs,
    afterLoadMib: Math.round(afterLoadMib),
    afterRequestsMib: Math.round(residentMib(server.child.pid)),
    requests: 2 * answers.length,
    wrong,
    requestsMs: Math.round(performance.now() - asked),
    resident: metric("argosy_modelserver_models_resident"),
    evictions: metric("argosy_modelserver_evictions_total"),
  };
  await stop(server);
  return result;
}

async function firstAnswer(folder: string): Promise<{ ms: number; cpuMs: number; listenMs: number }> {
  const server = await serve(["--model-name", "m0", "--model-dir", folder]);
  const listenMs = performance.now() - server.startedAt;
  while ((await ask(server.url, "m0")) === undefined) await new Promise((resolve) => setTimeout(resolve, 2));
  const result = {
    ms: Math.round(performance.now() - server.startedAt),
    cpuMs: cpuMs(server.child.pid),
    listenMs: Math.round(listenMs),
  };
  await stop(server);
  return result;
}

const folder = mkdtempSync(join(tmpdir(), "model-memory-"));
try {
  const answers: number[] = [];
  for (let index = 0; index < Number(values.models); index++) {
    const { bytes, answer } = network(index + 1);
    mkdirSync(join(folder, `m${index}`, "1"), { recursive: true });
    writeFileSync(join(folder, `m${index}`, "1", "model.onnx"), bytes);
    answers.push(answer);
  }
  const load = loadavg();
  const all = await askAll(folder, answers, []);
  const budget = String(Number(values["budget-mib"]) * 2 ** 20);
  const budgeted = await askAll(folder, answers, ["--memory-budget-bytes", budget]);
  const starts = [];
  for (let start = 0; start < Number(values.starts); start++) starts.push(await firstAnswer(join(folder, "m0")));
  const loadBefore = Number((load[0] ?? 0).toFixed(2));
  const cpu = cpus()[0]?.model ?? "an unknown processor";
  const words = `${cpus().length} cores of ${cpu}, Node ${process.version}, load average ${loadBefore} before`;
  const machine = { cpu, cores: cpus().length, node: process.version, loadBefore, words };
  const most = Math.max(all.afterLoadMib, all.afterRequestsMib);
  const bars = [
    { figure: `MiB resident with ${answers.length} models`, value: most, atMost: 1430, holds: most <= 1430 },
    { figure: "wrong answers", value: all.wrong + budgeted.wrong, atMost: 0, holds: all.wrong + budgeted.wrong === 0 },
  ];
  const document = { bench: "model-memory", takenAt: new Date().toISOString(), machine, models: answers.length };
  process.stdout.write(`${JSON.stringify({ ...document, all, budgeted, starts, bars }, undefined, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

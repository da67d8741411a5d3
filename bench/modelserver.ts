/**
 * CPU time per small V2 request (one row of 64 FP32, JSON): Argosy's model server beside FastAPI + onnxruntime, in one run.
 *
 *     node dist/bench/modelserver.js [--seconds 4] [--rounds 3]
 *
 * The Python side lives in a virtual environment under `.cache/` that this program makes (PyPI: fastapi, uvicorn[standard],
 * orjson, onnxruntime, numpy); without Python or the network it is skipped, with the reason in the result. Both serve the same
 * model file with one intra-op thread; answers are compared before anything is timed; rounds are interleaved. The figure is the
 * server process's user + system time over the requests answered. JSON to stdout.
 */

import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { encodeNetwork } from "../examples/digits/model.js";
import { seededRandom } from "../src/kernel/clock/index.js";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
    venv: { type: "string" },
  },
});
const root = fileURLToPath(new URL("../../", import.meta.url));
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);

const PYTHON_SERVER = `
import sys, numpy as np, onnxruntime as ort, orjson, uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
app = FastAPI()
TYPES = {"FP32": np.float32}
NAMES = {"float32": "FP32", "int64": "INT64"}

@app.get("/v2/health/ready")
async def ready():
    return {"ready": True}

@app.post("/v2/models/{name}/infer")
async def infer(name: str, request: Request):
    body = orjson.loads(await request.body())
    feeds = {t["name"]: np.asarray(t["data"], dtype=TYPES[t["datatype"]]).reshape(t["shape"]) for t in body["inputs"]}
    results = session.run(None, feeds)
    outputs = [{"name": o.name, "datatype": NAMES[str(r.dtype)], "shape": list(r.shape), "data": r.ravel().tolist()} for o, r in zip(session.get_outputs(), results)]
    return Response(orjson.dumps({"model_name": name, "outputs": outputs}), media_type="application/json")

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", loop="uvloop", http="httptools", access_log=False)
`;

interface Subject {
  readonly name: string;
  readonly port: number;
  readonly process: ChildProcess;
  readonly startedAt: number;
}

interface Round {
  readonly concurrency: number;
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly cpuMicrosecondsPerRequest: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** User + system CPU seconds of a process (all its threads). */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function requestBytes(): Buffer {
  const random = seededRandom(3);
  const data = Array.from({ length: 64 }, () => random.int(17));
  const body = JSON.stringify({ inputs: [{ name: "input", shape: [1, 64], datatype: "FP32", data }] });
  return Buffer.from(
    `POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
}

/** One connection that asks, waits for the whole answer, and asks again until told to stop. Resolves with the last body. */
function ask(port: number, bytes: Buffer, more: (ms: number) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let received = "";
    let started = performance.now();
    socket.setNoDelay(true);
    socket.setEncoding("latin1");
    socket.on("connect", () => socket.write(bytes));
    socket.on("error", reject);
    socket.on("data", (chunk: string) => {
      received += chunk;
      const head = received.indexOf("\r\n\r\n");
      const length = /content-length: (\d+)/i.exec(received)?.[1];
      if (head < 0 || length === undefined || received.length < head + 4 + Number(length)) return;
      if (!received.startsWith("HTTP/1.1 200")) return reject(new Error(received));
      const body = received.slice(head + 4);
      received = "";
      const now = performance.now();
      if (!more(now - started)) {
        socket.end();
        return resolve(body);
      }
      started = now;
      socket.write(bytes);
    });
  });
}

async function measure(subject: Subject, concurrency: number): Promise<Round> {
  const bytes = requestBytes();
  const latencies: number[] = [];
  const pid = subject.process.pid ?? 0;
  let stop = performance.now() + 500;
  await Promise.all(
    Array.from({ length: concurrency }, () => ask(subject.port, bytes, () => performance.now() < stop)),
  );
  const cpuBefore = cpuSeconds(pid);
  const begin = performance.now();
  stop = begin + seconds * 1000;
  await Promise.all(
    Array.from({ length: concurrency }, () =>
      ask(subject.port, bytes, (ms) => {
        latencies.push(ms);
        return performance.now() < stop;
      }),
    ),
  );
  const wall = (performance.now() - begin) / 1000;
  const cpu = cpuSeconds(pid) - cpuBefore;
  latencies.sort((a, b) => a - b);
  return {
    concurrency,
    requests: latencies.length,
    requestsPerSecond: Math.round(latencies.length / wall),
    cpuMicrosecondsPerRequest: Math.round((cpu / latencies.length) * 1e7) / 10,
    p50Ms: latencies[Math.floor(latencies.length * 0.5)] ?? 0,
    p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
  };
}

/** Resolves with the milliseconds from spawn to ready. */
async function waitReady(subject: Subject): Promise<number> {
  for (let attempt = 0; attempt < 3000; attempt++) {
    const ready = await fetch(`http://127.0.0.1:${subject.port}/v2/health/ready`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (ready) return Math.round(performance.now() - subject.startedAt);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`${subject.name} did not become ready`);
}

function residentMiB(pid: number): number {
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024);
}

/** A Python with what the server needs, or why there is none. */
function preparePython(): { python: string } | { skipped: string } {
  const venv = values.venv ?? join(root, ".cache", "bench-venv");
  const python = join(venv, "bin", "python");
  if (!existsSync(python)) {
    const made = spawnSync("python3", ["-m", "venv", venv], { encoding: "utf8" });
    if (made.status !== 0)
      return { skipped: `no Python virtual environment: ${made.error?.message ?? made.stderr.trim()}` };
  }
  const works = spawnSync(python, ["-c", "import fastapi, uvicorn, uvloop, httptools, orjson, onnxruntime, numpy"]);
  if (works.status === 0) return { python };
  const installed = spawnSync(
    python,
    ["-m", "pip", "install", "-q", "fastapi", "uvicorn[standard]", "orjson", "onnxruntime", "numpy"],
    { encoding: "utf8" },
  );
  return installed.status === 0
    ? { python }
    : { skipped: `PyPI packages could not be installed: ${installed.stderr.trim().slice(-300)}` };
}

const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "argosy-bench-"));
  mkdirSync(join(folder, "digits"));
  const random = seededRandom(1);
  const layer = (inputs: number, outputs: number) => ({
    inputs,
    outputs,
    weights: Float32Array.from({ length: inputs * outputs }, () => random.next() / 8 - 0.06),
    bias: new Float32Array(outputs),
  });
  const model = join(folder, "digits", "model.onnx");
  writeFileSync(model, encodeNetwork({ scale: 1 / 16, layers: [layer(64, 96), layer(96, 48), layer(48, 10)] }));
  const server = fileURLToPath(new URL("../src/dataplane/modelserver/main.js", import.meta.url));
  const start = (name: string, port: number, command: string, args: string[]): Subject => ({
    name,
    port,
    startedAt: performance.now(),
    process: spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] }),
  });
  const argosy = (batch: number, port: number): string[] => [
    server,
    "--model-name",
    "digits",
    "--model-dir",
    join(folder, "digits"),
    "--http",
    String(port),
    "--max-batch-rows",
    String(batch),
  ];
  const plans: [string, number, string, string[]][] = [
    ["argosy", 18_501, process.execPath, argosy(64, 18_501)],
    ["argosy without batching", 18_502, process.execPath, argosy(1, 18_502)],
  ];
  const python = preparePython();
  if ("python" in python) {
    writeFileSync(join(folder, "server.py"), PYTHON_SERVER);
    plans.push(["fastapi", 18_503, python.python, [join(folder, "server.py"), model, "18503"]]);
  }
  const subjects: Subject[] = [];
  const startMs: Record<string, number> = {};
  try {
    for (const [name, port, command, args] of plans) {
      const subject = start(name, port, command, args);
      subjects.push(subject);
      startMs[name] = await waitReady(subject);
    }
    await compareAnswers(subjects);
    const results: Record<string, Round[]> = {};
    for (let round = 0; round < rounds; round++) {
      for (const concurrency of [1, 16, 64]) {
        const order = round % 2 === 0 ? subjects : [...subjects].reverse();
        for (const subject of order) {
          const all = results[subject.name] ?? [];
          results[subject.name] = all;
          all.push(await measure(subject, concurrency));
        }
      }
    }
    process.stdout.write(
      `${JSON.stringify({ ...summarise(results, python), startMs, residentMiB: memoryOf(subjects) }, null, 2)}\n`,
    );
  } finally {
    for (const subject of subjects) subject.process.kill("SIGTERM");
    rmSync(folder, { recursive: true, force: true });
  }
}

const memoryOf = (subjects: readonly Subject[]): Record<string, number> =>
  Object.fromEntries(subjects.map((subject) => [subject.name, residentMiB(subject.process.pid ?? 0)]));

/** Every subject must say the same before anything is timed. */
async function compareAnswers(subjects: readonly Subject[]): Promise<void> {
  const bytes = requestBytes();
  let first: number[] | undefined;
  for (const subject of subjects) {
    const answer = JSON.parse(await ask(subject.port, bytes, () => false)) as {
      outputs: { name: string; data: number[] }[];
    };
    const probabilities = answer.outputs.find(({ name }) => name === "probabilities")?.data ?? [];
    first ??= probabilities;
    const same =
      probabilities.length === 10 &&
      probabilities.every((value, index) => Math.abs(value - (first?.[index] ?? 9)) < 1e-5);
    if (!same) throw new Error(`${subject.name} answers differently`);
  }
}

function summarise(results: Readonly<Record<string, Round[]>>, python: { python: string } | { skipped: string }) {
  const table = Object.entries(results).flatMap(([server, all]) =>
    [1, 16, 64].map((concurrency) => {
      const own = all.filter((round) => round.concurrency === concurrency);
      return {
        server,
        concurrency,
        cpuMicrosecondsPerRequest: median(own.map((round) => round.cpuMicrosecondsPerRequest)),
        requestsPerSecond: median(own.map((round) => round.requestsPerSecond)),
        p50Ms: Number(median(own.map((round) => round.p50Ms)).toFixed(2)),
        p99Ms: Number(median(own.map((round) => round.p99Ms)).toFixed(2)),
      };
    }),
  );
  const cpu = (server: string, concurrency: number): number | undefined =>
    table.find((row) => row.server === server && row.concurrency === concurrency)?.cpuMicrosecondsPerRequest;
  const ratios = [1, 16, 64].map((concurrency) => {
    const [own, plain, theirs] = [
      cpu("argosy", concurrency),
      cpu("argosy without batching", concurrency),
      cpu("fastapi", concurrency),
    ];
    const ratio = (a: number | undefined, b: number | undefined) =>
      a === undefined || b === undefined ? undefined : Number((a / b).toFixed(3));
    return { concurrency, toFastapi: ratio(own, theirs), toOwnWithoutBatching: ratio(own, plain) };
  });
  return {
    bench: "modelserver",
    request: "V2 JSON, FP32 [1,64], 64-96-48-10 perceptron",
    machine: { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version },
    seconds,
    rounds,
    ...("skipped" in python ? { fastapi: { skipped: python.skipped } } : {}),
    table,
    ratios,
    bar: { what: "CPU per request at concurrency 16 over FastAPI's", atMost: 0.5 },
  };
}

await main();

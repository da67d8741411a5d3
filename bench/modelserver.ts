/**
 * The model server beside MLServer, KServe's Python server and a tuned FastAPI + onnxruntime, in one run: the same ONNX network (4-64-64-3), one
 * thread a run, one process a server, answers compared before anything is timed.
 * - cpu: server CPU a request, as fast as each answers, 16 and 64 under way: one row in V2 JSON, one row in V2 gRPC, 64 rows binary.
 * - half: p50 and p99 of small JSON at a fixed rate, half of what that server does at most; a latency counts from when its request was due.
 * - starts: wall and CPU time from the process's start to its first answer.
 * Servers take turns round by round, in reverse order every other round, on core 0 (`taskset`); the generator has core 1.
 * Run: `node dist/bench/modelserver.js [--only cpu,half,starts] [--servers argosy,fastapi,kserve,mlserver] [--rounds 5] [--seconds 3] [--forms json,grpc,binary]`;
 * `--profile DIR` keeps a CPU profile of Argosy's.
 * Peers come from PyPI (bench/modelserver/peers), into ~/.cache/argosy/bench; what cannot be had is skipped, with the reason in the result.
 */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { barsOf, type Row, type Start } from "./modelserver/bars.js";
import { askOnce, closedLoop, type LoadResult, openLoop, pause, round } from "./modelserver/load.js";
import { cpuSecondsOf, isPinned, pinSelf, residentMibOf, start, stop } from "./modelserver/processes.js";
import { argosy, type Files, peer, type Subject } from "./modelserver/subjects.js";
import { binaryRequest, grpcRequest, jsonRequest, networkBytes, type Request } from "./modelserver/workload.js";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "cpu,half,starts" },
    servers: { type: "string", default: "argosy,fastapi,kserve,mlserver" },
    forms: { type: "string", default: "json,grpc,binary" },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    profile: { type: "string" },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const requests: readonly Request[] = [jsonRequest(), grpcRequest(), binaryRequest()].filter(({ form }) =>
  values.forms.split(",").includes(form),
);

interface Running extends Subject {
  readonly child: ChildProcess;
  readonly pid: number;
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "argosy-bench-"));
  const loadBefore = round(loadavg()[0] ?? 0, 2);
  mkdirSync(join(folder, "served"));
  const model = join(folder, "served", "model.onnx");
  writeFileSync(model, networkBytes());
  pinSelf();
  try {
    const { subjects, skipped } = gather({ folder, model });
    const starts = only("starts") ? await measureStarts(subjects) : [];
    const { rows, half, residentMib } = await measureLoads(subjects);
    print({
      bench: "modelserver",
      takenAt: new Date().toISOString(),
      machine: {
        ...{ cpu: cpus()[0]?.model, cores: cpus().length, kernel: release(), node: process.version, loadBefore },
        pinned: isPinned(),
        words: `${cpus().length} cores of ${cpus()[0]?.model ?? "an unknown processor"}, Node ${process.version}, load average ${loadBefore} before; servers ${isPinned() ? "on core 0, generator on core 1" : "and generator not pinned"}`,
      },
      ...{ rounds, seconds, skipped, rows, half, starts, residentMib },
      bars: barsOf({ rows, half, starts }),
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function gather(files: Files): { subjects: Subject[]; skipped: Record<string, string> } {
  const subjects: Subject[] = [];
  const skipped: Record<string, string> = {};
  const wanted = values.servers.split(",");
  if (wanted.includes("argosy")) subjects.push(argosy(files));
  for (const name of ["fastapi", "kserve", "mlserver"] as const) {
    if (!wanted.includes(name)) continue;
    const found = peer(name, files);
    if ("skipped" in found) skipped[name] = found.skipped;
    else subjects.push(found);
  }
  return { subjects, skipped };
}

function run(subject: Subject): Running {
  const profile =
    values.profile !== undefined && subject.name === "argosy" ? ["--cpu-prof", "--cpu-prof-dir", values.profile] : [];
  const child = start(subject.command, [...profile, ...subject.args], subject.env);
  return { ...subject, child, pid: child.pid ?? 0 };
}

/** Asks until there is an answer. */
async function firstAnswer(server: Running, request: Request): Promise<number[]> {
  const port = server.ports[request.form] ?? 0;
  let last: unknown;
  for (const until = performance.now() + 60_000; performance.now() < until; ) {
    try {
      return await askOnce(port, request);
    } catch (error) {
      last = error;
    }
    if (server.child.exitCode !== null) throw new Error(`${server.name} ended with ${server.child.exitCode}`);
    await pause(2);
  }
  throw new Error(`${server.name} does not answer`, { cause: last });
}

async function measureStarts(subjects: readonly Subject[]): Promise<Start[]> {
  const starts: Start[] = [];
  for (let turn = 0; turn < rounds + 2; turn++) {
    const some: Start[] = [];
    for (const subject of turn % 2 === 0 ? subjects : subjects.toReversed()) some.push(await measureStart(subject));
    starts.push(...some);
    step(`start ${turn + 1}: ${some.map((each) => `${each.server} ${each.ms} ms (${each.cpuMs} of CPU)`).join(", ")}`);
  }
  return starts;
}

async function measureStart(subject: Subject): Promise<Start> {
  const begun = performance.now();
  const server = run(subject);
  try {
    await firstAnswer(server, jsonRequest());
    const ms = Math.round(performance.now() - begun);
    return { server: subject.name, ms, cpuMs: Math.round(cpuSecondsOf(server.pid) * 1000) };
  } finally {
    await stop(server.child);
  }
}

async function measureLoads(subjects: readonly Subject[]) {
  const servers: Running[] = [];
  const rows: Row[] = [];
  const half: Row[] = [];
  try {
    for (const subject of subjects) servers.push(run(subject));
    for (const request of requests) await compare(servers, request);
    if (only("cpu")) await measureCpu(servers, rows);
    if (only("half")) await measureHalf(servers, half);
    return { rows, half, residentMib: Object.fromEntries(servers.map(({ name, pid }) => [name, residentMibOf(pid)])) };
  } finally {
    for (const { child } of servers) await stop(child);
  }
}

/** All must say the same. */
async function compare(servers: readonly Running[], request: Request): Promise<void> {
  let first: number[] | undefined;
  for (const server of servers) {
    if (server.ports[request.form] === undefined) continue;
    const answer = await firstAnswer(server, request);
    first ??= answer;
    const expected = first;
    const same =
      answer.length > 0 &&
      answer.length === expected.length &&
      answer.every((value, index) => Math.abs(value - (expected[index] ?? 9)) < 1e-5);
    if (!same) throw new Error(`${server.name} answers ${request.form} differently: ${answer.slice(0, 9).join(" ")}`);
  }
}

async function measureCpu(servers: readonly Running[], rows: Row[]): Promise<void> {
  for (let turn = 0; turn < rounds; turn++) {
    const order = turn % 2 === 0 ? servers : servers.toReversed();
    for (const request of requests) {
      for (const lanes of [16, 64]) rows.push(...(await measureRow(order, request, { lanes, turn })));
    }
  }
}

async function measureRow(
  servers: readonly Running[],
  request: Request,
  { lanes, turn }: { lanes: number; turn: number },
): Promise<Row[]> {
  const { form } = request;
  const rows: Row[] = [];
  for (const { name: server, ports, pid } of servers) {
    const port = ports[form];
    if (port === undefined) continue;
    const result = await closedLoop({ port, pid }, request, { lanes, seconds, warmUp: turn === 0 ? 2 : 0.5 });
    rows.push({ server, form, lanes, ...result });
  }
  const words = rows.map(({ server, cpuUs, perSecond }) => `${server} ${cpuUs} µs (${perSecond}/s)`);
  step(`round ${turn + 1}, ${form}, ${lanes} at once: ${words.join(", ")}`);
  return rows;
}

async function measureHalf(servers: readonly Running[], half: Row[]): Promise<void> {
  const request = jsonRequest();
  for (const { name, ports, pid } of servers) {
    const port = ports.json;
    if (port === undefined) continue;
    const full: LoadResult[] = [];
    for (let turn = 0; turn < 3; turn++)
      full.push(await closedLoop({ port, pid }, request, { lanes: 64, seconds, warmUp: 1 }));
    const perSecond = Math.round(Math.max(...full.map((each) => each.perSecond)) / 2);
    for (let turn = 0; turn < rounds; turn++) {
      const result = await openLoop({ port, pid }, request, { perSecond, seconds, warmUp: 1 });
      half.push({ server: name, form: "json", lanes: 64, ...result });
      step(
        `half load of ${name}, ${perSecond}/s offered: ${result.perSecond}/s, p50 ${result.p50Ms} ms, p99 ${result.p99Ms} ms`,
      );
    }
  }
}

function only(part: string): boolean {
  return values.only.split(",").includes(part);
}

function step(what: string): void {
  process.stderr.write(`  ${what}\n`);
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

await main();

/**
 * Time and memory of the main job: a fresh start and a warm one, then the main process at rest.
 *
 *     node dist/bench/main-job.js [--rest 20]
 *
 * A fresh data directory each run; everything is already installed and built. `freshMs` and `warmMs` are measured by the program itself, from its
 * first line to the summary; `readyMs` is the time until all clusters answer on the second start. At rest: resident memory and CPU time of the main process
 * (/proc/PID), with hub and three members up and the model served. JSON to stdout.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { rest: { type: "string", default: "20" } } });
const restSeconds = Number(values.rest);
const program = fileURLToPath(new URL("../../bin/argosy.mjs", import.meta.url));
const data = mkdtempSync(join(tmpdir(), "argosy-bench-"));
const ticksPerSecond = 100;
/** As `npm start` has it. */
const node = [process.execPath, "--max-semi-space-size=16"] as const;

interface Outcome {
  readonly elapsedMs: number;
  readonly requests: { readonly byMember: Record<string, number>; readonly accuracy: number };
}

function runOnce(): Outcome {
  const result = spawnSync(node[0], [node[1], program, "start", "--exit", "-o", "json", "--data", data], {
    encoding: "utf8",
    env: { ...process.env, CI: "true" },
  });
  if (result.status !== 0) {
    throw new Error(`start ended with ${result.status}:\n${result.stderr}`);
  }
  return JSON.parse(result.stdout) as Outcome;
}

/** User and system time of a process, in ms. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

function rssMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

/** Resident memory of all processes whose command line names the data directory. */
function familyMb(): number {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .reduce((sum, pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(data) ? sum + rssMb(Number(pid)) : sum;
      } catch {
        return sum;
      }
    }, 0);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function atRest(): Promise<Record<string, number>> {
  const child = spawn(node[0], [node[1], program, "start", "--data", data], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, CI: "true" },
  });
  let stderr = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      if (stderr.includes("running; Ctrl-C")) resolve();
    });
    child.once("exit", (code) => reject(new Error(`ended with ${code}:\n${stderr}`)));
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("no process");
  await pause(5000);
  const before = cpuMs(pid);
  await pause(restSeconds * 1000);
  const figures = {
    rssMb: Math.round(rssMb(pid)),
    allProcessesNamingTheDirectoryMb: Math.round(familyMb()),
    cpuPercentOfACore: Number(((cpuMs(pid) - before) / (restSeconds * 10)).toFixed(2)),
  };
  child.kill("SIGTERM");
  await new Promise((resolve) => child.once("close", resolve));
  return figures;
}

try {
  const fresh = runOnce();
  const warm = runOnce();
  const rest = await atRest();
  process.stdout.write(
    `${JSON.stringify({ bench: "main-job", node: process.version, cores: cpus().length, freshMs: fresh.elapsedMs, warmMs: warm.elapsedMs, accuracy: fresh.requests.accuracy, byMember: fresh.requests.byMember, rest }, undefined, 2)}\n`,
  );
} finally {
  spawnSync(process.execPath, [program, "down", "--data", data]);
  rmSync(data, { recursive: true, force: true });
}

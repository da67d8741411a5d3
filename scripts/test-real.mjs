// `npm run test:real`: builds a real Kubernetes control plane from Go modules (outside the clone), compares answers to random requests,
// runs the suites of our client, informers and controllers on it, runs clients that others wrote (helm, client-go, …,
// docs/clients.md) against an embedded cluster, plays HyperMLServices, rollouts and policies on a real Karmada and on our engine, and the main job on a
// real Karmada with clusters of real nodes, and serves models from containers of a real cluster of two nodes (root). Where the programs
// cannot be had (no Go, no network) it says so and ends well.
//   --seeds A-B     which random scenarios are sent to both servers (default 1-300)
//   --within MIN    ends after so many minutes, and says what was left out; default: runs to the end
//   --no-long-suites   leaves out those of the suites that take minutes
//   --no-suites, --no-faults, --no-pull, --no-fuzz, --no-scheduler, --no-controllers, --no-clients, --no-fleet, --no-home, --no-serving
//                   leave a part out
//   --only LIST     nothing but these parts, for instance home,serving
// By hand, because it takes long: random policies on a real Karmada and on our engine (`fleet-random`, CONTRIBUTING.md).
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { prepare, root } from "./prepare.mjs";

/** Whatever stands on a test cluster in these runs on the real server; files without one are left out, a server makes no difference to them. */
const suites = [
  "src/testing",
  "src/kernel/client",
  "src/kernel/control",
  "src/kernel/kinds/native.test.ts",
  "src/cluster/webhooks",
  "src/cluster/workloads",
  "src/platform/admission.test.ts",
  "src/modules/fleet",
  "src/modules/serving",
];
/** Those that take minutes, most of it in time that is the server's own. */
const longSuites = new Set([
  "src/modules/fleet/rollout/rollout.test.ts",
  "src/modules/fleet/fleet.test.ts",
  "src/cluster/workloads/cronjob/cronjob.test.ts",
]);
const onCluster = /\bstart(TestCluster|PlayCluster|Fleet)\b|fixture\.js"/;
/** Share of the answers that may still differ, by what is asked for (objects of all kinds; what all kinds share); goes down as they become alike. */
const mostDifferent = new Map([
  ["kinds", "0.055"],
  ["machinery", "0.03"],
]);
/** Clusters of the comparison with kube-scheduler, and the share of pods that may be answered otherwise there: what is a matter of time. */
const schedulerSeeds = "1-60";
const mostPlacedOtherwise = "0.02";
/** Share of the steps under kube-controller-manager after which something may differ. */
const mostStepsOtherwise = "0.05";
/** A part that has less time than this is not begun. */
const leastMs = 60_000;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1-300" },
    within: { type: "string" },
    suites: { type: "boolean", default: true },
    "long-suites": { type: "boolean", default: true },
    faults: { type: "boolean", default: true },
    pull: { type: "boolean", default: true },
    fuzz: { type: "boolean", default: true },
    scheduler: { type: "boolean", default: true },
    controllers: { type: "boolean", default: true },
    clients: { type: "boolean", default: true },
    fleet: { type: "boolean", default: true },
    home: { type: "boolean", default: true },
    serving: { type: "boolean", default: true },
    only: { type: "string" },
  },
  allowNegative: true,
});
const endMs = values.within === undefined ? Number.POSITIVE_INFINITY : Date.now() + Number(values.within) * 60_000;
if (Number.isNaN(endMs)) {
  process.stderr.write("--within takes a number of minutes\n");
  process.exit(2);
}

/** In this order; what takes longest is last, for it is what is left out where time is short. */
const parts = ["faults", "fuzz", "pull", "fleet", "home", "serving", "scheduler", "controllers", "clients", "suites"];
if (values.only !== undefined) {
  const chosen = values.only.split(",");
  const unknown = chosen.find((name) => !parts.includes(name));
  if (unknown !== undefined) {
    process.stderr.write(`--only ${unknown}: there are ${parts.join(", ")}\n`);
    process.exit(2);
  }
  for (const name of parts) values[name] &&= chosen.includes(name);
}

/** Everything that the parts write elsewhere than in the cache. */
const temporary = mkdtempSync(join(tmpdir(), "argosy-test-real-"));
// Programs that work as users of their own (nginx) come through it.
chmodSync(temporary, 0o711);
let running;

/** Ends what runs, with all that it started: parts are process groups. */
function stop(signal) {
  try {
    if (running !== undefined) process.kill(-running.pid, signal);
  } catch {
    // It is gone.
  }
}

function end(code, message) {
  stop("SIGKILL");
  rmSync(temporary, { recursive: true, force: true, maxRetries: 5 });
  process.stdout.write(message);
  process.exit(code);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
  process.on(signal, () => end(130, `\ntest:real was stopped by ${signal}\n`));

/** What went wrong before is not forgotten over what cannot be had. */
const skip = (reason) =>
  failed.length === 0
    ? end(0, `test:real skipped, because ${reason}\n`)
    : end(1, `test:real failed: ${failed.join(", ")}; the rest is skipped, because ${reason}\n`);

/** Runs a program until it ends, or the time is over (`code` is then undefined). */
async function execute(args, { env = {}, isRead = false } = {}) {
  running = spawn(process.execPath, args, {
    cwd: root,
    detached: true,
    stdio: ["ignore", isRead ? "pipe" : "inherit", "inherit"],
    env: { ...process.env, TMPDIR: temporary, ...env },
  });
  let text = "";
  running.stdout?.setEncoding("utf8").on("data", (chunk) => {
    text += chunk;
  });
  let isLate = false;
  const leftMs = endMs - Date.now();
  const late = () => {
    isLate = true;
    stop("SIGKILL");
  };
  const timer = leftMs < 2 ** 31 ? setTimeout(late, Math.max(0, leftMs)) : undefined;
  const code = await new Promise((resolve) => running.once("close", (status) => resolve(status ?? 1)));
  clearTimeout(timer);
  // What it did not end itself.
  stop("SIGKILL");
  running = undefined;
  return { code: isLate ? undefined : code, text };
}

const failed = [];
const leftOut = [];

/** Runs a part with its output on ours. Returns whether it ended badly. */
async function part(title, args, env) {
  if (endMs - Date.now() < leastMs) {
    leftOut.push(`${title} (no time was left)`);
    return false;
  }
  process.stdout.write(`\n=== ${title}\n`);
  const began = Date.now();
  const { code } = await execute(args, { env });
  const minutes = ((Date.now() - began) / 60_000).toFixed(1);
  process.stdout.write(`=== ${title}: ${minutes} min\n`);
  if (code === undefined) leftOut.push(`the rest of ${title} (stopped after ${minutes} min)`);
  return code !== undefined && code !== 0;
}

/** Clusters in which everything has its own time, beside each other: what differs only now and then is a matter of that. */
async function compared(title, args) {
  if (!(await part(title, args))) return;
  if (await part(`${title}, once more`, args)) failed.push(title);
}

/** The test files of a folder, or that file, that stand on a cluster. */
function suiteFiles(place) {
  if (!statSync(join(root, place)).isDirectory()) return [place];
  return readdirSync(join(root, place), { recursive: true })
    .filter((file) => file.endsWith(".test.ts") && onCluster.test(readFileSync(join(root, place, file), "utf8")))
    .map((file) => join(place, file));
}

/** Test files one after the other. Those that fail are run once more with new servers: a wait may be too short on a loaded machine, a fault fails again. */
async function tests(title, words, { files, env }) {
  const list = join(temporary, "failed");
  const run = async (again, chosen) => {
    writeFileSync(list, "");
    const reporter = `--reporter=${join(root, "scripts", "failed.mjs")}`;
    const args = [vitest, "run", ...words, reporter, ...chosen];
    const isBad = await part(`${title}${again}`, args, { ...env, ARGOSY_FAILED_FILES: list });
    return { isBad, bad: readFileSync(list, "utf8").split("\n").filter(Boolean) };
  };
  const { isBad, bad } = await run("", files);
  if (!isBad) {
    // It was stopped.
    for (const file of bad) leftOut.push(`once more what failed: ${relative(root, file)}`);
    return;
  }
  // None is known where the runner itself went wrong.
  const again = await run(", once more what failed", bad.length === 0 ? files : bad);
  if (again.isBad) failed.push(title);
}

prepare();
const main = join(root, "dist", "tests", "real", "main.js");
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
const serial = ["--no-file-parallelism", "--maxWorkers=1", "--reporter=default"];
const skipped = `--reporter=${join(root, "scripts", "skipped.mjs")}`;
if (values.faults) {
  // Processes of this program alone: nothing else is needed for them.
  const files = ["tests/clocks.test.ts", "tests/joining-at-once.test.ts"];
  await tests("faults that take long", serial, { files, env: { ARGOSY_TEST_FAULTS: "1" } });
}
if (spawnSync("go", ["version"]).status !== 0) skip("Go is not installed (https://go.dev/dl/)");
const built = await execute([main, "build"], { isRead: true });
if (built.code === undefined) skip(`its programs are not built within ${values.within} minutes; the next run goes on`);
if (built.code === 3) skip(built.text.trim());
if (built.code !== 0) end(1, "test:real failed: the real programs could not be built\n");
const programs = built.text.trim();

if (values.fuzz) {
  for (const [area, atMost] of mostDifferent) {
    const title = `random requests to both: ${area}`;
    const options = ["--area", area, "--programs", programs, "--seeds", values.seeds, "--at-most", atMost];
    if (await part(title, [main, "fuzz", ...options])) failed.push(title);
  }
}
if (values.pull) {
  const env = { ARGOSY_TEST_REAL: programs };
  await tests("members that fetch from a real hub", serial, { files: ["tests/real/pull"], env });
}
if (values.fleet) {
  await compared("the fleet on a real Karmada and on our engine", [main, "fleet", "--programs", programs]);
}
if (values.home) {
  await compared("the main job on a real Karmada and real clusters", [main, "home", "--programs", programs]);
}
if (values.serving) {
  await compared("models in containers of a real cluster", [main, "serving", "--programs", programs]);
}
if (values.scheduler) {
  const title = "pods beside kube-scheduler";
  const options = ["--programs", programs, "--seeds", schedulerSeeds, "--at-most", mostPlacedOtherwise];
  await compared(title, [main, "scheduler", ...options]);
}
if (values.controllers) {
  const title = "workloads beside kube-controller-manager";
  const options = ["--programs", programs, "--at-most", mostStepsOtherwise];
  await compared(title, [main, "controllers", ...options]);
}
if (values.clients) {
  const words = [...serial, skipped];
  const env = { ARGOSY_TEST_INSTALL: "go,python,javascript", ARGOSY_HISTORIES: "5" };
  await tests("clients that others wrote", words, { files: ["tests/clients"], env });
}
if (values.suites) {
  const words = [...serial, skipped, "--hookTimeout=120000", "--testTimeout=180000"];
  const env = { ARGOSY_TEST_REAL: programs };
  const [short, long] = [false, true].map((isLong) =>
    suites.flatMap(suiteFiles).filter((file) => longSuites.has(file) === isLong),
  );
  await tests("suites on a real API server", words, { files: short, env });
  if (values["long-suites"]) await tests("long suites on a real API server", words, { files: long, env });
}
for (const what of leftOut) process.stdout.write(`\nleft out, because --within ${values.within} was over: ${what}\n`);
if (failed.length === 0) end(0, "\ntest:real passed\n");
else end(1, `\ntest:real failed: ${failed.join(", ")}\n`);

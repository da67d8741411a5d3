// `npm run test:real`: builds a real Kubernetes control plane from Go modules (outside the clone), runs the suites of our client,
// informers and controllers on it, compares answers to random requests, and runs clients that others wrote (helm, client-go, …,
// docs/clients.md) against an embedded cluster. Without Go it says so and ends well.
//   --seeds A-B   which random scenarios are sent to both servers (default 1-300)
//   --no-suites, --no-fuzz, --no-clients   leave a part out
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { prepare, root } from "./prepare.mjs";

const suites = [
  "src/testing/cluster.test.ts",
  "src/kernel/client",
  "src/kernel/control",
  "src/kernel/kinds/native.test.ts",
  "src/cluster/workloads/garbage",
  "src/cluster/workloads/disruption",
  "src/cluster/workloads/protection",
  "src/modules/fleet",
  "src/modules/serving",
];
/** Tests that need what only this program's own API server has, with why. */
const ownServerOnly = [
  "two manifests for one object are refused", // by a check that is built into the hub's API server
  "what stands in a member is still reported", // writes what it read before: here nobody writes in between
];
/** Share of the answers that may still differ; goes down as they become alike. */
const mostDifferent = "0.11";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1-300" },
    suites: { type: "boolean", default: true },
    fuzz: { type: "boolean", default: true },
    clients: { type: "boolean", default: true },
  },
  allowNegative: true,
});
if (spawnSync("go", ["version"]).status !== 0) {
  process.stdout.write("test:real skipped, because Go is not installed (https://go.dev/dl/)\n");
  process.exit(0);
}
prepare();
const main = join(root, "dist", "tests", "real", "main.js");
const built = spawnSync(process.execPath, [main, "build"], {
  cwd: root,
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
});
if (built.status !== 0) {
  process.stderr.write("the real programs could not be built\n");
  process.exit(1);
}
const programs = built.stdout.trim();
const failed = [];

/** Runs a part with its output on ours. */
function part(title, args, env = {}) {
  process.stdout.write(`\n=== ${title}\n`);
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } });
  if (result.status !== 0) failed.push(title);
}

if (values.suites) {
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const options = ["--no-file-parallelism", "--maxWorkers=1", "--hookTimeout=120000", "--testTimeout=120000"];
  options.push("-t", `^(?!.*(${ownServerOnly.join("|")}))`);
  part("suites on a real API server", [vitest, "run", ...options, ...suites], { ARGOSY_TEST_REAL: programs });
}
if (values.fuzz)
  part("random requests to both", [
    main,
    "fuzz",
    "--programs",
    programs,
    "--seeds",
    values.seeds,
    "--at-most",
    mostDifferent,
  ]);
if (values.clients) {
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const reporters = ["--reporter=default", `--reporter=${join(root, "scripts", "skipped.mjs")}`];
  part("clients that others wrote", [vitest, "run", "--no-file-parallelism", ...reporters, "tests/clients"], {
    ARGOSY_TEST_INSTALL: "go,python,javascript",
  });
}
process.stdout.write(failed.length === 0 ? "\ntest:real passed\n" : `\ntest:real failed: ${failed.join(", ")}\n`);
process.exit(failed.length === 0 ? 0 : 1);

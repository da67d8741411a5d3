import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { startStack } from "../../src/testing/real-stack.js";
import { buildStack, homeSet, nodeSet, Unobtainable } from "./build.js";
import { compareControllers } from "./controllers/main.js";
import { compareFleets } from "./fleet/main.js";
import { compareRandomFleets } from "./fleet/random/main.js";
import { generate } from "./fuzz/generate.js";
import { generateMachinery } from "./fuzz/machinery.js";
import { furnish, runScenario, shrink } from "./fuzz/run.js";
import { openTarget, type Target } from "./fuzz/target.js";
import type { Difference } from "./fuzz/types.js";
import type { Built } from "./home/karmada.js";
import { runMainJob } from "./home/main-job.js";
import { obstacleToNodes } from "./home/node.js";
import { openOwn } from "./own.js";
import { readCases, record, writeCases } from "./record.js";
import { compareSchedulers } from "./scheduler/main.js";
import { runServing } from "./serving/main.js";

/*
 * What `npm run test:real` is made of, one command at a time (`--help` of scripts/test-real.mjs):
 *   build                     builds the programs, prints their folder; ends with 3 and the reason where they cannot be had
 *   serve --programs DIR      keeps a real API server running for the others, prints its kubeconfig
 *   scheduler --programs DIR  pods into a real cluster with kube-scheduler and into one of ours, --seeds A-B
 *   controllers --programs DIR   scripted workloads under kube-controller-manager and under ours, --only NAMES
 *   fleet --programs DIR      HyperMLServices, rollouts and policies on a real Karmada and on our engine, --only NAMES
 *   fleet-random --programs DIR   random policies, clusters and changes on both, --seeds A-B, --within MIN
 *   home --programs DIR       the main job with a real Karmada and clusters with real nodes
 *   serving --programs DIR    models in containers of a real cluster of two nodes, --only NAMES
 *   fuzz, shrink, record      with --programs DIR (a server of its own) or --kubeconfig FILE (a running one), --seeds A-B
 */
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    programs: { type: "string", default: "" },
    kubeconfig: { type: "string", default: "" },
    seeds: { type: "string", default: "1-100" },
    /** `kinds`: objects of all kinds; `machinery`: what all kinds share. */
    area: { type: "string", default: "kinds" },
    /** Kinds as `apps/v1/Deployment`; areas of the machinery as `customs`. */
    only: { type: "string" },
    /** Where all differences are written. */
    out: { type: "string" },
    /** Share of differing answers above which the run fails. */
    "at-most": { type: "string", default: "1" },
    /** What kube-scheduler logs; its logs are kept when it is not 0. */
    verbosity: { type: "string", default: "0" },
    most: { type: "string", default: "300" },
    /** Minutes after which nothing more is begun. */
    within: { type: "string", default: "60" },
    /** Report only the first difference of each seed: what follows may come of it. */
    first: { type: "boolean", default: false },
  },
});
const [from = 1, to = from] = values.seeds.split("-").map(Number);
const only = values.only === undefined ? undefined : new RegExp(values.only);
const scenarioOf = values.area === "machinery" ? generateMachinery : generate;
/** Keeps runs against one server apart. */
const tag = `-${Date.now().toString(36).slice(-5)}`;

async function openReal(): Promise<Target> {
  if (values.kubeconfig !== "") return openTarget(readKubeconfig(values.kubeconfig));
  const stack = await startStack(values.programs);
  const target = openTarget(stack);
  return {
    open: (scenario) => target.open(scenario),
    async close() {
      await target.close();
      await stack.close();
    },
  };
}

function readKubeconfig(file: string): { url: string; caPem: string; token: string } {
  const config = JSON.parse(readFileSync(file, "utf8")) as {
    clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
    users: { user: { token: string } }[];
  };
  const cluster = config.clusters[0]?.cluster;
  const caPem = Buffer.from(cluster?.["certificate-authority-data"] ?? "", "base64").toString("utf8");
  return { url: cluster?.server ?? "", caPem, token: config.users[0]?.user.token ?? "" };
}

async function withServers<T>(work: (real: Target, own: Target) => Promise<T>): Promise<T> {
  const [real, own] = await Promise.all([openReal(), openOwn()]);
  try {
    return await work(real, own);
  } finally {
    await real.close();
    await own.close();
  }
}

/** The same kind of difference, whatever the names and numbers in it. */
function signature({ request, lines }: Difference): string {
  const path = request.path.split("?")[0] ?? "";
  const kind = path
    .replaceAll(/\bf\d+-[0-9a-z]+/g, "N")
    .replace(/^\/(api|apis)\//, "")
    .replace(/namespaces\/[^/]+\//, "");
  return `${request.method} ${kind} ${(telling(lines)[0] ?? "").replaceAll(/\d+/g, "0").slice(0, 110)}`;
}

/** What says most first: causes, then the message. */
function telling(lines: readonly string[]): string[] {
  const rank = (line: string): number =>
    line.startsWith("body.details.causes") ? 0 : line.startsWith("body.message") ? 1 : 2;
  return [...lines].sort((a, b) => rank(a) - rank(b));
}

function report(groups: ReadonlyMap<string, readonly Difference[]>): string[] {
  return [...groups]
    .sort((a, b) => b[1].length - a[1].length)
    .flatMap(([key, list]) => {
      const [first] = list;
      const seeds = [...new Set(list.map((one) => one.seed))].slice(0, 5).join(",");
      const body = first?.request.raw ?? JSON.stringify(first?.request.body) ?? "";
      return [
        `### ${list.length}× ${key}  (seeds ${seeds})`,
        `   ${first?.request.method} ${first?.request.path} ${first?.request.contentType ?? ""} ${body.slice(0, 900)}`,
        ...telling(first?.lines ?? [])
          .slice(0, 9)
          .map((line) => `     ${line.slice(0, 420)}`),
      ];
    });
}

async function fuzz(): Promise<void> {
  const groups = new Map<string, Difference[]>();
  let [requests, different] = [0, 0];
  await withServers(async (real, own) => {
    await Promise.all([furnish(real), furnish(own)]);
    for (let seed = from; seed <= to; seed += 1) {
      const scenario = scenarioOf(seed, tag, only);
      const found = await runScenario(real, own, scenario);
      requests += scenario.steps.length;
      different += found.length;
      for (const one of values.first ? found.slice(0, 1) : found)
        groups.set(signature(one), [...(groups.get(signature(one)) ?? []), one]);
    }
  });
  const lines = report(groups);
  if (values.out !== undefined) writeFileSync(values.out, `${lines.join("\n")}\n`);
  const share = different / Math.max(1, requests);
  process.stdout.write(
    `${requests} requests of seeds ${from} to ${to}: ${requests - different} answered alike, ${different} differ (${(share * 100).toFixed(1)} %) in ${groups.size} ways\n`,
  );
  if (share > Number(values["at-most"])) {
    process.stdout.write(`${lines.slice(0, 60).join("\n")}\nmore than ${values["at-most"]} of the answers differ\n`);
    process.exitCode = 1;
  }
}

async function shrinkAll(): Promise<void> {
  await withServers(async (real, own) => {
    await Promise.all([furnish(real), furnish(own)]);
    for (let seed = from; seed <= to; seed += 1) {
      const scenario = scenarioOf(seed, tag, only);
      for (const found of await runScenario(real, own, scenario)) {
        const steps = await shrink(real, own, scenario, found);
        process.stdout.write(`${JSON.stringify({ seed, steps, lines: found.lines }, null, 1)}\n`);
      }
    }
  });
}

async function serve(): Promise<void> {
  const stack = await startStack(values.programs);
  process.stdout.write(`${stack.kubeconfig}\n`);
  const ended = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"]) process.removeAllListeners(signal).once(signal, () => resolve());
  });
  const alive = setInterval(() => undefined, 60_000);
  await ended;
  clearInterval(alive);
  await stack.close();
}

/** What stands on a Karmada, or on nodes, where their programs can be had and nothing else is in the way. */
async function withHome(
  obstacle: string | undefined,
  work: (built: Built) => Promise<void>,
  set = homeSet,
): Promise<void> {
  try {
    if (obstacle !== undefined) throw new Unobtainable(obstacle);
    const home = await buildStack((line) => void process.stderr.write(`${line}\n`), set);
    await work({ plane: values.programs, home });
  } catch (error) {
    if (!(error instanceof Unobtainable)) throw error;
    process.stdout.write(`skipped, because ${error.message}\n`);
  }
}

const commands: Readonly<Record<string, () => Promise<void>>> = {
  async build() {
    try {
      process.stdout.write(`${await buildStack((line) => void process.stderr.write(`${line}\n`))}\n`);
    } catch (error) {
      if (!(error instanceof Unobtainable)) throw error;
      process.stdout.write(`${error.message}\n`);
      process.exitCode = 3;
    }
  },
  fleet: () =>
    withHome(undefined, (built) =>
      compareFleets(built, {
        ...(only === undefined ? {} : { only }),
        ...(values.out === undefined ? {} : { out: values.out }),
      }),
    ),
  "fleet-random": () =>
    withHome(undefined, (built) =>
      compareRandomFleets(built, {
        ...{ from, to, withinMs: Number(values.within) * 60_000 },
        ...(values.out === undefined ? {} : { out: values.out }),
      }),
    ),
  home: () => withHome(obstacleToNodes(), runMainJob),
  serving: () => withHome(obstacleToNodes(), (built) => runServing(built, only), nodeSet),
  serve,
  fuzz,
  controllers: () =>
    compareControllers({
      programs: values.programs,
      atMost: Number(values["at-most"]),
      ...(only === undefined ? {} : { only }),
      ...(values.out === undefined ? {} : { out: values.out }),
    }),
  scheduler: () =>
    compareSchedulers({
      programs: values.programs,
      from,
      to,
      atMost: Number(values["at-most"]),
      verbosity: Number(values.verbosity),
      ...(values.out === undefined ? {} : { out: values.out }),
    }),
  shrink: shrinkAll,
  async record() {
    const make = (seed: number) => scenarioOf(seed, "", only);
    const asked = { from, to, tag, most: Number(values.most), make, known: readCases() };
    const cases = await withServers((real, own) => record(real, own, asked));
    // Read again: others may have recorded meanwhile.
    writeCases([...readCases(), ...cases]);
    process.stdout.write(`${cases.length} new cases\n`);
  },
};
/** A run that is interrupted leaves no program behind: what it started is ended with it (`process.on("exit")`), which a bare signal would not do. */
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)
  process.once(signal, () => process.exit(code));
const command = commands[positionals[0] ?? ""];
if (command === undefined) {
  process.stderr.write(`usage: main.js ${Object.keys(commands).join("|")} [options]\n`);
  process.exitCode = 2;
} else await command();

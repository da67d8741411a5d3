import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { startStack } from "../../src/testing/real-stack.js";
import { generate } from "./fuzz/generate.js";
import { furnish, runScenario, shrink } from "./fuzz/run.js";
import { openTarget, type Target } from "./fuzz/target.js";
import type { Difference } from "./fuzz/types.js";
import { openOwn } from "./own.js";

/*
 * `main.js serve --programs DIR` keeps a real control plane running for trials; `main.js fuzz --seeds 1-100` compares with
 * it. `npm run test:real` does all in one.
 */

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    programs: { type: "string", default: "" },
    kubeconfig: { type: "string", default: "" },
    seeds: { type: "string", default: "1-100" },
    only: { type: "string" },
    out: { type: "string" },
  },
});

const tag = `-${Date.now().toString(36).slice(-5)}`;

function openReal(): Target {
  const config = JSON.parse(readFileSync(values.kubeconfig, "utf8")) as {
    clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
    users: { user: { token: string } }[];
  };
  const cluster = config.clusters[0]?.cluster;
  const caPem = Buffer.from(cluster?.["certificate-authority-data"] ?? "", "base64").toString("utf8");
  return openTarget({ url: cluster?.server ?? "", caPem, token: config.users[0]?.user.token ?? "" });
}

/** The same kind of difference, whatever the names and numbers in it. */
function signature({ request, lines }: Difference): string {
  const kind = request.path.split("?")[0]?.replace(/\bf\d+-[0-9a-z]+/g, "N") ?? "";
  const shape = (
    lines.find((line) => line.startsWith("body.details.causes")) ??
    lines.find((line) => line.startsWith("body.message")) ??
    lines[0] ??
    ""
  )
    .replaceAll(/\[\d+\]/g, "[]")
    .replaceAll(/\d+/g, "0");
  return `${request.method} ${kind.replace(/^\/(api|apis)\//, "").replace(/namespaces\/[^/]+\//, "")} ${shape.slice(0, 110)}`;
}

async function fuzz(): Promise<void> {
  const [from = 1, to = from] = values.seeds.split("-").map(Number);
  const only = values.only === undefined ? undefined : new RegExp(values.only);
  const real = openReal();
  const own = await openOwn();
  await Promise.all([furnish(real), furnish(own)]);
  const groups = new Map<string, Difference[]>();
  let requests = 0;
  let different = 0;
  for (let seed = from; seed <= to; seed += 1) {
    const scenario = generate(seed, tag, only);
    requests += scenario.steps.length;
    const found = await runScenario(real, own, scenario);
    different += found.length;
    for (const one of found) {
      const key = signature(one);
      groups.set(key, [...(groups.get(key) ?? []), one]);
    }
  }
  const sorted = [...groups].sort((a, b) => b[1].length - a[1].length);
  const lines: string[] = [];
  for (const [key, list] of sorted) {
    const [first] = list;
    lines.push(
      `### ${list.length}× ${key}  (seeds ${[...new Set(list.map((one) => one.seed))].slice(0, 5).join(",")})`,
    );
    if (first !== undefined) {
      lines.push(
        `   ${first.request.method} ${first.request.path} ${first.request.contentType ?? ""} ${first.request.raw ?? JSON.stringify(first.request.body)?.slice(0, 900) ?? ""}`,
      );
      for (const line of [...first.lines]
        .sort((a, b) => Number(b.startsWith("body.message")) - Number(a.startsWith("body.message")))
        .slice(0, 9))
        lines.push(`     ${line.slice(0, 420)}`);
    }
  }
  if (values.out !== undefined) writeFileSync(values.out, `${lines.join("\n")}\n`);
  process.stdout.write(
    `${requests} requests of ${to - from + 1} scenarios; ${different} answers differ, ${groups.size} ways\n`,
  );
  await real.close();
  await own.close();
}

if (positionals[0] === "serve") {
  const stack = await startStack(values.programs);
  process.stdout.write(`${stack.kubeconfig}\n`);
  process.once("SIGTERM", () => void stack.close().then(() => process.exit(0)));
  process.once("SIGINT", () => void stack.close().then(() => process.exit(0)));
  setInterval(() => undefined, 1 << 30);
} else if (positionals[0] === "shrink") {
  const seed = Number(values.seeds);
  const real = openReal();
  const own = await openOwn();
  await Promise.all([furnish(real), furnish(own)]);
  const scenario = generate(seed, tag, values.only === undefined ? undefined : new RegExp(values.only));
  for (const found of await runScenario(real, own, scenario)) {
    const steps = await shrink(real, own, scenario, found);
    process.stdout.write(`${JSON.stringify({ steps, lines: found.lines }, null, 1)}\n`);
  }
  await real.close();
  await own.close();
} else await fuzz();

import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Built } from "../home/karmada.js";
import { known } from "./known.js";
import { type Scenario, scenarios } from "./scenarios.js";
import { type Side, startKarmadaSide, startOwnSide } from "./sides.js";
import { Stage } from "./stage.js";

/** What to compare. */
export interface FleetRun {
  /** Names of scenarios. */
  readonly only?: RegExp;
  /** Where every difference is written. */
  readonly out?: string;
}

/** A real Karmada needs longer: its controllers look at clusters every ten seconds. */
const LIMIT_MS = 45_000;
const AT_ONCE = 3;

/**
 * The same HyperMLServices, rollouts and policies where a real Karmada delivers and where Argosy's engine does: what both are seen to do must be what the step says, and
 * alike but for what `known` lists. Throws what does not hold.
 */
export async function compareFleets(built: Built, run: FleetRun): Promise<void> {
  const starts = await Promise.allSettled([startKarmadaSide(built), startOwnSide()]);
  const sides = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  const report: string[] = [];
  try {
    for (const start of starts) if (start.status === "rejected") throw start.reason;
    const waiting = scenarios.filter(({ name }) => run.only?.test(name) !== false);
    const count = waiting.length;
    const work = async (): Promise<void> => {
      for (let scenario = waiting.shift(); scenario !== undefined; scenario = waiting.shift())
        report.push(...(await play(sides, scenario)));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (run.out !== undefined) writeFileSync(run.out, `${report.join("\n")}\n`);
    process.stdout.write(
      `${count} scenarios on both engines, ${report.length === 0 ? "all alike" : "with differences"}\n`,
    );
    if (report.length > 0) throw new Error(`the engines differ:\n${report.slice(0, 120).join("\n")}`);
  } finally {
    for (const side of sides) await side.close();
  }
}

async function play(sides: readonly Side[], { name, steps }: Scenario): Promise<string[]> {
  const stages = sides.map((side) => new Stage(side, name));
  const report: string[] = [];
  for (const { side } of stages)
    await side.hub.json("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  for (const { say, act, shows } of steps) {
    const began = Date.now();
    try {
      await Promise.all(stages.map((stage) => act(stage)));
    } catch (error) {
      return [...report, `### ${name}, ${say}: ${String(error)}`];
    }
    const found = await settled(stages, shows);
    if (found.missing.length > 0) return [...report, `### ${name}, ${say}: not seen`, ...found.missing];
    if (found.lines.length > 0) report.push(`### ${name}, ${say}`, ...found.lines);
    process.stdout.write(`✔ ${name}: ${say} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`);
  }
  return report;
}

interface Settled {
  /** What a step promises and a side does not show. */
  readonly missing: readonly string[];
  /** What only one of two shows. */
  readonly lines: readonly string[];
}

/** Looks until both show what is promised and are alike, or for so long. */
async function settled(stages: readonly Stage[], shows: readonly RegExp[]): Promise<Settled> {
  for (const end = Date.now() + LIMIT_MS; ; await sleep(300)) {
    const views = await Promise.all(stages.map((stage) => stage.look()));
    const missing = stages.flatMap(({ side }, index) =>
      shows
        .filter((promise) => views[index]?.some((line) => promise.test(line)) !== true)
        .flatMap((promise) => [
          `${side.name} shows no ${String(promise)}:`,
          ...(views[index] ?? []).map((line) => `    ${line}`),
        ]),
    );
    const [first = [], second = first] = views.map((view) =>
      view.filter((line) => !known.some(({ line: of }) => of.test(line))),
    );
    const lines = [
      ...first.filter((line) => !second.includes(line)).map((line) => `- ${line}`),
      ...second.filter((line) => !first.includes(line)).map((line) => `+ ${line}`),
    ];
    if ((missing.length === 0 && lines.length === 0) || Date.now() > end) return { missing, lines };
  }
}

import { writeFileSync } from "node:fs";
import { startOwn, startReal } from "./clusters.js";
import { generate } from "./generate.js";
import { runScenario } from "./run.js";
import { Side } from "./side.js";
import type { Disagreement } from "./types.js";

/** What to compare, and what to do with what differs. */
export interface SchedulerRun {
  readonly programs: string;
  readonly from: number;
  readonly to: number;
  /** Where every difference is written. */
  readonly out?: string;
  /** Share of the pods that may be answered otherwise. */
  readonly atMost: number;
  /** What the real programs log. */
  readonly verbosity?: number;
}

/** The same kind of difference, whatever the names and numbers in it. */
function signature({ lines, isAfter }: Disagreement): string {
  return `${isAfter ? "after: " : ""}${lines.slice(0, 2).join(" | ")}`
    .replaceAll(/[a-z]+\d-s\d+/g, "N")
    .replaceAll(/\d+/g, "0")
    .slice(0, 400);
}

/** Pods into a real cluster and into one of ours: where they go, and what is said about it. */
export async function compareSchedulers(run: SchedulerRun): Promise<void> {
  const [realCluster, ownCluster] = await Promise.all([startReal(run.programs, run.verbosity ?? 0), startOwn()]);
  const [real, own] = [new Side("real", realCluster), new Side("own", ownCluster)];
  const found: Disagreement[] = [];
  let [trials, scenarios, failed] = [0, 0, 0];
  try {
    await Promise.all([real.furnish(), own.furnish()]);
    for (let seed = run.from; seed <= run.to; seed += 1) {
      const scenario = generate(seed);
      scenarios += 1;
      trials += scenario.trials.length;
      try {
        const differences = await runScenario({ real, own }, scenario);
        for (const one of differences)
          found.push({ ...one, lines: [...one.lines, await scoresOf(own, scenario, one)] });
      } catch (error) {
        failed += 1;
        process.stdout.write(`seed ${seed}: ${String(error)}\n`);
      }
    }
  } finally {
    await Promise.all([realCluster.close(), ownCluster.close()]);
  }
  report(run, found, { trials, scenarios, failed });
}

async function scoresOf(own: Side, { trials }: ReturnType<typeof generate>, { trial }: Disagreement): Promise<string> {
  const { pod = {} } = trials[trial] ?? {};
  const { name = "" } = (pod["metadata"] ?? {}) as { name?: string };
  return `scores: ${await own.scores(name)}\n    pod: ${JSON.stringify(pod["spec"])}`;
}

function report(
  run: SchedulerRun,
  found: readonly Disagreement[],
  counts: { readonly trials: number; readonly scenarios: number; readonly failed: number },
): void {
  const groups = new Map<string, Disagreement[]>();
  for (const one of found) groups.set(signature(one), [...(groups.get(signature(one)) ?? []), one]);
  const lines = [...groups]
    .sort((a, b) => b[1].length - a[1].length)
    .flatMap(([, list]) => {
      const seeds = list.map(({ seed, trial }) => `${seed}/${trial}`).slice(0, 8);
      return [
        `### ${list.length}× ${list[0]?.isAfter ? "after a change " : ""}(seeds ${seeds.join(", ")})`,
        ...(list[0]?.lines ?? []).map((line) => `    ${line}`),
      ];
    });
  if (run.out !== undefined) writeFileSync(run.out, `${lines.join("\n")}\n`);
  const share = found.length / Math.max(1, counts.trials);
  process.stdout.write(
    `${counts.trials} pods in ${counts.scenarios} clusters of seeds ${run.from} to ${run.to}: ${found.length} differ (${(share * 100).toFixed(1)} %) in ${groups.size} ways, ${counts.failed} clusters failed\n`,
  );
  if (share <= run.atMost && counts.failed === 0) return;
  process.stdout.write(`${lines.slice(0, 60).join("\n")}\n`);
  process.exitCode = 1;
}

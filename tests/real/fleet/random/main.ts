import { writeFileSync } from "node:fs";
import type { Built } from "../../home/karmada.js";
import { generateBatches, generateCase } from "./generate.js";
import { accountFor, type KnownDifference } from "./known.js";
import { type Found, reportOf } from "./report.js";
import { type Pair, Run } from "./run.js";
import { SteeredRandom, startOwnFleet, startRealFleet } from "./sides.js";
import type { Batch, Finding } from "./types.js";

/** What to compare. */
export interface RandomFleetRun {
  readonly from: number;
  readonly to: number;
  /** After so long nothing more is begun; what is left out is said. */
  readonly withinMs: number;
  /** Where every difference is written. */
  readonly out?: string;
}

/** Random policies, clusters and changes for a real Karmada and for our engine: what both come to. Throws what differs. */
export async function compareRandomFleets(built: Built, run: RandomFleetRun): Promise<void> {
  const endMs = Date.now() + run.withinMs;
  const random = new SteeredRandom();
  const [real, own] = await Promise.allSettled([startRealFleet(built), startOwnFleet(random)]);
  try {
    for (const start of [real, own]) if (start.status === "rejected") throw start.reason;
    if (real.status !== "fulfilled" || own.status !== "fulfilled") return;
    await new Comparison({ real: real.value, own: own.value, random }, run).play(endMs);
  } finally {
    for (const start of [real, own]) if (start.status === "fulfilled") await start.value.close();
  }
}

class Comparison {
  readonly #pair: Pair;
  readonly #run: RandomFleetRun;
  /** Keeps the namespaces of runs on one hub apart. */
  readonly #tag = `x${Date.now().toString(36).slice(-4)}`;
  readonly #known = new Map<KnownDifference, Set<number>>();
  readonly #found: Found[] = [];

  constructor(pair: Pair, run: RandomFleetRun) {
    this.#pair = pair;
    this.#run = run;
  }

  async play(endMs: number): Promise<void> {
    let [played, left] = [0, 0];
    for (const batch of generateBatches(this.#run.from, this.#run.to, this.#tag)) {
      const { cases } = batch;
      if (Date.now() > endMs) {
        left += cases.length;
        continue;
      }
      const began = Date.now();
      const findings = await this.#confirmed(batch, await this.#play(batch));
      played += cases.length;
      this.#found.push(...findings.map((finding) => ({ batch, finding })));
      const seconds = ((Date.now() - began) / 1000).toFixed(0);
      process.stdout.write(
        `seeds ${cases[0]?.seed} to ${cases.at(-1)?.seed}: ${findings.length} differ (${seconds} s)\n`,
      );
      if (this.#run.out !== undefined) writeFileSync(this.#run.out, reportOf(this.#found).join("\n"));
    }
    this.#tell(played, left);
  }

  async #play(batch: Batch): Promise<Finding[]> {
    return new Run(this.#pair, batch, (fleetCase, phase, lines) => {
      const reasons = accountFor(fleetCase, phase, lines);
      for (const reason of reasons ?? [])
        this.#known.set(reason, (this.#known.get(reason) ?? new Set()).add(fleetCase.seed));
      return reasons !== undefined;
    }).play();
  }

  /** What differs is tried once more: what differs only now and then is a matter of moments. */
  async #confirmed({ worlds }: Batch, findings: readonly Finding[]): Promise<Finding[]> {
    if (findings.length === 0) return [];
    const cases = findings.map(({ fleetCase }) => generateCase(fleetCase.seed, `${this.#tag}y`));
    return this.#play({ worlds, cases });
  }

  #tell(played: number, left: number): void {
    for (const [{ name, why }, seeds] of this.#known)
      process.stdout.write(`known, in ${seeds.size} cases: ${name} (${why})\n`);
    process.stdout.write(
      `${played} cases on both engines: ${this.#found.length} differ${left === 0 ? "" : `; ${left} were left out, the time was over`}\n`,
    );
    if (this.#found.length > 0)
      throw new Error(`the engines differ:\n${reportOf(this.#found).join("\n").split("\n").slice(0, 300).join("\n")}`);
  }
}

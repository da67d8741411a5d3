import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Side } from "./side.js";
import type { Disagreement, Outcome, Scenario, Trial } from "./types.js";

interface Pair {
  readonly real: Side;
  readonly own: Side;
}

async function both<T>({ real, own }: Pair, work: (side: Side) => Promise<T>): Promise<readonly [T, T]> {
  return Promise.all([work(real), work(own)]);
}

/** What differs, a line each. Of several nodes that are as good either may be taken. */
function differing(real: Outcome, own: Outcome, best: readonly string[]): string[] {
  const isAsGood = real.node !== own.node && best.includes(real.node);
  const text = (value: unknown, node: string): string =>
    JSON.stringify(value).replaceAll(isAsGood ? node : "\u0000", isAsGood ? "NODE" : "\u0000");
  return (Object.keys(real) as (keyof Outcome)[]).flatMap((key) => {
    const [left, right] = [text(real[key], real.node), text(own[key], own.node)];
    return left === right ? [] : [`${key}: real ${left}`, `${" ".repeat(key.length)}   own ${right}`];
  });
}

/** Looks until both say the same, or for so long. */
async function agreement(
  pair: Pair,
  at: { readonly namespace: string; readonly name: string; readonly before: readonly string[] },
  limitMs: number,
): Promise<{ readonly real: Outcome; readonly own: Outcome; readonly lines: readonly string[] }> {
  for (const end = Date.now() + limitMs; ; await sleep(40)) {
    const [real, own] = await both(pair, (side) => side.outcome(at.namespace, at.name, at.before));
    const lines = differing(real, own, await pair.own.best(at.name));
    if (lines.length === 0 || Date.now() > end) return { real, own, lines };
  }
}

async function runTrial(pair: Pair, scenario: Scenario, index: number, trial: Trial): Promise<Disagreement[]> {
  const { name, namespace } = trial.pod["metadata"] as { name: string; namespace: string };
  const { seed } = scenario;
  const before = (await pair.real.pods()).map(({ metadata }) => metadata.name);
  const at = { namespace, name, before };
  await both(pair, async (side) => {
    await side.write({ method: "POST", path: `/api/v1/namespaces/${namespace}/pods`, body: trial.pod });
    await side.decided(namespace, name);
  });
  const first = await agreement(pair, at, 2500);
  const found: Disagreement[] = [];
  if (first.lines.length > 0) found.push({ seed, trial: index, isAfter: false, ...first });
  const { node, nominated } = first.real;
  if (node === "" && nominated === "" && trial.changes.length > 0 && first.lines.length === 0) {
    const isBoundAfter = await after(pair, at, trial);
    if (isBoundAfter.lines.length > 0) found.push({ seed, trial: index, isAfter: true, ...isBoundAfter });
    await align(pair, isBoundAfter, trial.pod);
    return found;
  }
  if (nominated !== "" && first.own.nominated === nominated && first.lines.length === 0) {
    // Nobody ends the victims but the test.
    await both(pair, async (side) => {
      for (const other of await side.pods())
        if (other.metadata.deletionTimestamp !== undefined)
          await side.remove(other.metadata.namespace, other.metadata.name);
    });
    const second = await agreement(pair, at, 4000);
    if (second.lines.length > 0) found.push({ seed, trial: index, isAfter: true, ...second });
    await align(pair, second, trial.pod);
    return found;
  }
  await align(pair, first, trial.pod);
  return found;
}

/** Something changes while the pod waits. What a scheduler says about a pod that still waits depends on whether it looked again. */
async function after(
  pair: Pair,
  at: { readonly namespace: string; readonly name: string; readonly before: readonly string[] },
  trial: Trial,
): Promise<{ readonly real: Outcome; readonly own: Outcome; readonly lines: readonly string[] }> {
  await both(pair, async (side) => {
    for (const one of trial.changes) await side.write(one);
  });
  await sleep(150);
  const now = await agreement(pair, at, 2600);
  const isWaiting = now.real.node === "" && now.own.node === "" && now.real.nominated === now.own.nominated;
  return isWaiting ? { ...now, lines: [] } : now;
}

/** Both go on from the same state: the real one's. */
async function align(
  pair: Pair,
  { real, own }: { readonly real: Outcome; readonly own: Outcome },
  pod: JsonObject,
): Promise<void> {
  const { name, namespace } = pod["metadata"] as { name: string; namespace: string };
  if (real.node === "") {
    await both(pair, (side) => side.remove(namespace, name));
    return;
  }
  if (real.node !== own.node) await pair.own.moveTo(real.node, pod);
}

/** Runs a scenario on both clusters; what differs. */
export async function runScenario(pair: Pair, scenario: Scenario): Promise<Disagreement[]> {
  const found: Disagreement[] = [];
  try {
    await both(pair, async (side) => {
      await side.setUp(scenario.setup);
      await side.settle(scenario.nodes, `settle-s${scenario.seed}`);
    });
    for (const [index, trial] of scenario.trials.entries()) {
      const differences = await runTrial(pair, scenario, index, trial);
      found.push(...differences);
      // From here on the two are not alike any more.
      if (differences.length > 0) break;
    }
  } finally {
    await both(pair, (side) => side.clear());
  }
  return found;
}

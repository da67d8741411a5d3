import fc from "fast-check";
import { expect, test } from "vitest";
import { amountOf, durationMs, durationText } from "../../../kernel/gates/index.js";
import type { ClusterFacts } from "./assignments.js";
import { type RolloutScene, stepRollout } from "./engine.js";
import type { HyperRolloutSpec, HyperRolloutStatus } from "./kind.js";

const NAMES = ["a", "b", "c", "d", "e", "f"];
const [ONE, TWO] = [
  { name: "one", number: 1 },
  { name: "two", number: 2 },
];

interface World {
  readonly facts: Map<string, ClusterFacts>;
  status: HyperRolloutStatus;
  nowMs: number;
}

/** Clusters that all have revision one, ready. */
function begin(): World {
  const fact = {
    labels: {},
    silence: "",
    revision: "one",
    canaryPercent: undefined,
    shadowPercent: undefined,
    isReady: true,
    message: "",
  };
  return { facts: new Map(NAMES.map((name) => [name, fact])), status: {}, nowMs: 1_000_000 };
}

function step(world: World, spec: Omit<HyperRolloutSpec, "hyperMLServiceRef">, more: Partial<RolloutScene> = {}) {
  const result = stepRollout({
    spec: { hyperMLServiceRef: { name: "digits" }, ...spec },
    status: world.status,
    latest: TWO,
    seed: ONE,
    clusters: world.facts,
    clustersOf: () => NAMES,
    hasCanary: () => true,
    gates: [],
    nowMs: world.nowMs,
    ...more,
  });
  world.status = result.status;
  return result;
}

/** What a cluster has been given arrives, and is ready or not. */
function arrive(world: World, cluster: string, isReady: boolean): void {
  const one = world.status.clusters?.find((row) => row.cluster === cluster);
  const before = world.facts.get(cluster);
  if (one === undefined || before === undefined) return;
  world.facts.set(cluster, {
    ...before,
    revision: one.revision,
    canaryPercent: one.canaryPercent,
    shadowPercent: one.shadowPercent,
    isReady,
  });
}

const changing = (world: World): string[] =>
  NAMES.filter((name) => {
    const one = world.status.clusters?.find((row) => row.cluster === name);
    const fact = world.facts.get(name);
    return (
      fact?.isReady !== true ||
      fact.revision !== one?.revision ||
      fact.canaryPercent !== one.canaryPercent ||
      fact.shadowPercent !== one.shadowPercent
    );
  });

test("whatever arrives when, never more clusters change at once than allowed, and all end with the target", () => {
  const order = fc.array(fc.nat({ max: NAMES.length - 1 }), { minLength: 1, maxLength: 20 });
  const waves = fc.constantFrom<HyperRolloutSpec["waves"]>(
    undefined,
    [{ name: "first", clusters: ["c", "f"] }],
    [
      { name: "few", count: "30%" },
      { name: "more", count: 3 },
    ],
  );
  const steps = fc.constantFrom<HyperRolloutSpec["steps"]>(
    undefined,
    [{ canaryPercent: 10 }],
    [{ canaryPercent: 10 }, { canaryPercent: 60 }],
    [{ shadowPercent: 100 }, { canaryPercent: 60 }],
  );
  fc.assert(
    fc.property(order, waves, steps, fc.integer({ min: 1, max: 4 }), (picks, waveSpecs, stepSpecs, maxUnavailable) => {
      const world = begin();
      const spec = {
        maxUnavailable,
        bake: "10s",
        ...(waveSpecs === undefined ? {} : { waves: waveSpecs }),
        ...(stepSpecs === undefined ? {} : { steps: stepSpecs }),
      };
      for (let turn = 0; turn < 400 && world.status.phase !== "Complete"; turn++) {
        step(world, spec);
        expect(changing(world).length).toBeLessThanOrEqual(maxUnavailable);
        const pending = changing(world);
        const pick = pending[(picks[turn % picks.length] ?? 0) % Math.max(pending.length, 1)];
        if (pick !== undefined) arrive(world, pick, true);
        world.nowMs += 5000;
      }
      expect(world.status.phase).toBe("Complete");
      expect(
        world.status.clusters?.every(
          (one) => one.revision === "two" && one.canaryPercent === undefined && one.shadowPercent === undefined,
        ),
      ).toBe(true);
    }),
  );
});

test("a step that is taken again changes nothing, and a restart goes on where it was", () => {
  const world = begin();
  const spec = { waves: [{ name: "first", count: 2 }], steps: [{ canaryPercent: 20 }], bake: "1m" };
  for (let turn = 0; turn < 40; turn++) {
    step(world, spec);
    const after = structuredClone(world.status);
    const again = step(world, spec);
    expect(again.status).toEqual(after);
    expect(again.decisions).toEqual([]);
    for (const name of changing(world)) arrive(world, name, true);
    world.nowMs += 20_000;
  }
  expect(world.status.phase).toBe("Complete");
});

test("readiness that is lost while it is watched begins the watch anew, and what is not mended in time is taken back", () => {
  const world = begin();
  const spec = { waves: [{ name: "first", clusters: ["a"] }], bake: "1m", progressDeadline: "2m" };
  step(world, spec);
  arrive(world, "a", true);
  expect(step(world, spec).status.phase).toBe("Baking");
  world.nowMs += 50_000;
  arrive(world, "a", false);
  expect(step(world, spec).status).toMatchObject({
    phase: "Progressing",
    clusters: [{ cluster: "a", state: "NotReady" }, {}, {}, {}, {}, {}],
  });
  arrive(world, "a", true);
  world.nowMs += 1000;
  expect(step(world, spec).status.message).toContain("watched for 1m more");
  arrive(world, "a", false);
  world.nowMs += 1000;
  step(world, spec);
  world.nowMs += 121_000;
  expect(step(world, spec).status).toMatchObject({ phase: "RollingBack", failure: { reason: "DeadlineExceeded" } });
  arrive(world, "a", true);
  expect(step(world, spec).status.phase).toBe("RolledBack");
});

test("a complete rollout stays complete when a cluster is lost later", () => {
  const world = begin();
  for (let turn = 0; turn < 60 && world.status.phase !== "Complete"; turn++) {
    step(world, { bake: "1s" });
    for (const name of changing(world)) arrive(world, name, true);
    world.nowMs += 2000;
  }
  arrive(world, "b", false);
  expect(step(world, { bake: "1s" }).status).toMatchObject({ phase: "Complete", summary: "5/6" });
});

test("durations and amounts are read and written as people do", () => {
  expect([durationMs("1h30m", 0), durationMs("250ms", 0), durationMs(undefined, 7)]).toEqual([5_400_000, 250, 7]);
  expect([durationText(5_400_000), durationText(0), durationText(61_001)]).toEqual(["1h30m", "0s", "1m2s"]);
  expect([amountOf("25%", 10, Math.ceil), amountOf("25%", 10, Math.floor), amountOf(4, 10, Math.ceil)]).toEqual([
    3, 2, 4,
  ]);
});

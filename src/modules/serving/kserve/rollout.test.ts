import fc from "fast-check";
import { expect, test } from "vitest";
import {
  allowedPods,
  divideReplicas,
  type FoundVariant,
  nextRevision,
  planRollout,
  type RolloutWish,
  shareBefore,
  shareTraffic,
  surgeOf,
} from "./rollout.js";

const base = "m-predictor";
const one: FoundVariant = { deployment: base, revision: `${base}-00001`, hash: "one" };
const wish = (more: Partial<RolloutWish>): RolloutWish => ({
  base,
  hash: "two",
  percent: undefined,
  rolledOut: one.revision,
  created: one.revision,
  ...more,
});

test("the first revision runs in the Deployment of the component's name", () => {
  const plan = planRollout(wish({ rolledOut: undefined, created: undefined }), []);

  expect(plan).toEqual({
    latest: { deployment: base, revision: `${base}-00001`, isLatest: true },
    previous: undefined,
  });
  expect(shareTraffic(plan, { percent: undefined, answers: false })).toMatchObject({ latest: 100, isRolledOut: false });
});

test("without a share the next one replaces it in place; with one it has pods of its own", () => {
  expect(planRollout(wish({}), [one])).toEqual({
    latest: { deployment: base, revision: `${base}-00002`, isLatest: true },
    previous: undefined,
  });
  const split = planRollout(wish({ percent: 20 }), [one]);
  expect(split).toEqual({
    latest: { deployment: `${base}-00002`, revision: `${base}-00002`, isLatest: true },
    previous: { deployment: base, revision: one.revision, isLatest: false },
  });
  expect(shareTraffic(split, { percent: 20, answers: false })).toMatchObject({ latest: 0, previous: 100 });
  expect(shareTraffic(split, { percent: 20, answers: true })).toMatchObject({
    latest: 20,
    previous: 80,
    isRolledOut: false,
  });
});

test("promotion keeps the canary's pods; going back keeps those that were rolled out; 0 pins", () => {
  const two: FoundVariant = { deployment: `${base}-00002`, revision: `${base}-00002`, hash: "two" };
  const promoted = planRollout(wish({ created: two.revision }), [one, two]);
  const back = planRollout(wish({ hash: "one", created: two.revision }), [one, two]);

  expect(promoted.latest.deployment).toBe(two.deployment);
  expect(shareTraffic(promoted, { percent: undefined, answers: true })).toMatchObject({
    latest: 100,
    isRolledOut: true,
  });
  expect(back).toEqual({ latest: { deployment: base, revision: one.revision, isLatest: true }, previous: undefined });
  const pinned = planRollout(wish({ percent: 0, created: two.revision }), [one, two]);
  expect(shareTraffic(pinned, { percent: 0, answers: true })).toMatchObject({
    latest: 0,
    previous: 100,
    isRolledOut: false,
  });
});

test("a canary that changes does so in its own Deployment, also when it is promoted at once", () => {
  const two: FoundVariant = { deployment: `${base}-00002`, revision: `${base}-00002`, hash: "two" };
  for (const percent of [10, undefined]) {
    const plan = planRollout(wish({ hash: "three", percent, created: two.revision }), [one, two]);
    expect(plan.latest).toEqual({ deployment: two.deployment, revision: `${base}-00003`, isLatest: true });
    expect(plan.previous?.revision).toBe(one.revision);
  }
});

test("revisions are counted on, whatever is left of them", () => {
  expect(nextRevision(base, [undefined, `${base}-00009`, "m-next-predictor"])).toBe(`${base}-00010`);
});

test("a rollout never has more pods than it may, and never takes the last one of what answers", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 0, max: 20 }),
      (replicas, percent, surge) => {
        const { latest, previous, fault } = divideReplicas(replicas, percent, surge);
        expect(latest + previous).toBeLessThanOrEqual(replicas + surge);
        expect(previous).toBeGreaterThanOrEqual(1);
        expect(latest === 0).toBe(fault !== undefined);
        expect(fault !== undefined).toBe(replicas + surge < 2);
      },
    ),
  );
});

test("a Deployment grows into the room that others leave, and keeps what it has", () => {
  fc.assert(
    fc.property(fc.nat(20), fc.nat(20), fc.nat(20), fc.nat(40), (wanted, has, others, budget) => {
      const allowed = allowedPods(wanted, { has, others, budget });
      expect(allowed).toBeLessThanOrEqual(wanted);
      expect(allowed).toBeGreaterThanOrEqual(Math.min(has, wanted));
      if (allowed > has) expect(allowed + others).toBeLessThanOrEqual(budget);
    }),
  );
});

test("what holds GPUs may have no pod more unless it is allowed", () => {
  expect([
    surgeOf(undefined, 4, false),
    surgeOf(undefined, 4, true),
    surgeOf("2", 4, true),
    surgeOf("25%", 5, true),
  ]).toEqual([1, 0, 2, 2]);
});

test("a share is that of the two revisions, whatever canaries have besides", () => {
  const traffic = [
    { revisionName: "b", percent: 24 },
    { revisionName: "a", percent: 56 },
    { revisionName: "other", percent: 20 },
  ];
  expect(shareBefore(traffic, ["b", "a"])).toBe(30);
  expect(shareBefore(traffic, ["b", undefined])).toBe(100);
  expect(shareBefore(traffic, ["c", "a"])).toBe(0);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { advancePromotion, type PromotionSeen, type PromotionState, readPromotion } from "./promotion.js";
import { type PromotionSettings, promotionSettings } from "./promotion-settings.js";

const settings: PromotionSettings = {
  ...{ steps: [10, 50], bakeMs: 1000, deadlineMs: 5000, gates: [], onFailure: "Rollback", durationMs: 0 },
};
const seen: PromotionSeen = {
  ...{ revision: "m-00002", target: 100, isSettled: true, nowMs: 100_000, verdicts: [] },
  isPromoted: false,
};
const verdict = (of: "Passed" | "Failed" | "Waiting") => ({
  name: "p99",
  cluster: "c",
  verdict: of,
  message: "300 ms",
});
const at = (percent: number, agoMs: number): PromotionState => ({
  ...{ revision: "m-00002", percent, sinceMs: agoMs < 0 ? 0 : seen.nowMs - agoMs },
});
const step = (
  state: PromotionState | undefined,
  more: Partial<PromotionSeen> = {},
  how: Partial<PromotionSettings> = {},
) => {
  const { state: next, phase } = advancePromotion(state, { ...settings, ...how }, { ...seen, ...more });
  return [next.percent, phase, next.sinceMs === 0 ? "new" : "since", next.failed?.reason];
};

test("a revision waits for its pods, is watched for its bake at each step, and then has everything", () => {
  expect(step(undefined, { isSettled: false })).toEqual([10, "Waiting", "new", undefined]);
  expect(step(undefined)).toEqual([10, "Baking", "since", undefined]);
  expect(step(at(10, 999))).toEqual([10, "Baking", "since", undefined]);
  expect(step(at(10, 1000))).toEqual([50, "Waiting", "new", undefined]);
  expect(step(at(50, 1000))).toEqual([100, "Waiting", "new", undefined]);
  expect(step(at(100, -1))).toEqual([100, "Complete", "since", undefined]);
  // Another revision begins anew.
  expect(step({ ...at(50, 1000), revision: "m-00001" })).toEqual([10, "Baking", "since", undefined]);
});

test("a gate that fails takes it back at once, or stops it; one that sees too little does so after the deadline", () => {
  expect(step(at(10, 10), { verdicts: [verdict("Failed")] })).toEqual([0, "RolledBack", "since", "GateFailed"]);
  expect(step(at(10, 10), { verdicts: [verdict("Failed")] }, { onFailure: "Pause" })).toEqual([
    ...[10, "Paused", "since", "GateFailed"],
  ]);
  expect(step(at(10, 1000), { verdicts: [verdict("Waiting")] })).toEqual([10, "Baking", "since", undefined]);
  expect(step(at(10, 6000), { verdicts: [verdict("Waiting")] })).toEqual([0, "RolledBack", "since", "GateUnanswered"]);
  const failed: PromotionState = { ...at(0, 10), failed: { reason: "GateFailed", message: "p99: 300 ms" } };
  expect(step(failed)).toEqual([0, "RolledBack", "since", "GateFailed"]);
  expect(step(failed, { isPromoted: true })).toEqual([100, "Complete", "since", undefined]);
  expect(readPromotion(JSON.stringify(failed))).toEqual(failed);
});

test("a share that is written is where it ends, and is watched there; 0 pins", () => {
  expect(step(at(10, 1000), { target: 30 })).toEqual([30, "Waiting", "new", undefined]);
  expect(step(at(30, 1e9), { target: 30, verdicts: [verdict("Waiting")] })).toEqual([
    30,
    "Holding",
    "since",
    undefined,
  ]);
  expect(step(at(30, 1), { target: 30, verdicts: [verdict("Failed")] })[1]).toBe("RolledBack");
  expect(step(at(50, 1), { target: 20 })).toEqual([20, "Holding", "since", undefined]);
  expect(step(undefined, { target: 0 })[0]).toBe(0);
});

test("bit by bit: 1 % at once, everything after the duration, never back, and no gate is forgotten", () => {
  const gradual = { ...settings, steps: [], durationMs: 60_000 };
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 100 }), fc.integer({ min: 0, max: 50_000 }), (target, readyAfterMs) => {
      const asked = advancePromotion(undefined, gradual, { ...seen, target, isSettled: false });
      let state: PromotionState | undefined = asked.state;
      const shares: number[] = [];
      for (let passedMs = 0; passedMs <= 62_000; passedMs += 500) {
        const now = { ...seen, target, nowMs: seen.nowMs + readyAfterMs + passedMs };
        const next = advancePromotion(state, gradual, now);
        state = readPromotion(JSON.stringify(next.state));
        shares.push(next.state.percent);
      }
      expect(shares[0]).toBe(1);
      expect(shares.at(-1)).toBe(target);
      expect(shares.every((share, index) => share >= (shares[index - 1] ?? 0))).toBe(true);
    }),
  );
  // Its bits are as long as its own pods took, however long its Deployment has run another revision.
  const before: PromotionState = { ...at(30, 50_000), revision: "m-00001", askedAtMs: 1 };
  const changed = advancePromotion(before, gradual, { ...seen, isSettled: false });
  const { state } = advancePromotion(changed.state, gradual, { ...seen, nowMs: seen.nowMs + 2000 });
  expect(state).toMatchObject({ percent: 1, bits: { step: 3 } });
  const failed = advancePromotion(at(20, 10), gradual, { ...seen, verdicts: [verdict("Failed")] });
  expect(failed.phase).toBe("RolledBack");
});

test("annotations are read, and what is wrong with them is said", () => {
  const read = (annotations: Record<string, string>) => promotionSettings({ metadata: { annotations } });
  const own = (name: string, text: string) => read({ [`serving.argosy.dev/rollout-${name}`]: text });
  expect(read({}).settings).toBeUndefined();
  expect(own("gates", '[{"metric":"P99","max":200,"minRequests":50}]').settings).toMatchObject({
    ...{ steps: [10, 50], bakeMs: 30_000, gates: [{ name: "P99", metric: "P99", max: 200, minRequests: 50 }] },
  });
  expect(read({ "serving.knative.dev/rollout-duration": "10m" }).settings).toMatchObject({
    ...{ steps: [], durationMs: 600_000 },
  });
  const bad: [string, string, RegExp][] = [
    ["steps", "50,10", /rising percents/],
    ["bake", "soon", /duration like 30s/],
    ["on-failure", "Retry", /neither Rollback nor Pause/],
    ["gates", "{}", /must be JSON like/],
    ["gates", '[{"metric":"Speed","max":1}]', /needs either metric/],
    ["gates", '[{"metric":"P99"}]', /neither min nor max/],
    ["gates", '[{"query":"up","metric":"P99","max":1}]', /needs either/],
    ["gates", '[{"query":"up","max":1},{"query":"down","max":1}]', /same name/],
    ["gates", '[{"metric":"P99","max":1,"address":"http://x"}]', /has address/],
  ];
  for (const [name, text, message] of bad) {
    const { faults } = own(name, text);
    expect(faults.map(({ field }) => field)).toEqual([`metadata.annotations[serving.argosy.dev/rollout-${name}]`]);
    expect(faults[0]?.message).toMatch(message);
  }
});

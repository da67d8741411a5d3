import fc from "fast-check";
import { expect, test } from "vitest";
import { noteChange, type Past, pace } from "./pace.js";

const fresh = (): Past => ({ recommendations: [], ups: [], downs: [] });
const minute = 60_000;

test("without a behaviour a size at most doubles, or grows to four, and the reason is told", () => {
  const past = fresh();

  expect(pace({ current: 1, desired: 9, min: 1, max: 10, nowMs: 0 }, undefined, past)).toMatchObject({
    replicas: 4,
    limited: { isLimited: true, reason: "ScaleUpLimit" },
  });
  expect(pace({ current: 4, desired: 20, min: 1, max: 7, nowMs: minute }, undefined, past)).toMatchObject({
    replicas: 7,
    limited: { isLimited: true, reason: "TooManyReplicas" },
  });
});

test("a lower recommendation waits until the higher ones are five minutes old", () => {
  const past = fresh();
  const wish = { current: 8, min: 1, max: 10 };
  pace({ ...wish, desired: 8, nowMs: 0 }, undefined, past);

  const held = pace({ ...wish, desired: 2, nowMs: 5 * minute }, undefined, past);
  const free = pace({ ...wish, desired: 2, nowMs: 5 * minute + 1 }, undefined, past);

  expect(held).toMatchObject({ replicas: 8, able: { reason: "ScaleDownStabilized" } });
  expect(free).toMatchObject({ replicas: 2, able: { reason: "ReadyForNewScale" } });
});

test("policies count what was changed in their period; the select policy picks among them", () => {
  const behavior = {
    scaleUp: {
      selectPolicy: "Min",
      policies: [
        { type: "Pods", value: 3, periodSeconds: 60 },
        { type: "Percent", value: 100, periodSeconds: 60 },
      ],
    },
    scaleDown: { selectPolicy: "Disabled" },
  };
  const past = fresh();

  const first = pace({ current: 2, desired: 10, min: 1, max: 10, nowMs: 0 }, behavior, past);
  noteChange(behavior, past, { from: 2, to: first.replicas, nowMs: 0 });
  const soon = pace({ current: first.replicas, desired: 10, min: 1, max: 10, nowMs: 30_000 }, behavior, past);
  const later = pace({ current: first.replicas, desired: 10, min: 1, max: 10, nowMs: minute }, behavior, past);
  const down = pace({ current: 7, desired: 1, min: 1, max: 10, nowMs: 20 * minute }, behavior, fresh());

  expect([first.replicas, soon.replicas, later.replicas]).toEqual([4, 4, 7]);
  expect(soon.limited).toMatchObject({ isLimited: true, reason: "ScaleUpLimit" });
  expect(down).toMatchObject({ replicas: 7, limited: { reason: "ScaleDownLimit" } });
});

test("a window for growth holds on to the lowest recommendation", () => {
  const behavior = { scaleUp: { stabilizationWindowSeconds: 120 } };
  const past = fresh();
  const wish = { current: 2, min: 1, max: 10 };
  pace({ ...wish, desired: 2, nowMs: 0 }, behavior, past);

  const held = pace({ ...wish, desired: 5, nowMs: minute }, behavior, past);
  const free = pace({ ...wish, desired: 5, nowMs: 2 * minute }, behavior, past);

  expect(held).toMatchObject({ replicas: 2, able: { reason: "ScaleUpStabilized" } });
  expect(free).toMatchObject({ replicas: 5, able: { reason: "ReadyForNewScale" } });
});

test("whatever is wished for and remembered, the size stays within its bounds", () => {
  const size = fc.integer({ min: 1, max: 50 });
  const policy = fc.record({
    type: fc.constantFrom("Pods", "Percent"),
    value: fc.integer({ min: 1, max: 200 }),
    periodSeconds: fc.integer({ min: 1, max: 300 }),
  });
  const rules = fc.record({
    selectPolicy: fc.constantFrom("Max", "Min", "Disabled"),
    stabilizationWindowSeconds: fc.integer({ min: 0, max: 600 }),
    policies: fc.array(policy, { minLength: 1, maxLength: 3 }),
  });
  fc.assert(
    fc.property(
      fc.option(fc.record({ scaleUp: rules, scaleDown: rules }), { nil: undefined }),
      fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 30 }),
      size,
      size,
      (behavior, wishes, min, span) => {
        const past = fresh();
        let current = min;
        for (const [step, desired] of wishes.entries()) {
          const nowMs = step * 15_000;
          const { replicas } = pace({ current, desired, min, max: min + span, nowMs }, behavior, past);
          expect(replicas).toBeGreaterThanOrEqual(min);
          expect(replicas).toBeLessThanOrEqual(min + span);
          if (replicas !== current) noteChange(behavior, past, { from: current, to: replicas, nowMs });
          current = replicas;
        }
      },
    ),
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { activatorCount, activatorSubset, isHeld } from "./activators.js";
import { bound, type DecisionSettings, type DecisionState, decide, firstState, type Observation } from "./decision.js";
import { readSettings } from "./settings.js";
import { LoadWindow, panicWindowMs, sampleSize, smoothingCoefficient } from "./window.js";

const settings: DecisionSettings = {
  target: 10,
  total: 14,
  maxScaleUpRate: 1000,
  maxScaleDownRate: 2,
  panicThreshold: 2,
  stableWindowMs: 60_000,
  activationScale: 1,
  scaleDownDelayMs: 0,
  targetBurstCapacity: 211,
  reachable: true,
};
const calm = firstState(1, 0);
const look = (seen: Partial<Observation>, more: Partial<DecisionSettings> = {}, state = calm) =>
  decide(state, { stable: 0, panic: 0, readyPods: 1, nowMs: 0, ...seen }, { ...settings, ...more });

test("pods are wanted by the load of a pod, rounded up", () => {
  expect(look({ stable: 11, panic: 11, readyPods: 2 }).desired).toBe(2);
  expect(look({ stable: 20, panic: 20, readyPods: 2 }).desired).toBe(2);
  expect(look({ stable: 20.1, panic: 20, readyPods: 2 }).desired).toBe(3);
});

test("no pod counts as one: from zero the rate is that of one", () => {
  expect(look({ stable: 50, panic: 50, readyPods: 0 }, { maxScaleUpRate: 3 }).desired).toBe(3);
  expect(look({ stable: 0, panic: 0, readyPods: 0 }).desired).toBe(0);
});

test("a look changes the number by no more than the rates", () => {
  expect(look({ stable: 500, panic: 500, readyPods: 2 }, { maxScaleUpRate: 1.1 }).desired).toBe(3);
  expect(look({ stable: 1, panic: 1, readyPods: 11 }).desired).toBe(5);
  expect(look({ stable: 1, panic: 1, readyPods: 11 }, { reachable: false }).desired).toBe(1);
});

test("without data nothing is decided", () => {
  const found = decide(calm, { readyPods: 4, nowMs: 0 }, settings);
  expect([found.valid, found.state]).toEqual([false, calm]);
});

test("panic is judged by what is wanted before the rates bound it, and said in words", () => {
  const found = look({ stable: 50, panic: 116, readyPods: 5 }, { maxScaleUpRate: 1.2 });
  expect(found.inPanic).toBe(true);
  expect(found.words).toContain("12 wanted ≥ 2 × 5 ready → panic");
  expect(found.desired).toBe(6);
  expect(look({ stable: 50, panic: 90, readyPods: 5 }).inPanic).toBe(false);
});

test("panic never takes away, is armed anew while it is over, and ends strictly after a stable window", () => {
  let { state, desired } = look({ stable: 10, panic: 100, readyPods: 2, nowMs: 1000 });
  expect(desired).toBe(10);
  const next = (seen: Partial<Observation>): void => {
    ({ state, desired } = look({ readyPods: 10, ...seen }, {}, state));
  };
  next({ stable: 10, panic: 10, nowMs: 3000 });
  expect(desired).toBe(10);
  next({ stable: 10, panic: 200, nowMs: 31_000 });
  expect(desired).toBe(20);
  next({ stable: 10, panic: 10, nowMs: 91_000 });
  expect([desired, state.panicAtMs]).toEqual([20, 31_000]);
  next({ stable: 10, panic: 10, nowMs: 91_001 });
  expect([desired, state.panicAtMs, state.panicPeak]).toEqual([5, undefined, 0]);
});

test("a new autoscaler panics where several pods are ready, so that a restart takes none away", () => {
  const state = firstState(5, 0);
  expect(look({ stable: 1, panic: 1, readyPods: 5, nowMs: 2000 }, {}, state).desired).toBe(5);
  expect(firstState(1, 0).panicAtMs).toBeUndefined();
});

test("the activation scale counts after the rates, and only where anything is wanted", () => {
  expect(look({ stable: 1, panic: 1, readyPods: 0 }, { activationScale: 4, maxScaleUpRate: 2 }).desired).toBe(4);
  expect(look({ stable: 0, panic: 0, readyPods: 0 }, { activationScale: 4 }).desired).toBe(0);
  // The lower rate keeps 2 of 4, but nothing is wanted by itself.
  expect(look({ stable: 0, panic: 0, readyPods: 4 }, { activationScale: 4 }).desired).toBe(2);
});

test("a delay keeps the most of its window, in steps of two seconds", () => {
  const delay = { scaleDownDelayMs: 10_000 };
  let found = look({ stable: 40, panic: 10, readyPods: 4, nowMs: 0 }, delay);
  expect(found.desired).toBe(4);
  for (const nowMs of [2000, 4000, 6000, 8000]) {
    found = look({ stable: 1, panic: 1, readyPods: 1, nowMs }, delay, found.state);
    expect(found.desired).toBe(4);
  }
  found = look({ stable: 1, panic: 1, readyPods: 1, nowMs: 10_000 }, delay, found.state);
  expect(found.desired).toBe(1);
  expect(look({ stable: 1, panic: 1, readyPods: 1 }, { ...delay, reachable: false }, found.state).desired).toBe(1);
});

test("excess burst capacity", () => {
  expect(look({ panic: 5 }, { targetBurstCapacity: 0 }).excessBurstCapacity).toBe(0);
  expect(look({ panic: 5 }, { targetBurstCapacity: -1 }).excessBurstCapacity).toBe(-1);
  expect(look({ panic: 5.5, readyPods: 20 }).excessBurstCapacity).toBe(280 - 211 - 6);
  expect(look({ panic: 0, readyPods: 0 }).excessBurstCapacity).toBe(-211);
});

test("bounds: minimum unless nobody can reach it, maximum, and the initial scale until it was up", () => {
  const limits = { minScale: 2, maxScale: 5, initialScale: 1, initialized: true, reachable: true };
  expect([0, 3, 9].map((desired) => bound(desired, limits))).toEqual([2, 3, 5]);
  expect(bound(0, { ...limits, reachable: false })).toBe(0);
  expect(bound(0, { ...limits, minScale: 0, initialScale: 3, initialized: false })).toBe(3);
  expect(bound(0, { ...limits, minScale: 0, initialScale: 3 })).toBe(0);
  expect(bound(9, { ...limits, maxScale: 0 })).toBe(9);
});

test("windows: young ones are not diluted, gaps count as nothing, silence makes them young again", () => {
  const window = new LoadWindow(60_000);
  expect([window.isEmpty(0), window.average(0)]).toEqual([true, 0]);
  for (let second = 100; second < 106; second++) window.record(second * 1000 + 300, 12);
  expect(window.average(105_900)).toBe(12);
  window.record(107_000, 8);
  expect(window.average(107_000)).toBe(10);
  // Ten seconds without a word: the average is that of the first fifty.
  expect(window.average(117_000)).toBe(10);
  expect(window.average(166_000)).toBe(8);
  expect(window.average(167_000)).toBe(0);
  expect([window.isEmpty(167_000), window.isEmpty(168_000)]).toEqual([false, true]);
  window.record(170_000, 4);
  expect(window.average(170_000)).toBe(4);
  // The window began at 168, as it turns out.
  window.record(168_000, 5);
  expect(window.average(170_000)).toBe(3);
});

test("weights fall off exponentially, and reach a fifth at most slowly", () => {
  expect(smoothingCoefficient(60)).toBe(0.2);
  expect(smoothingCoefficient(6)).toBeCloseTo(0.7846, 4);
  const window = new LoadWindow(6000, "weighted-exponential");
  for (const [index, value] of [10, 10, 5, 5].entries()) window.record(index * 1000, value);
  const c = smoothingCoefficient(6);
  expect(window.average(3000)).toBeCloseTo(5 * c + 5 * c * (1 - c) + 10 * c * (1 - c) ** 2 + 10 * c * (1 - c) ** 3, 9);
});

test("the panic window and the sample", () => {
  expect([
    panicWindowMs(60_000, 10),
    panicWindowMs(6000, 10),
    panicWindowMs(6000, 1),
    panicWindowMs(75_000, 10),
  ]).toEqual([6000, 1000, 1000, 8000]);
  expect([0, 1, 3, 4, 10, 100, 1000].map(sampleSize)).toEqual([0, 1, 3, 4, 7, 14, 16]);
});

test("who is in the path: count, subset", () => {
  expect([isHeld(1, 0), isHeld(0, 5), isHeld(3, -1)]).toEqual([false, true, true]);
  const count = (ready: number, targetBurstCapacity: number) =>
    activatorCount(ready, { total: 10, targetBurstCapacity, activatorCapacity: 100 });
  expect([count(0, 0), count(100, 0), count(10, 211), count(50, -1), count(1, -1)]).toEqual([2, 2, 4, 5, 2]);
  const all = ["a", "b", "c", "d", "e"];
  const some = activatorSubset(all, 3, "ns/rev");
  expect(activatorSubset([...all].reverse(), 3, "ns/rev")).toEqual(some);
  const without = all.find((name) => !some.includes(name));
  expect(
    activatorSubset(
      all.filter((name) => name !== without),
      3,
      "ns/rev",
    ),
  ).toEqual(some);
});

test("targets: container concurrency, annotation, default and utilisation together", () => {
  const targets = (annotations: Record<string, string>, concurrency = 0) => {
    const named = Object.fromEntries(
      Object.entries(annotations).map(([name, value]) => [`autoscaling.knative.dev/${name}`, value]),
    );
    const { decision } = readSettings(named, concurrency).settings;
    return [decision.target, decision.total];
  };
  expect(targets({})).toEqual([70, 100]);
  expect(targets({}, 10)).toEqual([7, 10]);
  expect(targets({ target: "20" }, 10)).toEqual([7, 10]);
  expect(targets({ target: "5" }, 10)).toEqual([3.5, 5]);
  expect(targets({ target: "5", "target-utilization-percentage": "100" })).toEqual([5, 5]);
  expect(targets({ metric: "rps" }, 10)).toEqual([140, 200]);
  expect(targets({ metric: "rps", target: "0.01" })).toEqual([0.01, 0.01]);
});

test("annotations: ranges, and messages that say what to write", () => {
  const faults = (annotations: Record<string, string>) =>
    readSettings(
      Object.fromEntries(
        Object.entries(annotations).map(([name, value]) => [`autoscaling.knative.dev/${name}`, value]),
      ),
      0,
    ).faults.map(({ annotation, message }) => `${annotation.split("/")[1]}: ${message}`);
  expect(
    faults({
      class: "kpa.autoscaling.knative.dev",
      window: "6s",
      "panic-threshold-percentage": "1000",
      "panic-window-percentage": "1.5",
      "target-burst-capacity": "-1",
      minScale: "1",
      "max-scale": "0",
      "scale-down-delay": "1h",
      "scale-to-zero-pod-retention-period": "1m30s",
      "metric-aggregation-algorithm": "weighted-exponential",
    }),
  ).toEqual([]);
  expect(faults({ window: "5s" })).toEqual(['window: "5s" must be a duration from 6s to 3600s']);
  expect(faults({ window: "6500ms" })).toEqual(['window: "6500ms" must be a whole number of seconds']);
  expect(faults({ window: "60" })).toEqual(['window: "60" must be a duration such as 30s or 1m30s']);
  expect(faults({ "panic-threshold-percentage": "109" })).toEqual([
    'panic-threshold-percentage: "109" must be a number from 110 to 1000',
  ]);
  expect(faults({ "target-burst-capacity": "-0.5" })).toHaveLength(1);
  expect(faults({ "max-scale": "1", "min-scale": "2" })).toEqual(['max-scale: "1" is less than min-scale, which is 2']);
  expect(faults({ "min-scale": "1.5" })).toEqual(['min-scale: "1.5" must be a whole number from 0 to 2147483647']);
  expect(faults({ target: "0" })).toEqual(['target: "0" must be a number of at least 0.01']);
  expect(faults({ target: "NaN" })).toHaveLength(1);
  expect(faults({ metric: "cpu" })).toEqual(['metric: "cpu" must be one of concurrency, rps']);
  expect(faults({ class: "hpa.autoscaling.knative.dev", metric: "cpu" })).toEqual([]);
  expect(faults({ windw: "6s" })).toEqual(["windw: there is no such setting; did you mean window?"]);
  expect(faults({ "scale-down-delay": "61m" })).toHaveLength(1);
});

/** The same rule written again, plainly and with everything remembered, to hold the other one against. */
class PlainScaler {
  panicStart: number | undefined;
  panicMost: number;
  readonly history: { at: number; value: number }[] = [];
  readonly config: DecisionSettings;

  constructor(config: DecisionSettings, ready: number, now: number) {
    this.config = config;
    if (ready > 1) this.panicStart = now;
    this.panicMost = Math.max(0, ready);
  }

  scale(stable: number, panic: number, ready: number, now: number): { desired: number; burst: number } {
    const c = this.config;
    const one = ready < 1 ? 1 : ready;
    const up = Math.ceil(c.maxScaleUpRate * one);
    const down = c.reachable ? Math.floor(one / c.maxScaleDownRate) : 0;
    const wish = (load: number): number => {
      const plain = Math.ceil(load / c.target);
      let result = plain;
      if (result < down) result = down;
      if (result > up) result = up;
      if (c.activationScale > 1 && plain > 0 && result < c.activationScale) result = c.activationScale;
      return result;
    };
    const isOver = Math.ceil(panic / c.target) / one >= c.panicThreshold;
    if (isOver) this.panicStart = now;
    else if (this.panicStart !== undefined && this.panicStart + c.stableWindowMs < now) {
      this.panicStart = undefined;
      this.panicMost = 0;
    }
    let desired = wish(stable);
    if (this.panicStart !== undefined) {
      desired = Math.max(desired, wish(panic), this.panicMost);
      this.panicMost = desired;
    }
    if (c.scaleDownDelayMs > 0 && c.reachable) {
      this.history.push({ at: Math.floor(now / 2000), value: desired });
      const from = Math.floor(now / 2000) - Math.ceil(c.scaleDownDelayMs / 2000);
      desired = Math.max(...this.history.filter(({ at }) => at > from).map(({ value }) => value));
    }
    let burst = -1;
    if (c.targetBurstCapacity === 0) burst = 0;
    if (c.targetBurstCapacity > 0) burst = Math.floor(ready * c.total - c.targetBurstCapacity - panic);
    return { desired, burst };
  }
}

test("the decision is the same as that of a plain second implementation, over whole courses", () => {
  const config = fc.record({
    target: fc.constantFrom(0.01, 0.7, 1, 7, 70),
    total: fc.constantFrom(1, 10, 100),
    maxScaleUpRate: fc.constantFrom(1.1, 2, 10, 1000),
    maxScaleDownRate: fc.constantFrom(1.1, 2, 10),
    panicThreshold: fc.constantFrom(1.1, 2, 10),
    stableWindowMs: fc.constantFrom(6000, 60_000),
    activationScale: fc.constantFrom(1, 2, 5),
    scaleDownDelayMs: fc.constantFrom(0, 3000, 20_000),
    targetBurstCapacity: fc.constantFrom(-1, 0, 10, 211),
    reachable: fc.boolean(),
  });
  const step = fc.record({
    stable: fc.double({ min: 0, max: 500, noNaN: true }),
    panic: fc.double({ min: 0, max: 500, noNaN: true }),
    ready: fc.integer({ min: 0, max: 30 }),
    waitMs: fc.constantFrom(300, 2000, 6001, 60_001),
  });
  fc.assert(
    fc.property(config, fc.integer({ min: 0, max: 5 }), fc.array(step, { maxLength: 40 }), (given, first, steps) => {
      let now = 1_000_000;
      const plain = new PlainScaler(given, first, now);
      let state: DecisionState = firstState(first, now);
      for (const { stable, panic, ready, waitMs } of steps) {
        now += waitMs;
        const found = decide(state, { stable, panic, readyPods: ready, nowMs: now }, given);
        const wanted = plain.scale(stable, panic, ready, now);
        expect([found.desired, found.excessBurstCapacity]).toEqual([wanted.desired, wanted.burst]);
        state = found.state;
      }
    }),
    { numRuns: 300 },
  );
});

/** Every value ever recorded, added up anew for each question. */
class PlainWindow {
  readonly all: { second: number; value: number }[] = [];
  first: number | undefined;
  last = Number.NEGATIVE_INFINITY;
  readonly length: number;

  constructor(length: number) {
    this.length = length;
  }

  record(second: number, value: number): void {
    if (second + this.length <= this.last) return;
    if (second >= this.last + this.length) {
      this.first = second;
      this.all.length = 0;
    }
    this.first = Math.min(this.first ?? second, second);
    this.all.push({ second, value });
    this.last = Math.max(this.last, second);
  }

  average(now: number): number {
    const until = Math.max(now, this.last);
    if (this.first === undefined || until - this.last >= this.length) return 0;
    const inside = this.all.filter(({ second }) => second > until - this.length);
    const oldest = until - this.length + 1;
    const known = Math.min(this.last - this.first + 1, this.last - oldest + 1);
    return inside.reduce((sum, { value }) => sum + value, 0) / known;
  }
}

test("averages are those of a plain second implementation", () => {
  const write = fc.record({
    waitMs: fc.constantFrom(0, 400, 1000, 2500, 7000, 20_000),
    backMs: fc.constantFrom(0, 0, 0, 1500),
    value: fc.integer({ min: 0, max: 50 }),
    lookAfterMs: fc.constantFrom(0, 1000, 5000),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(write, { maxLength: 60 }), (length, writes) => {
      const window = new LoadWindow(length * 1000);
      const plain = new PlainWindow(length);
      let now = 5_000_000;
      for (const { waitMs, backMs, value, lookAfterMs } of writes) {
        now += waitMs;
        window.record(now - backMs, value);
        plain.record(Math.floor((now - backMs) / 1000), value);
        const at = now + lookAfterMs;
        expect(window.average(at)).toBeCloseTo(plain.average(Math.floor(at / 1000)), 5);
      }
    }),
    { numRuns: 300 },
  );
});

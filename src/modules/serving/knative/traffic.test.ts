import fc from "fast-check";
import { expect, test } from "vitest";
import {
  advanceRollout,
  assign,
  beginRollout,
  GC_DEFAULTS,
  type OldRevision,
  percents,
  type Rollout,
  settledRollout,
  staleRevisions,
  withoutGone,
} from "./traffic.js";

const known = {
  isReady: (name: string) => ({ "a-1": true, "a-2": true, "a-3": false })[name],
  latestReady: (name: string) => ({ a: "a-2", b: "" })[name],
};

test("shares find their Revisions, and say why not", () => {
  const found = assign(
    [
      { percent: 90, revisionName: "a-1" },
      { percent: 10, latestRevision: true },
    ],
    "a",
    known,
  );
  expect(found).toMatchObject({
    missing: "",
    targets: [{ revisionName: "a-1" }, { revisionName: "a-2", latestRevision: true }],
  });
  expect(assign([{ percent: 100, revisionName: "x" }], "a", known)).toMatchObject({
    reason: "RevisionMissing",
    missing: 'Revision "x" referenced in traffic not found',
  });
  expect(assign([{ percent: 100, revisionName: "a-3" }], "a", known).reason).toBe("RevisionNotReady");
  expect(assign([{ percent: 100, configurationName: "b" }], undefined, known).reason).toBe("RevisionMissing");
  expect(assign([{ percent: 100, configurationName: "z" }], undefined, known).reason).toBe("ConfigurationMissing");
});

test("what a Revision had that is gone is divided among the others; a hundred stays a hundred", () => {
  const shares = [
    { revisionName: "a", percent: 34 },
    { revisionName: "b", percent: 33, tag: "b" },
    { revisionName: "c", percent: 33, latestRevision: true },
    { revisionName: "d", percent: 0, tag: "dark" },
  ];
  const without = (...gone: string[]): Record<string, number> =>
    percents(withoutGone(shares, (name) => !gone.includes(name)));

  expect(withoutGone(shares, () => true)).toBe(shares);
  expect(without("c")).toEqual({ a: 51, b: 49, d: 0 });
  expect(without("a", "d")).toEqual({ b: 50, c: 50 });
  // Nobody is left to take it.
  expect(without("a", "b", "c")).toEqual({ a: 34, b: 33, c: 33, d: 0 });
});

test("a Revision's shares count together", () => {
  const shares = [
    { revisionName: "a", percent: 40 },
    { revisionName: "b", percent: 30, tag: "b" },
    { revisionName: "a", percent: 30 },
    { revisionName: "c", tag: "dark" },
  ];
  expect(percents(shares)).toEqual({ a: 70, b: 30, c: 0 });
});

const shown = ({ parts }: Rollout): string => parts.map(({ revision, percent }) => `${revision} ${percent}`).join(", ");

test("a new Revision begins with 1 % and comes to its share in equal steps, as long as it took to get ready", () => {
  let rollout = beginRollout(settledRollout("a", 100), "b", {
    percent: 100,
    nowMs: 0,
    durationMs: 100_000,
    readyAfterMs: 20_000,
  });
  expect([shown(rollout), rollout.step]).toEqual(["a 99, b 1", 20]);
  const seen: string[] = [];
  for (let at = 20_000; at <= 100_000; at += 20_000) {
    rollout = advanceRollout(rollout, at);
    seen.push(shown(rollout));
  }
  expect(seen).toEqual(["a 79, b 21", "a 59, b 41", "a 39, b 61", "a 19, b 81", "b 100"]);
});

test("a third one takes from the oldest first; small shares and no duration are handed over at once", () => {
  const first = beginRollout(settledRollout("a", 100), "b", {
    percent: 100,
    nowMs: 0,
    durationMs: 100_000,
    readyAfterMs: 50_000,
  });
  const half = advanceRollout(first, 50_000);
  expect(shown(half)).toBe("a 49, b 51");
  const third = beginRollout(half, "c", { percent: 100, nowMs: 50_000, durationMs: 100_000, readyAfterMs: 50_000 });
  expect(shown(third)).toBe("a 48, b 51, c 1");
  expect(shown(advanceRollout(third, 100_000))).toBe("b 49, c 51");
  const at = { nowMs: 0, durationMs: 60_000, readyAfterMs: 1000 };
  expect(shown(beginRollout(settledRollout("a", 1), "b", { ...at, percent: 1 }))).toBe("b 1");
  expect(shown(beginRollout(settledRollout("a", 100), "b", { ...at, percent: 100, durationMs: 0 }))).toBe("b 100");
});

test("whatever comes when, the share stays whole and is the newest one's in the end", () => {
  const event = fc.record({
    waitMs: fc.integer({ min: 0, max: 90_000 }),
    readyAfterMs: fc.integer({ min: 0, max: 200_000 }),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 100 }),
      fc.array(event, { minLength: 1, maxLength: 8 }),
      (percent, events) => {
        let nowMs = 0;
        let rollout = settledRollout("r", percent);
        for (const [index, { waitMs, readyAfterMs }] of events.entries()) {
          nowMs += waitMs;
          rollout = advanceRollout(rollout, nowMs);
          rollout = beginRollout(rollout, `r${index}`, { percent, nowMs, durationMs: 60_000, readyAfterMs });
          expect(rollout.parts.reduce((sum, part) => sum + part.percent, 0)).toBe(percent);
          expect(rollout.parts.every((part) => part.percent > 0)).toBe(true);
        }
        expect(shown(advanceRollout(rollout, nowMs + 60_001))).toBe(`r${events.length - 1} ${percent}`);
      },
    ),
  );
});

const HOUR = 3_600_000;
const old = (name: string, more: Partial<OldRevision> = {}): OldRevision => ({
  name,
  createdAtMs: 0,
  lastActiveMs: 0,
  isKept: false,
  ...more,
});

test("Revisions that nobody uses go when they are old and enough are left, the oldest first; kept ones never", () => {
  const now = 100 * HOUR;
  const settings = { ...GC_DEFAULTS, minNonActive: 1, maxNonActive: 3 };
  expect(staleRevisions([old("a"), old("b"), old("c", { isKept: true })], now, settings)).toEqual(["a"]);
  expect(staleRevisions([old("a", { lastActiveMs: now - HOUR }), old("b")], now, settings)).toEqual(["b"]);
  expect(
    staleRevisions([old("a", { createdAtMs: now - 47 * HOUR }), old("b", { createdAtMs: now })], now, settings),
  ).toEqual([]);
  const young = [1, 2, 3, 4, 5].map((hour) =>
    old(`r${hour}`, { createdAtMs: now - hour * HOUR, lastActiveMs: now - hour * HOUR }),
  );
  expect(staleRevisions(young, now, settings)).toEqual(["r5", "r4"]);
  expect(
    staleRevisions(
      Array.from({ length: 25 }, (_, index) => old(`r${index}`)),
      now,
    ),
  ).toHaveLength(5);
});

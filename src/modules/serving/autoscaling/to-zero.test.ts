import { expect, test } from "vitest";
import { stepToZero, type ZeroQuestion, type ZeroState } from "./to-zero.js";

const question: ZeroQuestion = {
  desired: 0,
  readyPods: 1,
  minReady: 1,
  nowMs: 1_000_000,
  stableWindowMs: 60_000,
  graceMs: 30_000,
  retentionMs: 0,
  progressDeadlineMs: 600_000,
  isHeld: true,
  heldForMs: 0,
};
const at = (phase: ZeroState["phase"], agoMs: number): ZeroState => ({ phase, sinceMs: question.nowMs - agoMs });
const step = (state: ZeroState, more: Partial<ZeroQuestion> = {}) => {
  const { replicas, state: next, againMs } = stepToZero(state, { ...question, ...more });
  return { replicas, phase: next.phase, sinceMs: next.sinceMs - question.nowMs, againMs };
};

test("pods that are wanted are set, and make it active once enough are ready", () => {
  expect(step(at("inactive", 5000), { desired: 3, readyPods: 0 })).toMatchObject({
    replicas: 3,
    phase: "activating",
    sinceMs: 0,
  });
  expect(step(at("activating", 5000), { desired: 3, readyPods: 1 })).toMatchObject({
    replicas: 3,
    phase: "active",
    sinceMs: 0,
  });
  expect(step(at("activating", 5000), { desired: 3, readyPods: 1, minReady: 3 })).toMatchObject({
    phase: "activating",
  });
  expect(step(at("inactive", 5000), { desired: 1, readyPods: 1 })).toMatchObject({ replicas: 1, phase: "active" });
});

test("active for less than a stable window: one pod stays for the rest of it", () => {
  expect(step(at("active", 20_000))).toEqual({ replicas: 1, phase: "active", sinceMs: -20_000, againMs: 40_000 });
});

test("active for a stable window: it becomes inactive, and its pods stay", () => {
  expect(step(at("active", 60_000))).toMatchObject({ replicas: undefined, phase: "inactive", sinceMs: 0 });
});

test("inactive: after the grace period, or the retention where that is longer, none is left", () => {
  expect(step(at("inactive", 29_999))).toMatchObject({ replicas: undefined, againMs: 1 });
  expect(step(at("inactive", 30_000))).toMatchObject({ replicas: 0, phase: "inactive" });
  expect(step(at("inactive", 30_000), { retentionMs: 90_000 })).toMatchObject({ replicas: undefined, againMs: 60_000 });
  expect(step(at("inactive", 90_000), { retentionMs: 90_000 })).toMatchObject({ replicas: 0 });
});

test("inactive, with requests held for long already: no grace is needed, the retention is", () => {
  expect(step(at("inactive", 1000), { heldForMs: 30_000 })).toMatchObject({ replicas: 0 });
  expect(step(at("inactive", 1000), { heldForMs: 30_000, retentionMs: 5000 })).toMatchObject({ againMs: 4000 });
});

test("nothing goes to zero where requests would not be held", () => {
  expect(step(at("inactive", 1e6), { isHeld: false, heldForMs: 0 }).replicas).toBeUndefined();
});

test("activation that never gets ready fails 30 s after the deadline for progress", () => {
  expect(step(at("activating", 629_999), { readyPods: 0 })).toMatchObject({
    replicas: undefined,
    phase: "activating",
    againMs: 1,
  });
  expect(step(at("activating", 630_000), { readyPods: 0 })).toMatchObject({
    replicas: 0,
    phase: "inactive",
    sinceMs: 0,
  });
});

test("without a decision only the phase follows the pods", () => {
  expect(step(at("activating", 10), { desired: undefined })).toMatchObject({ replicas: undefined, phase: "active" });
  expect(step(at("inactive", 10), { desired: undefined })).toMatchObject({ replicas: undefined, phase: "inactive" });
});

import { expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { Pace } from "../status/pace.js";
import type { BindingStatus, ResourceBinding } from "./kinds.js";
import { type Report, Reports } from "./reports.js";

const binding = (status?: BindingStatus, generation = 1): ResourceBinding => ({
  apiVersion: "work.karmada.io/v1alpha2",
  kind: "ResourceBinding",
  metadata: {
    name: "web-deployment",
    namespace: "demo",
    uid: "u",
    resourceVersion: "1",
    creationTimestamp: "",
    generation,
  },
  spec: { resource: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, conflictResolution: "Abort" },
  ...(status === undefined ? {} : { status }),
});
const scheduled: Report = (status) => ({
  ...status,
  schedulerObservedGeneration: 1,
  conditions: [{ type: "Scheduled", status: "True", reason: "Success", message: "", lastTransitionTime: "" }],
});

function started(pace = new Pace()) {
  const clock = virtualClock();
  const reports = new Reports(pace);
  const end = new AbortController();
  reports.start(clock, end.signal);
  return { clock, reports, end };
}

test("a report of a new binding is held for who writes its status next, and only what was written is let go", () => {
  const { reports } = started();
  expect(reports.hold(binding({}), scheduled, () => {})).toBe(false);
  const early = reports.merged(binding());
  expect(early.status).toBeUndefined();

  expect(reports.hold(binding(), scheduled, () => {})).toBe(true);
  early.written();
  const merged = reports.merged(binding());
  expect(merged.status?.schedulerObservedGeneration).toBe(1);
  expect(reports.merged(binding(undefined, 2)).status).toBeUndefined();

  merged.written();
  expect(reports.merged(binding()).status).toBeUndefined();
});

test("what nobody wrote in time is written by the scheduler; an end forgets it", async () => {
  const { clock, reports, end } = started();
  let woken = 0;
  reports.hold(binding(), scheduled, () => {
    woken += 1;
  });
  await clock.advance(900);
  expect(woken).toBe(0);
  await clock.advance(400);
  expect(woken).toBe(1);
  await clock.advance(5000);
  expect(woken).toBe(1);
  expect(reports.hold(binding(), scheduled, () => {})).toBe(false);

  reports.hold(binding(), scheduled, () => {});
  end.abort();
  expect(reports.merged(binding()).status).toBeUndefined();
});

test("where much waits it is waited longer, within a bound", () => {
  const pace = new Pace();
  expect(pace.patienceMs()).toBe(1000);
  for (let index = 0; index < 100; index++) pace.begin(`demo/${index}`, 5);
  expect(pace.patienceMs()).toBe(3000);
  expect(pace.begin("demo/1", 9)).toBe(5);
  for (let index = 0; index < 5000; index++) pace.begin(`demo/${index}`, 5);
  expect(pace.patienceMs()).toBe(10_000);
  for (let index = 0; index < 5000; index++) pace.end(`demo/${index}`);
  expect(pace.patienceMs()).toBe(1000);
});

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CronJob, CronJobKind, EventKind, type Job, JobKind, timeOf } from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";
import { dueSince, parseSchedule, zonedTime } from "./schedule.js";

const iso = (ms: number | undefined): string => (ms === undefined ? "never" : new Date(ms).toISOString().slice(0, 16));
const next = (schedule: string, after: string, zone?: string): string =>
  iso(parseSchedule(schedule, zone).next(Date.parse(`${after}Z`)));

test.each([
  ["* * * * *", "2026-01-01T00:00", "2026-01-01T00:01"],
  ["*/15 * * * *", "2026-01-01T00:46", "2026-01-01T01:00"],
  ["0 3 * * *", "2026-01-01T03:00", "2026-01-02T03:00"],
  ["30 8 1 */3 *", "2026-01-01T08:30", "2026-04-01T08:30"],
  ["0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00"],
  ["0 12 * * MON-FRI", "2026-01-02T13:00", "2026-01-05T12:00"],
  ["0 0 13 * 5", "2026-01-01T00:00", "2026-01-02T00:00"],
  ["5,10-12 1 * * ?", "2026-01-01T01:10", "2026-01-01T01:11"],
  ["@monthly", "2026-01-01T00:00", "2026-02-01T00:00"],
  ["@every 1h30m", "2026-01-01T00:00", "2026-01-01T01:30"],
  ["0 0 31 2 *", "2026-01-01T00:00", "never"],
  ["59 23 31 12 *", "2026-01-01T00:00", "2026-12-31T23:59"],
])("%s after %s is due at %s", (schedule, after, due) => {
  expect(next(schedule, after)).toBe(due);
});

test("time zones move with their summer time", () => {
  expect(next("0 9 * * *", "2026-01-10T00:00", "Europe/Berlin")).toBe("2026-01-10T08:00");
  expect(next("0 9 * * *", "2026-07-10T00:00", "Europe/Berlin")).toBe("2026-07-10T07:00");
  expect(next("30 0 * * *", "2026-03-29T12:00", "Europe/Berlin")).toBe("2026-03-29T22:30");
  expect(() => parseSchedule("* * * * *", "Mars/Olympus")).toThrow("no time zone");
});

test.each([
  "",
  "* * * *",
  "60 * * * *",
  "* 24 * * *",
  "*/0 * * * *",
  "5-1 * * * *",
  "a * * * *",
  "1-2-3 * * * *",
  "@every x",
  "* * * * 7",
])("schedule %j is refused", (schedule) => {
  expect(() => parseSchedule(schedule)).toThrow(/schedule/);
});

test("a due time follows its predecessor, as minute-by-minute search finds it", () => {
  const field = (min: number, max: number) =>
    fc.oneof(
      fc.constant("*"),
      fc.integer({ min, max }).map(String),
      fc.integer({ min: 2, max: 20 }).map((step) => `*/${step}`),
    );
  const schedules = fc
    .tuple(field(0, 59), field(0, 23), fc.constant("*"), fc.constant("*"), field(0, 6))
    .map((fields) => fields.join(" "));
  fc.assert(
    fc.property(schedules, fc.integer({ min: 0, max: 1_000_000 }), (text, minutes) => {
      const start = Date.UTC(2026, 0, 1) + minutes * 60_000;
      const due = parseSchedule(text).next(start) ?? Number.NaN;
      const [minute = "", hour = "", , , weekday = ""] = text.split(" ");
      const holds = (part: string, value: number): boolean =>
        part === "*" || (part.startsWith("*/") ? value % Number(part.slice(2)) === 0 : Number(part) === value);
      let naive = start + 60_000;
      const fits = (ms: number): boolean => {
        const date = new Date(ms);
        return (
          holds(minute, date.getUTCMinutes()) && holds(hour, date.getUTCHours()) && holds(weekday, date.getUTCDay())
        );
      };
      while (!fits(naive)) naive += 60_000;
      expect(iso(due)).toBe(iso(naive));
    }),
    { numRuns: 50 },
  );
});

test("only the last of what was missed is due", () => {
  const now = Date.parse("2026-03-01T10:07:30Z");
  expect(iso(dueSince(parseSchedule("*/5 * * * *"), Date.parse("2020-01-01T00:00:00Z"), now)?.last)).toBe(
    "2026-03-01T10:05",
  );
  expect(iso(dueSince(parseSchedule("0 0 1 1 *"), Date.parse("2020-01-01T00:00:00Z"), now)?.last)).toBe(
    "2026-01-01T00:00",
  );
  expect(dueSince(parseSchedule("0 0 1 1 *"), Date.parse("2026-01-01T00:00:00Z"), now)).toBeUndefined();
});

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster(["a"]);
});
afterAll(() => play.close());

const at = { namespace: "default" };
const crons = () => play.client.resource(CronJobKind);

function draft(name: string, exit: string | undefined, spec: Partial<CronJob["spec"]> = {}) {
  return {
    apiVersion: "batch/v1",
    kind: "CronJob",
    metadata: { name, namespace: "default" },
    spec: {
      schedule: "*/2 * * * *",
      jobTemplate: {
        spec: {
          template: {
            metadata: { annotations: exit === undefined ? {} : { "play/exit": exit } },
            spec: { restartPolicy: "Never", containers: [{ name: "main", image: "one" }] },
          },
        },
      },
      ...spec,
    },
  };
}
const jobs = async (name: string): Promise<Job[]> =>
  (await play.client.resource(JobKind).list(at)).items.filter((job) => job.metadata.name.startsWith(`${name}-`));

test("jobs are made by the calendar, once each also across restarts, and old ones go", async () => {
  const { metadata } = await crons().create(draft("tick", "0", { successfulJobsHistoryLimit: 2 }));
  const seen = new Set<string>();
  for (let i = 0; i < 6; i += 1) {
    await play.clock.advance(55_000);
    for (const job of await jobs("tick")) seen.add(job.metadata.name);
    await play.restartControllers();
  }
  await play.clock.advance(20_000);
  for (const job of await jobs("tick")) seen.add(job.metadata.name);

  const due: number[] = [];
  // What the server calls now may be another time than the controller's, and in the middle of a minute.
  const madeMs = Math.floor(Date.parse(metadata.creationTimestamp ?? "") / 120_000) * 120_000;
  for (let dueMs = madeMs + 120_000; dueMs <= play.clock.now(); dueMs += 120_000) due.push(dueMs);
  expect(due.length).toBeGreaterThan(1);
  expect([...seen].sort()).toEqual(due.map((dueMs) => `tick-${dueMs / 60_000}`));
  expect(await jobs("tick")).toHaveLength(2);
  const { status } = await crons().get("tick", at);
  expect(status?.lastScheduleTime).toBe(timeOf(due.at(-1) ?? 0));
  expect(status?.lastSuccessfulTime).toBeDefined();
  await crons().delete("tick", at);
});

test("Forbid waits for the running job, Replace ends it, suspend makes none", async () => {
  await crons().create(draft("forbid", undefined, { concurrencyPolicy: "Forbid" }));
  await crons().create(draft("replace", undefined, { concurrencyPolicy: "Replace" }));
  await crons().create(draft("rest", "0", { suspend: true }));
  await play.clock.advance(250_000);

  expect(await jobs("forbid")).toHaveLength(1);
  expect(await jobs("replace")).toHaveLength(1);
  expect((await jobs("replace"))[0]?.metadata.name).not.toBe(
    (await jobs("forbid"))[0]?.metadata.name.replace("forbid", "replace"),
  );
  expect(await jobs("rest")).toHaveLength(0);
  expect((await crons().get("forbid", at)).status?.active).toHaveLength(1);
});

test("what went on is told in events as upstream tells it, the due time in the job's zone", async () => {
  const events = async (name: string) =>
    (await play.client.resource(EventKind).list(at)).items
      .filter(({ involvedObject }) => involvedObject.kind === "CronJob" && involvedObject.name === name)
      .map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
  await crons().create(draft("told", "0", { timeZone: "Europe/Berlin" }));
  await play.until(async () => (await crons().get("told", at)).status?.lastSuccessfulTime !== undefined, 200_000);
  const [job] = await jobs("told");
  const name = job?.metadata.name ?? "";
  expect(job?.metadata.labels?.["job-name"]).toBe(name);
  expect(job?.metadata.annotations?.["batch.kubernetes.io/cronjob-scheduled-timestamp"]).toMatch(/:00\+01:00$/);
  await play.until(async () => (await events("told")).length >= 2);
  // Lists are in the order of names, which for events are made up.
  expect((await events("told")).sort()).toEqual([
    `Normal SawCompletedJob: Saw completed job: ${name}, condition: Complete`,
    `Normal SuccessfulCreate: Created job ${name}`,
  ]);
  expect((await crons().get("told", at)).status?.active).toBeUndefined();

  for (const other of ["forbid", "replace", "rest", "told"]) await crons().delete(other, at);
  // More than a hundred missed times; one job is started all the same.
  await crons().create(draft("rare", undefined, { suspend: true, schedule: "* * * * *" }));
  await play.clock.advance(102 * 60_000);
  await crons().patch("rare", "merge", { spec: { suspend: false } }, at);
  await play.until(async () => (await jobs("rare")).length > 0);
  expect(await events("rare")).toContain(
    "Warning TooManyMissedTimes: too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew",
  );
  await play.client.resource(JobKind).delete((await jobs("rare"))[0]?.metadata.name ?? "", {
    ...at,
    propagationPolicy: "Background",
  });
  await play.until(async () =>
    (await events("rare")).some((event) => event.includes("MissingJob: Active job went missing")),
  );
});

test("times are written with the zone's offset", () => {
  expect(zonedTime(Date.parse("2026-07-01T10:00:00Z"), "Europe/Berlin")).toBe("2026-07-01T12:00:00+02:00");
  expect(zonedTime(Date.parse("2026-01-01T01:00:00Z"), "America/New_York")).toBe("2025-12-31T20:00:00-05:00");
  expect(zonedTime(Date.parse("2026-01-01T01:00:00Z"))).toBe("2026-01-01T01:00:00Z");
});

test("an interval keeps its beat over what was missed", () => {
  const start = Date.parse("2026-01-01T00:00:00Z");
  expect(dueSince(parseSchedule("@every 7m"), start, start + 300 * 60_000)).toEqual({
    last: start + 294 * 60_000,
    missed: 42,
  });
});

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EventKind, type Job, JobKind, type Pod, PodKind } from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";
import { formatIndexes, parseIndexes } from "./indexes.js";

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster();
});
afterAll(() => play.close());

const at = { namespace: "default" };
const jobs = () => play.client.resource(JobKind);

function draft(name: string, exit: string | undefined, spec: Partial<Job["spec"]> = {}, restartPolicy = "Never") {
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace: "default" },
    spec: {
      template: {
        metadata: { annotations: exit === undefined ? {} : { "play/exit": exit } },
        spec: { restartPolicy, containers: [{ name: "main", image: "one" }] },
      },
      ...spec,
    },
  };
}

const pods = async (job: string): Promise<Pod[]> =>
  (await play.client.resource(PodKind).list({ ...at, labelSelector: `batch.kubernetes.io/job-name=${job}` })).items;
const get = (name: string): Promise<Job> => jobs().get(name, at);
const has = async (name: string, type: string): Promise<boolean> =>
  (await get(name)).status?.conditions?.some((condition) => condition.type === type && condition.status === "True") ===
  true;

test("a job completes and counts its pods once", async () => {
  await jobs().create(draft("sum", "0", { completions: 5, parallelism: 2 }));
  let most = 0;

  await play.until(async () => {
    most = Math.max(
      most,
      (await pods("sum")).filter((pod) => pod.status?.phase === "Running" || pod.status?.phase === "Pending").length,
    );
    return has("sum", "Complete");
  });

  const { status } = await get("sum");
  expect(status).toMatchObject({ succeeded: 5, ready: 0, terminating: 0 });
  expect(status?.uncountedTerminatedPods ?? {}).toEqual({});
  expect(status?.conditions?.map((condition) => condition.type)).toEqual(["SuccessCriteriaMet", "Complete"]);
  expect(status?.completionTime).toBeDefined();
  expect(most).toBe(2);
  const all = await pods("sum");
  expect(all).toHaveLength(5);
  expect(all.every((pod) => pod.metadata.finalizers === undefined)).toBe(true);
});

test("a failing job backs off 10, 20, 40 s and fails at its limit", async () => {
  await jobs().create(draft("bad", "3", { backoffLimit: 3 }));

  const tookMs = await play.until(() => has("bad", "Failed"), 300_000);

  expect(tookMs).toBeGreaterThanOrEqual(70_000);
  expect(tookMs).toBeLessThan(100_000);
  const { status } = await get("bad");
  expect(status?.failed).toBe(4);
  expect(status?.conditions?.at(-1)).toMatchObject({
    type: "Failed",
    reason: "BackoffLimitExceeded",
    message: "Job has reached the specified backoff limit",
  });
});

test("an indexed job gives each completion its index", async () => {
  await jobs().create(draft("each", "0", { completions: 4, parallelism: 4, completionMode: "Indexed" }));

  await play.until(() => has("each", "Complete"));

  expect((await get("each")).status).toMatchObject({ succeeded: 4, completedIndexes: "0-3" });
  const all = await pods("each");
  expect(
    all.map((pod) => pod.metadata.annotations?.["batch.kubernetes.io/job-completion-index"] ?? "").toSorted(),
  ).toEqual(["0", "1", "2", "3"]);
  expect(all[0]?.spec.containers[0]?.env).toContainEqual({
    name: "JOB_COMPLETION_INDEX",
    value: all[0]?.metadata.annotations?.["batch.kubernetes.io/job-completion-index"],
  });
  expect(all[0]?.spec.hostname).toMatch(/^each-\d$/);
});

test("a job past its deadline fails and ends its pods", async () => {
  await jobs().create(draft("slow", undefined, { activeDeadlineSeconds: 20 }));

  await play.until(() => has("slow", "Failed"));

  expect((await get("slow")).status?.conditions?.at(-1)?.reason).toBe("DeadlineExceeded");
  await play.until(async () => (await pods("slow")).length === 0);
});

test("a suspended job has no pods and does not fail by it; resumed it runs", async () => {
  await jobs().create(draft("later", undefined, { backoffLimit: 0 }));
  await play.until(async () => (await pods("later")).some((pod) => pod.status?.phase === "Running"));
  await jobs().patch("later", "merge", { spec: { suspend: true } }, at);
  await play.until(async () => (await pods("later")).length === 0 && (await has("later", "Suspended")));
  expect((await get("later")).status?.startTime).toBeUndefined();
  expect((await get("later")).status?.failed).toBeUndefined();

  await jobs().patch("later", "merge", { spec: { suspend: false } }, at);

  await play.until(async () => (await pods("later")).some((pod) => pod.status?.phase === "Running"));
  expect((await get("later")).status?.conditions).toMatchObject([
    { type: "Suspended", status: "False", reason: "JobResumed" },
  ]);
});

test("podFailurePolicy can fail the job at once or overlook a failure", async () => {
  const rule = (action: string) => ({
    podFailurePolicy: { rules: [{ action, onExitCodes: { operator: "In", values: [42] } }] },
  });
  await jobs().create(draft("fatal", "42", rule("FailJob")));
  await play.until(() => has("fatal", "Failed"));
  expect((await get("fatal")).status?.conditions?.at(-1)).toMatchObject({ reason: "PodFailurePolicy" });
  expect((await get("fatal")).status?.conditions?.at(-1)?.message).toMatch(
    /^Container main for pod default\/fatal-\w+ failed with exit code 42 matching FailJob rule at index 0$/,
  );

  await jobs().create(draft("forgiven", "42", { ...rule("Ignore"), backoffLimit: 0 }));
  await play.until(async () => (await pods("forgiven")).length >= 3, 120_000);
  expect(await has("forgiven", "Failed")).toBe(false);
  expect((await get("forgiven")).status?.failed).toBeUndefined();
});

test("a finished job goes after its time to live", async () => {
  await jobs().create(draft("brief", "0", { ttlSecondsAfterFinished: 30 }));
  await play.until(() => has("brief", "Complete"));
  await play.clock.advance(20_000);
  expect(await jobs().find("brief", at)).toBeDefined();

  await play.until(async () => (await jobs().find("brief", at)) === undefined && (await pods("brief")).length === 0);
});

test("what cannot be carried out is refused, not ignored", async () => {
  await jobs().create(
    draft("early", "0", {
      completions: 2,
      parallelism: 2,
      completionMode: "Indexed",
      successPolicy: { rules: [{ succeededCount: 1 }] },
    }),
  );

  await play.until(async () =>
    (await play.client.resource(EventKind).list(at)).items.some(
      (event) => event.involvedObject.name === "early" && event.message?.includes("spec.successPolicy") === true,
    ),
  );

  expect(await pods("early")).toEqual([]);
});

test("controllers killed at any moment count each pod once", async () => {
  await jobs().create(draft("sturdy", "0", { completions: 6, parallelism: 3 }));
  for (let i = 0; i < 8; i += 1) {
    await play.clock.advance(700);
    await play.restartControllers();
  }

  await play.until(() => has("sturdy", "Complete"));

  expect((await get("sturdy")).status?.succeeded).toBe(6);
  expect(await pods("sturdy")).toHaveLength(6);
});

test("indexes are written and read back", () => {
  expect(formatIndexes(new Set([7, 0, 1, 2, 4, 5]))).toBe("0-2,4,5,7");
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(60)), (numbers) => {
      expect([...parseIndexes(formatIndexes(new Set(numbers)))].toSorted((a, b) => a - b)).toEqual(
        numbers.toSorted((a, b) => a - b),
      );
    }),
  );
});

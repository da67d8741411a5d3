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

test("a job without labels has those of its pods", async () => {
  const plain = draft("labelled", "0");
  const template = { ...plain.spec.template, metadata: { labels: { app: "x" } } };
  await jobs().create({ ...plain, spec: { ...plain.spec, template, suspend: true } });

  expect((await get("labelled")).metadata.labels).toMatchObject({ app: "x", "job-name": "labelled" });
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
    valueFrom: {
      fieldRef: { apiVersion: "v1", fieldPath: "metadata.labels['batch.kubernetes.io/job-completion-index']" },
    },
  });
  expect(all[0]?.metadata.labels?.["batch.kubernetes.io/job-completion-index"]).toMatch(/^\d$/);
  expect(all[0]?.spec.hostname).toMatch(/^each-\d$/);
});

test("a job past its deadline fails and ends its pods", async () => {
  await jobs().create(draft("slow", undefined, { activeDeadlineSeconds: 20 }));

  await play.until(() => has("slow", "Failed"));

  expect((await get("slow")).status?.conditions?.at(-1)?.reason).toBe("DeadlineExceeded");
  expect((await get("slow")).status?.failed).toBe(1);
  await play.until(async () => (await pods("slow")).length === 0);
});

test("a suspended job has no pods and does not fail by it; resumed it runs", async () => {
  await jobs().create(draft("later", undefined, { backoffLimit: 0 }));
  await play.until(async () => (await pods("later")).some((pod) => pod.status?.phase === "Running"));
  await jobs().patch("later", "merge", { spec: { suspend: true } }, at);
  await play.until(async () => (await pods("later")).length === 0 && (await has("later", "Suspended")));
  expect((await get("later")).status?.failed).toBeUndefined();
  const before = (await get("later")).status?.startTime;

  await jobs().patch("later", "merge", { spec: { suspend: false } }, at);

  await play.until(async () => (await pods("later")).some((pod) => pod.status?.phase === "Running"));
  expect((await get("later")).status?.conditions).toMatchObject([
    { type: "Suspended", status: "False", reason: "JobResumed" },
  ]);
  expect((await get("later")).status?.startTime).not.toBe(before);
  const { items } = await play.client.resource(EventKind).list(at);
  const told = items.filter(({ involvedObject, source }) => involvedObject.name === "later" && source !== undefined);
  expect(told.map(({ reason }) => reason)).toEqual(expect.arrayContaining(["Suspended", "Resumed"]));
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

const condition = async (name: string, type: string) =>
  (await get(name)).status?.conditions?.find((one) => one.type === type);
const indexed = (completions: number, more: Partial<Job["spec"]> = {}): Partial<Job["spec"]> => ({
  completions,
  parallelism: completions,
  completionMode: "Indexed",
  ...more,
});
/** The pods of the indexes end with these codes, the others go on. */
async function endIndexes(job: string, codes: Readonly<Record<number, number>>): Promise<void> {
  const resource = play.client.resource(PodKind);
  for (const pod of await pods(job)) {
    const code = codes[Number(pod.metadata.annotations?.["batch.kubernetes.io/job-completion-index"])];
    if (code === undefined || pod.status?.phase !== "Running") continue;
    const { name, annotations } = pod.metadata;
    await resource.patch(name, "merge", { metadata: { annotations: { ...annotations, "play/exit": `${code}` } } }, at);
  }
}
const running = async (job: string) => (await pods(job)).filter((pod) => pod.status?.phase === "Running").length;

test("a success policy ends the job as soon as its rule holds, and what still runs is no failure", async () => {
  const successPolicy = { rules: [{ succeededIndexes: "3" }, { succeededIndexes: "0,2", succeededCount: 1 }] };
  await jobs().create(draft("early", undefined, indexed(4, { successPolicy })));
  await play.until(async () => (await running("early")) === 4);
  await endIndexes("early", { 2: 0 });

  await play.until(() => has("early", "Complete"));

  expect((await get("early")).status).toMatchObject({ succeeded: 1, completedIndexes: "2" });
  expect((await get("early")).status?.failed).toBeUndefined();
  const said = { reason: "SuccessPolicy", message: "Matched rules at index 1" };
  expect(await condition("early", "SuccessCriteriaMet")).toMatchObject(said);
  expect(await condition("early", "Complete")).toMatchObject(said);
});

test("with a limit per index one failing index does not stop the others", async () => {
  await jobs().create(draft("each-limit", undefined, indexed(3, { backoffLimitPerIndex: 1 })));
  await play.until(async () => (await running("each-limit")) === 3);
  await endIndexes("each-limit", { 0: 0, 1: 7 });
  await play.until(async () => (await get("each-limit")).status?.succeeded === 1);
  expect(await has("each-limit", "Failed")).toBe(false);
  // The failed one waits for its replacement, which knows of it.
  await play.until(async () =>
    (await pods("each-limit")).some(
      (pod) => pod.metadata.annotations?.["batch.kubernetes.io/job-index-failure-count"] === "1",
    ),
  );
  await play.until(async () => (await running("each-limit")) === 2);
  await endIndexes("each-limit", { 1: 7 });
  await play.until(async () => (await get("each-limit")).status?.failedIndexes === "1");
  expect(await has("each-limit", "Failed")).toBe(false);
  await endIndexes("each-limit", { 2: 0 });

  await play.until(() => has("each-limit", "Failed"));

  expect((await get("each-limit")).status).toMatchObject({
    succeeded: 2,
    failed: 2,
    completedIndexes: "0,2",
    failedIndexes: "1",
  });
  expect(await condition("each-limit", "Failed")).toMatchObject({
    reason: "FailedIndexes",
    message: "Job has failed indexes",
  });
});

test("too many failed indexes end the job; FailIndex gives an index up at once", async () => {
  const rules = [{ action: "FailIndex", onExitCodes: { operator: "In", values: [9] } }];
  const spec = indexed(4, { backoffLimitPerIndex: 5, maxFailedIndexes: 1, podFailurePolicy: { rules } });
  await jobs().create(draft("lost", undefined, spec));
  await play.until(async () => (await running("lost")) === 4);
  await endIndexes("lost", { 0: 9 });
  await play.until(async () => (await get("lost")).status?.failedIndexes === "0");
  await endIndexes("lost", { 3: 9 });

  await play.until(() => has("lost", "Failed"));

  expect((await get("lost")).status?.failedIndexes).toBe("0,3");
  expect(await condition("lost", "Failed")).toMatchObject({
    reason: "MaxFailedIndexesExceeded",
    message: "Job has exceeded the specified maximal number of failed indexes",
  });
  // As upstream: what still ran when the job failed has failed too.
  expect((await get("lost")).status?.failed).toBe(4);
});

test("a job that somebody else manages is left to them, but for its time to live", async () => {
  await jobs().create(draft("theirs", "0", { managedBy: "example.com/other", ttlSecondsAfterFinished: 5 }));
  await play.clock.advance(20_000);
  expect(await pods("theirs")).toEqual([]);
  expect((await get("theirs")).status?.startTime).toBeUndefined();
});

test("replacements wait for the end of what they replace where the job says so", async () => {
  await jobs().create(draft("patient", undefined, { podReplacementPolicy: "Failed", backoffLimit: 6 }));
  await play.until(async () => (await running("patient")) === 1);
  const [first] = await pods("patient");
  await play.client
    .resource(PodKind)
    .patch(
      first?.metadata.name ?? "",
      "merge",
      { metadata: { finalizers: ["example.com/hold", "batch.kubernetes.io/job-tracking"] } },
      at,
    );
  await play.client.resource(PodKind).delete(first?.metadata.name ?? "", at);
  await play.clock.advance(40_000);

  expect(await pods("patient")).toHaveLength(1);
  expect((await get("patient")).status).toMatchObject({ terminating: 1 });
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

import { afterEach, expect, test } from "vitest";
import type { GatewayState, ShadowReport } from "../../../dataplane/gateway/index.js";
import type { VirtualClock } from "../../../kernel/clock/index.js";
import { ControllerRevisionKind, findCondition, type JsonObject, SecretKind } from "../../../kernel/kinds/index.js";
import { playClock } from "../../../testing/play-clock.js";
import { recordingGateway, startFleet, type TestFleet, TestServiceKind } from "../fixture.js";
import { HyperMLServiceKind } from "../kinds.js";
import { hyperRolloutAdmission } from "./admission.js";
import { RevisionContentsKind } from "./contents-kind.js";
import { type Broken, rolloutCalls, serviceOf, startServing } from "./fixture.js";
import { HyperRolloutKind } from "./kind.js";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const NAMES = ["cloud", "edge", "far-edge"];
const inDemo = { namespace: "demo" };

/** What a gateway says that counted so many requests for `digits`, so many of them bad, by cluster. */
function gatewayState(counted: Readonly<Record<string, readonly [number, number]>>): GatewayState {
  const backends = Object.entries(counted).map(([name, [requests, bad]]) => ({
    name,
    weight: 1,
    weightEffective: 1,
    share: 1,
    healthy: true,
    answered: true,
    reason: "",
    word: "" as const,
    hedges: 0,
    requests,
    failures: 0,
    retries: 0,
    inFlight: 0,
    latencySumMs: 0,
    byClass: { "2xx": requests - bad, "5xx": bad },
    endpoints: [],
  }));
  const route = { id: "headingress/demo/digits", listener: "head", hosts: ["*"], path: "/", unroutable: 0, backends };
  const said = { version: 1, pid: 1, startedAt: "", partial: false, mark: "", generation: "", tableError: "" } as const;
  return { ...said, listeners: [], routes: [route], totals: {} };
}

/** A shadow that answered so many copies, so many of them badly. */
function shadowReport(name: string, answered: number, bad: number): ShadowReport {
  const none = { inFlight: 0, failures: 0, lastFailure: "", skipped: { busy: 0, tooLarge: 0, unfinished: 0 } };
  const byClass = { "2xx": answered - bad, "5xx": bad };
  const compared = { compared: answered, differing: bad, comparedSumMs: 0, originalSumMs: 0, latencySumMs: 0 };
  return { name, percent: 30, copied: answered, answered, byClass, ...none, ...compared };
}

interface Stage {
  readonly gateway: ReturnType<typeof recordingGateway>;
  readonly fleet: TestFleet;
  readonly clock: VirtualClock;
  readonly broken: Broken;
  readonly calls: ReturnType<typeof rolloutCalls>;
  /** Advances until the rollout is in this phase with the revision of this number as target. */
  readonly phase: (phase: string, target: number, limitMs?: number) => Promise<number>;
  readonly served: () => Promise<string[]>;
}

/** A HyperMLService that serves v1 in three clusters, without a rollout. */
async function begin(): Promise<Stage> {
  const clock = playClock();
  const broken: Broken = new Set();
  const gateway = recordingGateway();
  const fleet = await startFleet(NAMES, { clock, gateway });
  const stop = startServing(fleet, clock, broken);
  closing.push(stop, () => fleet.close());
  const calls = rolloutCalls(fleet);
  await fleet.createHyper("digits", { workloads: [{ clusters: [...NAMES], manifests: [serviceOf("v1")] }] });
  await clock.runUntil(
    async () => findCondition((await fleet.getHyper("digits")).status?.conditions, "Ready")?.status === "True",
    60_000,
  );
  return {
    gateway,
    fleet,
    clock,
    broken,
    calls,
    phase: (phase, target, limitMs = 600_000) =>
      clock.runUntil(async () => {
        const { status } = await calls.get();
        return status?.phase === phase && status.target?.number === target;
      }, limitMs),
    served: () => Promise.all(NAMES.map((name) => calls.served(name))),
  };
}

test("a revision goes through its waves, one cluster at a time, each watched; every decision is in the ledger", async () => {
  const { fleet, clock, calls, phase, served } = await begin();
  await calls.create({ waves: [{ name: "first", clusters: ["edge"], bake: "2m" }], bake: "30s" });
  await phase("Complete", 1);
  await calls.release(NAMES, [serviceOf("v2")]);

  await phase("Baking", 2);
  expect(await served()).toEqual(["v1", "v2", "v1"]);
  const hyper = await fleet.getHyper("digits");
  expect(findCondition(hyper.status?.conditions, "FullyApplied")).toMatchObject({
    status: "False",
    reason: "RolloutBaking",
  });
  expect(findCondition(hyper.status?.conditions, "Progressing")).toMatchObject({
    status: "True",
    reason: "RollingOut",
  });
  expect((await calls.get()).status).toMatchObject({ wave: { name: "first", index: 0, count: 2 }, summary: "1/3" });

  // Of the rest one at a time: the second only when the first is ready.
  const bakedMs = await clock.runUntil(async () => (await served())[0] === "v2", 300_000);
  expect(bakedMs).toBeGreaterThanOrEqual(119_000);
  expect(await served()).toEqual(["v2", "v2", "v1"]);
  await phase("Complete", 2);
  expect(await served()).toEqual(["v2", "v2", "v2"]);
  const done = await fleet.getHyper("digits");
  expect(findCondition(done.status?.conditions, "FullyApplied")?.status).toBe("True");
  expect(done.status?.revision).toBe((await calls.get()).status?.stable?.name);

  const outcomes = (await fleet.ledger.query({ name: "digits", topic: "rollout" })).map(({ outcome }) => outcome);
  expect(outcomes.reverse()).toEqual([
    "rollout of revision 1 begins",
    "rollout of revision 2 begins",
    "wave first begins: edge",
    "revision 2 for edge",
    "wave first (1 of 2) is done",
    "wave rest begins: cloud, far-edge",
    "revision 2 for cloud",
    "revision 2 for far-edge",
    "wave rest (2 of 2) is done",
    "revision 2 is in every cluster: it is the stable one now",
  ]);
});

test("waves without clusters, and names that are no cluster of it, are told", async () => {
  const { calls, clock, phase } = await begin();
  await calls.create({
    waves: [
      { name: "ghost", clusters: ["moon"] },
      { name: "none", selector: { matchLabels: { tier: "none" } } },
      { name: "first", clusters: ["edge", "mars"] },
    ],
  });
  await phase("Complete", 1);
  const said = async () => findCondition((await calls.get()).status?.conditions, "WavesMatched");
  expect(await said()).toMatchObject({
    status: "False",
    message:
      "wave ghost has no cluster: moon is none of the HyperMLService's; wave none has no cluster: none is left that fits; wave first: mars is none of the HyperMLService's",
  });
  await calls.change({ waves: [{ name: "first", clusters: ["edge"] }] });
  await clock.runUntil(async () => (await said())?.status === "True", 60_000);
});

test("a HyperRollout that is written just before a change already holds it", async () => {
  const { calls, phase, served } = await begin();
  await calls.create({ waves: [{ name: "first", clusters: ["edge"] }], bake: "5m" });
  await calls.release(NAMES, [serviceOf("v2")]);
  await phase("Baking", 2);
  expect(await served()).toEqual(["v1", "v2", "v1"]);
});

test("the first revision goes everywhere at once; what a HyperRollout is not yet looked at for is delivered nowhere", async () => {
  const { fleet, calls, clock, phase, served } = await begin();
  const hypers = fleet.hub.client.resource(HyperMLServiceKind);
  await hypers.delete("digits", inDemo);
  await clock.runUntil(async () => (await hypers.find("digits", inDemo)) === undefined, 60_000);
  await calls.create({ waves: [{ name: "first", clusters: ["edge"] }] });
  await fleet.createHyper("digits", { workloads: [{ clusters: [...NAMES], manifests: [serviceOf("v7")] }] });
  await phase("Complete", 1);
  expect(await served()).toEqual(["v7", "v7", "v7"]);
  const outcomes = (await fleet.ledger.query({ name: "digits", topic: "rollout" })).map(({ outcome }) => outcome);
  expect(outcomes).toContain("revision 1 for cloud, edge, far-edge at once");
});

test("inside a cluster the new release is canary of the old one first, with rising shares", async () => {
  const { calls, phase, clock, served } = await begin();
  await calls.create({
    waves: [{ name: "first", count: 1 }],
    steps: [{ canaryPercent: 10 }, { canaryPercent: 50 }],
    bake: "15s",
    maxUnavailable: 3,
  });
  await phase("Complete", 1);
  await calls.release(NAMES, [serviceOf("v2")]);

  const seen: string[] = [];
  await clock.runUntil(async () => {
    const now = (await served()).join(", ");
    if (seen.at(-1) !== now) seen.push(now);
    return (await calls.get()).status?.phase === "Complete" && (await calls.get()).status?.target?.number === 2;
  }, 1_200_000);

  const settled = seen.filter((one) => one.split(", ")[1] === one.split(", ")[2] && one !== "v1, v1, v1");
  expect(settled).toEqual([
    "v1 + v2 10%, v1, v1",
    "v1 + v2 50%, v1, v1",
    "v2, v1, v1",
    "v2, v1 + v2 10%, v1 + v2 10%",
    "v2, v1 + v2 50%, v1 + v2 50%",
    "v2, v2, v2",
  ]);
});

test("a cluster that is not ready in time is a failure: everything goes back by itself, and stays back", async () => {
  const { fleet, calls, phase, broken, served, clock } = await begin();
  await calls.create({ waves: [{ name: "first", clusters: ["cloud"] }], progressDeadline: "1m", bake: "10s" });
  await phase("Complete", 1);
  broken.add("far-edge/v2");
  await calls.release(NAMES, [serviceOf("v2")]);

  await phase("RolledBack", 2);

  expect(await served()).toEqual(["v1", "v1", "v1"]);
  const { status } = await calls.get();
  expect(status?.failure).toMatchObject({ reason: "DeadlineExceeded" });
  expect(status?.failure?.message).toContain("far-edge is not ready within 1m: MLService digits: v2 crashes");
  const hyper = await fleet.getHyper("digits");
  expect(findCondition(hyper.status?.conditions, "Degraded")).toMatchObject({
    status: "True",
    reason: "RolloutFailed",
  });
  await clock.advance(60_000);
  expect((await calls.get()).status?.phase).toBe("RolledBack");

  // The next revision is tried, whole.
  await calls.release(NAMES, [serviceOf("v3")]);
  await phase("Complete", 3);
  expect(await served()).toEqual(["v3", "v3", "v3"]);
});

test("pause, resume, approval, promote, abort; and back to the revision before by its content", async () => {
  const { fleet, calls, phase, served, clock } = await begin();
  await calls.create({
    waves: [
      { name: "first", clusters: ["edge"], bake: "1h" },
      { name: "second", clusters: ["cloud"], approval: true },
    ],
    bake: "10s",
  });
  await phase("Complete", 1);
  await calls.change({ paused: true });
  await calls.release(NAMES, [serviceOf("v2")]);
  await phase("Paused", 2);
  await clock.advance(120_000);
  expect(await served()).toEqual(["v1", "v1", "v1"]);

  await calls.change({ paused: false });
  await phase("Baking", 2);
  expect(await served()).toEqual(["v1", "v2", "v1"]);
  const revision = (await calls.get()).status?.target?.name ?? "";
  await calls.change({ promoted: { revision, through: "first" } });
  await phase("Waiting", 2, 60_000);
  expect((await calls.get()).status?.message).toBe("wave second begins when it is promoted: cloud");
  const stalled = async (): Promise<boolean> =>
    findCondition((await fleet.getHyper("digits")).status?.conditions, "Progressing")?.reason === "Stalled";
  await clock.runUntil(stalled, 60_000);
  await expect(calls.change({ promoted: { revision, through: "third" } })).rejects.toThrow(
    'there is no wave "third"; there are first, second, rest, and * means all',
  );
  await calls.change({ promoted: { revision, through: "second" } });
  await phase("Progressing", 2);
  await calls.change({ aborted: { revision, number: 2 } });
  await phase("RolledBack", 2);
  expect(await served()).toEqual(["v1", "v1", "v1"]);

  // The content of revision 1 again: it has a new number, and nothing has to move.
  await calls.release(NAMES, [serviceOf("v1")]);
  await phase("Complete", 3);
  const revisions = (await fleet.hub.client.resource(ControllerRevisionKind).list(inDemo)).items;
  expect(new Set(revisions.map((one) => one.revision))).toEqual(new Set([2, 3]));

  // What was aborted is tried again when it comes back later.
  await calls.change({ waves: [{ name: "first", clusters: ["edge"] }] });
  await calls.release(NAMES, [serviceOf("v2")]);
  await phase("Complete", 4);
  expect(await served()).toEqual(["v2", "v2", "v2"]);
});

test("an unreachable cluster does not hold the others up beyond the budget, and catches up", async () => {
  const { fleet, calls, phase, served, clock } = await begin();
  await calls.create({ bake: "10s", maxUnavailable: 1 });
  await phase("Complete", 1);
  fleet.cut.add("far-edge");
  await clock.advance(20_000);
  await calls.release(NAMES, [serviceOf("v2")]);
  await clock.advance(120_000);
  const { status } = await calls.get();
  expect(status?.clusters?.map(({ cluster, state }) => `${cluster} ${state}`)).toContain("far-edge Unreachable");
  expect(await served()).toEqual(["v1", "v1", "v1"]);

  await calls.change({ maxUnavailable: 2 });
  await phase("Complete", 2);
  expect(await served()).toEqual(["v2", "v2", "v1"]);
  fleet.cut.delete("far-edge");
  await clock.runUntil(async () => (await served())[2] === "v2", 300_000);
});

test("clusters come and leave with a revision: the new ones in their wave, the old ones after all others", async () => {
  const { fleet, calls, phase, served } = await begin();
  await fleet.hub.client
    .resource(HyperMLServiceKind)
    .patch("digits", "merge", { metadata: { annotations: { "argosy.dev/ingress": "none" } } }, inDemo);
  await calls.create({ waves: [{ name: "first", clusters: ["edge"] }], bake: "20s" });
  await phase("Complete", 1);
  await calls.release(["edge", "far-edge"], [serviceOf("v2")]);

  await phase("Baking", 2);
  expect(await served()).toEqual(["v1", "v2", "v1"]);
  await phase("Complete", 2);
  expect(await served()).toEqual(["nothing", "v2", "v2"]);
  expect((await calls.get()).status?.clusters?.map(({ cluster }) => cluster)).toEqual(["edge", "far-edge"]);
});

test("a revision is immutable and whole, and what its Secrets hold is apart", async () => {
  const { fleet, calls, phase, clock } = await begin();
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "s3", ...inDemo },
    stringData: { key: "hidden" },
  };
  await calls.create({ bake: "1s" });
  await phase("Complete", 1);
  await calls.release(NAMES, [serviceOf("v1"), secret]);
  await phase("Complete", 2);

  const revisions = await fleet.hub.client.resource(ControllerRevisionKind).list(inDemo);
  expect(JSON.stringify(revisions)).not.toContain("hidden");
  expect(revisions.items[0]?.metadata.ownerReferences?.[0]).toMatchObject({ kind: "HyperMLService", name: "digits" });
  const name = (await fleet.getHyper("digits")).status?.revision ?? "";
  const contents = fleet.hub.client.resource(RevisionContentsKind);
  expect((await contents.get(name, inDemo)).spec.secrets).toEqual([
    { workload: 0, manifest: 1, fields: { stringData: { key: "hidden" } } },
  ]);
  await expect(contents.patch(name, "merge", { spec: { secrets: [] } }, inDemo)).rejects.toThrow("does not change");
  expect((await fleet.members.get("edge")?.client.resource(SecretKind).get("s3", inDemo))?.data?.["key"]).toBe(
    Buffer.from("hidden").toString("base64"),
  );

  await fleet.hub.client.resource(HyperMLServiceKind).delete("digits", inDemo);
  await clock.runUntil(
    async () => (await fleet.hub.client.resource(ControllerRevisionKind).list(inDemo)).items.length === 0,
    60_000,
  );
  expect(await contents.find(name, inDemo)).toBeUndefined();
});

test("of a cluster that two waves name the later one is warned of, unless the first may leave it over", async () => {
  const { fleet } = await begin();
  const warningsOf = async (first: JsonObject): Promise<readonly string[] | undefined> => {
    const spec = {
      waves: [
        { name: "first", clusters: ["edge"], ...first },
        { name: "second", clusters: ["edge"] },
      ],
    };
    return (await hyperRolloutAdmission().review?.({ spec }, undefined, fleet.hub))?.warnings;
  };
  expect(await warningsOf({})).toEqual(["spec.waves[1].clusters: edge is in wave first, which comes first"]);
  expect(await warningsOf({ count: 1 })).toEqual([]);
});

test("what cannot be carried out is refused; a second HyperRollout for the same says that it does not rule", async () => {
  const { fleet, calls, phase, clock } = await begin();
  await expect(calls.create({ waves: [{ name: "rest", count: 1 }] })).rejects.toThrow(
    '"rest" is the name of a wave that is made',
  );
  await expect(calls.create({ waves: [{ name: "one" }] })).rejects.toThrow("it would never have a cluster");
  await expect(calls.create({ maxUnavailable: "0" })).rejects.toThrow("neither a number of clusters");
  await expect(calls.create({ gates: [{ name: "g", source: "Prometheus", min: 1 }] })).rejects.toThrow(
    "no prometheus.address",
  );
  await expect(calls.create({ gates: [{ name: "g", source: "Gateway", metric: "P99" }] })).rejects.toThrow(
    "neither min nor max",
  );
  for (const step of [{}, { canaryPercent: 5, shadowPercent: 5 }])
    await expect(calls.create({ steps: [step] })).rejects.toThrow("give either canaryPercent or shadowPercent");
  await calls.create({});
  await phase("Complete", 1);
  const rollouts = fleet.hub.client.resource(HyperRolloutKind);
  const spec = { hyperMLServiceRef: { name: "digits" } };
  const draft = {
    apiVersion: "argosy.dev/v1alpha1",
    kind: "HyperRollout",
    metadata: { name: "late", ...inDemo },
    spec,
  };
  await rollouts.create(draft, inDemo);
  await clock.runUntil(async () => (await rollouts.get("late", inDemo)).status?.conditions !== undefined, 60_000);
  expect(findCondition((await rollouts.get("late", inDemo)).status?.conditions, "Progressing")).toMatchObject({
    reason: "Superseded",
  });
});

test("a failed gate takes a revision back; one that sees too little waits, and says for what", async () => {
  const { calls, phase, served, clock, gateway } = await begin();
  const told = (requests: number, bad: number): void => {
    gateway.state = gatewayState({ cloud: [0, 0], edge: [requests, bad], "far-edge": [0, 0] });
  };
  told(5000, 5000);
  await calls.create({
    waves: [{ name: "first", clusters: ["edge"] }],
    bake: "60s",
    gates: [{ name: "answers", source: "Gateway", metric: "SuccessRate", min: 0.95, minRequests: 100 }],
  });
  await phase("Complete", 1);
  await calls.release(NAMES, [serviceOf("v2")]);
  await phase("Baking", 2);
  // What was before it was ready does not count.
  told(5050, 5000);
  await clock.advance(90_000);
  expect((await calls.get()).status).toMatchObject({
    phase: "Baking",
    gates: [{ name: "answers", cluster: "edge", verdict: "Waiting", message: "50 of 100 requests were seen" }],
  });
  told(5200, 5020);
  await phase("RolledBack", 2, 60_000);
  expect(await served()).toEqual(["v1", "v1", "v1"]);
  expect((await calls.get()).status?.failure).toMatchObject({
    reason: "GateFailed",
    message: "gate answers in cluster edge: SuccessRate is 0.9 of 200 requests; at least 0.95 is asked for",
  });
});

test("a gate that holds lets go on; onFailure: Pause leaves the decision to people", async () => {
  const { calls, phase, served, clock, gateway, fleet } = await begin();
  gateway.state = gatewayState({ edge: [0, 0] });
  await calls.create({
    waves: [{ name: "first", clusters: ["edge"] }],
    bake: "20s",
    onFailure: "Pause",
    gates: [{ name: "answers", source: "Gateway", metric: "SuccessRate", min: 0.95 }],
  });
  await phase("Complete", 1);
  await calls.release(NAMES, [serviceOf("v2")]);
  await phase("Baking", 2);
  gateway.state = gatewayState({ edge: [100, 50] });
  await phase("Paused", 2, 60_000);
  expect((await calls.get()).status?.message).toContain("promote or abort it");
  expect(await served()).toEqual(["v1", "v2", "v1"]);
  await clock.advance(60_000);
  expect(await served()).toEqual(["v1", "v2", "v1"]);

  await calls.change({ promoted: { revision: (await calls.get()).status?.target?.name ?? "", through: "*" } });
  await phase("Complete", 2);
  expect(await served()).toEqual(["v2", "v2", "v2"]);
  const failed = (await fleet.ledger.query({ name: "digits", topic: "rollout" })).filter(({ outcome }) =>
    outcome.includes("fails"),
  );
  expect(failed).toHaveLength(1);
});

test("in shadow first: the new release gets copies, answers nobody, and gates look at the copies alone", async () => {
  const { calls, phase, served, clock, gateway, fleet, broken } = await begin();
  const told = (copies: number, bad: number): void => {
    const state = gatewayState({ cloud: [900, 0], edge: [900, 900], "far-edge": [900, 0] });
    const shadow = shadowReport("edge/v2", copies, bad);
    gateway.state = { ...state, routes: state.routes.map((route) => ({ ...route, shadows: [shadow] })) };
  };
  const routeShadows = () =>
    (gateway.parts.get("head-ingress")?.routes[0]?.shadows ?? []).map(
      ({ name, percent, of = [], addresses }) => `${name} ${percent}% of ${of.join()} at ${addresses.join()}`,
    );
  await calls.create({
    waves: [{ name: "first", clusters: ["edge"] }],
    steps: [{ shadowPercent: 30 }, { canaryPercent: 10 }],
    bake: "20s",
    gates: [{ name: "answers", source: "Gateway", metric: "SuccessRate", min: 0.95, minRequests: 10 }],
  });
  await phase("Complete", 1);
  broken.add("edge/v2");
  await calls.release(NAMES, [serviceOf("v2")]);
  await clock.advance(60_000);
  // It must run before anything is copied.
  expect((await calls.get()).status).toMatchObject({
    phase: "Progressing",
    message: expect.stringContaining("release v2"),
  });
  expect(routeShadows()).toEqual(["edge/v2 30% of edge at "]);
  broken.delete("edge/v2");
  const service = fleet.members.get("edge")?.client.resource(TestServiceKind);
  await service?.patch("digits", "merge", { metadata: { annotations: { again: "" } } }, inDemo);
  await phase("Baking", 2);
  expect(await served()).toEqual(["v1", "v1", "v1"]);
  await clock.runUntil(async () => routeShadows()[0]?.endsWith(":80") === true, 10_000);
  expect(routeShadows()).toEqual(["edge/v2 30% of edge at digits-predict-v2.edge:80"]);
  const rows = (await fleet.getHyper("digits")).status?.revisions ?? [];
  expect(rows.find(({ cluster }) => cluster === "edge")).toMatchObject({
    ready: true,
    shadows: [{ service: "digits", release: "v2", percent: 30 }],
  });
  told(0, 0);
  await clock.advance(30_000);
  expect((await calls.get()).status).toMatchObject({
    wave: { step: 0, steps: 2 },
    gates: [{ verdict: "Waiting", message: "0 of 10 requests were seen" }],
  });
  // What the old release answers meanwhile is not asked for.
  told(40, 1);
  await clock.runUntil(async () => (await served())[1] === "v1 + v2 10%", 60_000);
  await clock.runUntil(async () => routeShadows().length === 0, 10_000);
  const outcomes = (await fleet.ledger.query({ name: "digits", topic: "rollout" })).map(({ outcome }) => outcome);
  expect(outcomes).toContain("revision 2 in shadow, with copies of 30% for edge");
});

test("copies that fail take a revision back before it answered anybody", async () => {
  const { calls, phase, served, gateway, clock } = await begin();
  const told = (copies: number, bad: number): void => {
    const state = gatewayState({ edge: [0, 0] });
    const shadows = [shadowReport("edge/v2", copies, bad)];
    gateway.state = { ...state, routes: state.routes.map((route) => ({ ...route, shadows })) };
  };
  told(0, 0);
  await calls.create({
    waves: [{ name: "first", clusters: ["edge"] }],
    steps: [{ shadowPercent: 100 }],
    gates: [{ name: "answers", source: "Gateway", metric: "SuccessRate", min: 0.95 }],
  });
  await phase("Complete", 1);
  await calls.release(NAMES, [serviceOf("v2")]);
  await phase("Baking", 2);
  expect(await served()).toEqual(["v1", "v1", "v1"]);
  told(20, 15);
  await phase("RolledBack", 2, 60_000);
  expect((await calls.get()).status?.failure?.message).toContain("SuccessRate is 0.25 of 20 requests");
  const shadows = () => gateway.parts.get("head-ingress")?.routes[0]?.shadows ?? [];
  await clock.runUntil(async () => shadows().length === 0, 10_000);
});

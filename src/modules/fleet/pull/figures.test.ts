import { afterAll, beforeAll, expect } from "vitest";
import { createClient, createInformerSet } from "../../../kernel/client/index.js";
import { virtualClock } from "../../../kernel/clock/index.js";
import { type ClusterAccess, createManager, type Manager } from "../../../kernel/control/index.js";
import { PodKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { unless } from "../../../testing/unless.js";
import { AGENT, grant, startFleet, type TestFleet } from "../fixture.js";
import { DELIVERY_RULES } from "../module.js";
import { GateKeeper, type Watch } from "../rollout/gate-keeper.js";
import type { GateSpec } from "../rollout/kind.js";
import { agentAccountOf, enrolCluster, followedByAgent, pullControllers, requestToken } from "./index.js";

const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "tokens and virtual time are the embedded server's",
);
const clock = virtualClock();
const namespace = "demo";
let fleet: TestFleet;
let paris: TestCluster;
let agent: Manager;
let asAgent: ClusterAccess;
/** What the model server in the member says. */
let page = "";

const gate: GateSpec = { name: "ok", source: "ModelServer", metric: "SuccessRate", min: 0.9, minRequests: 10 };
const watch: Watch = {
  mark: "a wave",
  namespace,
  name: "digits",
  clusters: ["paris"],
  gates: [gate],
  heads: [],
  triedIn: () => undefined,
  isPull: () => true,
  servicesIn: () => [{ namespace, name: "digits", release: undefined }],
};
const keeper = new GateKeeper({
  gateway: () => undefined,
  members: () => undefined,
  prometheus: () => Promise.reject(new TypeError("nobody asks it")),
});

async function look(rollout = "demo/careful", watched = watch) {
  const { client } = fleet.hub;
  const reports = await keeper.look(rollout, watched, { client, clock, signal: new AbortController().signal });
  return reports[0];
}

const counted = (good: number, failed: number): string =>
  `argosy_modelserver_inferences_total{model="m"} ${good}\nargosy_modelserver_inference_failures_total{model="m"} ${failed}\n`;

/** The member as its agent sees it, with a model server behind the proxy of its pod. */
function withModelServer(access: ClusterAccess): ClusterAccess {
  const { transport } = access.client;
  const request: typeof transport.request = (asked) =>
    asked.path.endsWith("/pods/digits-1/proxy/metrics")
      ? Promise.resolve({
          status: 200,
          headers: {},
          body: (async function* () {
            yield Buffer.from(page);
          })(),
        })
      : transport.request(asked);
  return { ...access, client: { ...access.client, transport: { ...transport, request } } };
}

beforeAll(async () => {
  if (process.env["ARGOSY_TEST_REAL"] !== undefined) return;
  fleet = await startFleet([], { clock });
  paris = await startTestCluster({ name: "paris", clock, tokens: [AGENT] });
  await grant(paris, DELIVERY_RULES);
  await enrolCluster(fleet.hub.client, { name: "paris" });
  const { token } = await requestToken(fleet.hub.client, agentAccountOf("paris"), 3600);
  const { server, random } = fleet.hub;
  const client = createClient({ transport: server.transport(token), clock, random });
  const informers = createInformerSet({ client, clock, random, log: silentLogger, ...followedByAgent("paris") });
  asAgent = { name: "hub", client, informers };
  agent = createManager({ cluster: asAgent, clock, random, log: silentLogger });
  for (const controller of pullControllers(withModelServer(paris.as(AGENT.token)))) agent.add(controller);
  agent.start();
  await paris.client.json("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  const pod = await paris.client.resource(PodKind).create(
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "digits-1", namespace, labels: { "tensorstack.dev/mlservice": "digits" } },
      spec: { containers: [{ name: "c", image: "i" }] },
    },
    { namespace },
  );
  await paris.client.resource(PodKind).updateStatus({ ...pod, status: { phase: "Running" } });
});

afterAll(async () => {
  await agent?.close();
  await asAgent?.informers.close();
  await fleet?.close();
  await paris?.close();
});

embedded("a gate hears of model servers from the agent of a member that the hub cannot enter", async () => {
  page = counted(1000, 1000);
  expect(await look()).toMatchObject({
    verdict: "Waiting",
    message: expect.stringMatching(/asked and has not told yet/),
  });
  await clock.advance(2000);
  // What was counted before anybody watched is not held against the wave.
  expect(await look()).toMatchObject({ verdict: "Waiting", message: "0 of 10 requests were seen" });
  page = counted(1019, 1001);
  await clock.advance(6000);
  expect(await look()).toMatchObject({ verdict: "Passed", value: 0.95 });
  page = counted(1020, 1020);
  await clock.advance(6000);
  expect(await look()).toMatchObject({ verdict: "Failed", value: 0.5 });
});

embedded("who asks for something else beside it is not answered with what was told before", async () => {
  const other = { ...watch, mark: "another", servicesIn: () => [{ namespace, name: "letters", release: "v2" }] };
  expect(await look("demo/other", other)).toMatchObject({
    verdict: "Waiting",
    message: expect.stringMatching(/has not told yet/),
  });
  await clock.advance(2000);
  expect(await look("demo/other", other)).toMatchObject({
    verdict: "Waiting",
    message: expect.stringMatching(/runs no model server/),
  });
  expect(await look()).toMatchObject({ verdict: "Failed", value: 0.5 });
  keeper.forget("demo/other");
});

embedded("an agent that falls silent makes the gate wait, and goes on when it is asked again", async () => {
  await look();
  await clock.advance(6000);
  expect(await look()).toMatchObject({ verdict: "Failed" });
  // Nobody asks for a while: the agent stops to tell.
  await clock.advance(600_000);
  const map = () => fleet.hub.client.json("GET", "/api/v1/namespaces/karmada-es-paris/configmaps/argosy-figures");
  const before = await map();
  await clock.advance(60_000);
  expect(await map()).toEqual(before);
  // The first look asks anew.
  await look();
  await clock.advance(6000);
  expect(await look()).toMatchObject({ verdict: "Failed" });
  const closing = agent.close();
  await clock.advance(5000);
  await closing;
  await clock.advance(25_000);
  expect(await look()).toMatchObject({
    verdict: "Waiting",
    message: expect.stringMatching(/agent of cluster paris has told nothing for \d+ s/),
  });
});

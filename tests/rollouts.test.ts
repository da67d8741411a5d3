import { Agent, createServer, request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../src/kernel/clock/index.js";
import {
  DeploymentKind,
  EndpointSliceKind,
  EventKind,
  type JsonObject,
  type Pod,
  PodKind,
  ServiceKind,
} from "../src/kernel/kinds/index.js";
import { InferenceServiceKind } from "../src/modules/serving/kserve/inference-service-kind.js";
import { temporaryFolder } from "../src/testing/folder.js";
import type { TestCluster } from "../src/testing/index.js";
import { type MemberStage, startMemberStage } from "./support/member-stage.js";

// Pods are HTTP servers; programs reach Services as by kube-proxy.
const CONTAINER_PORT = 18_091;
const namespace = "models";
const apply = { namespace, fieldManager: "test", force: true };
const directory = temporaryFolder("rollouts");
let stage: MemberStage;
let cluster: TestCluster;

interface Answered {
  readonly status: number;
  readonly body: string;
}

/** One request over a connection that is kept. */
function send(to: { host: string; port: number; agent: Agent; headers?: Record<string, string> }): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const call = request({ ...to, path: "/v1/models/m:predict", headers: to.headers ?? {} }, (response) => {
      let body = "";
      response.on("data", (piece: Buffer) => {
        body += piece.toString();
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    call.on("error", reject);
    call.end();
  });
}

const outside = new Agent({ keepAlive: true });
const inside = new Agent({ keepAlive: true });
let turn = 0;

/** By a host of the ingress. */
const ask = (name: string, headers: Record<string, string> = {}): Promise<Answered> =>
  send({ host: "127.0.0.1", port: stage.port, agent: outside, headers: { host: stage.host(name), ...headers } });

/** By a Service, each time at the next of its ready addresses. */
async function askInside(name: string): Promise<Answered> {
  const slices = cluster.informers
    .informer(EndpointSliceKind)
    .list(namespace)
    .filter(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === name);
  const addresses = slices.flatMap(({ endpoints, ports }) =>
    endpoints
      .filter(({ conditions }) => conditions?.ready !== false)
      .flatMap(({ addresses: hosts }) => hosts.map((host) => ({ host, port: ports?.[0]?.port ?? 0 }))),
  );
  const at = addresses[turn++ % Math.max(1, addresses.length)];
  if (at === undefined) return { status: 0, body: `Service ${name} has no address` };
  return send({ ...at, agent: inside, headers: { host: name } });
}

/** A predictor says the variable MODEL, a transformer asks the predictor's Service and puts a word before it. */
async function startPod(pod: Pod, podIP: string, stopped: Promise<void>): Promise<void> {
  const { env = [], args = [] } = pod.spec.containers[0] ?? {};
  const model = env.find(({ name }) => name === "MODEL")?.value ?? "";
  const host = args[args.indexOf("--predictor_host") + 1]?.split(".")[0] ?? "";
  const server = createServer((incoming, response) => {
    if (incoming.headers["x-fail"] === model) response.writeHead(500).end("as asked");
    else if (model !== "transformer" || incoming.url === "/ready") response.end(model);
    else
      askInside(host).then(
        ({ status, body }) => response.writeHead(status).end(`transformed ${body}`),
        (error: unknown) => response.writeHead(502).end(String(error)),
      );
  });
  await new Promise<void>((resolve) => server.listen(CONTAINER_PORT, podIP, () => resolve()));
  void stopped.then(() => server.close());
}

beforeAll(async () => {
  const pods = { network: "127.89", startPod, drainMs: 20_000 };
  stage = await startMemberStage({ directory, namespace, ...pods, isGatewayInside: true });
  ({ cluster } = stage);
});
afterAll(async () => {
  outside.destroy();
  inside.destroy();
  await stage?.close();
});

const containers = (model: string): JsonObject[] => [
  {
    name: "kserve-container",
    image: "example.com/server",
    ports: [{ containerPort: CONTAINER_PORT }],
    env: [{ name: "MODEL", value: model }],
    readinessProbe: { httpGet: { path: "/ready", port: CONTAINER_PORT } },
  },
];

const write = (name: string, spec: JsonObject, metadata: JsonObject = {}) =>
  cluster.client.resource(InferenceServiceKind).apply({ metadata: { ...metadata, name }, spec }, apply);

/** Until an attempt holds; the real clock's patience. */
async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 20_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`it did not come to hold: ${what}`);
    await systemClock.sleep(5);
  }
}

const isvc = (name: string) => cluster.informers.informer(InferenceServiceKind).get({ namespace, name });
const isReady = (name: string): boolean => {
  const found = isvc(name);
  const ready = found?.status?.conditions?.find(({ type }) => type === "Ready");
  return ready?.status === "True" && found?.status?.observedGeneration === found?.metadata.generation;
};
const percents = (name: string) =>
  isvc(name)?.status?.components?.["predictor"]?.traffic?.map(({ percent }) => percent ?? 0) ?? [];
/** Who answered how often. */
async function count(times: number, one: () => Promise<Answered>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let index = 0; index < times; index++) {
    const { status, body } = await one();
    const key = status === 200 ? body : `${status} ${body}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** Requests without end from outside, inside and through a transformer; `stop` says how many were sent and what failed. */
function load(...ways: (() => Promise<Answered>)[]): { stop: () => Promise<{ sent: number; failed: string[] }> } {
  let isOn = true;
  let sent = 0;
  const failed: string[] = [];
  const runs = ways.map(async (way) => {
    while (isOn) {
      const answer = await way().catch((error: unknown) => ({ status: 0, body: String(error) }));
      sent++;
      if (answer.status !== 200) failed.push(`${answer.status} ${answer.body.slice(0, 300)}`);
      await systemClock.sleep(5);
    }
  });
  return {
    stop: async () => {
      isOn = false;
      await Promise.all(runs);
      return { sent, failed };
    },
  };
}

/** Exactly that many of a hundred, but where the gateway took over a table in between and began to count anew. */
function expectShare(seen: number | undefined, wanted: number): void {
  expect(Math.abs((seen ?? 0) - wanted)).toBeLessThanOrEqual(1);
}

const selectorOf = async (name: string) =>
  (await cluster.client.resource(ServiceKind).get(name, { namespace })).spec.selector;
const isThrough = (name: string) => async (): Promise<boolean> => {
  const slices = cluster.informers
    .informer(EndpointSliceKind)
    .list(namespace)
    .filter(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === name);
  return slices.length === 1 && slices[0]?.metadata.name === `${name}-door`;
};

test("a canary's share is the same from outside, by the Service, and behind a transformer; no request fails from beginning to end", async () => {
  const transformer = { containers: containers("transformer") };
  const predictor = (model: string, more: JsonObject = {}) => ({ ...more, containers: containers(model) });
  await write("m", { predictor: predictor("one", { minReplicas: 2 }), transformer });
  await until(() => isReady("m"), "m is ready");
  expect(await count(4, () => ask("m"))).toEqual({ "transformed one": 4 });

  const running = load(
    () => ask("m"),
    () => askInside("m-predictor"),
    () => askInside("m"),
    () => ask("m-predictor"),
  );
  await write("m", { predictor: predictor("two", { minReplicas: 2, canaryTrafficPercent: 20 }), transformer });
  await until(() => isReady("m") && percents("m").join() === "20,80", "the canary has its share");
  await until(isThrough("m-predictor"), "the Service leads through the gateway");
  expect(await selectorOf("m-predictor")).toBeUndefined();
  const split = await running.stop();
  expect(split.failed).toEqual([]);

  expectShare((await count(100, () => askInside("m-predictor")))["two"], 20);
  expectShare((await count(100, () => ask("m")))["transformed two"], 20);
  expectShare((await count(100, () => ask("m-predictor")))["two"], 20);

  const again = load(
    () => ask("m"),
    () => askInside("m-predictor"),
    () => askInside("m"),
  );
  await write("m", { predictor: predictor("two", { minReplicas: 2 }), transformer });
  await until(() => isReady("m") && percents("m").join() === "100", "it is promoted");
  await until(async () => (await selectorOf("m-predictor")) !== undefined, "the Service leads to pods again");
  await until(async () => !(await isThrough("m-predictor")()), "nothing leads through the gateway any more");
  await until(async () => (await count(10, () => askInside("m-predictor")))["two"] === 10, "nobody is led elsewhere");
  const promoted = await again.stop();
  expect(promoted.failed).toEqual([]);
  // How many they were is the machine's affair.
  expect(Math.min(split.sent, promoted.sent)).toBeGreaterThan(0);
}, 60_000);

test("a new revision goes by steps that its gates watch; one that fails is taken back, and says why", async () => {
  const annotations = {
    "serving.argosy.dev/rollout-steps": "20,50",
    "serving.argosy.dev/rollout-bake": "3s",
    "serving.argosy.dev/rollout-gates": '[{"metric":"SuccessRate","min":0.95,"minRequests":20}]',
  };
  const service = (model: string) => write("g", { predictor: { containers: containers(model) } }, { annotations });
  await service("one");
  await until(() => isReady("g"), "g is ready");
  let failing = "";
  const running = load(
    () => ask("g", { "x-fail": failing }),
    () => askInside("g-predictor"),
  );
  const seen = new Set<string>();
  await service("two");
  await until(() => {
    seen.add(percents("g").join());
    return (
      isReady("g") && isvc("g")?.status?.components?.["predictor"]?.latestRolledoutRevision?.endsWith("2") === true
    );
  }, "it is promoted");
  expect([...seen]).toEqual(expect.arrayContaining(["20,80", "50,50"]));

  failing = "three";
  await service("three");
  const condition = (type: string) => isvc("g")?.status?.conditions?.find((one) => one.type === type);
  await until(() => condition("PromotionHealthy")?.reason === "GateFailed", "the gate has failed");
  await until(() => percents("g").join() === "0,100", "the traffic is back");
  expect(condition("Ready")).toMatchObject({ status: "False", reason: "GateFailed" });
  expect(condition("Ready")?.message).toMatch(
    /cluster cloud: g-predictor-00003 was taken back: GateFailed: SuccessRate: SuccessRate is 0(\.\d+)? of \d+ requests; at least 0.95 is asked for/,
  );
  expect(condition("Answering")?.status).toBe("True");
  await until(async () => (await count(10, () => ask("g")))["two"] === 10, "the gateway has the shares");
  const { failed } = await running.stop();
  // Nothing but what the third one was made to fail.
  expect(failed.filter((text) => text !== "500 as asked")).toEqual([]);
  const decisions = await stage.ledger.query({ kind: "InferenceService", name: "g", topic: "promotion" });
  expect(decisions.map(({ outcome }) => outcome).join("\n")).toMatch(/was taken back.*\n(.*\n)*.*goes from 20 to 50 %/);

  await service("two");
  await until(() => isReady("g") && percents("g").join() === "100", "the spec of before is ready at once");

  // A canary of its own is watched the same way, and does not stand against Ready.
  const canary = [{ trafficPercent: 20, predictor: { name: "next", containers: containers("bad") } }];
  await write("g", { predictor: { containers: containers("two") }, canary }, { annotations });
  const poll = load(() => ask("g", { "x-fail": "bad" }));
  await until(() => condition("CanaryPredictorReady")?.message?.includes("GateFailed") === true, "its gate has failed");
  await until(async () => (await count(10, () => ask("g")))["two"] === 10, "it has no share any more");
  expect(isvc("g")?.status?.canaryStatuses?.[0]).toMatchObject({ name: "next", trafficPercent: 0 });
  await poll.stop();
  expect(condition("Ready")?.status).toBe("True");
  const told = async () =>
    (await cluster.client.resource(EventKind).list({ namespace })).items.some(
      ({ reason, message = "" }) => reason === "GateFailed" && message.includes("g-next-predictor"),
    );
  await until(told, "an event tells of it");
}, 60_000);

test("a header names the revision or canary that answers, whatever its share is; nobody else answers in its place; tags have addresses", async () => {
  const annotations = { "serving.argosy.dev/pin": "header=X-Model", "serving.kserve.io/enable-tag-routing": "true" };
  const predictor = (model: string, percent: number | undefined) => ({
    predictor: {
      containers: containers(model),
      ...(percent === undefined ? {} : { canaryTrafficPercent: percent }),
    },
  });
  await write("p", predictor("one", undefined), { annotations });
  await until(() => isReady("p"), "p is ready");
  await write("p", predictor("two", 0), { annotations });
  await until(() => isReady("p") && percents("p").join() === "0,100", "the second revision is dark");
  const by = async (name: string) => Object.keys(await count(4, () => ask("p", { "x-model": name })));
  await until(async () => (await by("latest"))[0] === "two", "the gateway knows the names");

  expect(await by("prev")).toEqual(["one"]);
  expect(await by("p-predictor-00002")).toEqual(["two"]);
  expect(await by("nobody")).toEqual(["one"]);
  expect(await count(10, () => ask("p"))).toEqual({ one: 10 });
  expect([(await ask("latest-p-predictor")).body, (await ask("prev-p-predictor")).body]).toEqual(["two", "one"]);
  const urls = isvc("p")?.status?.components?.["predictor"]?.traffic?.map(({ tag, url }) => [tag, url]);
  expect(urls).toEqual([
    ["latest", `http://latest-p-predictor.${namespace}.cloud.test:${stage.port}`],
    ["prev", `http://prev-p-predictor.${namespace}.cloud.test:${stage.port}`],
  ]);

  const named = (model: string) => ({ name: model, containers: containers(model) });
  await write(
    "q",
    {
      predictor: { containers: containers("one") },
      canary: [
        { trafficPercent: 0, predictor: named("dark") },
        { trafficPercent: 50, predictor: named("half") },
      ],
    },
    { annotations: { "serving.argosy.dev/pin": "cookie=model" } },
  );
  await until(
    () => isReady("q") && isvc("q")?.status?.canaryStatuses?.every(({ ready }) => ready) === true,
    "q is ready",
  );
  const cookie = async (name: string) => Object.keys(await count(4, () => ask("q", { cookie: `a=b; model=${name}` })));
  await until(async () => (await cookie("dark"))[0] === "dark", "the gateway knows the canaries");
  await until(async () => (await cookie("half")).join() === "half", "the other one too");
  expect(await cookie("stable")).toEqual(["one"]);
  expectShare((await count(40, () => ask("q")))["half"], 20);
}, 60_000);

test("pods that hold GPUs never need more of them than the service has, unless a surge is allowed; requests are answered all the time", async () => {
  const gpu = (model: string): JsonObject[] =>
    containers(model).map((container) => ({ ...container, resources: { limits: { "nvidia.com/gpu": 1 } } }));
  const service = (model: string, more: JsonObject = {}, surge?: string) =>
    write(
      "u",
      { predictor: { minReplicas: 2, containers: gpu(model), ...more } },
      surge === undefined ? {} : { annotations: { "serving.argosy.dev/surge": surge } },
    );
  const pods = cluster.informers.informer(PodKind);
  let most = 0;
  const stop = pods.onChange(() => {
    const live = pods
      .list(namespace)
      .filter(({ metadata }) => metadata.labels?.["serving.kserve.io/inferenceservice"] === "u")
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    most = Math.max(most, live.length);
  });
  await service("one");
  await until(() => isReady("u"), "u is ready");
  const running = load(() => ask("u"));
  await service("two");
  await until(async () => isReady("u") && (await count(4, () => ask("u")))["two"] === 4, "it was replaced in place");
  await service("three", { canaryTrafficPercent: 50 });
  await until(() => isReady("u") && percents("u").join() === "50,50", "each has one GPU");
  await service("three");
  await until(() => isReady("u") && percents("u").join() === "100", "it is promoted");
  expect(most).toBe(2);
  await service("four", { canaryTrafficPercent: 50 }, "1");
  await until(() => isReady("u") && percents("u").join() === "50,50", "one more was allowed");
  expect(most).toBe(3);
  stop();
  expect((await running.stop()).failed).toEqual([]);

  // A canary of its own waits until the stable predictor has made room.
  most = 0;
  const stopAgain = pods.onChange(() => {
    const live = pods
      .list(namespace)
      .filter(({ metadata }) => metadata.labels?.["serving.kserve.io/inferenceservice"] === "w")
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    most = Math.max(most, live.length);
  });
  const canary = [{ trafficPercent: 50, predictor: { name: "next", containers: gpu("two") } }];
  await write("w", { predictor: { minReplicas: 2, containers: gpu("one") } });
  await until(() => isReady("w"), "w is ready");
  await write("w", { predictor: { minReplicas: 2, containers: gpu("one") }, canary });
  await until(() => isReady("w") && isvc("w")?.status?.canaryStatuses?.[0]?.ready === true, "its canary is ready");
  stopAgain();
  expect(most).toBe(2);

  await write("v", { predictor: { containers: gpu("one") } });
  await until(() => isReady("v"), "v is ready");
  await write("v", { predictor: { containers: gpu("two"), canaryTrafficPercent: 50 } });
  const ready = () => isvc("v")?.status?.conditions?.find(({ type }) => type === "Ready");
  await until(() => ready()?.reason === "SurgeBudget", "there is no room for a canary");
  expect(ready()?.message).toMatch(/set the annotation serving.argosy.dev\/surge to "1"/);
  expect(await count(4, () => ask("v"))).toEqual({ one: 4 });
}, 60_000);

test("inside of the cluster only: the share holds by the Service, and no host outside leads there", async () => {
  const metadata = { labels: { "networking.kserve.io/visibility": "cluster-local" } };
  const predictor = (model: string, more: JsonObject = {}) => ({
    predictor: { containers: containers(model), ...more },
  });
  await write("l", predictor("one"), metadata);
  await until(() => isReady("l"), "l is ready");
  expect(isvc("l")?.status?.url).toBe(`http://l.${namespace}.svc.cluster.local`);
  await write("l", predictor("two", { canaryTrafficPercent: 25 }), metadata);
  await until(() => isReady("l") && percents("l").join() === "25,75", "the canary has its share");
  await until(isThrough("l"), "the Service leads through the gateway");
  await until(isThrough("l-predictor"), "the predictor's too");

  expectShare((await count(40, () => askInside("l")))["two"], 10);
  expectShare((await count(40, () => askInside("l-predictor")))["two"], 10);
  expect([(await ask("l")).status, (await ask("l-predictor")).status]).toEqual([404, 404]);
  const honored = () => isvc("l")?.status?.conditions?.find(({ type }) => type === "AllFieldsHonored");
  await until(() => honored()?.status === "True", "everything has its effect");
}, 60_000);

test("a transformer wakes a predictor that has no pod", async () => {
  const annotations = { "autoscaling.knative.dev/window": "6s" };
  const spec = {
    predictor: { minReplicas: 0, scaleMetric: "concurrency", containers: containers("one") },
    transformer: { containers: containers("transformer") },
  };
  await write("z", spec, { annotations });
  await until(() => isReady("z"), "z is ready");
  await until(isThrough("z-predictor"), "the predictor's Service leads through the gateway");
  const replicas = async (): Promise<number | undefined> =>
    (await cluster.client.resource(DeploymentKind).get("z-predictor", { namespace })).spec.replicas;
  await until(async () => (await replicas()) === 0, "it is at zero");
  expect(await Promise.all([ask("z"), askInside("z-predictor")])).toEqual([
    { status: 200, body: "transformed one" },
    { status: 200, body: "one" },
  ]);
}, 60_000);

test("rollout-duration: a new revision begins with 1 % and has everything bit by bit", async () => {
  const annotations = { "serving.knative.dev/rollout-duration": "10s" };
  const service = (model: string) => write("d", { predictor: { containers: containers(model) } }, { annotations });
  await service("one");
  await until(() => isReady("d"), "d is ready");
  const running = load(() => ask("d"));
  const seen: number[] = [];
  await service("two");
  await until(() => {
    const [latest] = percents("d");
    if (percents("d").length === 2 && latest !== undefined && latest !== seen.at(-1)) seen.push(latest);
    return (
      isReady("d") && isvc("d")?.status?.components?.["predictor"]?.latestRolledoutRevision?.endsWith("2") === true
    );
  }, "it has everything");
  const shares = seen.filter((share) => share > 0);
  // How many bits there are depends on how long its pods took, which is this machine's affair.
  expect(shares[0]).toBe(1);
  expect(shares).toEqual(shares.toSorted((a, b) => a - b));
  expect((await running.stop()).failed).toEqual([]);
}, 60_000);

import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { DeploymentKind, HorizontalPodAutoscalerKind, IngressKind, ServiceKind } from "../../../kernel/kinds/index.js";
import { answer, applyService, deploymentOf, namespace, type Setup, settle, startServing, until } from "./fixture.js";
import { inferenceGraphFaults } from "./graph-admission.js";
import { type InferenceGraph, InferenceGraphKind } from "./graph-kind.js";
import { InferenceServiceKind } from "./inference-service-kind.js";

const applyGraph = (cluster: Setup, spec: JsonObject, annotations: Record<string, string> = {}) =>
  cluster.client
    .resource(InferenceGraphKind)
    .apply(
      { metadata: { name: "chain", namespace, annotations }, spec },
      { fieldManager: "user", force: true, namespace },
    );

function graphThat(cluster: Setup, wanted: (graph: InferenceGraph) => boolean): Promise<InferenceGraph> {
  const informer = cluster.informers.informer(InferenceGraphKind);
  return new Promise((resolve) => {
    const check = (): void => {
      const graph = informer.get({ namespace, name: "chain" });
      if (graph === undefined || !wanted(graph)) return;
      remove();
      resolve(graph);
    };
    const remove = informer.onChange(check);
    setImmediate(check);
  });
}

const says = (graph: InferenceGraph, type: string): string => {
  const found = graph.status?.conditions?.find((condition) => condition.type === type);
  return `${found?.status ?? "absent"} ${found?.reason ?? ""} ${found?.observedGeneration ?? 0}`;
};

const sequence = (...steps: JsonObject[]): JsonObject => ({ nodes: { root: { routerType: "Sequence", steps } } });
const onnx = { predictor: { model: { modelFormat: { name: "onnx" }, storageUri: "pvc://models/digits" } } };

/** What the routers of a graph are given. */
async function given(cluster: Setup, wanted: (graph: string) => boolean = () => true): Promise<{ nodes: JsonObject }> {
  const argument = (args: readonly string[] | undefined): string => args?.[1] ?? "";
  const deployment = await deploymentOf(cluster, "chain", ({ spec }) =>
    wanted(argument(spec.template.spec?.containers[0]?.args)),
  );
  return JSON.parse(argument(deployment.spec.template.spec?.containers[0]?.args));
}

test("a graph waits for its services, follows them, and is Ready when its router answered and they are", async () => {
  const cluster = await startServing([InferenceGraphKind]);
  await applyGraph(cluster, { ...sequence({ serviceName: "digit" }, { serviceUrl: "http://other/x" }), timeout: 30 });
  const lost = await graphThat(cluster, (graph) => says(graph, "Ready").startsWith("False ServiceNotFound"));
  expect(says(lost, "StepsReady")).toBe("False ServiceNotFound 1");

  await applyService(cluster, "digits", onnx);
  await applyGraph(cluster, { ...sequence({ serviceName: "digits" }, { serviceUrl: "http://other/x" }), timeout: 30 });
  expect((await given(cluster)).nodes).toEqual({
    root: {
      routerType: "Sequence",
      steps: [
        { serviceUrl: `http://digits.${namespace}.svc.cluster.local/v2/models/digits/infer` },
        { serviceUrl: "http://other/x" },
      ],
    },
  });
  const waiting = await graphThat(cluster, (graph) => says(graph, "Ready") === "False ServiceNotReady 2");
  expect(waiting.status?.observedGeneration).toBe(2);

  await settle(cluster, "digits-predictor");
  answer(cluster, "digits-predictor", "digits");
  await until(
    cluster,
    "digits",
    ({ status }) => status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true,
  );
  await settle(cluster, "chain");
  const silent = await graphThat(
    cluster,
    (graph) => says(graph, "StepsReady") === "True Known 2" && says(graph, "Ready").includes("NotAnswering"),
  );
  expect(silent.status?.url).toBe("http://chain.models.cloud.argosy.localhost:8081");
  answer(cluster, "chain");
  const ready = await graphThat(cluster, (graph) => says(graph, "Ready") === "True Answers 2");
  expect(ready.status).toMatchObject({ deploymentMode: "Standard", observedGeneration: 2 });
  const ingress = await cluster.client.resource(IngressKind).find("chain", { namespace });
  expect(ingress?.metadata.annotations).toMatchObject({
    "argosy.dev/timeout-seconds": "31",
    "argosy.dev/health-path": "/readyz",
  });

  await applyService(cluster, "digits", {
    predictor: {
      model: {
        modelFormat: { name: "onnx" },
        protocolVersion: "v1",
        storageUri: "pvc://models/digits",
        args: ["--model_name=d"],
      },
    },
  });
  const moved = await given(cluster, (text) => text.includes(":predict"));
  expect(JSON.stringify(moved)).toContain(`http://digits.${namespace}.svc.cluster.local/v1/models/d:predict`);

  // Its routers answer as before when only a step's service is gone.
  await settle(cluster, "chain");
  await cluster.client.resource(InferenceServiceKind).delete("digits", { namespace });
  const gone = await graphThat(cluster, (graph) => says(graph, "Ready") === "False ServiceNotFound 2");
  expect(says(gone, "StepsReady")).toBe("False ServiceNotFound 2");
  expect(says(gone, "RouterReady")).toBe("True Answers 2");
});

test("fields of the spec reach the routers' pods and what sizes them; stopping removes them", async () => {
  const cluster = await startServing([InferenceGraphKind]);
  const spec = {
    ...sequence({ serviceUrl: "http://other/" }),
    resources: { limits: { memory: "200Mi" } },
    nodeSelector: { a: "b" },
    tolerations: [{ key: "k", operator: "Exists" }],
    affinity: { nodeAffinity: {} },
    serviceAccountName: "router",
    ...{ minReplicas: 2, maxReplicas: 5, scaleMetric: "cpu", scaleTarget: 70 },
    routerTimeouts: { serviceClient: 3 },
  };
  await applyGraph(cluster, spec, { "serving.argosy.dev/propagate-headers": "^x-,Authorization" });
  const deployment = await deploymentOf(cluster, "chain");
  const pod = deployment.spec.template.spec;
  expect(pod).toMatchObject({
    ...{ nodeSelector: { a: "b" }, serviceAccountName: "router", automountServiceAccountToken: false },
    ...{ tolerations: [{ key: "k", operator: "Exists" }], affinity: { nodeAffinity: {} } },
  });
  expect(pod?.containers[0]).toMatchObject({
    image: "argosy.dev/inference-router",
    resources: { limits: { memory: "200Mi" } },
    args: [
      "--graph-json",
      expect.stringContaining('"serviceClient":3'),
      "--name=models/chain",
      "--http=8080",
      "--propagate-headers=^x-,Authorization",
    ],
  });
  await graphThat(cluster, (graph) => says(graph, "AllFieldsHonored") === "True Honored 1");
  const scaler = await cluster.client.resource(HorizontalPodAutoscalerKind).find("chain", { namespace });
  expect(scaler?.spec).toMatchObject({
    ...{ minReplicas: 2, maxReplicas: 5 },
    metrics: [{ type: "Resource", resource: { name: "cpu", target: { averageUtilization: 70 } } }],
  });
  const { scaleMetric: _, ...rest } = spec;
  await applyGraph(cluster, { ...rest, scaleMetric: "rps" });
  const asked = await graphThat(cluster, (graph) => says(graph, "AllFieldsHonored") === "False FieldsIgnored 2");
  expect(asked.status?.conditions?.find(({ type }) => type === "AllFieldsHonored")?.message).toContain(
    "spec.scaleMetric rps",
  );
  await applyGraph(cluster, rest, { "serving.kserve.io/stop": "true" });
  const stopped = await graphThat(cluster, (graph) => says(graph, "Stopped").startsWith("True"));
  expect(stopped.status?.url).toBeUndefined();
  for (const kind of [DeploymentKind, ServiceKind] as const)
    expect(await cluster.client.resource(kind as typeof ServiceKind).find("chain", { namespace })).toBeUndefined();
});

const split = (...weights: (number | undefined)[]): JsonObject => ({
  nodes: {
    root: {
      routerType: "Splitter",
      steps: weights.map((weight) => ({ serviceUrl: "http://a/", ...(weight === undefined ? {} : { weight }) })),
    },
  },
});
const target = { serviceUrl: "http://a/" };

test.each<[string, JsonObject, string, RegExp]>([
  ["no root", { nodes: { rot: sequence(target) } }, "spec.nodes", /needs a node named root.* rot/],
  ["no steps", sequence(), "spec.nodes[root].steps", /at least one step/],
  ["weights below", split(30, 60), "spec.nodes[root].steps", /add up to 90/],
  ["weights above", split(60, 60), "spec.nodes[root].steps", /add up to 120/],
  ["no weight", split(100, undefined), "spec.nodes[root].steps[1].weight", /needed in a Splitter/],
  ["negative weights", split(110, -10), "spec.nodes[root].steps[0].weight", /0 to 100/],
  [
    "two targets",
    sequence({ ...target, nodeName: "root" }),
    "spec.nodes[root].steps[0]",
    /exactly one of .* has nodeName and serviceUrl/,
  ],
  ["no target", sequence({ name: "a" }), "spec.nodes[root].steps[0]", /it has none/],
  [
    "a node that is not there",
    {
      nodes: {
        root: { routerType: "Sequence", steps: [{ nodeName: "ensembel" }] },
        ensemble: { routerType: "Ensemble", steps: [target] },
      },
    },
    "spec.nodes[root].steps[0].nodeName",
    /no node ensembel; did you mean ensemble/,
  ],
  [
    "a circle",
    {
      nodes: {
        root: { routerType: "Sequence", steps: [{ nodeName: "a" }] },
        a: { routerType: "Ensemble", steps: [target, { nodeName: "b" }] },
        b: { routerType: "Sequence", steps: [{ nodeName: "a" }] },
      },
    },
    "spec.nodes[a]",
    /leads back to itself: a → b → a/,
  ],
  [
    "a graph that is too long",
    {
      nodes: Object.fromEntries(
        Array.from({ length: 30_000 }, (_, index) => [
          index === 0 ? "root" : `n${index}`,
          { routerType: "Sequence", steps: [{ nodeName: `n${index + 1}` }] },
        ]),
      ),
    },
    "spec",
    /bytes long/,
  ],
  [
    "a graph that multiplies",
    {
      nodes: Object.fromEntries(
        Array.from({ length: 40 }, (_, index) => [
          index === 0 ? "root" : `n${index}`,
          {
            routerType: "Ensemble",
            steps: index === 39 ? [target] : [1, 2].map(() => ({ nodeName: `n${index + 1}` })),
          },
        ]),
      ),
    },
    "spec.nodes",
    /could ask 549755813888 steps/,
  ],
  [
    "one name twice",
    sequence({ ...target, name: "a" }, { ...target, name: "a" }),
    "spec.nodes[root].steps[1].name",
    /steps\[0\] goes by/,
  ],
  [
    "a name that is a place",
    sequence(target, { ...target, name: "0" }),
    "spec.nodes[root].steps[1].name",
    /steps\[0\] goes by/,
  ],
  [
    "a condition that is none",
    sequence(target, { ...target, condition: "a.#(b==1" }),
    "spec.nodes[root].steps[1].condition",
    /query is not closed/,
  ],
  [
    "a condition too early",
    sequence({ ...target, condition: "a" }),
    "spec.nodes[root].steps[0].condition",
    /first step has none/,
  ],
  [
    "a switch without",
    { nodes: { root: { routerType: "Switch", steps: [target] } } },
    "spec.nodes[root].steps[0].condition",
    /never taken/,
  ],
  [
    "an operator that is none",
    sequence(target, { ...target, when: { path: "a", operator: "GreatThan", value: 1 } }),
    "spec.nodes[root].steps[1].when",
    /operator: .* did you mean GreaterThan/,
  ],
  [
    "data that is none",
    sequence({ ...target, data: "$reponse" }),
    "spec.nodes[root].steps[0].data",
    /did you mean \$response/,
  ],
  ["no time", sequence({ ...target, timeoutMs: 0 }), "spec.nodes[root].steps[0].timeoutMs", /at least 1/],
  [
    "many tries",
    sequence({ ...target, retry: { attempts: 11 } }),
    "spec.nodes[root].steps[0].retry.attempts",
    /1 to 10/,
  ],
  [
    "too few replicas",
    { ...sequence(target), minReplicas: 3, maxReplicas: 2 },
    "spec.minReplicas",
    /more than maxReplicas/,
  ],
])("%s is refused with its field", (_, spec, field, message) => {
  const faults = inferenceGraphFaults({ spec });
  expect(faults).toContainEqual({ reason: "FieldValueInvalid", field, message: expect.stringMatching(message) });
});

test("admission refuses a wrong graph, and says what has no effect in a right one", async () => {
  const cluster = await startServing([InferenceGraphKind]);
  await expect(applyGraph(cluster, split(1))).rejects.toMatchObject({
    httpCode: 422,
    message: expect.stringContaining("add up to 1;"),
  });
  const answer = await cluster.client.transport.request({
    method: "POST",
    path: `/apis/serving.kserve.io/v1alpha1/namespaces/${namespace}/inferencegraphs`,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      ...{ apiVersion: "serving.kserve.io/v1alpha1", kind: "InferenceGraph", metadata: { name: "g" } },
      spec: {
        nodes: {
          root: {
            routerType: "Ensemble",
            steps: [{ serviceUrl: "http://a.{$your-domain}/", weight: 1, condition: "a" }],
          },
          lost: { routerType: "Sequence", steps: [target] },
        },
      },
    }),
  });
  expect(answer.status).toBe(201);
  for (const word of ["steps[0].serviceUrl", "steps[0].weight", "steps[0].condition", "spec.nodes[lost]"])
    expect(answer.headers["warning"]).toContain(word);
});

test("a graph that is too long with its services' addresses says so, and no router is given it", async () => {
  const cluster = await startServing([InferenceGraphKind]);
  const serviceName = "a".repeat(40);
  await applyService(cluster, serviceName, onnx);
  const steps = Array.from({ length: 900 }, (_, index) => ({ name: `s${index}`, serviceName }));
  await applyGraph(cluster, { nodes: { root: { routerType: "Ensemble", steps } } });
  const graph = await graphThat(cluster, (one) => says(one, "Ready").startsWith("False InvalidSpec"));

  expect(graph.status?.conditions?.find(({ type }) => type === "Ready")?.message).toMatch(
    /addresses spec is \d+ bytes/,
  );
  expect(await cluster.client.resource(DeploymentKind).find("chain", { namespace })).toBeUndefined();
});

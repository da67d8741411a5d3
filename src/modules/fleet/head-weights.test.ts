import { expect, test } from "vitest";
import type { JsonObject } from "../../kernel/kinds/index.js";
import { headIngressAdmission } from "./head-admission.js";
import { weightWarnings } from "./head-maker.js";
import { planHead } from "./head-weights.js";
import { builtinLimits, effectless, honouredOf } from "./heads/conditions.js";
import type { Cluster, HeadIngress, HyperMLService } from "./kinds.js";

const row = (kind: string, name: string, url: string) => ({
  cluster: "cloud",
  resource: { apiVersion: "serving.kserve.io/v1beta1", kind, namespace: "demo", name },
  applied: true,
  appliedMessage: "",
  status: { url, conditions: [{ type: "Ready", status: "True" }] },
});

const head = (service?: string): HeadIngress =>
  ({
    apiVersion: "argosy.dev/v1alpha1",
    kind: "HeadIngress",
    metadata: { name: "pets", namespace: "demo" },
    spec: { hyperMLServiceRef: { name: "pets", ...(service === undefined ? {} : { service }) } },
  }) as unknown as HeadIngress;

const hyper = (...rows: ReturnType<typeof row>[]): HyperMLService =>
  ({
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "HyperMLService",
    metadata: { name: "pets", namespace: "demo" },
    spec: { workloads: [{ clusters: ["cloud"], manifests: [] }] },
    status: { aggregatedStatus: rows },
  }) as unknown as HyperMLService;

const models = [
  row("InferenceService", "species", "http://species.demo.cloud.test"),
  row("InferenceService", "breeds", "http://breeds.demo.cloud.test"),
];

test("a graph goes before the services that it names; of several services one must be named", () => {
  const both = planHead(head(), hyper(...models), new Map());
  expect(both.faults).toEqual(["cluster cloud has 2 services; name one in spec.hyperMLServiceRef.service"]);

  const graph = row("InferenceGraph", "pets", "http://pets.demo.cloud.test");
  const led = planHead(head(), hyper(...models, graph), new Map());
  expect(led.faults).toEqual([]);
  expect(led.backends).toMatchObject([{ cluster: "cloud", url: "http://pets.demo.cloud.test", reason: "" }]);

  const named = planHead(head("breeds"), hyper(...models, graph), new Map());
  expect(named.backends).toMatchObject([{ cluster: "cloud", url: "http://breeds.demo.cloud.test" }]);
});

const byHand = (spec: Partial<HeadIngress["spec"]>): HeadIngress =>
  ({
    apiVersion: "argosy.dev/v1alpha1",
    kind: "HeadIngress",
    metadata: { name: "mine", namespace: "demo" },
    spec: { backends: [{ name: "a", url: "http://10.0.0.7:8080", weight: 3 }], ...spec },
  }) as unknown as HeadIngress;

test("a backend whose URL leads nowhere is there, with the weight that was asked for and why it has none", () => {
  const { backends, faults } = planHead(
    byHand({ backends: [{ name: "a", url: "http://10.0.0.7:8080/base/", weight: 3 }] }),
    undefined,
    new Map(),
  );
  expect(faults).toEqual([]);
  expect(backends).toMatchObject([{ name: "a", weightAsked: 3, weightGiven: 0, reason: "BadAddress" }]);
  const place = { name: "b", url: "http://b.example.org", address: "nowhere" };
  const [lost] = planHead(byHand({ backends: [place] }), undefined, new Map()).backends;
  expect(lost).toMatchObject({ reason: "BadAddress", message: '"nowhere" is not HOST:PORT' });
  expect(lost?.address).toBeUndefined();
});

test("fields without an effect are named, as they are written and in the status", async () => {
  const fields: [Partial<HeadIngress["spec"]>, string][] = [
    [{ weights: { a: 5 } }, "spec.weights"],
    [{ weighting: { by: "ReadyReplicas" } }, "spec.weighting.by"],
    [{ weighting: { by: "FreeCapacity", resource: "nvidia.com/gpu" } }, "spec.weighting.by"],
    [{ weighting: { minPercent: 5 } }, "spec.weighting.minPercent"],
    [{ backendTLS: { insecureSkipVerify: true } }, "spec.backendTLS"],
    [{ retry: { attempts: 0, statuses: [503] } }, "spec.retry"],
    [{ affinity: { header: "x", cookie: { name: "y" } } }, "spec.affinity.cookie"],
    [{ priorities: { cloud: 1 } }, "spec.priorities.cloud"],
    [{ backends: [{ name: "a", url: "http://10.0.0.7:8080/base/" }] }, "spec.backends: a: "],
  ];
  for (const [spec, field] of fields) {
    const head = byHand(spec);
    const review = await headIngressAdmission().review?.(head as unknown as JsonObject, undefined, undefined as never);
    expect(review?.warnings.join(), field).toContain(field);
    const plan = planHead(head, undefined, new Map());
    const said = honouredOf([...effectless(head, plan), ...builtinLimits(head)], plan.faults);
    if (!field.startsWith("spec.backends")) expect(said).toMatchObject({ status: "False" });
  }
  const good = byHand({ weighting: { by: "Latency" } });
  expect(effectless(good, planHead(good, undefined, new Map()))).toEqual([]);
});

test("a slip in the annotation for weights is a warning when it is made, and only then", () => {
  const hyperWith = (weights: string): JsonObject => ({
    metadata: { annotations: { "argosy.dev/ingress-weights": weights } },
  });
  expect(weightWarnings(hyperWith("cloud=9,edge=one"), hyperWith("cloud=9"))).toEqual([
    expect.stringContaining('"edge=one" is not CLUSTER=WEIGHT'),
  ]);
  expect(weightWarnings(hyperWith("edge=one"), hyperWith("edge=one"))).toEqual([]);
  expect(weightWarnings(hyperWith("edge=1"), undefined)).toEqual([]);
});

test("a slip in a cluster's annotations is that cluster's alone, and told", () => {
  const annotations = { "argosy.dev/ingress-address": "nonsense", "argosy.dev/ingress-weight": "much" };
  const cloud = { metadata: { name: "cloud", annotations } } as unknown as Cluster;
  const [model] = models;
  const plan = planHead(head(), hyper(...(model === undefined ? [] : [model])), new Map([["cloud", cloud]]));
  expect(plan.backends).toMatchObject([{ weightAsked: 1, weightGiven: 0, reason: "BadAddress" }]);
  expect(plan.backends[0]?.address).toBeUndefined();
  expect(plan.faults).toEqual([expect.stringContaining('"much" is no whole number')]);
});

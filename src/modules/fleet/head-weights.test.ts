import { expect, test } from "vitest";
import { planHead } from "./head-weights.js";
import type { HeadIngress, HyperMLService } from "./kinds.js";

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

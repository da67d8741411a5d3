import { expect, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { ConfigMapKind } from "../../../kernel/kinds/index.js";
import { applyService, deploymentOf, namespace, type Setup, startServing } from "./fixture.js";
import { type InferenceGraph, InferenceGraphKind } from "./graph-kind.js";

const CA = "serving.argosy.dev/ca-bundle";
const OPTIONS = { fieldManager: "user", force: true, namespace };

async function applyGraph(cluster: Setup, name: string, step: JsonObject, annotations: Record<string, string> = {}) {
  const spec = { nodes: { root: { routerType: "Sequence", steps: [step] } } };
  await cluster.client
    .resource(InferenceGraphKind)
    .apply({ metadata: { name, namespace, annotations }, spec }, OPTIONS);
}

const applyBundle = (cluster: Setup, name: string, data: Record<string, string>) =>
  cluster.client.resource(ConfigMapKind).apply({ metadata: { name, namespace }, data }, OPTIONS);

/** What a graph says of itself, once that is about the matter. */
function said(cluster: Setup, name: string, type: string, pattern: RegExp): Promise<string> {
  const informer = cluster.informers.informer(InferenceGraphKind);
  const words = (graph: InferenceGraph | undefined): string => {
    const found = graph?.status?.conditions?.find((condition) => condition.type === type);
    return `${found?.status} ${found?.reason}: ${found?.message}`;
  };
  return new Promise((resolve) => {
    const check = (): void => {
      const now = words(informer.get({ namespace, name }));
      if (!pattern.test(now)) return;
      remove();
      resolve(now);
    };
    const remove = informer.onChange(check);
    setImmediate(check);
  });
}

test("routers that ask over https trust what the graph's annotation names, or KServe's bundle of the namespace", async () => {
  const cluster = await startServing([InferenceGraphKind]);
  const pem = (await createAuthority({ name: "theirs", clock: systemClock })).caPem;
  const other = (await createAuthority({ name: "other", clock: systemClock })).caPem;
  const https = { serviceUrl: "https://models.example/predict" };

  await applyGraph(cluster, "none", https);
  const none = await deploymentOf(cluster, "none");
  expect(none.spec.template.spec?.volumes).toBeUndefined();

  await applyGraph(cluster, "named", https, { [CA]: "own" });
  expect(await said(cluster, "named", "Ready", /InvalidCABundle/)).toContain("ConfigMap own");
  await applyBundle(cluster, "own", { "ca.crt": pem, "wrong.crt": "x" });
  await applyGraph(cluster, "named", https, { [CA]: "own/" });
  expect(await said(cluster, "named", "Ready", /no key/)).toContain("it has ca.crt, wrong.crt");
  await applyGraph(cluster, "named", https, { [CA]: "own/wrong.crt" });
  expect(await said(cluster, "named", "Ready", /no certificate/)).toContain("(wrong.crt) holds no certificate in PEM");
  await applyGraph(cluster, "named", https, { [CA]: "own/ca.crt" });
  const named = await deploymentOf(cluster, "named");
  const template = named.spec.template;
  expect(template.spec).toMatchObject({
    volumes: [{ configMap: { name: "own", items: [{ key: "ca.crt", path: "cabundle.crt" }] } }],
    containers: [
      {
        args: expect.arrayContaining(["--ca-bundle=/var/run/argosy/ca-bundle/cabundle.crt"]),
        volumeMounts: [{ mountPath: "/var/run/argosy/ca-bundle", readOnly: true }],
      },
    ],
  });
  // Other content makes other pods.
  await applyBundle(cluster, "own", { "ca.crt": other });
  await applyGraph(cluster, "named", { ...https, name: "again" }, { [CA]: "own/ca.crt" });
  const hashOf = ({ spec }: typeof named): string | undefined =>
    spec.template.metadata?.annotations?.["serving.argosy.dev/ca-bundle-hash"];
  const again = await deploymentOf(cluster, "named", (deployment) => hashOf(deployment) !== hashOf(named));
  expect(hashOf(again)).toMatch(/^[0-9a-f]{16}$/);

  await applyBundle(cluster, "global-ca-bundle", { "cabundle.crt": pem });
  await applyGraph(cluster, "global", https);
  const global = await deploymentOf(cluster, "global");
  expect(global.spec.template.spec?.volumes).toMatchObject([{ configMap: { name: "global-ca-bundle" } }]);

  await applyGraph(cluster, "plain", { serviceUrl: "http://models.example/" }, { [CA]: "own/ca.crt" });
  expect(await said(cluster, "plain", "AllFieldsHonored", /^False/)).toContain("no step is asked over https");
});

test("a service that is asked by gRPC is asked by REST where its server is ours, and refused where it is not", async () => {
  const cluster = await startServing([InferenceGraphKind]);
  const model = { modelFormat: { name: "onnx" }, protocolVersion: "grpc-v2", storageUri: "pvc://models/digits" };
  await applyService(cluster, "ours", { predictor: { model } });
  await deploymentOf(cluster, "ours-predictor");
  await applyGraph(cluster, "first", { serviceName: "ours" });
  const first = await deploymentOf(cluster, "first");
  expect(first.spec.template.spec?.containers[0]?.args?.[1]).toContain("/v2/models/ours/infer");

  const env = [{ name: "PROTOCOL", value: "grpc-v2" }];
  const containers = [{ name: "kserve-container", image: "example.com/own", env, ports: [{ containerPort: 8081 }] }];
  await applyService(cluster, "theirs", { predictor: { containers } });
  await deploymentOf(cluster, "theirs-predictor");
  await applyGraph(cluster, "second", { serviceName: "theirs" });
  expect(await said(cluster, "second", "Ready", /UnsupportedProtocol/)).toContain(
    "InferenceService theirs speaks grpc-v2; steps are asked over HTTP, by v1 or v2, unless its server is Argosy's own",
  );
});

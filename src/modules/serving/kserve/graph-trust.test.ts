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

test("a service of gRPC is asked by REST where its server is ours, else by gRPC; what graphs cannot ask is refused", async () => {
  const cluster = await startServing([InferenceGraphKind]);
  const model = { modelFormat: { name: "onnx" }, protocolVersion: "grpc-v2", storageUri: "pvc://models/digits" };
  await applyService(cluster, "ours", { predictor: { model } });
  await deploymentOf(cluster, "ours-predictor");
  const askedBy = async (graph: string, service: string): Promise<string> => {
    await applyGraph(cluster, graph, { serviceName: service });
    return String((await deploymentOf(cluster, graph)).spec.template.spec?.containers[0]?.args?.[1]);
  };
  expect(await askedBy("first", "ours")).toContain('"http://ours.models.svc.cluster.local/v2/models/ours/infer"');

  const own = async (name: string, container: JsonObject): Promise<void> => {
    const containers = [{ name: "kserve-container", image: "example.com/own", ...container }];
    await applyService(cluster, name, { predictor: { containers } });
    await deploymentOf(cluster, `${name}-predictor`);
  };
  await own("theirs", { ports: [{ name: "h2c", containerPort: 8081 }], args: ["--model_name=digits"] });
  const grpc = "grpc://theirs.models.svc.cluster.local:80/v2/models/digits/infer";
  expect(await askedBy("second", "theirs")).toContain(`"${grpc}"`);
  await own("said", { env: [{ name: "PROTOCOL", value: "grpc-v2" }] });
  expect(await askedBy("third", "said")).toContain('"grpc://said.models.svc.cluster.local:80/v2/models/said/infer"');

  await own("older", { env: [{ name: "PROTOCOL", value: "grpc-v1" }] });
  await applyGraph(cluster, "fourth", { serviceName: "older" });
  expect(await said(cluster, "fourth", "Ready", /UnsupportedProtocol/)).toContain(
    "InferenceService older speaks grpc-v1; steps are asked by v1, v2 or grpc-v2",
  );
});

import { expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { createAuthority } from "../../kernel/identity/index.js";
import {
  ConfigMapKind,
  DeploymentKind,
  JobKind,
  type JsonObject,
  NamespaceKind,
  NodeKind,
  SecretKind,
} from "../../kernel/kinds/index.js";
import type { MLService } from "./index.js";
import { applyService as applyInferenceService, deploymentOf, startServing } from "./kserve/fixture.js";
import { LocalModelCacheKind, LocalModelNodeGroupKind, LocalModelNodeKind } from "./kserve/storage-kinds.js";
import { apply, applyService, namespace, predictor, prepare, start, until } from "./mlservice.fixture.js";
import { SimpleMLServiceKind } from "./simple-kind.js";
import type { Stage } from "./stage.fixture.js";

const CA = "serving.argosy.dev/ca-bundle";
const S3_BUNDLE = "serving.kserve.io/s3-cabundle";
const ALL = "/etc/ssl/custom-certs/cabundle.crt";
const ONLY_S3 = "/etc/ssl/s3-certs/cabundle.crt";

const pem = (await createAuthority({ name: "theirs", clock: systemClock })).caPem;

const addBundle = (cluster: Stage, name: string, where: string, key = "cabundle.crt", text = pem) =>
  cluster.client
    .resource(ConfigMapKind)
    .apply({ metadata: { name, namespace: where }, data: { [key]: text } }, { ...apply, namespace: where });

const addSecret = (cluster: Stage, where: string, metadata: JsonObject, data: Record<string, string>) => {
  const encoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")] as const);
  return cluster.client
    .resource(SecretKind)
    .apply(
      { metadata: { name: "s3", namespace: where, ...metadata }, data: Object.fromEntries(encoded) },
      { ...apply, namespace: where },
    );
};

interface Pods {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly { readonly name: string; readonly configMap?: unknown }[];
}
interface Container {
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly args?: readonly string[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

/** Which variable of a container names which key of which ConfigMap. */
function trustIn(pods: Pods | undefined, container: Container | undefined): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name, value = "" } of container?.env ?? []) {
    const mount = container?.volumeMounts?.find(({ mountPath }) => value.startsWith(`${mountPath}/`));
    const volume = pods?.volumes?.find((each) => each.name === mount?.name);
    const map: { name?: string; items?: { key: string }[] } = JSON.parse(JSON.stringify(volume?.configMap ?? {}));
    if (map.name !== undefined) found[name] = `${map.name}/${map.items?.[0]?.key ?? ""} at ${value}`;
  }
  return found;
}

const failedWith = (service: MLService): string | undefined =>
  service.status?.conditions?.find(({ type }) => type === "Ready")?.reason;

async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

test("releases and transformers of an MLService trust the namespace's bundle, and new pods come with the one that is named", async () => {
  const cluster = await start();
  await prepare(cluster);
  const transformer = {
    minReplicas: 1,
    template: { spec: { containers: [{ name: "user-container", image: "x" }] } },
    storage: predictor().storage,
  };
  const spec = { default: "v1", releases: [{ name: "v1", predictor: predictor() }], transformer };
  await applyService(cluster, spec);
  const podsOf = (name: string, isWanted: (pods: Pods) => boolean): Promise<Pods> =>
    eventually(async () => {
      const found = await cluster.client.resource(DeploymentKind).find(name, { namespace });
      const pods: Pods | undefined = found?.spec.template.spec;
      return pods !== undefined && isWanted(pods) ? pods : undefined;
    });
  const before = await podsOf("digits-predict-v1", () => true);
  expect(trustIn(before, before.containers[0])).toEqual({});

  await addBundle(cluster, "global-ca-bundle", namespace);
  const [server] = (await podsOf("digits-predict-v1", (pods) => pods.volumes?.length !== before.volumes?.length))
    .containers;
  expect(server?.args).toContain("--model-uri");
  const global = { ARGOSY_CA_BUNDLE: `global-ca-bundle/cabundle.crt at ${ALL}` };
  const released = await podsOf("digits-predict-v1", () => true);
  expect(trustIn(released, released.containers[0])).toEqual(global);
  const transforming = await podsOf("digits-transform", (pods) => pods.volumes?.length === 4);
  expect(trustIn(transforming, transforming.initContainers?.[0])).toEqual(global);
  expect(trustIn(transforming, transforming.containers[0])).toEqual({});

  const labels = { "tensorstack.dev/resource": "s3" };
  const annotations = { [`${S3_BUNDLE}-configmap`]: "stores", [S3_BUNDLE]: "/any/folder/minio.pem" };
  await addSecret(cluster, namespace, { labels, annotations }, { ".s3cfg": "[default]" });
  await until(cluster, (service) => failedWith(service) === "InvalidCABundle");
  await addBundle(cluster, "stores", namespace, "minio.pem");
  const named = await podsOf("digits-predict-v1", (pods) => pods.volumes?.length === 5);
  expect(trustIn(named, named.containers[0])).toEqual({ ...global, AWS_CA_BUNDLE: `stores/minio.pem at ${ONLY_S3}` });
});

test("a SimpleMLService trusts what its annotation names", async () => {
  const cluster = await startServing([SimpleMLServiceKind]);
  await addSecret(cluster, "models", { labels: { "tensorstack.dev/resource": "s3" } }, { ".s3cfg": "[default]" });
  await addBundle(cluster, "mine", "models", "a.pem");
  const storage = { s3: { secretRef: { name: "s3" }, uri: "s3://models/digits/" } };
  await cluster.client.resource(SimpleMLServiceKind).apply(
    {
      metadata: { name: "digits", namespace: "models", annotations: { [CA]: "mine/a.pem" } },
      spec: { tensorflow: { image: "tensorflow/serving" }, storage },
    },
    { ...apply, namespace: "models" },
  );
  const pods: Pods | undefined = (await deploymentOf(cluster, "digits")).spec.template.spec;
  expect(trustIn(pods, pods?.initContainers?.[0])).toEqual({ ARGOSY_CA_BUNDLE: `mine/a.pem at ${ALL}` });
});

test("who brings local models to nodes trusts the bundle of the jobs' namespace, or says that there is none", async () => {
  const cluster = await startServing();
  const jobs = "kserve-localmodel-jobs";
  await cluster.client
    .resource(NodeKind)
    .create({ apiVersion: "v1", kind: "Node", metadata: { name: "n1" }, spec: {} });
  const conditions = [{ type: "Ready", status: "True" }];
  await cluster.client.resource(NodeKind).patch("n1", "merge", { status: { conditions } }, { subresource: "status" });
  await cluster.client.resource(NamespaceKind).apply({ metadata: { name: jobs } }, { fieldManager: "user" });
  const capacity = { storage: "2Gi" };
  await cluster.client.resource(LocalModelNodeGroupKind).apply(
    {
      metadata: { name: "all" },
      spec: {
        storageLimit: "2Gi",
        persistentVolumeSpec: { accessModes: ["ReadWriteOnce"], capacity, hostPath: { path: "/var/models" } },
        persistentVolumeClaimSpec: { accessModes: ["ReadWriteOnce"], resources: { requests: capacity } },
      },
    },
    { fieldManager: "user" },
  );
  const cache = (name: string, annotations: Record<string, string>) =>
    cluster.client.resource(LocalModelCacheKind).apply(
      {
        metadata: { name, annotations },
        spec: { sourceModelUri: `https://models.example/${name}`, modelSize: "1Gi", nodeGroups: ["all"] },
      },
      { fieldManager: "user" },
    );
  await cache("named", { [CA]: "mine" });
  const said = await eventually(async () => {
    const node = await cluster.client.resource(LocalModelNodeKind).find("n1");
    const words = node?.status?.conditions?.find(({ type }) => type === "Ready")?.message ?? "";
    return words.includes("InvalidCABundle") ? words : undefined;
  });
  expect(said).toContain("ConfigMap mine with the authorities to trust (cabundle.crt) is not there");

  await addBundle(cluster, "global-ca-bundle", jobs);
  await addBundle(cluster, "mine", jobs);
  await cache("plain", {});
  const fetched = (name: string): Promise<Record<string, string>> =>
    eventually(async () => {
      const { items } = await cluster.client.resource(JobKind).list({ namespace: jobs });
      const pods = items
        .map(({ spec }): Pods | undefined => spec.template.spec)
        .find((each) => each?.containers[0]?.args?.includes(`https://models.example/${name}`));
      return pods === undefined ? undefined : trustIn(pods, pods.containers[0]);
    });
  expect(await fetched("named")).toEqual({ ARGOSY_CA_BUNDLE: `mine/cabundle.crt at ${ALL}` });
  expect(await fetched("plain")).toEqual({ ARGOSY_CA_BUNDLE: `global-ca-bundle/cabundle.crt at ${ALL}` });
});

test("a server of many models trusts the namespace's bundle for every store, and for S3 what the keys' Secret names", async () => {
  const cluster = await startServing();
  await addBundle(cluster, "global-ca-bundle", "models");
  await addBundle(cluster, "stores", "models");
  await addSecret(cluster, "models", { name: "storage-config" }, { s3: '{"type":"s3","cabundle_configmap":"stores"}' });
  await applyInferenceService(cluster, "many", { predictor: { sklearn: {} } });
  const pods: Pods | undefined = (await deploymentOf(cluster, "many-predictor")).spec.template.spec;
  expect(trustIn(pods, pods?.containers[0])).toEqual({
    ARGOSY_CA_BUNDLE: `global-ca-bundle/cabundle.crt at ${ALL}`,
    AWS_CA_BUNDLE: `stores/cabundle.crt at ${ONLY_S3}`,
  });
});

test("KServe's annotations of S3's Secret name the bundle of an InferenceService's store, and of its payload log", async () => {
  const cluster = await startServing();
  await addBundle(cluster, "stores", "models", "minio.pem");
  const annotations = { [`${S3_BUNDLE}-configmap`]: "stores", [S3_BUNDLE]: "/etc/ssl/custom-certs/minio.pem" };
  await addSecret(cluster, "models", { name: "storage-config", annotations }, { s3: '{"type":"s3"}' });
  const spec = {
    predictor: {
      model: { modelFormat: { name: "onnx" }, storageUri: "s3://models/m" },
      logger: { mode: "all", url: "s3://logs" },
    },
  };
  await applyInferenceService(cluster, "itself", spec);
  const pods: Pods | undefined = (await deploymentOf(cluster, "itself-predictor")).spec.template.spec;
  expect(trustIn(pods, pods?.containers[0])).toEqual({
    AWS_CA_BUNDLE: `stores/minio.pem at ${ONLY_S3}`,
    PAYLOAD_LOG_AWS_CA_BUNDLE: "stores/minio.pem at /etc/ssl/payload-log-certs/cabundle.crt",
  });

  await cluster.client.json("POST", "/apis/serving.kserve.io/v1alpha1/clusterstoragecontainers", {
    ...{ apiVersion: "serving.kserve.io/v1alpha1", kind: "ClusterStorageContainer", metadata: { name: "theirs" } },
    spec: { container: { name: "storage-initializer", image: "x" }, supportedUriFormats: [{ prefix: "s3://" }] },
  });
  await applyInferenceService(cluster, "others", { predictor: { model: spec.predictor.model } });
  const theirs: Pods | undefined = (await deploymentOf(cluster, "others-predictor")).spec.template.spec;
  expect(theirs?.initContainers?.[0]?.env).toEqual(
    expect.arrayContaining([
      { name: "CA_BUNDLE_CONFIGMAP_NAME", value: "stores" },
      { name: "CA_BUNDLE_VOLUME_MOUNT_POINT", value: "/etc/ssl/custom-certs" },
      { name: "AWS_CA_BUNDLE", value: ALL },
    ]),
  );
});

test("addresses of payload logs are trusted as stores are: of InferenceServices, releases and transformers", async () => {
  const cluster = await startServing();
  const predict = (url: string) => ({
    predictor: { model: { modelFormat: { name: "onnx" }, storageUri: "https://models/m" }, logger: { url } },
  });
  await addBundle(cluster, "global-ca-bundle", "models");
  await applyInferenceService(cluster, "secure", predict("https://logs.example/"));
  await applyInferenceService(cluster, "plain", predict("http://logs.example/"));
  const ofPods = async (name: string) => {
    const pods: Pods | undefined = (await deploymentOf(cluster, name)).spec.template.spec;
    return trustIn(pods, pods?.containers[0]);
  };
  const own = "global-ca-bundle/cabundle.crt at /etc/ssl/payload-log-trust/cabundle.crt";
  const ofStore = { ARGOSY_CA_BUNDLE: `global-ca-bundle/cabundle.crt at ${ALL}` };
  expect(await ofPods("secure-predictor")).toEqual({ ...ofStore, PAYLOAD_LOG_ARGOSY_CA_BUNDLE: own });
  expect(await ofPods("plain-predictor")).toEqual(ofStore);

  const fleet = await start();
  await prepare(fleet);
  await addBundle(fleet, "global-ca-bundle", namespace);
  const logger = { mode: "all", urls: ["https://logs.example/"] };
  const transformer = {
    ...{ minReplicas: 1, logger },
    template: { spec: { containers: [{ name: "user-container", image: "x" }] } },
  };
  await applyService(fleet, {
    ...{ default: "v1", transformer },
    releases: [{ name: "v1", predictor: predictor({ logger }) }],
  });
  for (const name of ["digits-predict-v1", "digits-transform"]) {
    const pods: Pods = await eventually(
      async () => (await fleet.client.resource(DeploymentKind).find(name, { namespace }))?.spec.template.spec,
    );
    const variables = pods.containers.flatMap((container) => Object.entries(trustIn(pods, container)));
    expect(variables).toContainEqual(["PAYLOAD_LOG_ARGOSY_CA_BUNDLE", own]);
  }
});

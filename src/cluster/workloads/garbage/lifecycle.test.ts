import { afterAll, beforeAll, expect, test, vi } from "vitest";
import {
  type ControllerSpec,
  createManager,
  type Manager,
  type ReconcileContext,
} from "../../../kernel/control/index.js";
import {
  ClusterRoleKind,
  ConfigMapKind,
  EndpointSliceKind,
  EventKind,
  type Namespace,
  NamespaceKind,
  type Pod,
  PodKind,
  ServiceAccountKind,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { namespaceController } from "../namespace/index.js";
import { endpointSliceController } from "../service/index.js";
import {
  clusterRoleAggregation,
  eventCleaner,
  rootCaPublisher,
  serviceAccountController,
} from "../serviceaccount/index.js";
import { garbageCollector } from "./index.js";

let cluster: TestCluster;
let manager: Manager;

beforeAll(async () => {
  cluster = await startTestCluster();
  const { clock, random } = cluster;
  manager = createManager({ cluster, clock, random, log: silentLogger });
  const specs: readonly ControllerSpec[] = [
    garbageCollector(),
    namespaceController(),
    serviceAccountController(),
    rootCaPublisher({ caPem: cluster.server.caPem }),
    endpointSliceController(),
    clusterRoleAggregation(),
    eventCleaner(),
  ];
  for (const spec of specs) manager.add(spec);
  manager.start();
});
afterAll(async () => {
  await manager.close();
  await cluster.close();
});

const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 10_000, interval: 20 });
const maps = () => cluster.client.resource(ConfigMapKind);

async function newNamespace(): Promise<string> {
  const made = await cluster.client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { generateName: "t-" }, spec: {} });
  return made.metadata.name;
}

async function newMap(namespace: string, name: string, metadata: JsonObject = {}) {
  const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, ...metadata } };
  return (await cluster.client.json("POST", `/api/v1/namespaces/${namespace}/configmaps`, body)) as unknown as {
    metadata: { uid: string };
  };
}

const owner = (name: string, uid: string, rest: JsonObject = {}) => ({
  ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name, uid, ...rest }],
});
const gone = async (namespace: string, name: string) => expect(await maps().find(name, { namespace })).toBeUndefined();
const isThere = async (namespace: string, name: string) => (await maps().find(name, { namespace })) !== undefined;

test("dependents go when their last owner is gone, and only then", async () => {
  const namespace = await newNamespace();
  const [a, b] = [await newMap(namespace, "a"), await newMap(namespace, "b")];
  await newMap(namespace, "of-a", owner("a", a.metadata.uid));
  await newMap(namespace, "of-of-a", owner("of-a", (await maps().get("of-a", { namespace })).metadata.uid));
  await newMap(namespace, "of-both", {
    ownerReferences: [...owner("a", a.metadata.uid).ownerReferences, ...owner("b", b.metadata.uid).ownerReferences],
  });

  await maps().delete("a", { namespace });

  await eventually(() => gone(namespace, "of-a"));
  await eventually(() => gone(namespace, "of-of-a"));
  await eventually(async () => {
    const both = await maps().get("of-both", { namespace });
    expect(both.metadata.ownerReferences?.map(({ name }) => name)).toEqual(["b"]);
  });
});

test("an object that names an owner which is not there is collected; a name with another uid is not the owner", async () => {
  const namespace = await newNamespace();
  await newMap(namespace, "present");

  await newMap(namespace, "stray", owner("absent", "11111111-2222-3333-4444-555555555555"));
  await newMap(namespace, "mistaken", owner("present", "11111111-2222-3333-4444-555555555555"));

  await eventually(() => gone(namespace, "stray"));
  await eventually(() => gone(namespace, "mistaken"));
  expect(await isThere(namespace, "present")).toBe(true);
});

test("orphans stay and forget their owner", async () => {
  const namespace = await newNamespace();
  const a = await newMap(namespace, "a");
  await newMap(namespace, "b", owner("a", a.metadata.uid));

  await maps().delete("a", { namespace, propagationPolicy: "Orphan" });

  await eventually(() => gone(namespace, "a"));
  expect((await maps().get("b", { namespace })).metadata.ownerReferences).toBeUndefined();
});

test("an owner deleted in the foreground waits for its dependents, through their finalizers", async () => {
  const namespace = await newNamespace();
  const a = await newMap(namespace, "a");
  await newMap(namespace, "b", {
    ...owner("a", a.metadata.uid, { blockOwnerDeletion: true }),
    finalizers: ["example.com/hold"],
  });

  await maps().delete("a", { namespace, propagationPolicy: "Foreground" });

  await eventually(async () => expect((await maps().get("b", { namespace })).metadata.deletionTimestamp).toBeDefined());
  expect(await isThere(namespace, "a")).toBe(true);
  await maps().patch("b", "merge", { metadata: { finalizers: null } }, { namespace });
  await eventually(() => gone(namespace, "b"));
  await eventually(() => gone(namespace, "a"));
});

test("kinds that come later are collected too", async () => {
  const namespace = await newNamespace();
  const a = await newMap(namespace, "a");
  const names = { plural: "gadgets", singular: "gadget", kind: "Gadget", listKind: "GadgetList" };
  const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
  await cluster.client.json("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "gadgets.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names,
      versions: [{ name: "v1", served: true, storage: true, schema }],
    },
  });
  const path = `/apis/example.com/v1/namespaces/${namespace}/gadgets`;
  await eventually(async () => {
    await cluster.client.json("POST", path, {
      apiVersion: "example.com/v1",
      kind: "Gadget",
      metadata: { name: "g", ...owner("a", a.metadata.uid) },
    });
  });

  await maps().delete("a", { namespace });

  await eventually(async () => {
    const { items } = (await cluster.client.json("GET", path)) as unknown as { items: unknown[] };
    expect(items).toEqual([]);
  });
});

test("a namespace has its account and the CA certificate, and gets them back", async () => {
  const namespace = await newNamespace();
  const accounts = cluster.client.resource(ServiceAccountKind);
  const ca = () => maps().find("kube-root-ca.crt", { namespace });

  await eventually(async () => expect(await accounts.find("default", { namespace })).toBeDefined());
  await eventually(async () => expect((await ca())?.data?.["ca.crt"]).toBe(cluster.server.caPem));
  await accounts.delete("default", { namespace });
  await maps().patch("kube-root-ca.crt", "merge", { data: { "ca.crt": "other" } }, { namespace });

  await eventually(async () => expect(await accounts.find("default", { namespace })).toBeDefined());
  await eventually(async () => expect((await ca())?.data?.["ca.crt"]).toBe(cluster.server.caPem));
});

test("a namespace goes with its content and says what holds it", async () => {
  const namespace = await newNamespace();
  const namespaces = cluster.client.resource(NamespaceKind);
  await newMap(namespace, "plain");
  await newMap(namespace, "held", { finalizers: ["example.com/f"] });

  await namespaces.delete(namespace);

  await eventually(() => gone(namespace, "plain"));
  await eventually(async () => {
    const { status } = await namespaces.get(namespace);
    const texts = Object.fromEntries((status?.conditions ?? []).map(({ type, message }) => [type, message]));
    expect(status?.phase).toBe("Terminating");
    expect(texts).toMatchObject({
      NamespaceContentRemaining: "Some resources are remaining: configmaps. has 1 resource instances",
      NamespaceFinalizersRemaining:
        "Some content in the namespace has finalizers remaining: example.com/f in 1 resource instances",
    });
  });
  await expect(newMap(namespace, "late")).rejects.toThrow("because it is being terminated");
  await maps().patch("held", "merge", { metadata: { finalizers: null } }, { namespace });
  await eventually(async () => expect(await namespaces.find(namespace)).toBeUndefined());
});

const podOf = (namespace: string, name: string, labels: Record<string, string>, port = 8080) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace, labels },
  spec: { nodeName: "n1", containers: [{ name: "c", image: "i", ports: [{ name: "web", containerPort: port }] }] },
});

async function run(
  namespace: string,
  name: string,
  ip: string,
  labels: Record<string, string>,
  port = 8080,
): Promise<Pod> {
  const pods = cluster.client.resource(PodKind);
  const pod = await pods.create(podOf(namespace, name, labels, port), { namespace });
  const conditions = [{ type: "Ready", status: "True" }];
  return pods.updateStatus({ ...pod, status: { phase: "Running", podIP: ip, podIPs: [{ ip }], conditions } });
}

const slicesOf = async (namespace: string) =>
  (await cluster.client.resource(EndpointSliceKind).list({ namespace })).items;

test("in a namespace that goes, the rest waits for the pods", async () => {
  const namespace = await newNamespace();
  await newMap(namespace, "theirs");
  const pod = await run(namespace, "slow", "10.0.0.9", {});
  const pods = cluster.client.resource(PodKind);

  await cluster.client.resource(NamespaceKind).delete(namespace);

  await eventually(async () =>
    expect((await pods.get("slow", { namespace })).metadata.deletionTimestamp).toBeDefined(),
  );
  await eventually(async () => {
    const { status } = await cluster.client.resource(NamespaceKind).get(namespace);
    expect(status?.conditions?.find(({ type }) => type === "NamespaceContentRemaining")?.status).toBe("False");
  });
  expect(await maps().find("theirs", { namespace })).toBeDefined();
  await pods.delete("slow", { namespace, gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } });
  await eventually(async () => expect(await cluster.client.resource(NamespaceKind).find(namespace)).toBeUndefined());
});

test("a Service's slices follow its pods: readiness, ports by name, ends", async () => {
  const namespace = await newNamespace();
  await cluster.client.resource(ServiceKind).create(
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace },
      spec: { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: "web" }] },
    },
    { namespace },
  );
  await eventually(async () => expect((await slicesOf(namespace)).map((slice) => slice.endpoints ?? [])).toEqual([[]]));

  const pod = await run(namespace, "a", "198.18.0.5", { app: "web" });
  await run(namespace, "other", "198.18.0.6", { app: "other" });

  await eventually(async () => {
    const [slice] = await slicesOf(namespace);
    expect(slice?.metadata.labels).toMatchObject({ "kubernetes.io/service-name": "web" });
    expect(slice?.ports).toEqual([{ name: "http", port: 8080, protocol: "TCP" }]);
    expect(slice?.endpoints).toEqual([
      {
        addresses: ["198.18.0.5"],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: "n1",
        targetRef: { kind: "Pod", namespace, name: "a", uid: pod.metadata.uid },
      },
    ]);
  });
  await cluster.client
    .resource(PodKind)
    .patch(
      "a",
      "merge",
      { status: { conditions: [{ type: "Ready", status: "False" }] } },
      { namespace, subresource: "status" },
    );
  await eventually(async () => expect((await slicesOf(namespace))[0]?.endpoints?.[0]?.conditions?.ready).toBe(false));
  await cluster.client.resource(PodKind).patch("a", "merge", { metadata: { labels: { app: "none" } } }, { namespace });
  await eventually(async () => expect((await slicesOf(namespace))[0]?.endpoints ?? []).toEqual([]));
  await cluster.client.resource(ServiceKind).delete("web", { namespace });
  await eventually(async () => expect(await slicesOf(namespace)).toEqual([]));
});

test("slices hold at most 100 endpoints, pods with other ports lie apart, and Services without selector are left alone", async () => {
  const namespace = await newNamespace();
  const service = { apiVersion: "v1", kind: "Service", metadata: { name: "many", namespace } };
  const ports = [{ port: 80, targetPort: "web" }];
  await cluster.client
    .resource(ServiceKind)
    .create({ ...service, spec: { selector: { app: "x" }, ports } }, { namespace });
  await cluster.client
    .resource(ServiceKind)
    .create({ ...service, metadata: { name: "own", namespace }, spec: { ports: [{ port: 1 }] } }, { namespace });
  await cluster.client.json("POST", `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "mine", labels: { "kubernetes.io/service-name": "own" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["192.0.2.1"] }],
  });

  for (let i = 0; i < 103; i++) await run(namespace, `p${i}`, `198.18.1.${i}`, { app: "x" }, i === 0 ? 9090 : 8080);

  await eventually(async () => {
    const slices = (await slicesOf(namespace)).filter(({ metadata }) => metadata.name !== "mine");
    expect(slices.map((slice) => slice.endpoints?.length ?? 0).toSorted((a, b) => a - b)).toEqual([1, 2, 100]);
    expect(slices.find((slice) => slice.endpoints?.length === 1)?.ports?.[0]?.port).toBe(9090);
  });
  expect((await slicesOf(namespace)).some(({ metadata }) => metadata.name === "mine")).toBe(true);
});

test("aggregated roles gather the rules of the roles they select", async () => {
  const roles = cluster.client.resource(ClusterRoleKind);
  const metadata = { name: "gathering" };
  const rule = { apiGroups: [""], resources: ["pods"], verbs: ["get"] };
  await roles.create({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata,
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { into: "it" } }] },
    rules: [],
  });
  await roles.create({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "part", labels: { into: "it" } },
    rules: [rule],
  });

  await eventually(async () => expect((await roles.get("gathering")).rules).toEqual([rule]));
});

test("events go an hour after they last happened", async () => {
  const events = cluster.client.resource(EventKind);
  const involvedObject = { kind: "Pod", namespace: "default", name: "p" };
  await events.create(
    { apiVersion: "v1", kind: "Event", metadata: { name: "e", namespace: "default" }, involvedObject },
    { namespace: "default" },
  );
  const cleanAfter = async (minutes: number) => {
    const clock = { ...cluster.clock, now: () => Date.now() + minutes * 60_000 };
    const reconciled = eventCleaner().reconcile({ namespace: "", name: "default" }, await namespaceNamed("default"), {
      cluster,
      clock,
      signal: new AbortController().signal,
    } as unknown as ReconcileContext<Namespace>);
    await reconciled;
    return events.find("e", { namespace: "default" });
  };

  expect(await cleanAfter(59)).toBeDefined();
  expect(await cleanAfter(61)).toBeUndefined();
});

const namespaceNamed = (name: string) => cluster.client.resource(NamespaceKind).get(name);

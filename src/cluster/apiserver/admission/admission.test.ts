import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { seededRandom, virtualClock } from "../../../kernel/clock/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { stringAt } from "../fields.js";
import { Pool, parseRange, toAddress, toNumber } from "./address-pool.js";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startTestCluster({ serviceCidr: "198.19.7.0/28" });
});
afterAll(() => cluster.close());

type Made = JsonObject & { metadata: { name: string; uid: string; resourceVersion: string }; spec: JsonObject };
const on = (target: TestCluster, method: string, path: string, body?: JsonObject) =>
  target.client.json(method, path, body, {
    headers: method === "PATCH" ? { "content-type": "application/merge-patch+json" } : {},
  }) as Promise<Made>;
const call = (method: string, path: string, body?: JsonObject) => on(cluster, method, path, body);
const services = "/api/v1/namespaces/default/services";
const service = (name: string, spec: JsonObject = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name },
  spec: { ports: [{ port: 80 }], ...spec },
});
async function refusal(promise: Promise<unknown>) {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ApiError) return { code: error.httpCode, message: error.status.message };
    throw error;
  }
  throw new Error("was not refused");
}

test("services get addresses of their own, which are refused to others and come free again", async () => {
  const a = await call("POST", services, service("a"));
  const address = stringAt(a.spec, "clusterIP");

  expect(a.spec["clusterIPs"]).toEqual([address]);
  expect(a.spec).toMatchObject({ ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack" });
  expect((await refusal(call("POST", services, service("b", { clusterIP: address })))).message).toBe(
    `Service "b" is invalid: spec.clusterIPs: Invalid value: ["${address}"]: failed to allocate IP ${address}: provided IP is already allocated`,
  );
  expect((await refusal(call("POST", services, service("b", { clusterIP: "192.0.2.1" })))).message).toContain(
    "the provided network does not match the current range",
  );
  await call("DELETE", `${services}/a`);
  expect((await call("POST", services, service("b", { clusterIP: address }))).spec["clusterIP"]).toBe(address);
  await call("DELETE", `${services}/b`);
});

test("a full range says so, and a refused create keeps nothing", async () => {
  const made: string[] = [];
  for (let i = 0; i < 13; i++) made.push(stringAt((await call("POST", services, service(`s${i}`))).spec, "clusterIP"));

  expect(new Set(made).size).toBe(13);
  expect(made).not.toContain("198.19.7.1");
  expect((await refusal(call("POST", services, service("more")))).message).toContain("range 198.19.7.0/28 is full");
  await call("POST", services, service("headless", { clusterIP: "None" }));
  for (let i = 0; i < 13; i++) await call("DELETE", `${services}/s${i}`);
  expect((await call("POST", services, service("again"))).spec["clusterIP"]).toBeDefined();
});

test("a thousand Services get addresses of their own, from the second range when the first is full; those they have stay", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "admission-"));
  const first = await startTestCluster({ dataDir, serviceCidr: "198.19.9.0/24" });
  const early = await on(first, "POST", services, service("early"));
  await first.close();
  const many = await startTestCluster({ dataDir, serviceCidr: "198.19.9.0/24", serviceOverflow: "249.1.64.0/18" });
  const made = await Promise.all(
    Array.from({ length: 1000 }, (_, index) => on(many, "POST", services, service(`many-${index}`))),
  );
  const kept = await on(many, "GET", `${services}/early`);
  await many.close();
  await rm(dataDir, { recursive: true, force: true });

  const addresses = made.map(({ spec }) => stringAt(spec, "clusterIP"));
  expect(new Set(addresses).size).toBe(1000);
  expect(addresses.filter((address) => address.startsWith("198.19.9."))).toHaveLength(252);
  expect(
    addresses.filter((address) => !/^198\.19\.9\.|^249\.1\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./.test(address)),
  ).toEqual([]);
  expect(kept.spec["clusterIP"]).toBe(early.spec["clusterIP"]);
});

test("headless services have no address, and an update without the address keeps it", async () => {
  const headless = await call("POST", services, service("h", { clusterIP: "None", selector: { a: "b" } }));
  const plain = await call("POST", services, service("kept"));
  const { clusterIP: _one, clusterIPs: _all, ...rest } = plain.spec;

  const updated = await call("PUT", `${services}/kept`, { ...plain, spec: rest });

  expect(headless.spec).toMatchObject({ clusterIP: "None", clusterIPs: ["None"] });
  expect(updated.spec["clusterIP"]).toBe(plain.spec["clusterIP"]);
});

test("node ports are given, kept, refused twice, and go with the type", async () => {
  const made = await call("POST", services, service("np", { type: "NodePort" }));
  const port = (made.spec["ports"] as { nodePort: number }[])[0]?.nodePort ?? 0;

  expect(port).toBeGreaterThanOrEqual(30_000);
  expect(port).toBeLessThanOrEqual(32_767);
  const taken = await refusal(
    call("POST", services, service("np2", { type: "NodePort", ports: [{ port: 1, nodePort: port }] })),
  );
  expect(taken.message).toContain(`spec.ports[0].nodePort: Invalid value: ${port}: provided port is already allocated`);
  const low = await refusal(
    call("POST", services, service("np2", { type: "NodePort", ports: [{ port: 1, nodePort: 80 }] })),
  );
  expect(low.message).toContain("The range of valid ports is 30000-32767");
  const back = await call("PATCH", `${services}/np`, { spec: { type: "ClusterIP" } });
  expect((back.spec["ports"] as { nodePort?: number }[])[0]?.nodePort).toBeUndefined();
  expect(back.spec["clusterIP"]).toBe(made.spec["clusterIP"]);
  const external = await call("PATCH", `${services}/np`, {
    spec: { type: "ExternalName", externalName: "a.example", clusterIP: null, clusterIPs: null },
  });
  expect(external.spec["clusterIP"]).toBeUndefined();
});

test("addresses survive a restart", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "admission-"));
  const options = { dataDir, serviceCidr: "198.19.8.0/29" };
  const first = await startTestCluster(options);
  const made = await on(first, "POST", services, service("a"));
  await first.close();

  const second = await startTestCluster(options);
  const again = await on(second, "GET", `${services}/a`);
  const clash = await refusal(on(second, "POST", services, service("b", { clusterIP: made.spec["clusterIP"] ?? "" })));
  await second.close();
  await rm(dataDir, { recursive: true, force: true });

  expect(again.spec["clusterIP"]).toBe(made.spec["clusterIP"]);
  expect(clash.message).toContain("already allocated");
});

test("a promised address is kept for half a minute, ranges are parsed strictly", async () => {
  const clock = virtualClock(0);
  const pool = new Pool(clock);
  pool.promise(5, "one");

  expect([pool.isFree(5, "one"), pool.isFree(5, "two")]).toEqual([true, false]);
  await clock.advance(31_000);
  expect(pool.isFree(5, "two")).toBe(true);
  expect(pool.pick(1, 3, seededRandom(1))).toBeGreaterThanOrEqual(1);
  expect(parseRange("10.1.2.3/24")).toMatchObject({ first: toNumber("10.1.2.1"), size: 254 });
  expect(toAddress(toNumber("198.19.255.254"))).toBe("198.19.255.254");
  for (const bad of ["10.0.0.0", "10.0.0.0/33", "::/64", "10.0.0/24", "10.0.0.0/x", ""])
    expect(() => parseRange(bad)).toThrow("service range");
});

const pods = "/api/v1/namespaces/default/pods";
const pod = (name: string, spec: JsonObject = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: { containers: [{ name: "c", image: "i" }], ...spec },
});

test("a pod gets the default account, a token of its own and five minutes of toleration", async () => {
  const { spec } = await call("POST", pods, pod("a"));
  const [volume] = spec["volumes"] as { name: string; projected: { sources: JsonObject[] } }[];

  expect(spec["serviceAccountName"]).toBe("default");
  expect(volume?.name).toMatch(/^kube-api-access-[a-z0-9]{5}$/);
  expect(volume?.projected.sources.map((source) => Object.keys(source)[0])).toEqual([
    "serviceAccountToken",
    "configMap",
    "downwardAPI",
  ]);
  expect((spec["containers"] as { volumeMounts: JsonObject[] }[])[0]?.volumeMounts).toEqual([
    { name: volume?.name, readOnly: true, mountPath: "/var/run/secrets/kubernetes.io/serviceaccount" },
  ]);
  expect(spec["tolerations"]).toHaveLength(2);
  expect(spec["priority"]).toBe(0);
});

test("an account may refuse its token, a pod may, and an unknown account is refused", async () => {
  const accounts = "/api/v1/namespaces/default/serviceaccounts";
  await call("POST", accounts, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "quiet" },
    automountServiceAccountToken: false,
    imagePullSecrets: [{ name: "pull" }],
  });

  const quiet = await call("POST", pods, pod("quiet", { serviceAccountName: "quiet" }));
  const own = await call("POST", pods, pod("own", { automountServiceAccountToken: false }));
  const unknown = await refusal(call("POST", pods, pod("b", { serviceAccountName: "nobody" })));

  expect([quiet.spec["volumes"], own.spec["volumes"]]).toEqual([undefined, undefined]);
  expect(quiet.spec["imagePullSecrets"]).toEqual([{ name: "pull" }]);
  expect(unknown.message).toBe(
    'pods "b" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found',
  );
});

test("priorities come from classes", async () => {
  const classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
  const high = {
    apiVersion: "scheduling.k8s.io/v1",
    kind: "PriorityClass",
    metadata: { name: "high" },
    value: 1000,
    preemptionPolicy: "Never",
  };
  await call("POST", classes, high);

  const made = await call("POST", pods, pod("high", { priorityClassName: "high" }));
  const unknown = await refusal(call("POST", pods, pod("x", { priorityClassName: "none" })));
  const own = await refusal(call("POST", pods, pod("x", { priority: 5 })));

  expect(made.spec).toMatchObject({ priority: 1000, preemptionPolicy: "Never" });
  expect(unknown.message).toBe('pods "x" is forbidden: no PriorityClass with name none was found');
  expect(own.message).toContain("the integer value of priority (5) must not be provided in pod spec");
});

test("nothing is written into a namespace that is not there, and some namespaces stay", async () => {
  const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" } };

  expect(await refusal(call("POST", "/api/v1/namespaces/absent/configmaps", map))).toEqual({
    code: 404,
    message: 'namespaces "absent" not found',
  });
  expect((await refusal(call("DELETE", "/api/v1/namespaces/default"))).message).toBe(
    'namespaces "default" is forbidden: this namespace may not be deleted',
  );
});

test("a cluster is born with its namespaces, roles and the kubernetes Service", async () => {
  const list = (await call("GET", "/api/v1/namespaces")) as unknown as { items: Made[] };

  expect(list.items.map(({ metadata }) => metadata.name)).toEqual([
    "default",
    "kube-node-lease",
    "kube-public",
    "kube-system",
  ]);
  expect((await call("GET", `${services}/kubernetes`)).spec["clusterIP"]).toBe("198.19.7.1");
  const { url } = await cluster.server.listen({ host: "127.0.0.1", port: 0 });
  const slice = await call("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes");
  expect(slice["endpoints"]).toMatchObject([{ addresses: ["127.0.0.1"] }]);
  expect(slice["ports"]).toMatchObject([{ port: Number(new URL(url).port) }]);
});

test("a pod of a RuntimeClass costs what the class says and goes where the class is", async () => {
  const pods = "/api/v1/namespaces/default/pods";
  const pod = (name: string, spec: JsonObject) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: { containers: [{ name: "m", image: "i" }], ...spec },
  });
  expect((await refusal(call("POST", pods, pod("r0", { runtimeClassName: "vm" })))).message).toBe(
    'pods "r0" is forbidden: pod rejected: RuntimeClass "vm" not found',
  );
  expect((await refusal(call("POST", pods, pod("r0", { overhead: { cpu: "1" } })))).message).toBe(
    'pods "r0" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead',
  );
  await call("POST", "/apis/node.k8s.io/v1/runtimeclasses", {
    apiVersion: "node.k8s.io/v1",
    kind: "RuntimeClass",
    metadata: { name: "vm" },
    handler: "vm",
    overhead: { podFixed: { cpu: "250m" } },
    scheduling: { nodeSelector: { vm: "yes" }, tolerations: [{ key: "vm", operator: "Exists" }] },
  });

  const tolerations = [{ key: "vm", operator: "Equal", value: "x", effect: "NoSchedule" }];
  const made = await call(
    "POST",
    pods,
    pod("r1", { runtimeClassName: "vm", nodeSelector: { disk: "ssd" }, tolerations }),
  );
  expect(made.spec["overhead"]).toEqual({ cpu: "250m" });
  expect(made.spec["nodeSelector"]).toEqual({ disk: "ssd", vm: "yes" });
  expect((made.spec["tolerations"] as JsonObject[]).map(({ key }) => key)).toEqual([
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "vm",
  ]);
  expect(
    (await refusal(call("POST", pods, pod("r2", { runtimeClassName: "vm", nodeSelector: { vm: "no" } })))).message,
  ).toBe(
    'pods "r2" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no',
  );
  expect(
    (await refusal(call("POST", pods, pod("r3", { runtimeClassName: "vm", overhead: { cpu: "1" } })))).message,
  ).toBe(`pods "r3" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead`);
});

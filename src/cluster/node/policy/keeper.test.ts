import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import {
  EndpointSliceKind,
  EventKind,
  NamespaceKind,
  NetworkPolicyKind,
  PodKind,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { unless } from "../../../testing/unless.js";
import { plainEnvironment } from "../commands.js";
import {
  createPodNetwork,
  createPolicyKeeper,
  createServiceProxy,
  detectIsolation,
  type Isolation,
  type PodNetwork,
  podNetworkKind,
} from "../index.js";
import type { PodAddress } from "../network/types.js";

/** What this machine gives, and as root also what it would give a plain user. */
const ways = new Map(
  [detectIsolation(), detectIsolation({ asUser: true })].map((isolation) => [podNetworkKind(isolation), isolation]),
);
/** Other runs on this machine have theirs. */
const subnet = `198.19.${process.pid % 256}`;
const clusterIp = `${subnet}.7`;
const gatewayIp = `${subnet}.8`;
const serviceCidr = `${subnet}.0/24`;
/** Where Services are that are many. */
const serviceOverflow = `243.${process.pid % 256}.192.0/18`;
const highIp = `243.${process.pid % 256}.255.254`;

interface Play {
  readonly cluster: TestCluster;
  readonly network: PodNetwork;
  pod(name: string, namespace: string): Promise<PodAddress>;
  stop(): Promise<void>;
}

const children: ChildProcess[] = [];

/** Runs a Node program in a pod's network; resolves when it said something. */
function programIn({ enter }: PodAddress, program: string): Promise<string> {
  const [command, ...words] = [...enter, process.execPath, "-e", program];
  const child = spawn(command, words, { env: plainEnvironment, stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return new Promise((resolve) => child.stdout.once("data", (data: Buffer) => resolve(data.toString().trim())));
}

/** What a call says: the answer, or why there is none. */
const call = (from: PodAddress, host: string, port: number): Promise<string> =>
  programIn(
    from,
    `let t = ""; const s = require("net").connect(${port}, "${host}").setTimeout(700, () => (console.log("silence"), s.destroy())).on("data", (d) => (t += d)).on("error", (e) => console.log(e.code)).on("end", () => console.log(t))`,
  );

async function play(isolation: Isolation): Promise<Play> {
  const folder = mkdtempSync(join(tmpdir(), "argosy-policy-"));
  const cluster = await startTestCluster({ serviceCidr, serviceOverflow });
  const network = createPodNetwork({ dataDir: join(folder, "network"), isolation, log: silentLogger });
  await network.start();
  const common = { cluster, network, clock: systemClock, random: systemRandom, log: silentLogger };
  const keeper = createPolicyKeeper(common);
  await keeper.start();
  const proxy = createServiceProxy({
    ...common,
    serviceCidrs: [serviceCidr, serviceOverflow],
    refusal: (...about) => keeper.refusal(...about),
  });
  await proxy.start();
  for (const name of ["a", "b"])
    await cluster.client
      .resource(NamespaceKind)
      .create({ apiVersion: "v1", kind: "Namespace", metadata: { name }, spec: {} });
  return {
    cluster,
    network,
    async pod(name, namespace) {
      const pods = cluster.client.resource(PodKind);
      const made = await pods.create(
        {
          apiVersion: "v1",
          kind: "Pod",
          metadata: { name, namespace, labels: { app: name } },
          spec: { containers: [{ name: "c", image: "x" }] },
        },
        { namespace },
      );
      const address = await network.attach(made.metadata.uid, folder);
      await pods.patch(
        name,
        "merge",
        { status: { podIP: address.ip, phase: "Running" } },
        { namespace, subresource: "status" },
      );
      return address;
    },
    async stop() {
      await proxy.close();
      await keeper.close();
      await network.close({ keepPods: false });
      await cluster.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const serve = (world: Play, ip: string) => route(world, { name: "model", clusterIP: clusterIp, ip, port: 8080 });
const serveHigh = (world: Play, ip: string) => route(world, { name: "high", clusterIP: highIp, ip, port: 8080 });
const lead = (world: Play, port: number) =>
  route(world, { name: "gateway", clusterIP: gatewayIp, ip: "127.0.0.1", port, through: "model" });

/** A Service with one endpoint. */
async function route(
  { cluster }: Play,
  {
    name,
    clusterIP,
    ip,
    port,
    through,
  }: { name: string; clusterIP: string; ip: string; port: number; through?: string },
): Promise<void> {
  const annotations = through === undefined ? {} : { "argosy.dev/through-ingress": through };
  await cluster.client.resource(ServiceKind).create(
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace: "a", labels: { app: "model" }, annotations },
      spec: { clusterIP, ports: [{ port: 80, targetPort: port }] },
    },
    { namespace: "a" },
  );
  await cluster.client.resource(EndpointSliceKind).create(
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name, namespace: "a", labels: { "kubernetes.io/service-name": name } },
      addressType: "IPv4",
      endpoints: [{ addresses: [ip], conditions: { ready: true } }],
      ports: [{ name: "", port, protocol: "TCP" }],
    },
    { namespace: "a" },
  );
}

/** Calls until it is as wanted: policies are carried out a moment after they are written. */
async function untilCall(from: PodAddress, [host, port]: [string, number], wanted: string): Promise<string> {
  for (let tries = 0; ; tries += 1) {
    const said = await call(from, host, port);
    if (said === wanted || tries > 20) return said;
  }
}

describe.each([...ways].filter(([kind]) => kind !== "loopback"))("pods in a %s network", (_kind, isolation) => {
  const missing = isolation.capabilities.find((each) => each.capability === "network-namespace" && !each.available);
  const run = unless(missing?.reason);
  let world: Play;

  beforeAll(async () => {
    if (missing === undefined) world = await play(isolation);
  });

  afterAll(async () => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    await world?.stop();
  });

  run("are called by whom a NetworkPolicy lets in, by address and by Service, and by the machine", async () => {
    const [model, friend, stranger] = [
      await world.pod("model", "a"),
      await world.pod("friend", "a"),
      await world.pod("stranger", "b"),
    ];
    await programIn(
      model,
      `require("net").createServer((s) => s.on("error", () => 0).end("model")).listen(8080, "0.0.0.0", () => console.log("up"))`,
    );
    await serve(world, model.ip);
    await serveHigh(world, model.ip);
    const [direct, service]: [[string, number], [string, number]] = [
      [model.ip, 8080],
      [clusterIp, 80],
    ];
    expect(await untilCall(stranger, service, "model")).toBe("model");
    expect(await untilCall(stranger, direct, "model")).toBe("model");
    expect(await untilCall(stranger, [highIp, 80], "model")).toBe("model");

    const policies = world.cluster.client.resource(NetworkPolicyKind);
    await policies.create(
      {
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { name: "own", namespace: "a" },
        spec: { podSelector: { matchLabels: { app: "model" } }, ingress: [{ from: [{ podSelector: {} }] }] },
      },
      { namespace: "a" },
    );
    expect(await untilCall(stranger, service, "ECONNRESET")).toBe("ECONNRESET");
    expect(await untilCall(stranger, direct, "silence")).toBe("silence");
    expect(await call(stranger, highIp, 80)).toBe("ECONNRESET");
    expect(await untilCall(friend, service, "model")).toBe("model");
    expect(await untilCall(friend, direct, "model")).toBe("model");
    const text = await new Promise<string>((resolve) => {
      world.network.connect(model.ip, 8080).then(
        (socket) => socket.on("data", (data) => resolve(String(data))),
        (error: Error) => resolve(error.message),
      );
    });
    expect(text).toBe("model");
    const events = await world.cluster.client.resource(EventKind).list({ namespace: "a" });
    expect(events.items.map(({ reason }) => reason)).toContain("CallerRefused");

    // A Service that leads through a gateway on the machine is guarded as the pods behind it.
    const gateway = createServer((socket) => socket.on("error", () => undefined).end("gateway"));
    await new Promise<void>((resolve) => gateway.listen(0, "127.0.0.1", () => resolve()));
    await lead(world, (gateway.address() as AddressInfo).port);
    const through: [string, number] = [gatewayIp, 80];
    expect(await untilCall(friend, through, "gateway")).toBe("gateway");
    expect(await untilCall(stranger, through, "ECONNRESET")).toBe("ECONNRESET");
    gateway.close();

    const late = await world.pod("late", "a");
    expect(await untilCall(late, direct, "model")).toBe("model");
    await policies.delete("own", { namespace: "a" });
    expect(await untilCall(stranger, direct, "model")).toBe("model");
    expect(await untilCall(stranger, service, "model")).toBe("model");
  });
});

test("without a network of their own pods cannot be told apart: everybody is let in, and policies say so", async () => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-policy-"));
  const isolation = { ...detectIsolation({ asUser: true }), hasNetworkNamespace: false };
  const network = createPodNetwork({ dataDir: folder, isolation, log: silentLogger });
  await network.start();
  const { ip } = await network.attach("a", folder);
  await network.guard("a", []);
  const cluster = await startTestCluster();
  const namespace = "default";
  await cluster.client.resource(NetworkPolicyKind).create(
    {
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "own", namespace } },
      spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] },
    },
    { namespace },
  );
  const keeper = createPolicyKeeper({ cluster, network, clock: systemClock, random: systemRandom, log: silentLogger });
  await keeper.start();
  await keeper.close();
  const { items } = await cluster.client.resource(EventKind).list({ namespace });
  await cluster.close();

  expect(network.podAt(ip)).toBeUndefined();
  expect(items).toMatchObject([
    { reason: "NotEnforced", message: expect.stringContaining("share the machine's network") },
  ]);
  rmSync(folder, { recursive: true, force: true });
});

test("a pod that comes concerns the policies of its namespace, and those that look elsewhere; no other one", async () => {
  const cluster = await startTestCluster();
  const { client } = cluster;
  const names = Array.from({ length: 30 }, (_, index) => `n${index}`);
  for (const name of [...names, "ops"]) {
    await client.resource(NamespaceKind).create({ apiVersion: "v1", kind: "Namespace", metadata: { name }, spec: {} });
    const from = name === "ops" ? [{ namespaceSelector: {} }] : [{ podSelector: {} }];
    await client.resource(NetworkPolicyKind).create(
      {
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { name: "own", namespace: name },
        spec: { podSelector: {}, ingress: [{ from }] },
      },
      { namespace: name },
    );
  }
  const pod = async (name: string, namespace: string): Promise<void> => {
    const spec = { containers: [{ name: "c", image: "x" }] };
    const made = { apiVersion: "v1", kind: "Pod", metadata: { name, namespace }, spec };
    await client.resource(PodKind).create(made, { namespace });
    const status = { podIP: `198.18.0.${name.length}`, phase: "Running" };
    await client.resource(PodKind).patch(name, "merge", { status }, { namespace, subresource: "status" });
  };
  for (const name of names) await pod("a", name);
  await pod("a", "ops");
  // Which namespaces' policies are read, and whose network is told.
  const read: string[] = [];
  const policies = cluster.informers.informer(NetworkPolicyKind);
  const list = policies.list.bind(policies);
  policies.list = (namespace?: string) => {
    if (namespace !== undefined) read.push(namespace);
    return list(namespace);
  };
  const guarded: (readonly [string, readonly string[]])[] = [];
  const network: Pick<PodNetwork, "guard" | "podAt" | "keepsApart"> = {
    keepsApart: true,
    guard: async (uid, callers = []) => void guarded.push([uid, callers]),
    podAt: () => undefined,
  };
  const keeper = createPolicyKeeper({
    ...{ cluster, network: network as PodNetwork, clock: systemClock, random: systemRandom, log: silentLogger },
  });
  await keeper.start();
  const atStart = [read.length, guarded.length];
  read.length = guarded.length = 0;
  await pod("bb", "n7");
  const isTold = (): boolean =>
    guarded.some(([, callers]) => callers.join(" ").split("198.18.0.2").length === 2 && callers.length > 20);
  for (let turns = 0; !isTold() && turns < 10_000; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  await keeper.close();
  await cluster.close();

  expect(atStart).toEqual([31, 31]);
  expect(new Set(read)).toEqual(new Set(["n7", "ops"]));
  expect(read.length).toBeLessThanOrEqual(6);
  expect(guarded.length).toBeLessThanOrEqual(6);
});

import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import { EndpointSliceKind, EventKind, type Service, ServiceKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { unless } from "../../../testing/unless.js";
import {
  createPodNetwork,
  createServiceProxy,
  detectIsolation,
  type Isolation,
  type PodNetwork,
  type PodNetworkKind,
  podNetworkKind,
  type ServiceProxy,
} from "../index.js";

/** What this machine gives, and as root also what it would give a plain user. */
const ways = new Map(
  [detectIsolation(), detectIsolation({ asUser: true })].map((isolation) => [podNetworkKind(isolation), isolation]),
);
let folder = "";
let cluster: TestCluster;
let network: PodNetwork;
let proxy: ServiceProxy;
const servers: Server[] = [];

async function start(kind: PodNetworkKind, isolation: Isolation): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), "argosy-proxy-"));
  const serviceCidr = kind === "loopback" ? "127.96.200.0/24" : "198.19.200.0/24";
  const serviceOverflow = kind === "loopback" ? "127.255.192.0/20" : "249.255.192.0/18";
  cluster = await startTestCluster({ serviceCidr, serviceOverflow });
  network = createPodNetwork({ dataDir: join(folder, "network"), isolation, log: silentLogger });
  await network.start();
  proxy = createServiceProxy({
    cluster,
    network,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    serviceCidrs: [serviceCidr, serviceOverflow],
  });
  await proxy.start();
}

async function stop(): Promise<void> {
  await proxy.close();
  await network.close({ keepPods: false });
  await cluster.close();
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
}

/** A server on the loopback that says its name, echoes, and ends. */
function backend(name: string): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.write(`${name}:`);
      socket.pipe(socket);
    });
    servers.push(server);
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
}

/** What answers, as seen from the pods' network. */
async function ask(ip: string, port: number, text = "hi"): Promise<string> {
  const socket = await network.connect(ip, port);
  let answer = "";
  return new Promise((resolve, reject) => {
    socket.on("data", (chunk) => (answer += chunk.toString()));
    socket.on("error", reject);
    socket.on("end", () => resolve(answer));
    socket.end(text);
  });
}

async function service(name: string, spec: Partial<Service["spec"]>, backends: number[]): Promise<Service> {
  const made = await cluster.client.resource(ServiceKind).create({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { ports: [{ port: 8080, targetPort: 1 }], ...spec },
  });
  await slice(name, backends);
  return made;
}

async function slice(name: string, ports: number[]): Promise<void> {
  for (const [index, port] of ports.entries()) {
    await cluster.client.resource(EndpointSliceKind).apply(
      {
        metadata: { name: `${name}-${index}`, namespace: "default", labels: { "kubernetes.io/service-name": name } },
        addressType: "IPv4",
        ports: [{ name: "", port, protocol: "TCP" }],
        endpoints: [{ addresses: ["127.0.0.1"], conditions: { ready: true } }],
      },
      { fieldManager: "test", force: true },
    );
  }
}

/** Repeats until it holds; each try waits for one event turn of the proxy. */
async function until<T>(attempt: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  const end = performance.now() + 20_000;
  for (;;) {
    if (performance.now() > end) throw new Error("it did not come to hold");
    const value = await attempt().catch((error: unknown) => error as T);
    if (holds(value)) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe.each([...ways])("network %s", (kind, isolation) => {
  beforeAll(() => start(kind, isolation));
  afterAll(stop);

  test("a ClusterIP leads to its endpoints in turn, and refuses when there is none", async () => {
    const ports = [await backend("a"), await backend("b")];
    const made = await service("echo", {}, ports);
    const ip = made.spec.clusterIP ?? "";
    await until(
      () => ask(ip, 8080),
      (answer) => String(answer).endsWith(":hi"),
    );
    await until(
      () => Promise.all([ask(ip, 8080), ask(ip, 8080)]),
      (answers) => Array.isArray(answers) && new Set(answers).size === 2,
    );

    const answers = await Promise.all([ask(ip, 8080), ask(ip, 8080), ask(ip, 8080), ask(ip, 8080)]);
    await cluster.client.resource(EndpointSliceKind).delete("echo-0", { namespace: "default" });
    await cluster.client.resource(EndpointSliceKind).delete("echo-1", { namespace: "default" });
    const refused = await until(
      () => ask(ip, 8080).then(() => "", String),
      (answer) => answer !== "",
    );

    expect(answers.sort()).toEqual(["a:hi", "a:hi", "b:hi", "b:hi"]);
    expect(refused).toContain("ECONNREFUSED");
  });

  test("an address of the range for many Services answers alike", async () => {
    const clusterIP = kind === "loopback" ? "127.255.207.254" : "249.255.255.254";
    await service("high", { clusterIP }, [await backend("high")]);

    const answer = await until(
      () => ask(clusterIP, 8080),
      (said) => String(said).endsWith(":hi"),
    );

    expect(answer).toBe("high:hi");
  });

  test("clients stay with their endpoint when the service asks for it", async () => {
    const ports = [await backend("a"), await backend("b"), await backend("c")];
    const made = await service("sticky", { sessionAffinity: "ClientIP" }, ports);
    const ip = made.spec.clusterIP ?? "";
    await until(
      () => ask(ip, 8080),
      (answer) => String(answer).endsWith(":hi"),
    );

    const answers = await Promise.all(Array.from({ length: 6 }, () => ask(ip, 8080)));

    expect(new Set(answers).size).toBe(1);
  });

  test("an endpoint that refuses is passed over; node ports answer", async () => {
    const dead = await backend("dead");
    servers.at(-1)?.close();
    const ports = [dead, await backend("alive")];
    const made = await service("half", { type: "NodePort", ports: [{ port: 8080, targetPort: 1 }] }, ports);
    const ip = made.spec.clusterIP ?? "";
    await until(
      () => ask(ip, 8080),
      (answer) => answer === "alive:hi",
    );

    const answers = await Promise.all([
      ask(ip, 8080),
      ask(ip, 8080),
      ask("127.0.0.1", made.spec.ports?.[0]?.nodePort ?? 0),
    ]);

    expect(answers).toEqual(["alive:hi", "alive:hi", "alive:hi"]);
  });

  test("what cannot be answered is said in an event on the service", async () => {
    const made = await service("dns", { ports: [{ name: "udp", port: 53, protocol: "UDP" }] }, []);

    const events = await until(
      () =>
        cluster.client
          .resource(EventKind)
          .list({ namespace: "default", fieldSelector: `involvedObject.name=${made.metadata.name}` }),
      (list) => list.items.length > 0,
    );

    expect(events.items[0]).toMatchObject({ reason: "UnsupportedProtocol", type: "Warning" });
  });

  unless(kind !== "loopback" || process.getuid?.() === 0 ? "every port may be bound here" : undefined)(
    "a low port that a plain user may not bind is said in an event",
    async () => {
      await service("low", { ports: [{ port: 80, targetPort: 1 }] }, [await backend("low")]);

      const events = await until(
        () =>
          cluster.client.resource(EventKind).list({ namespace: "default", fieldSelector: "involvedObject.name=low" }),
        (list) => list.items.length > 0,
      );

      expect(events.items[0]).toMatchObject({ reason: "PortNotBound" });
    },
  );
});

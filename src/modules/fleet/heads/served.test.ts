import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import { createServer as createHttpsServer, request as requestTls } from "node:https";
import { connect, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type GatewayDriver, gatewayDriver } from "../../../dataplane/gateway/index.js";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import { findCondition, type JsonObject, NodeKind, SecretKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { buildGateway, type GatewayProgram } from "../../../testing/gateway-program.js";
import { eventually, startFleet, type TestFleet, TestServiceKind } from "../fixture.js";
import { ClusterKind, type HeadIngress, HeadIngressKind } from "../kinds.js";
import { ARGOSY } from "../names.js";

// A hub, two members and the gateway as a process of its own, for all tests of this file: each has a HeadIngress of its own.
let program: GatewayProgram;
let fleet: TestFleet;
let driver: GatewayDriver;
const models: Record<string, Model> = {};
const whole: (() => unknown)[] = [];
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const inDemo = { namespace: "demo" };
const NAMES = ["cloud", "edge"] as const;

interface Model {
  readonly address: string;
  readonly seen: { readonly url: string; readonly shadow: string }[];
  /** Milliseconds until it answers; below 0: never. */
  delayMs: number;
  status: number;
  stop(): Promise<void>;
}

async function startModel(name: string, until: (() => unknown)[], port = 0): Promise<Model> {
  const server = createServer((incoming, response) => {
    if (incoming.headers["x-argosy-check"] !== undefined) {
      response.end();
      return;
    }
    model.seen.push({ url: incoming.url ?? "", shadow: String(incoming.headers["x-argosy-shadow"] ?? "") });
    response.statusCode = model.status;
    incoming.resume();
    if (model.delayMs > 0) setTimeout(() => response.end(name), model.delayMs);
    else if (model.delayMs === 0) response.end(name);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", () => resolve()));
  const bound = server.address();
  const model: Model = {
    address: `127.0.0.1:${typeof bound === "object" ? bound?.port : 0}`,
    seen: [],
    delayMs: 0,
    status: 200,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  until.push(() => model.stop());
  return model;
}

const service: JsonObject & { apiVersion: string; kind: string } = {
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLService",
  metadata: { name: "digits", namespace: "demo" },
  spec: {},
};

/** What a member's serving module reports. */
async function report(cluster: string, replicas: number): Promise<void> {
  const services = fleet.members.get(cluster)?.client.resource(TestServiceKind);
  const current = await eventually(
    () => services?.find("digits", inDemo),
    (object) => object !== undefined,
    "delivered",
  );
  if (current === undefined) return;
  const url = `http://digits.demo.${cluster}.argosy.localhost:8081`;
  const status = {
    address: { url },
    releases: [{ name: "v1", ready: true, readyReplicas: replicas, url: url.replace("digits.", "digits-predict-v1.") }],
    conditions: [{ type: "Ready", status: "True", message: "" }],
  };
  await services?.updateStatus({ ...current, status }, inDemo);
}

beforeAll(async () => {
  program = buildGateway();
  const directory = mkdtempSync(join(tmpdir(), "argosy-served-"));
  whole.push(() => rmSync(directory, { recursive: true, force: true }), program.remove);
  const supervise = { command: program.command(directory) };
  driver = gatewayDriver({ directory, clock: systemClock, log: silentLogger, supervise });
  await driver.start();
  whole.push(() => driver.close({ stopProcess: true }));
  const headTlsListener = { name: "head-tls", host: "127.0.0.1", port: 0 };
  fleet = await startFleet(NAMES, { gateway: driver, fleet: { headTlsListener, headLoad: { windowMs: 300 } } });
  whole.push(() => fleet.close());
  for (const [index, name] of NAMES.entries()) {
    const model = await startModel(name, whole);
    models[name] = model;
    await fleet.hub.client
      .resource(ClusterKind)
      .patch(name, "merge", { metadata: { annotations: { [ARGOSY.ingressAddress]: model.address } } });
    await fleet.members
      .get(name)
      ?.client.resource(NodeKind)
      .create({
        apiVersion: "v1",
        kind: "Node",
        metadata: { name: "node" },
        spec: {},
      });
    const cpu = String([2, 8][index]);
    await fleet.members
      .get(name)
      ?.client.resource(NodeKind)
      .patch(
        "node",
        "merge",
        {
          status: {
            allocatable: { cpu, memory: "8Gi", pods: "10" },
            capacity: { cpu, memory: "8Gi", pods: "10" },
            conditions: [{ type: "Ready", status: "True", lastHeartbeatTime: null, lastTransitionTime: null }],
          },
        },
        { subresource: "status" },
      );
  }
  await fleet.createHyper(
    "digits",
    { workloads: [{ clusters: [...NAMES], manifests: [service] }] },
    { [ARGOSY.ingress]: "none" },
  );
  await Promise.all([report("cloud", 1), report("edge", 4)]);
}, 90_000);
afterAll(async () => {
  for (const close of whole.splice(0).reverse()) await close();
});

/** Who answers `name`, over some requests. */
async function ask(name: string, times = 1, how: Ask = {}): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let turn = 0; turn < times; turn++) {
    const { body, status } = await one(name, how);
    const key = status === 200 ? body : String(status);
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
}

const portOf = (listener: string): number =>
  Number(
    driver.lastState?.listeners
      .find(({ name }) => name === listener)
      ?.address.split(":")
      .at(-1),
  );

function one(name: string, { method = "GET", headers = {} }: Ask) {
  return new Promise<{ status: number; body: string; headers: Record<string, string | string[] | undefined> }>(
    (resolve, reject) => {
      const to = { host: "127.0.0.1", port: portOf("head"), path: `/${name}/v2/infer`, method, headers, agent: false };
      const call = request(to, (response) => {
        let body = "";
        response.on("data", (piece: Buffer) => {
          body += piece.toString();
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }));
        response.on("error", reject);
      });
      call.on("error", reject);
      call.end();
    },
  );
}

const heads = () => fleet.hub.client.resource(HeadIngressKind);

/** A HeadIngress at `/NAME/`, carried by the gateway. */
async function carry(name: string, spec: HeadIngress["spec"]): Promise<HeadIngress> {
  const path = `/${name}/`;
  // A busy machine answers checks late.
  const health = { timeoutMs: 10_000 };
  await heads().create(
    {
      apiVersion: "argosy.dev/v1alpha1",
      kind: "HeadIngress",
      metadata: { name, ...inDemo },
      spec: { path, health, ...spec },
    },
    inDemo,
  );
  closing.push(() => heads().delete(name, inDemo));
  const isSettled = ({ status }: HeadIngress): boolean =>
    findCondition(status?.conditions, "Ready")?.status === "True" &&
    (status?.backends ?? []).every(({ reason }) => reason !== "NotChecked" && reason !== "NotProgrammed");
  return settled(name, isSettled, "it serves");
}

const settled = (name: string, isTrue: (head: HeadIngress) => boolean, what: string): Promise<HeadIngress> =>
  eventually(() => heads().get(name, inDemo), isTrue, what);

const weightsOf = ({ status }: HeadIngress): string[] =>
  (status?.backends ?? []).map(({ name, weight, weightEffective, percent, reason = "" }) =>
    `${name} ${weight} ${weightEffective} ${percent}% ${reason}`.trim(),
  );

const toDigits = { hyperMLServiceRef: { name: "digits" } };
const byHand = (...given: readonly Model[]) =>
  given.map((model, index) => ({ name: `m${index}`, url: `http://${model.address}` }));

test("weights by ready replicas, times health: asked, effective, and why they differ; requests go that way", async () => {
  await carry("replicas", { ...toDigits, weights: { cloud: 60, edge: 60 }, weighting: { by: "ReadyReplicas" } });
  const head = await settled(
    "replicas",
    (found) => weightsOf(found).join() === "cloud 60 15 20% ByReadyReplicas,edge 60 60 80%",
    "weighted",
  );
  expect(head.status?.backends?.[0]?.message).toBe("it counts 25 % of the best one: it has 1 ready replica");
  expect(findCondition(head.status?.conditions, "WeightsEffective")?.message).toContain("cloud has 15 of 60");
  expect(await ask("replicas", 25)).toEqual({ cloud: 5, edge: 20 });

  await report("cloud", 8);
  await settled(
    "replicas",
    (found) => weightsOf(found).join() === "cloud 60 60 66.67%,edge 60 30 33.33% ByReadyReplicas",
    "follows",
  );
  const edge = models["edge"];
  await edge?.stop();
  const down = await settled("replicas", (found) => weightsOf(found)[1] === "edge 60 0 0% NotAnswering", "edge is out");
  expect(weightsOf(down)[0]).toBe("cloud 60 60 100%");
  expect(await ask("replicas", 10)).toEqual({ cloud: 10 });
  models["edge"] = await startModel("edge", whole, Number(edge?.address.split(":").at(-1)));
  await settled("replicas", (found) => weightsOf(found)[1] === "edge 60 30 33.33% ByReadyReplicas", "edge is back");
  await report("cloud", 1);
});

test("weights by free capacity, as the members' nodes have it", async () => {
  await carry("capacity", { ...toDigits, weights: { cloud: 8, edge: 8 }, weighting: { by: "FreeCapacity" } });
  const head = await settled("capacity", (found) => weightsOf(found)[0] === "cloud 8 2 20% ByFreeCapacity", "weighted");
  expect(head.status?.backends?.[0]?.message).toBe("it counts 25 % of the best one: its cluster has 2 of cpu free");
  expect(await ask("capacity", 10)).toEqual({ cloud: 2, edge: 8 });
});

test("an edit that no gateway takes leaves the last good route in effect, and says so; correcting it brings the new one", async () => {
  const [model, other] = [await startModel("good", closing), await startModel("other", closing)];
  const { metadata } = await carry("edited", { backends: byHand(model) });
  const edit = (spec: JsonObject) => heads().patch("edited", "merge", { spec }, inDemo);
  const generation = metadata.generation ?? 0;
  const faults: [JsonObject, RegExp][] = [
    [{ backends: [{ name: "m0", url: `http://${model.address}`, host: "no host" }] }, /backends\[0\]\.host/],
    [{ backends: byHand(model), listener: "elsewhere" }, /spec\.listener: the gateway has no listener "elsewhere"/],
    [{ listener: null, tls: { secretName: "none" } }, /spec\.tls\.secretName: there is no Secret none/],
    [{ tls: null, backends: [], hyperMLServiceRef: { name: "none" } }, /HyperMLService none does not exist/],
    [
      { hyperMLServiceRef: null, backends: byHand(model), class: "nginx", ingressCluster: "none" },
      /no connection to a cluster "none"/,
    ],
  ];
  for (const [index, [spec, why]] of faults.entries()) {
    await edit(spec);
    const told = await settled(
      "edited",
      ({ status }) => status?.observedGeneration === generation + index + 1,
      "it is told",
    );
    const programmed = findCondition(told.status?.conditions, "Programmed");
    expect(programmed).toMatchObject({ status: "False", reason: "Invalid" });
    expect(programmed?.message).toMatch(why);
    expect(programmed?.message).toContain(
      `generation ${generation} of the spec stays in effect until this is corrected (kubectl edit headingress edited -n demo)`,
    );
    expect(findCondition(told.status?.conditions, "Ready")).toMatchObject({ status: "True", reason: "Degraded" });
    expect(told.status).toMatchObject({ inEffect: { generation }, backends: [{ name: "m0", percent: 100 }] });
    expect(await ask("edited", 3)).toEqual({ good: 3 });
  }

  await edit({ class: null, ingressCluster: null, backends: byHand(other) });
  const serving = ({ status }: HeadIngress): boolean =>
    findCondition(status?.conditions, "Ready")?.reason === "Serving" &&
    status?.inEffect?.generation === generation + faults.length + 1;
  await settled("edited", serving, "the corrected one serves");
  expect(await ask("edited", 3)).toEqual({ other: 3 });
});

test("weights by latency: who answers more slowly gets less, by what requests took", async () => {
  const [quick, slow] = [await startModel("quick", closing), await startModel("slow", closing)];
  // Far more than a busy machine takes to answer.
  slow.delayMs = 250;
  await carry("latency", { backends: byHand(quick, slow), weighting: { by: "Latency", minPercent: 25 } });
  const head = await eventually(
    async () => {
      await ask("latency", 5);
      return heads().get("latency", inDemo);
    },
    (found) => weightsOf(found).join() === "m0 1 1 80%,m1 1 0.25 20% ByLatency",
    "weighted",
  );
  expect(head.status?.backends?.[1]?.message).toMatch(/^it counts 25 % of the best one: it takes \d+\.\d ms$/);
  expect(await ask("latency", 20)).toEqual({ quick: 16, slow: 4 });
});

test("failover order, drain and sessions: clients with a cookie stay, new ones go elsewhere, values of a header stay together", async () => {
  await carry("sticky", { ...toDigits, affinity: { cookie: { name: "sid", ttlSeconds: 60 } } });
  let cookie = "";
  await eventually(
    async () => {
      const answer = await one("sticky", {});
      cookie = /^(sid=[^;]+);/.exec(String(answer.headers["set-cookie"]))?.[1] ?? "";
      return answer.body;
    },
    (body) => body === "edge" && cookie !== "",
    "a session at edge",
  );
  expect(await ask("sticky", 5, { headers: { cookie } })).toEqual({ edge: 5 });
  const clusters = fleet.hub.client.resource(ClusterKind);
  await clusters.patch("edge", "merge", { metadata: { annotations: { [ARGOSY.drain]: "new disks" } } });
  const drained = await settled("sticky", (found) => weightsOf(found)[1] === "edge 1 0 0% Draining", "edge is drained");
  expect(drained.status?.backends?.[1]?.message).toBe("cluster edge is drained: new disks");
  expect(await ask("sticky", 6)).toEqual({ cloud: 6 });
  expect(await ask("sticky", 3, { headers: { cookie } })).toEqual({ edge: 3 });
  await clusters.patch("edge", "merge", { metadata: { annotations: { [ARGOSY.drain]: null } } });

  await carry("grouped", { ...toDigits, affinity: { header: "X-User" } });
  const homes = new Set<string>();
  for (let user = 0; user < 12; user++) {
    const seen = await ask("grouped", 3, { headers: { "x-user": `user-${user}` } });
    expect(Object.values(seen)).toEqual([3]);
    homes.add(Object.keys(seen).join());
  }
  expect(homes).toEqual(new Set(["cloud", "edge"]));

  await carry("ordered", { ...toDigits, priorities: { cloud: 0, edge: 1 } });
  await settled("ordered", (found) => weightsOf(found)[1] === "edge 1 0 0% StandsBy", "edge stands by");
  expect(await ask("ordered", 5)).toEqual({ cloud: 5 });
});

test("second attempts: by hedging, by status and by ejection; a backend that is back warms up", async () => {
  const [bad, good] = [await startModel("bad", closing), await startModel("good", closing)];
  await carry("hedged", { backends: byHand(bad, good), hedge: { afterMs: 40, maxPercent: 100 } });
  bad.delayMs = -1;
  expect(await ask("hedged", 4)).toEqual({ good: 4 });
  bad.delayMs = 0;
  bad.status = 503;
  await carry("repeated", { backends: byHand(bad, good), retry: { statuses: [503] } });
  expect(await ask("repeated", 6)).toEqual({ good: 6 });
  expect(await ask("repeated", 6, { method: "POST" })).toEqual({ 503: 3, good: 3 });
  // One is out for longer than anybody takes to look, the other for a moment.
  const ejecting = (baseEjectionMs: number, faulty: Model) => ({
    backends: byHand(faulty, good),
    outlierEjection: { consecutiveErrors: 2, baseEjectionMs },
    slowStartMs: 60_000,
  });
  await carry("ejected", ejecting(600_000, bad));
  expect(await ask("ejected", 8)).toEqual({ 503: 2, good: 6 });
  const out = await settled("ejected", (found) => weightsOf(found)[0] === "m0 1 0 0% NotAnswering", "it is out");
  expect(out.status?.backends?.[0]?.message).toContain(
    "it answered 503, the last of 2 answers of 500 and above in a row",
  );
  const other = await startModel("other", closing);
  other.status = 503;
  await carry("returning", ejecting(200, other));
  expect(await ask("returning", 4)).toEqual({ 503: 2, good: 2 });
  other.status = 200;
  const back = await settled(
    "returning",
    (found) => found.status?.backends?.[0]?.reason === "WarmingUp",
    "it warms up",
  );
  expect(back.status?.backends?.[0]?.weightEffective).toBeLessThan(1);
});

test("times: an answer that does not begin, a request as a whole, and streams that may rest for longer than answers", async () => {
  const [slow] = [await startModel("slow", closing)];
  slow.delayMs = -1;
  await carry("late", { backends: byHand(slow), timeouts: { responseMs: 200 } });
  await carry("whole", { backends: byHand(slow), timeouts: { requestMs: 300 } });
  const [late, long] = [await one("late", {}), await one("whole", {})];
  expect([late.status, late.body.includes("BackendTimeout")]).toEqual([504, true]);
  expect([long.status, long.body.includes("300 ms that a request may take")]).toEqual([504, true]);

  const events = createServer((incoming, response) => {
    if (incoming.url !== "/v2/infer") {
      response.end();
      return;
    }
    response.writeHead(200, { "content-type": String(incoming.headers.accept) });
    response.write("data: 1\n\n");
    setTimeout(() => response.end("data: 2\n\n"), 900);
  });
  await listening(events);
  await carry("events", {
    backends: [{ name: "e", url: `http://127.0.0.1:${portIn(events)}` }],
    timeouts: { idleMs: 300, streamIdleMs: 60_000, requestMs: 500 },
  });
  const stream = await one("events", { headers: { accept: "text/event-stream" } });
  expect(stream.body).toBe("data: 1\n\ndata: 2\n\n");
  await expect(one("events", { headers: { accept: "text/plain" } })).rejects.toThrow(/aborted|socket|reset/i);
});

test("WebSockets and gRPC pass", async () => {
  const sockets = createServer((_incoming, response) => response.end());
  sockets.on("upgrade", (incoming, socket) => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${incoming.headers.upgrade}\r\n\r\n`,
    );
    socket.on("data", (piece: Buffer) => socket.write(`${incoming.url} ${piece.toString()}`));
    socket.on("error", () => undefined);
  });
  await listening(sockets);
  await carry("sockets", { backends: [{ name: "s", url: `http://127.0.0.1:${portIn(sockets)}` }] });
  const socket = connect(portOf("head"), "127.0.0.1");
  closing.push(() => socket.destroy());
  let text = "";
  socket.on("data", (piece: Buffer) => {
    text += piece.toString();
  });
  socket.write("GET /sockets/chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  await eventually(
    () => text,
    (got) => got.startsWith("HTTP/1.1 101"),
    "switched",
  );
  socket.write("ping");
  await eventually(
    () => text,
    (got) => got.endsWith("/chat ping"),
    "echoed",
  );

  const grpc = createHttp2Server();
  grpc.on("stream", (stream, headers) => {
    const isCheck = headers[":path"] === "/grpc.health.v1.Health/Check";
    stream.on("error", () => undefined);
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": isCheck ? "0" : "7" }));
    stream.on("data", (piece: Buffer) => stream.write(isCheck ? Buffer.from([0, 0, 0, 0, 2, 8, 1]) : piece));
    stream.on("end", () => stream.end());
  });
  await listening(grpc);
  await carry("grpc", {
    protocol: "GRPC",
    rewrite: "/",
    backends: [{ name: "g", url: `http://127.0.0.1:${portIn(grpc)}` }],
    shadows: [{ name: "copy", url: `http://127.0.0.1:${portIn(grpc)}` }],
  });
  const session = connectHttp2(`http://127.0.0.1:${portOf("head")}`);
  closing.push(() => session.destroy());
  const call = session.request({ ":method": "POST", ":path": "/grpc/x.Y/Z", "content-type": "application/grpc" });
  const outcome = await new Promise((resolve, reject) => {
    let body = "";
    let status: unknown;
    call.on("trailers", (trailers) => {
      status = trailers["grpc-status"];
    });
    call.on("data", (piece: Buffer) => {
      body += piece.toString();
    });
    call.on("error", reject);
    call.on("close", () => resolve(`${body} ${String(status)}`));
    call.end("hello");
  });
  expect(outcome).toBe("hello 7");
  await settled("grpc", (found) => found.status?.shadows?.[0]?.compared === 1, "the call was copied");
});

test("TLS on both sides: certificates by name for clients; for backends the authority, the name asked for and the gateway's own certificate", async () => {
  const [authority, stranger] = [
    await createAuthority({ clock: systemClock, name: "test" }),
    await createAuthority({ clock: systemClock, name: "stranger" }),
  ];
  const server = await authority.issueServer(["inner.example.org"]);
  const own = await authority.issueClient("gateway.example.org", []);
  const backend = createHttpsServer(
    { cert: server.certPem, key: server.keyPem, ca: authority.caPem, requestCert: true, rejectUnauthorized: false },
    (incoming, response) => {
      const tls = incoming.socket as TLSSocket;
      response.end(`${tls.authorized} ${String(tls.getPeerCertificate().subject?.CN)} ${tls.servername || "none"}`);
    },
  );
  await listening(backend);
  const secrets = fleet.hub.client.resource(SecretKind);
  const keep = (name: string, texts: Record<string, string>) => {
    const data = Object.fromEntries(
      Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString("base64")]),
    );
    return secrets.create({ apiVersion: "v1", kind: "Secret", metadata: { name, ...inDemo }, data }, inDemo);
  };
  for (const name of ["one", "two"]) {
    const made = await authority.issueServer([`${name}.example.org`]);
    await keep(`cert-${name}`, { "tls.crt": made.certPem, "tls.key": made.keyPem });
  }
  await keep("ca", { "ca.crt": authority.caPem });
  await keep("stranger", { "ca.crt": stranger.caPem });
  await keep("own", { "tls.crt": own.certPem, "tls.key": own.keyPem });
  const url = `https://127.0.0.1:${portIn(backend)}`;
  const secure = (name: string, more: Partial<HeadIngress["spec"]>): Partial<HeadIngress["spec"]> => ({
    hosts: [`${name}.example.org`],
    path: "/",
    tls: { secretName: `cert-${name}` },
    backends: [{ name: "b", url }],
    ...more,
  });
  const backendTLS = { serverName: "inner.example.org", caSecretName: "ca", clientSecretName: "own" };
  await carry("one", secure("one", { backendTLS }));
  await carry("two", secure("two", { backendTLS: { serverName: "inner.example.org", caSecretName: "ca" } }));
  await carry("three", {
    backends: [{ name: "b", url }],
    backendTLS: { insecureSkipVerify: true },
  });
  const overTls = (host: string) =>
    new Promise<string>((resolve, reject) => {
      const to = { host: "127.0.0.1", port: portOf("head-tls"), servername: host, ca: authority.caPem, agent: false };
      const call = requestTls({ ...to, path: "/x", headers: { host } }, (response) => {
        let body = "";
        response.on("data", (piece: Buffer) => {
          body += piece.toString();
        });
        response.on("end", () => resolve(body));
      });
      call.on("error", reject);
      call.end();
    });
  // The client checks the name in the certificate: each host has its own.
  expect(await overTls("one.example.org")).toBe("true gateway.example.org inner.example.org");
  expect(await overTls("two.example.org")).toBe("false undefined inner.example.org");
  expect((await one("three", {})).body).toMatch(/^false undefined/);

  await heads().patch(
    "three",
    "merge",
    { spec: { backendTLS: { caSecretName: "stranger", insecureSkipVerify: null } } },
    inDemo,
  );
  const refused = await settled(
    "three",
    (found) => found.status?.backends?.[0]?.reason === "NotAnswering",
    "it is not trusted",
  );
  expect(refused.status?.backends?.[0]?.message).toMatch(/certificate|altnames/i);
});

test("shadows: a cluster's release gets copies of what goes to another, and the status counts them apart", async () => {
  const edge = models["edge"];
  const before = edge?.seen.length ?? 0;
  await carry("shadowed", {
    ...toDigits,
    weights: { cloud: 1, edge: 0 },
    shadows: [
      { name: "next", cluster: "edge", release: "v1", percent: 50 },
      { name: "gone", cluster: "edge", release: "v9" },
      { name: "both", cluster: "edge", url: "http://10.0.0.1" },
    ],
  });
  await settled("shadowed", (found) => found.status?.shadows?.[0]?.percentEffective === 50, "it is there");
  expect(await ask("shadowed", 10, { method: "POST" })).toEqual({ cloud: 10 });
  const head = await settled("shadowed", (found) => found.status?.shadows?.[0]?.compared === 5, "they are counted");
  expect(head.status?.shadows).toMatchObject([
    {
      name: "next",
      url: "http://digits-predict-v1.demo.edge.argosy.localhost:8081",
      copied: 5,
      failures: 0,
      differing: 0,
    },
    { name: "gone", percentEffective: 0, reason: "NoRelease" },
    { name: "both", percentEffective: 0, reason: "Invalid", message: "give either url or cluster" },
  ]);
  expect(head.status?.backends).toMatchObject([{ requests: 10 }, { requests: 0 }]);
  expect(edge?.seen.slice(before).map(({ shadow }) => shadow)).toEqual(["next", "next", "next", "next", "next"]);
});

async function listening(server: Server): Promise<void> {
  const sockets = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
}

function portIn(server: Server): number {
  const bound = server.address();
  return typeof bound === "object" ? (bound?.port ?? 0) : 0;
}

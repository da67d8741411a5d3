import { Agent, request } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock, systemRandom, virtualClock } from "../../kernel/clock/index.js";
import { createAuthority } from "../../kernel/identity/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import type { HttpRoute } from "../../kernel/module/types.js";
import { memoryLedger } from "../../stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { createNorthbound, createRouteServer, decisionRoutes, hubAuthority, type Northbound } from "./index.js";

const permission = { verb: "get", group: "test.argosy.dev", resource: "things" };

async function collect(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

let left = 0;
const routes: HttpRoute[] = [
  { method: "GET", path: "/open", anonymous: true, handle: async ({ user }) => ({ status: 200, body: user.username }) },
  { method: "GET", path: "/whoami", handle: async ({ user }) => ({ status: 200, body: JSON.stringify(user) }) },
  {
    method: "GET",
    path: "/things/:id",
    permission,
    handle: async ({ parameters }) => ({ status: 200, body: `thing ${parameters["id"]}` }),
  },
  {
    method: "POST",
    path: "/things/:id",
    permission: { ...permission, verb: "create" },
    handle: async ({ body }) => ({ status: 200, body: await collect(body) }),
  },
  { method: "GET", path: "/things/list", anonymous: true, handle: async () => ({ status: 200, body: "the list" }) },
  {
    method: "GET",
    path: "/files/*path",
    anonymous: true,
    handle: async ({ parameters }) => ({ status: 200, body: parameters["path"] ?? "" }),
  },
  {
    method: "PUT",
    path: "/echo",
    anonymous: true,
    maxBodyBytes: 10,
    handle: async ({ body }) => ({ status: 200, body }),
  },
  { method: "GET", path: "/broken", anonymous: true, handle: () => Promise.reject(new TypeError("secret detail")) },
  { method: "GET", path: "/silent", anonymous: true, handle: () => new Promise(() => {}) },
  {
    method: "GET",
    path: "/endless",
    anonymous: true,
    handle: async () => ({
      status: 200,
      body: (async function* () {
        try {
          for (;;) yield Buffer.alloc(65_536);
        } finally {
          left += 1;
        }
      })(),
    }),
  },
];

let cluster: TestCluster;
let server: Northbound;
let url: string;
let agent: Agent;
let certificate: { certPem: string; keyPem: string };

beforeAll(async () => {
  cluster = await startTestCluster({
    tokens: [
      { token: "ada-token", user: { username: "ada", groups: ["team"] } },
      { token: "bob-token", user: { username: "bob", groups: [] } },
    ],
  });
  await cluster.client.json("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "things" },
    rules: [{ apiGroups: ["test.argosy.dev"], resources: ["things"], verbs: ["get"] }],
  });
  await cluster.client.json("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "things" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "things" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "team" }],
  });
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  certificate = await authority.issueServer(["127.0.0.1"]);
  const common = { clock: systemClock, random: systemRandom, log: silentLogger, ...certificate, port: 0 };
  server = createNorthbound({ ...common, routes, hubClient: cluster.client });
  ({ url } = await server.start());
  agent = new Agent({ connect: { ca: authority.caPem } });
});

afterAll(async () => {
  await agent.destroy();
  await server.close();
  await cluster.close();
});

type Options = { method?: string; token?: string; body?: string; headers?: Record<string, string> };

async function call(path: string, { method = "GET", token, body, headers = {} }: Options = {}) {
  const response = await agent.request({
    origin: url,
    path,
    method: method as "GET",
    headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.body.text();
  return { status: response.statusCode, headers: response.headers, text };
}

const errorOf = (text: string): { error_code: string; message: string } => JSON.parse(text);

describe("who may do what", () => {
  test("anonymous routes need no token, all others do", async () => {
    expect((await call("/open")).text).toBe("system:anonymous");

    const refused = await call("/whoami");
    expect([refused.status, errorOf(refused.text).error_code, refused.headers["www-authenticate"]]).toEqual([
      401,
      "UNAUTHENTICATED",
      "Bearer",
    ]);
    const wrong = await call("/whoami", { token: "nonsense" });
    expect([wrong.status, errorOf(wrong.text).message]).toEqual([401, "the bearer token is not valid or has expired"]);
    expect((await call("/whoami", { headers: { authorization: "Basic YTpi" } })).status).toBe(401);
  });

  test("the hub knows the caller and its groups", async () => {
    const answer = await call("/whoami", { token: "ada-token" });

    expect(JSON.parse(answer.text)).toMatchObject({
      username: "ada",
      groups: expect.arrayContaining(["team", "system:authenticated"]),
    });
  });

  test("the hub's RBAC decides, and the refusal says what is missing", async () => {
    expect((await call("/things/7", { token: "ada-token" })).text).toBe("thing 7");

    const refused = await call("/things/7", { token: "ada-token", method: "POST", body: "x" });
    expect([refused.status, errorOf(refused.text).error_code]).toEqual([403, "PERMISSION_DENIED"]);
    expect(errorOf(refused.text).message).toContain('user "ada" may not create things.test.argosy.dev');
    expect((await call("/things/7", { token: "bob-token" })).status).toBe(403);
    expect((await call("/metrics", { token: "bob-token" })).status).toBe(403);
    expect((await call("/metrics", { token: cluster.server.adminToken })).text).toContain(
      "argosy_northbound_request_seconds",
    );
  });

  test("asks the hub once for a while, and again later", async () => {
    const clock = virtualClock(0);
    let asked = 0;
    const counting = hubAuthority({
      clock,
      hubClient: {
        ...cluster.client,
        json: (...args) => {
          asked += 1;
          return cluster.client.json(...args);
        },
      },
    });

    await Promise.all([counting.authenticate("ada-token"), counting.authenticate("ada-token")]);
    await counting.authenticate("ada-token");
    expect(asked).toBe(1);
    await clock.advance(11_000);
    await counting.authenticate("ada-token");

    expect(asked).toBe(2);
  });

  test("says so when the hub cannot be asked", async () => {
    const other = createRouteServer({
      routes,
      authority: {
        authenticate: () => Promise.reject(new Error("connection refused")),
        authorize: () => Promise.reject(new Error("no")),
      },
      ...certificate,
      port: 0,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    const { url: otherUrl } = await other.start();

    const response = await request(`${otherUrl}/whoami`, { headers: { authorization: "Bearer x" }, dispatcher: agent });

    expect(response.statusCode).toBe(503);
    expect(await response.body.json()).toMatchObject({ error_code: "TEMPORARILY_UNAVAILABLE" });
    await other.close();
  });
});

describe("requests and answers", () => {
  test("routes by raw paths, the more special route first, and never normalises", async () => {
    expect((await call("/things/list")).text).toBe("the list");
    expect((await call("/files/a%20b/../%2e%2e//c")).text).toBe("a b/../..//c");
    expect((await call("/files/%zz")).status).toBe(400);
    const wrongMethod = await call("/things/list", { method: "DELETE" });
    expect([wrongMethod.status, wrongMethod.headers["allow"]]).toEqual([405, "GET"]);
    expect(errorOf((await call("/nowhere")).text).error_code).toBe("ENDPOINT_NOT_FOUND");
    const head = await call("/open", { method: "HEAD" });
    expect([head.status, head.text]).toEqual([200, ""]);
  });

  test("streams bodies and bounds them", async () => {
    expect((await call("/echo", { method: "PUT", body: "0123456789" })).text).toBe("0123456789");

    const tooLarge = await call("/echo", { method: "PUT", body: "x".repeat(11) });
    expect([tooLarge.status, errorOf(tooLarge.text).error_code]).toEqual([413, "REQUEST_TOO_LARGE"]);
  });

  test("an answer that nobody reads to its end is stopped", async () => {
    const response = await agent.request({ origin: url, path: "/endless", method: "GET" });
    for await (const _ of response.body) break;

    await expect.poll(() => left).toBe(1);
  });

  test("faults of the server tell nothing but a number to look up", async () => {
    const answer = await call("/broken", { headers: { "x-request-id": "mine-1" } });

    expect([answer.status, answer.headers["x-request-id"]]).toEqual([500, "mine-1"]);
    expect(answer.text).not.toContain("secret detail");
    expect(answer.text).toContain("mine-1");
  });

  test("a call that does nothing is ended", async () => {
    const clock = virtualClock(0);
    const other = createRouteServer({
      routes,
      authority: { authenticate: async () => undefined, authorize: async () => ({ allowed: false, reason: "" }) },
      ...certificate,
      port: 0,
      clock,
      random: systemRandom,
      log: silentLogger,
    });
    const { url: otherUrl } = await other.start();

    const pending = request(`${otherUrl}/silent`, { dispatcher: agent });
    const ended = expect.poll(async () => {
      await clock.advance(130_000);
      return Promise.race([pending.then((r) => r.statusCode), new Promise((resolve) => setImmediate(resolve, 0))]);
    });

    await ended.toBe(504);
    await (await pending).body.dump();
    const closing = other.close();
    await clock.advance(6000);
    await closing;
  });

  test("two servers cannot have one port", async () => {
    const { port } = new URL(url);
    const other = createNorthbound({
      routes,
      hubClient: cluster.client,
      ...certificate,
      port: Number(port),
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });

    await expect(other.start()).rejects.toMatchObject({ code: "PortInUse" });
  });
});

test("decisions are listed by what they are about, and wrong questions refused", async () => {
  const ledger = memoryLedger({ clock: systemClock });
  const [route] = decisionRoutes(ledger);
  ledger.record({
    cluster: "hub",
    about: { apiVersion: "v1", kind: "Pod", namespace: "d", name: "a" },
    topic: "placement",
    rule: "r",
    inputs: {},
    outcome: "o",
    winners: [],
    losers: [],
  });
  const ask = async (query: string) => {
    const answer = await route?.handle({
      method: "GET",
      path: "",
      parameters: {},
      query: new URLSearchParams(query),
      headers: {},
      user: { username: "", groups: [] },
      body: (async function* () {})(),
      signal: new AbortController().signal,
    });
    return { status: answer?.status, body: JSON.parse(answer?.body as string) };
  };

  expect((await ask("kind=Pod&name=a&namespace=d")).body.decisions).toHaveLength(1);
  expect((await ask("kind=Node")).body.decisions).toEqual([]);
  expect(await ask("limit=0")).toMatchObject({ status: 400 });
  expect((await ask("knd=Pod")).body.message).toContain('unknown parameter "knd"');
});

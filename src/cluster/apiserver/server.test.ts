import type { IncomingMessage } from "node:http";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { Agent, request as httpsRequest } from "node:https";
import { createServer } from "node:net";
import { gunzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { httpTransport, type Transport } from "../../kernel/client/index.js";
import { seededRandom, systemClock, virtualClock } from "../../kernel/clock/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { silentLogger } from "../../kernel/log/index.js";
import { type ApiServer, createApiServer, ListenError } from "./index.js";

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startServer(clock = systemClock): Promise<ApiServer> {
  const server = await createApiServer({
    clusterName: "test",
    clock,
    random: seededRandom(7),
    log: silentLogger,
    serviceCidr: "198.19.0.0/24",
    tokens: [{ token: "viewer-token", user: { username: "viewer", groups: [] } }],
    authorization: "rbac",
  });
  closers.push(() => server.close());
  return server;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly raw: Buffer;
  readonly body: JsonObject;
}

interface Ask {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Json | Buffer;
  readonly agent?: Agent;
}

/** One request over TLS and HTTP/1.1, as the administrator unless headers say otherwise. */
function ask(server: ApiServer, url: string, method: string, path: string, how: Ask = {}): Promise<Answer> {
  const { body } = how;
  const bytes = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      `${url}${path}`,
      {
        method,
        ca: server.caPem,
        headers: { authorization: `Bearer ${server.adminToken}`, ...how.headers },
        ...(how.agent === undefined ? {} : { agent: how.agent }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          const raw = Buffer.concat(chunks);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, raw, body: parsed(raw) });
        });
      },
    );
    request.on("error", reject);
    request.end(bytes);
  });
}

function parsed(raw: Buffer): JsonObject {
  try {
    return JSON.parse(raw.toString()) as JsonObject;
  } catch {
    return {};
  }
}

const configMaps = "/api/v1/namespaces/default/configmaps";
const configMap = (name: string, data: JsonObject = {}): JsonObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  data,
});

test("answers over HTTP/1.1 and HTTP/2 on one port, and knows strangers from friends", async () => {
  const server = await startServer();
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });

  const made = await ask(server, url, "POST", configMaps, { body: configMap("a", { x: "ü" }) });
  const anonymous = await ask(server, url, "GET", configMaps, { headers: { authorization: "" } });
  const wrong = await ask(server, url, "GET", configMaps, { headers: { authorization: "Bearer nonsense" } });
  const viewer = await ask(server, url, "GET", configMaps, { headers: { authorization: "Bearer viewer-token" } });
  const session: ClientHttp2Session = connectHttp2(url, { ca: server.caPem });
  closers.push(() => session.destroy());
  const second = await new Promise<string>((resolve) => {
    const stream = session.request({ ":path": `${configMaps}/a`, authorization: `Bearer ${server.adminToken}` });
    let text = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => (text += chunk));
    stream.on("end", () => resolve(text));
    stream.end();
  });

  expect(made.status).toBe(201);
  expect(made.body["data"]).toEqual({ x: "ü" });
  expect([anonymous.status, wrong.status, viewer.status]).toEqual([403, 401, 403]);
  expect(viewer.body["message"]).toBe(
    'configmaps is forbidden: User "viewer" cannot list resource "configmaps" in API group "" in the namespace "default"',
  );
  expect(JSON.parse(second)).toMatchObject({ kind: "ConfigMap", data: { x: "ü" } });
});

test("a client certificate of the cluster's CA is a user; another's is nobody", async () => {
  const server = await startServer();
  const other = await startServer();
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
  const withCertificate = async (issuer: ApiServer): Promise<number> => {
    const { certPem, keyPem } = await issuer.issueClientCertificate("jane", ["system:masters"]);
    const agent = new Agent({ ca: server.caPem, cert: certPem, key: keyPem });
    closers.push(() => agent.destroy());
    return (await ask(server, url, "GET", configMaps, { headers: { authorization: "" }, agent })).status;
  };

  const { certPem, keyPem } = await server.issueClientCertificate("jane", ["system:masters"]);
  const session = connectHttp2(url, { ca: server.caPem, cert: certPem, key: keyPem });
  closers.push(() => session.destroy());
  const overHttp2 = await new Promise<unknown>((resolve, reject) => {
    const stream = session.request({ ":path": configMaps });
    stream.once("response", (headers) => resolve(headers[":status"]));
    stream.once("error", reject);
    stream.resume();
  });

  expect(overHttp2).toBe(200);
  expect(await withCertificate(server)).toBe(200);
  expect(await withCertificate(other)).toBe(401);
});

test("refused upgrades are a Status, in this process and over TLS", async () => {
  const server = await startServer();
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
  const path = "/api/v1/namespaces/default/pods/nope/exec?command=ls";
  const outside = httpTransport({ server: url, caPem: server.caPem, token: server.adminToken });
  const inside = server.transport(server.adminToken);
  closers.push(
    () => outside.close(),
    () => inside.close(),
  );
  const refusal = (transport: Transport): Promise<unknown> =>
    transport.upgrade(path, ["v5.channel.k8s.io"]).catch((error: unknown) => error);

  expect(await refusal(inside)).toMatchObject({ httpCode: 404, message: 'pods "nope" not found' });
  expect(await refusal(outside)).toMatchObject({ httpCode: 404, message: 'pods "nope" not found' });
});

test("a taken port is a typed error that names it", async () => {
  const server = await startServer();
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  closers.push(() => void taken.close());
  const address = taken.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;

  const failure = await server.listen({ host: "127.0.0.1", port }).catch((error: unknown) => error);

  expect(failure).toBeInstanceOf(ListenError);
  expect(failure).toMatchObject({ code: "PortInUse", port });
});

test("hostile bodies are answered, never fatal", async () => {
  const server = await startServer();
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
  const post = async (body: Buffer, headers: Record<string, string> = {}): Promise<number> =>
    (await ask(server, url, "POST", configMaps, { body, headers })).status;

  expect(await post(Buffer.alloc(3 * 1024 * 1024 + 1, 0x20))).toBe(413);
  expect(await post(Buffer.from("{"))).toBe(400);
  expect(await post(Buffer.from([0xff, 0xfe, 0x00]))).toBe(400);
  expect(await post(Buffer.from("[".repeat(200_000)))).toBe(400);
  expect(await post(Buffer.from(`${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`))).toBe(400);
  expect(await post(Buffer.from("x"), { "content-type": "text/html" })).toBe(415);
  expect((await ask(server, url, "GET", "/api/v1/namespaces/%zz/pods")).status).toBe(400);
  expect((await ask(server, url, "GET", "/nowhere")).status).toBe(404);
  expect((await ask(server, url, "GET", "/livez")).status).toBe(200);
});

test("member names that JavaScript holds dear are data like any other", async () => {
  const server = await startServer();
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
  const body = Buffer.from(
    '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"p"},"data":{"constructor":"a","__proto__":"b"}}',
  );

  await ask(server, url, "POST", configMaps, { body });
  const patched = await ask(server, url, "PATCH", `${configMaps}/p`, {
    body: Buffer.from('{"data":{"toString":"c"}}'),
    headers: { "content-type": "application/merge-patch+json" },
  });

  expect(patched.raw.toString()).toContain('"constructor":"a"');
  expect(patched.raw.toString()).toContain('"toString":"c"');
  expect(({} as Record<string, unknown>)["b"]).toBeUndefined();
});

test("large lists are compressed for those who take it", async () => {
  const server = await startServer();
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
  await ask(server, url, "POST", configMaps, { body: configMap("big", { filler: "x".repeat(300_000) }) });

  const plain = await ask(server, url, "GET", configMaps);
  const packed = await ask(server, url, "GET", configMaps, { headers: { "accept-encoding": "gzip" } });

  expect(packed.headers["content-encoding"]).toBe("gzip");
  expect(packed.raw.length).toBeLessThan(20_000);
  expect(gunzipSync(packed.raw).toString()).toBe(plain.raw.toString());
});

test("a watcher that does not read is disconnected", { timeout: 60_000 }, async () => {
  const server = await startServer();
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
  const transport = server.transport(server.adminToken);
  closers.push(() => transport.close());
  const send = (method: string, path: string, type: string, body: JsonObject): Promise<unknown> =>
    transport.request({ method, path, headers: { "content-type": type }, body: JSON.stringify(body) });
  await send("POST", configMaps, "application/json", configMap("big", { filler: "x".repeat(900_000) }));
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { authorization: `Bearer ${server.adminToken}` };
    httpsRequest(`${url}${configMaps}?watch=1`, { ca: server.caPem, headers }, resolve).once("error", reject).end();
  });

  // Some megabytes fit into the sockets; what is beyond the limit on top of that must not be kept for ever.
  for (let index = 0; index < 60; index++) {
    const patch = { data: { count: String(index) } };
    await send("PATCH", `${configMaps}/big`, "application/merge-patch+json", patch);
  }
  const ended = new Promise((resolve) => {
    response.once("close", resolve);
    response.once("error", () => undefined);
  });
  response.resume();
  await ended;

  expect(response.complete).toBe(false);
});

test("an idle server keeps no timers running but its certificates'", async () => {
  const clock = virtualClock(Date.UTC(2026, 0, 1));
  await startServer(clock);
  await startServer(clock);

  const before = clock.pendingTimers;
  await clock.advance(3_600_000);

  // One certificate each, looked at every six hours.
  expect(before).toBeLessThanOrEqual(4);
  expect(clock.pendingTimers).toBe(before);
});

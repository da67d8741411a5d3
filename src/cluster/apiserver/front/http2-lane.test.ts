import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { type Listener, listen } from "./listener.js";
import { startListening } from "./listening.fixture.js";

const quietMs = 150;
/** What the server has not answered yet. */
const pending: AbortSignal[] = [];
let listener: Listener;
beforeAll(async () => {
  const authority = await createAuthority({ clock: systemClock, name: "sessions" });
  listener = await listen({
    ...(await authority.issueServer(["127.0.0.1"])),
    host: "127.0.0.1",
    port: 0,
    caPem: authority.caPem,
    target: {
      handle: async ({ path, signal }) => {
        pending.push(signal);
        if (path === "/never") await new Promise((resolve) => signal.addEventListener("abort", resolve));
        return { status: 200, headers: {}, body: Buffer.from(path) };
      },
      upgrade: () => Promise.reject(new Error("none")),
    },
    clock: systemClock,
    log: silentLogger,
    quietMs,
  });
});
afterAll(() => listener.close());

async function open(): Promise<TLSSocket> {
  const socket = connect({
    host: "127.0.0.1",
    port: listener.port,
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
  });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket.resume();
}

const start = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");
const data = Buffer.from("\0\0\x01\0\0\0\0\0\x01x", "latin1");
const headers = Buffer.from([0, 0, 13, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 0x04, 6, ...Buffer.from("/never"), 0x01, 1, 0x78]);

test.each([
  ["that says nothing", 0, Buffer.alloc(0), Buffer.alloc(0)],
  ["that begins and says no more", 0, start, Buffer.alloc(0)],
  ["that breaks the protocol", 0, Buffer.concat([start, data]), Buffer.alloc(0)],
  [
    "that breaks the protocol while it waits for an answer",
    1,
    Buffer.concat([start, headers]),
    Buffer.concat([data, data]),
  ],
])("a client over HTTP/2 %s is let go", async (_, asked, bytes, more) => {
  const socket = await open();
  socket.write(bytes);
  if (asked > 0) await expect.poll(() => pending).toHaveLength(asked);
  socket.write(more);
  await once(socket, "close");

  expect(pending.splice(0).map((signal) => signal.aborted)).toEqual(Array.from({ length: asked }, () => true));
});

test("one that is there may be as quiet as it likes", async () => {
  const session = connectHttp2(`https://127.0.0.1:${listener.port}`, { rejectUnauthorized: false });
  const waiting = session.request({ ":path": "/never" });
  waiting.on("error", () => undefined);
  // Whoever says nothing is let go: by then this session has been quiet as long, three times over.
  for (let round = 0; round < 3; round++) await once(await open(), "close");
  const next = session.request({ ":path": "/next" });
  const [{ ":status": status }] = (await once(next, "response")) as [Record<string, number>];
  session.destroy();

  expect(status).toBe(200);
  expect(waiting.rstCode).not.toBe(2);
});

const { server, url } = await startListening();
const maps = "/api/v1/namespaces/default/configmaps";
const authorization = (): string => `Bearer ${server.adminToken}`;

type Answer = { readonly headers: Record<string, string | number>; readonly body: string };

function session(options: object = {}): ClientHttp2Session {
  const made = connectHttp2(url, { rejectUnauthorized: false, ...options });
  onTestFinished(() => made.destroy());
  return made;
}

async function ask(by: ClientHttp2Session, headers: Record<string, string | string[]>, body?: Buffer): Promise<Answer> {
  const stream = by.request({ authorization: authorization(), ...headers }, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  const [answered] = (await once(stream, "response")) as [Record<string, string | number>];
  const pieces: Buffer[] = [];
  for await (const piece of stream as AsyncIterable<Buffer>) pieces.push(piece);
  return { headers: answered, body: Buffer.concat(pieces).toString() };
}

const post = (name: string, payload: string): [Record<string, string>, Buffer] => [
  { ":method": "POST", ":path": maps, "content-type": "application/json" },
  Buffer.from(JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { payload } })),
];

test("requests of all methods are answered over one connection", async () => {
  const by = session();
  const made = await ask(by, ...post("one", "x".repeat(200_000)));
  const path = `${maps}/one`;
  const read = await ask(by, { ":path": path });
  const head = await ask(by, { ":method": "HEAD", ":path": path });
  const patch = { ":method": "PATCH", ":path": path, "content-type": "application/merge-patch+json" };
  const patched = await ask(by, patch, Buffer.from('{"data":{"payload":"y"}}'));
  const deleted = await ask(by, { ":method": "DELETE", ":path": path });
  const missing = await ask(by, { ":path": path });

  const statuses = [made, read, head, patched, deleted, missing].map(({ headers }) => headers[":status"]);
  expect(statuses).toEqual([201, 200, 405, 200, 200, 404]);
  expect(JSON.parse(read.body)).toMatchObject({ data: { payload: "x".repeat(200_000) } });
  expect([read.headers["content-length"], head.body]).toEqual([String(read.body.length), ""]);
  expect(Number(head.headers["content-length"])).toBeGreaterThan(0);
  expect(Object.keys(read.headers)).toContain("date");
  expect(Object.keys(read.headers)).not.toContain("connection");
});

test("fields that come more than once are told one by one", async () => {
  const groups = ["system:masters", "a, b"];
  const headers = { ":method": "POST", ":path": "/apis/authentication.k8s.io/v1/selfsubjectreviews" };
  const as = { "impersonate-user": "ann", "impersonate-group": groups, "content-type": "application/json" };
  const body = Buffer.from('{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}');
  const answer = await ask(session(), { ...headers, ...as }, body);

  expect(JSON.parse(answer.body)).toMatchObject({
    status: { userInfo: { username: "ann", groups: expect.arrayContaining(groups) as unknown } },
  });
});

test("a body that is too large is refused, and its connection serves on", async () => {
  const by = session();
  const answer = await ask(by, ...post("large", "x".repeat(5_000_000)));
  expect([answer.headers[":status"], answer.body]).toEqual([413, expect.stringContaining("too large")]);
  expect((await ask(by, { ":path": "/version" })).headers[":status"]).toBe(200);
});

test("who takes a long list holds nobody up on the same connection, and may stop in the midst of it", async () => {
  const by = session({ settings: { initialWindowSize: 1 << 24 } });
  for (let index = 0; index < 20; index++) await ask(by, ...post(`part-${index}`, "z".repeat(500_000)));
  const lists = Array.from({ length: 4 }, () => by.request({ ":path": maps, authorization: authorization() }));
  const sizes = lists.map(async (stream, index) => {
    let size = 0;
    stream.on("error", () => undefined);
    for await (const piece of stream as AsyncIterable<Buffer>) {
      size += piece.byteLength;
      if (index === 0) stream.close(8);
    }
    return size;
  });
  const small = await ask(by, { ":path": "/version" });
  expect(small.headers[":status"]).toBe(200);
  const [stopped = 0, ...whole] = await Promise.all(sizes.map((size) => size.catch(() => 0)));
  expect(stopped).toBeLessThan(10_000_000);
  expect(whole.every((size) => size > 10_000_000)).toBe(true);
});

test("a client's certificate says who it is", async () => {
  const { certPem, keyPem } = await server.issueClientCertificate("ann", ["system:masters"]);
  const by = session({ cert: certPem, key: keyPem });
  const stream = by.request({ ":path": `${maps}?limit=1` });
  const [answered] = (await once(stream, "response")) as [Record<string, number>];
  expect(answered[":status"]).toBe(200);
});

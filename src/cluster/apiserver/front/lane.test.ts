import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { startListening } from "./listening.fixture.js";

const { clock, server, url } = await startListening();
const port = Number(new URL(url).port);

async function open(): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

/** Reads until the answers hold `last`, or to the end of the connection. */
async function readTo(socket: TLSSocket, last: string): Promise<string> {
  let text = "";
  return new Promise((resolve) => {
    const done = (): void => resolve(text);
    socket.on("close", done);
    socket.on("data", function onData(chunk: Buffer) {
      text += chunk.toString("latin1");
      if (!text.includes(last)) return;
      socket.off("close", done);
      socket.off("data", onData);
      done();
    });
  });
}

const authorization = (): string => `Authorization: Bearer ${server.adminToken}\r\n`;
const get = (path: string, more = ""): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${authorization()}${more}\r\n`;
const post = (path: string, body: string, more = ""): string =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\n${authorization()}Content-Type: application/json\r\n${more}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const maps = "/api/v1/namespaces/default/configmaps";
const map = (name: string, payload = ""): string =>
  JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { payload } });
const goodbye = (): string => get("/livez", "Connection: close\r\n");

/** The next answer, as its framing says. */
async function readAnswer(socket: TLSSocket): Promise<{ head: string; body: string }> {
  let text = "";
  return new Promise((resolve) => {
    socket.on("data", function onData(chunk: Buffer) {
      text += chunk.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = text.slice(0, end);
      const body = text.slice(end + 4);
      const length = /content-length: (\d+)/.exec(head)?.[1];
      if (length === undefined ? !body.endsWith("0\r\n\r\n") : body.length < Number(length)) return;
      socket.off("data", onData);
      resolve({ head, body });
    });
  });
}

test("one connection serves plain requests, short and long, one after the other", async () => {
  const socket = await open();
  const long = "x".repeat(12_000);
  const answers: { head: string; body: string }[] = [];
  for (const bytes of [
    post(maps, map("plain-ü")),
    post(maps, map("fine")),
    post(maps, map("long", long)),
    get(`${maps}/long`),
    ...Array.from({ length: 8 }, (_, index) => post(maps, map(`long-${index}`, long))),
    get(maps),
    get(`${maps}/none`),
  ]) {
    socket.write(bytes);
    answers.push(await readAnswer(socket));
  }
  socket.destroy();
  const bodies = answers.map(({ head, body }) =>
    /transfer-encoding: chunked/.test(head) ? body.replaceAll(/(^|\r\n)[0-9a-f]+\r\n/g, "") : body,
  );
  const objects = bodies.map((body) => JSON.parse(body) as Record<string, unknown>);

  const made = Array.from({ length: 8 }, () => "201");
  expect(answers.map(({ head }) => head.slice(9, 12))).toEqual(["422", "201", "201", "200", ...made, "200", "404"]);
  expect(objects[3]).toMatchObject({ metadata: { name: "long" }, data: { payload: long } });
  expect(objects[12]).toMatchObject({ kind: "ConfigMapList" });
  expect(Object.values(objects[12]?.["items"] ?? [])).toHaveLength(10);
  expect(answers[1]?.head).toMatch(/date: Thu, 01 Jan 2026/);
});

/** What comes back to the bytes on a connection that has been used before, without what may differ by time. */
async function answersTo(first: string, bytes: readonly string[]): Promise<string> {
  const socket = await open();
  socket.write(first);
  await readTo(socket, "\r\n\r\n");
  const answers = readTo(socket, "nothing");
  for (const piece of bytes) socket.write(piece);
  return [...(await answers).matchAll(/HTTP\/1\.1 \d+[^\r]*|"message":"[^"]*"|gitVersion/g)]
    .map(([all]) => all)
    .join("\n");
}

/** Names that are free in both runs. */
let run = 0;
function inTwo(name: string, behind: string): string[] {
  const bytes = post(maps, map(name));
  return [bytes.slice(0, -20), bytes.slice(-20) + behind, ...(behind === "" ? [goodbye()] : [])];
}
const odd: readonly [string, () => readonly string[]][] = [
  ["a head in two pieces", () => [get("/version").slice(0, 30), get("/version").slice(30) + goodbye()]],
  ["two requests at once", () => [get("/version") + get("/version") + goodbye()]],
  ["requests that do not wait", () => [get("/version"), post(maps, map(`early-${run}`)), get("/version"), goodbye()]],
  ["a head, and then its body", () => inTwo(`after-${run}`, "")],
  ["a body in two pieces, and a request behind it", () => inTwo(`before-${run}`, goodbye())],
  [
    "a body in chunks",
    () => [
      `POST ${maps} HTTP/1.1\r\nHost: x\r\n${authorization()}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`,
      `${map(`chunked-${run}`).length.toString(16)}\r\n${map(`chunked-${run}`)}\r\n0\r\n\r\n${goodbye()}`,
    ],
  ],
  ["a body that is expected", () => [post(maps, map(`expected-${run}`), "Expect: 100-continue\r\n") + goodbye()]],
  ["a body of many pieces", () => [post(maps, map(`pieces-${run}`, "y".repeat(60_000))), goodbye()]],
  ["a body that is too long", () => [post(maps, "z".repeat(4 * 1024 * 1024)), goodbye()]],
  ["no host", () => ["GET /version HTTP/1.1\r\n\r\n", goodbye()]],
  ["no HTTP", () => ["hello\r\n\r\n"]],
  ["two lengths", () => [post(maps, map("smuggled"), "Content-Length: 3\r\n") + goodbye()]],
  ["a length and chunks", () => [post(maps, map("smuggled"), "Transfer-Encoding: chunked\r\n") + goodbye()]],
  ["HTTP/1.0", () => [get("/version").replace("HTTP/1.1", "HTTP/1.0")]],
  [
    "HEAD and OPTIONS",
    () => [get("/version").replace("GET", "HEAD"), get("/version").replace("GET", "OPTIONS"), goodbye()],
  ],
  ["an upgrade", () => [get(`${maps}/none`, "Connection: Upgrade\r\nUpgrade: websocket\r\n")]],
  ["no token", () => ["GET /api HTTP/1.1\r\nHost: x\r\n\r\n", goodbye()]],
];
test.each(odd)("whatever else comes is answered as by node's server: %s", async (_, bytes) => {
  run++;
  const onLane = await answersTo(get("/livez"), bytes());
  run++;
  const byNode = await answersTo(get("/livez").replace("GET", "HEAD"), bytes());

  expect(onLane.replaceAll(/-\d+/g, "")).toBe(byNode.replaceAll(/-\d+/g, ""));
  expect(onLane).not.toBe("");
});

test("a client that goes away ends what is made for it", async () => {
  const before = server.revision;
  const socket = await open();
  socket.write(get(`${maps}?watch=1&resourceVersion=${before}`));
  await readTo(socket, "\r\n\r\n");
  const timers = clock.pendingTimers;
  socket.destroy();
  await clock.runUntil(() => clock.pendingTimers < timers, 60_000);

  expect(clock.pendingTimers).toBeLessThan(timers);
});

test("whoever sends nothing is let go: soon at first, later between requests", async () => {
  const silent = await open();
  const idle = await open();
  idle.write(get("/livez"));
  await readTo(idle, "\r\n\r\nok");
  const silentEnd = once(silent, "close");
  await clock.advance(40_000);
  await silentEnd;
  expect(idle.destroyed).toBe(false);
  const idleEnd = once(idle, "close");
  await clock.advance(45_000);
  await idleEnd;
});

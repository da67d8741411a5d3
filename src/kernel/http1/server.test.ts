import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemClock, virtualClock } from "../clock/index.js";
import type { Clock } from "../clock/types.js";
import { createHttp1Server, type Http1Answer, type Http1Request, type Http1Server, HttpError } from "./index.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type AnswerFunction = (request: Http1Request) => Http1Answer | Promise<Http1Answer>;

const echo: AnswerFunction = async (request) => ({
  status: 200,
  type: "text/plain",
  body: `${request.method} ${request.target} ${(await request.readBody(1000)).toString()}`,
});

async function serve(
  answer: AnswerFunction,
  clock: Clock = systemClock,
): Promise<{ server: Http1Server; port: number }> {
  const fail = (error: unknown): Http1Answer =>
    error instanceof HttpError
      ? { status: error.status, headers: error.headers, body: error.message }
      : { status: 500, body: "fault" };
  const server = createHttp1Server({ clock, answer, fail });
  const port = await server.listen(0, "127.0.0.1");
  closers.push(() => server.close(0));
  return { server, port };
}

/** A connection: what it was sent so far, and a promise of its end. */
async function dial(
  port: number,
): Promise<{ socket: Socket; text: () => string; until: (part: string) => Promise<void>; ended: Promise<unknown> }> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  closers.push(() => socket.destroy());
  let text = "";
  const ended = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => (text += chunk.toString("latin1")));
  socket.on("end", () => socket.end());
  await once(socket, "connect");
  const until = async (part: string): Promise<void> => {
    while (!text.includes(part)) await once(socket, "data");
  };
  return { socket, text: () => text, until, ended };
}

const withoutDate = (text: string): string => text.replaceAll(/date: [^\r]*GMT\r\n/g, "");

test("a head that comes again is the same with another body, and one that differs in a letter is another", async () => {
  const { port } = await serve(async (request) => ({
    status: 200,
    body: `${request.target} ${request.header("x-name")} ${(await request.readBody(1000)).toString()}`,
  }));
  const { socket, text, until } = await dial(port);
  const post = (path: string, name: string, body: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\nX-Name: ${name}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const sent = [post("/a", "n", "one"), post("/a", "n", "two"), post("/b", "n", "two"), post("/b", "m", "two")];

  socket.write(sent.join(""));
  await until("/b m two");
  // In pieces that end within the head, and within the body.
  for (const piece of [sent[3]?.slice(0, 20), sent[3]?.slice(20, -1), "x"]) {
    socket.write(piece ?? "");
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until("/b m twx");

  expect(
    text()
      .match(/^\/.*$/gm)
      ?.map((line) => line.replace(/HTTP.*/, "")),
  ).toEqual([...["/a n one", "/a n two", "/b n two", "/b m two", "/b m twx"]]);
});

test("requests of one connection are answered in order, pipelined, cut up and chunked ones too", async () => {
  const { port } = await serve(echo);
  const { socket, text, until } = await dial(port);
  const bytes = [
    "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    "\r\nGET /b?c HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nde\r\n1\r\nf\r\n0\r\nX: 1\r\n\r\n",
    "GET /e HTTP/1.1\r\nHost: x\r\n\r\n",
  ].join("");
  for (const byte of bytes) socket.write(byte);
  await until("GET /e ");
  socket.write(bytes);
  await until("POST /d def");
  while (text().split("GET /e ").length < 3) await once(socket, "data");

  const bodies = [...text().matchAll(/\r\n\r\n([^\r]*?)(?=HTTP\/1\.1|$)/g)].map(([, body]) => body);
  expect(bodies).toEqual([1, 2].flatMap(() => ["POST /a abc", "GET /b?c ", "POST /d def", "GET /e "]));
});

test("an answer has its length in bytes, and to HEAD no body", async () => {
  const { port } = await serve(({ target }) => ({
    status: target === "/none" ? 204 : 200,
    headers: { "x-a": "b" },
    body: target === "/bytes" ? Buffer.from([0xff, 0]) : target === "/none" ? "" : "grün",
  }));
  const { socket, text, ended } = await dial(port);
  for (const line of ["GET /", "HEAD /", "GET /bytes"]) socket.write(`${line} HTTP/1.1\r\nHost: x\r\n\r\n`);
  socket.write("GET /none HTTP/1.0\r\n\r\n");
  await ended;

  const head = (length: number) =>
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\nx-a: b\r\n\r\n`;
  expect(text()).toMatch(/\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/);
  expect(withoutDate(text())).toBe(
    `${head(5)}gr${Buffer.from("ü").toString("latin1")}n${head(5)}${head(2)}\xff\0HTTP/1.1 204 No Content\r\ncontent-type: application/json\r\ncontent-length: 0\r\nx-a: b\r\nconnection: close\r\n\r\n`,
  );
});

test.each([
  ["no HTTP", "GARBAGE\r\n\r\n", 400],
  ["HTTP/0.9", "GET / HTTP/0.9\r\n\r\n", 505],
  ["a tunnel", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501],
  ["a fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
  ["two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400],
  ["chunks that are none", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400],
  ["a head without end", `GET / HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(40_000)}`, 431],
  ["a length beyond the limit", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413],
  [
    "chunks beyond the limit",
    `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3f0\r\n${"a".repeat(1008)}\r\n`,
    413,
  ],
])("what cannot be read or is too much is refused, and the connection ends: %s", async (_, bytes, status) => {
  const { port } = await serve(echo);
  const { socket, text, ended } = await dial(port);
  socket.write(bytes);
  await ended;

  expect(text()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*\\r\\nconnection: close\\r\\n`));
});

test("a client that expects 100-continue is told to go on only when its body is wanted", async () => {
  const { port } = await serve((request) => (request.target === "/no" ? { status: 403, body: "" } : echo(request)));
  const ask = async (path: string) => {
    const connection = await dial(port);
    connection.socket.write(`PUT ${path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n`);
    return connection;
  };
  const [yes, no] = [await ask("/yes"), await ask("/no")];
  await yes.until("100 Continue\r\n\r\n");
  yes.socket.write("ab");
  await yes.until("PUT /yes ab");
  await no.ended;

  expect(no.text()).toMatch(/^HTTP\/1\.1 403 /);
});

test("a body that nobody reads costs little memory, and its answer is not lost", async () => {
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { port } = await serve(async () => {
    await gate;
    return { status: 404, body: "nothing here" };
  });
  const { socket, text, ended } = await dial(port);
  const size = 64 * 2 ** 20;
  socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`);
  socket.write(Buffer.alloc(size));
  for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve));
  const waiting = socket.writableLength;
  release();
  await ended;

  expect(waiting).toBeGreaterThan(0);
  expect(text()).toMatch(/^HTTP\/1\.1 404 [\s\S]*nothing here$/);
});

test("a body that is cut short rejects its reader; what fails is answered by `fail`", async () => {
  const { port } = await serve(async (request) => {
    if (request.target === "/fault") throw new TypeError("secret");
    if (request.target === "/header") return { status: 200, headers: { "x-a": "b\r\nset-cookie: c" }, body: "d" };
    return { status: 200, body: await request.readBody(10) };
  });
  const [cut, fault, header] = [await dial(port), await dial(port), await dial(port)];
  cut.socket.end("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
  fault.socket.end("GET /fault HTTP/1.1\r\nHost: x\r\n\r\n");
  header.socket.end("GET /header HTTP/1.1\r\nHost: x\r\n\r\n");
  await Promise.all([cut.ended, fault.ended, header.ended]);

  expect(cut.text()).toMatch(/^HTTP\/1\.1 400 [\s\S]*the connection ended before the body did$/);
  expect(fault.text()).toMatch(/^HTTP\/1\.1 500 [\s\S]*\r\n\r\nfault$/);
  expect(header.text()).toMatch(/^HTTP\/1\.1 500 /);
  expect(header.text()).not.toContain("set-cookie: c\r\n");
});

test("silence ends: in a head and in a body with 408, between requests without a word", async () => {
  const clock = virtualClock();
  const { port } = await serve(echo, clock);
  const [head, body, idle] = [await dial(port), await dial(port), await dial(port)];
  const whole = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  idle.socket.write(whole);
  head.socket.write(`${whole}GET / HT`);
  body.socket.write(`${whole}POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na`);
  await Promise.all([idle, head, body].map((connection) => connection.until("GET / ")));
  let isOver = false;
  const all = Promise.all([head.ended, body.ended, idle.ended]).then(() => {
    isOver = true;
  });
  for (let second = 0; second < 300 && !isOver; second++) {
    await clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await all;

  expect(head.text()).toMatch(/HTTP\/1\.1 408 /);
  expect(body.text()).toMatch(/HTTP\/1\.1 408 /);
  expect(idle.text().match(/HTTP/g)).toHaveLength(1);
});

test("a server that closes answers what is under way, and ends idle connections", async () => {
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  let isAsked: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve;
  });
  const { server, port } = await serve(async () => {
    isAsked();
    await gate;
    return { status: 200, body: "late" };
  });
  const [busy, idle] = [await dial(port), await dial(port)];
  busy.socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await asked;
  const closed = server.close(60_000);
  await idle.ended;
  release();
  await Promise.all([closed, busy.ended]);

  expect(busy.text()).toMatch(/connection: close\r\n[\s\S]*late$/);
  await expect(dial(port)).rejects.toThrow("ECONNREFUSED");
});

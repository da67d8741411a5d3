import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { latin1, parseRequestHead } from "../http1/index.js";
import {
  answerFields,
  ClientPool,
  type ClientTarget,
  type OutgoingRequest,
  requestHead,
  type SendOptions,
} from "./index.js";

const servers: Server[] = [];
const pools: ClientPool[] = [];
afterEach(() => {
  for (const pool of pools.splice(0)) pool.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** A client of a server that is told each piece of bytes that comes, and the number of its connection. */
async function scripted(
  onBytes: (socket: Socket, bytes: Buffer, connection: number) => void,
  { maxIdle, ...more }: Partial<ClientTarget> & { readonly maxIdle?: number } = {},
) {
  let connections = 0;
  const server = createServer((socket) => {
    const number = ++connections;
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => onBytes(socket, bytes, number));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const pool = new ClientPool({ url, connectMs: 5000, idleMs: 5000, ...more }, maxIdle);
  pools.push(pool);
  const get = (options: Partial<SendOptions> = {}) =>
    pool.send({ head: "GET /a HTTP/1.1\r\nhost: a\r\n" }, { limit: 1 << 20, ...options });
  return { pool, get, connections: () => connections };
}

const EMPTY = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

test("heads and bodies come in any pieces, and the connection is used again", async () => {
  const answer =
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\nX-One: 1\r\nx-one: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n";
  const trickle = async (socket: Socket, size: number): Promise<void> => {
    for (let at = 0; at < answer.length; at += size) {
      socket.write(answer.slice(at, at + size));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const sizes = [1, 7, 1000];
  const { get, connections } = await scripted((socket) => {
    socket.setNoDelay(true);
    void trickle(socket, sizes.shift() ?? 1);
  });
  for (let count = 0; count < 3; count++) {
    const { head, body, isCut } = await get();
    expect([head.status, answerFields(head).get("x-one"), String(body), isCut]).toEqual([200, "1, 2", "hello!", false]);
  }
  expect(connections()).toBe(1);
});

test("a body is sent with its length in bytes, whatever is in it, and however long", async () => {
  let received = Buffer.alloc(0);
  const { pool } = await scripted((socket, bytes) => {
    received = Buffer.concat([received, bytes]);
    const end = received.indexOf("\r\n\r\n");
    const head = parseRequestHead(latin1(received, 0, end + 2), end + 2);
    if ("fields" in head && received.length - end - 4 >= Math.max(0, head.fields.contentLength)) socket.write(EMPTY);
  });
  const cases: [Omit<OutgoingRequest, "head">, Buffer | undefined][] = [
    [{}, undefined],
    [{ body: "" }, Buffer.alloc(0)],
    [{ body: '{"a":"b"}' }, Buffer.from('{"a":"b"}')],
    [{ body: '{"a":"ü→"}' }, Buffer.from('{"a":"ü→"}')],
    [{ body: `ü${"x".repeat(100_000)}` }, Buffer.from(`ü${"x".repeat(100_000)}`)],
    [{ body: "x".repeat(100_000) }, Buffer.alloc(100_000, "x")],
    [{ body: "a\xff\x00", isLatin1: true }, Buffer.from([97, 255, 0])],
    [{ body: Buffer.from([1, 2, 255]) }, Buffer.from([1, 2, 255])],
    [{ body: Buffer.alloc(100_000, 7) }, Buffer.alloc(100_000, 7)],
  ];
  for (const [request, expected] of cases) {
    received = Buffer.alloc(0);
    await pool.send({ head: "PUT /a HTTP/1.1\r\nhost: a\r\n", ...request }, { limit: 0 });
    const end = received.indexOf("\r\n\r\n");
    expect(latin1(received, 0, end).includes("content-length")).toBe(expected !== undefined);
    expect(received.subarray(end + 4).equals(expected ?? Buffer.alloc(0))).toBe(true);
  }
});

test("an answer may last until its connection ends; then, or when it says so, the next exchange has another", async () => {
  const ways = ["HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc"];
  const { get, connections } = await scripted((socket, _bytes, connection) => {
    socket.end(ways[connection - 1] ?? "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc");
  });
  for (let count = 0; count < 4; count++) expect(String((await get()).body)).toBe("abc");
  expect(connections()).toBe(4);
});

test.each([
  ["breaks off", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", /other side closed/],
  ["has no chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz", /chunks of the answer/],
  ["has two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", /./],
  ["changes the protocol", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", /changes the protocol/],
  ["is none", "SSH-2.0-server\r\n\r\n", /./],
  ["never begins", "HTTP/1.1 100 Continue\r\n\r\n".repeat(100), /never begins/],
  ["has a head without end", `HTTP/1.1 200 OK\r\n${"a: b\r\n".repeat(20_000)}`, /head of the answer is too long/],
  ["does not come", "", /other side closed/],
])("an answer that %s fails, and its connection is not used again", async (_, answer, message) => {
  const { get, connections } = await scripted((socket, _bytes, connection) => {
    socket.end(connection === 1 ? answer : EMPTY);
  });
  const failure = await get().catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "ECONNRESET", message: expect.stringMatching(message) });
  expect((await get()).head.status).toBe(200);
  expect(connections()).toBe(2);
});

test("what nobody asked for ends its connection", async () => {
  const { get, connections } = await scripted((socket) => socket.write(`${EMPTY}and more than was asked for`));
  for (let count = 0; count < 2; count++) expect((await get()).head.status).toBe(200);
  expect(connections()).toBe(2);
});

test("what is longer than wanted is dropped; little of it is read for the connection's sake, of a body without end no more", async () => {
  let isClosed: () => void = () => undefined;
  const closed = new Promise<void>((resolve) => (isClosed = resolve));
  const { get, connections } = await scripted((socket, _bytes, connection) => {
    if (connection === 1) {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n${"x".repeat(2000)}`);
      return;
    }
    socket.on("close", () => isClosed());
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    const more = (): void => {
      if (!socket.destroyed) socket.write("x".repeat(10_000), more);
    };
    more();
  });
  for (const [limit, length, isCut] of [
    [2000, 2000, false],
    [1999, 0, true],
    [0, 0, true],
  ] as const) {
    const answer = await get({ limit });
    expect([answer.body.length, answer.isCut]).toEqual([length, isCut]);
  }
  expect(connections()).toBe(1);
  const [first, second] = await Promise.all([get(), get({ limit: 1000 })]);
  expect([first.body.length, second.isCut, second.body.length]).toEqual([2000, true, 0]);
  await closed;
});

test("an abort ends the exchange and its connection, and no other", async () => {
  const { pool, get } = await scripted((socket, bytes) => {
    if (!bytes.includes("/slow")) socket.write(EMPTY);
  });
  const slowly = (signal?: AbortSignal) =>
    pool.send({ head: "GET /slow HTTP/1.1\r\nhost: a\r\n" }, { limit: 0, signal });
  const stop = new AbortController();
  const slow = slowly(stop.signal);
  expect((await get()).head.status).toBe(200);
  stop.abort(new Error("enough"));
  await expect(slow).rejects.toThrow("enough");
  await expect(get({ signal: stop.signal })).rejects.toThrow("enough");
  expect((await get()).head.status).toBe(200);

  const other = slowly();
  pool.destroy();
  await expect(other).rejects.toMatchObject({ code: "Closed" });
  await expect(get()).rejects.toMatchObject({ code: "Closed" });
});

test("what may be repeated is sent again where a kept connection was closed just when it was used, and else not", async () => {
  let answered = 0;
  const { get, connections } = await scripted((socket, _bytes, connection) => {
    // Every connection answers once, and breaks off when it is asked again; the third at once.
    if (connection === 3) socket.destroy();
    else if (answered++ % 2 === 0) socket.write(EMPTY);
    else socket.destroy();
  });
  expect((await get()).head.status).toBe(200);
  expect((await get({ isRepeatable: true })).head.status).toBe(200);
  expect(connections()).toBe(2);
  await expect(get()).rejects.toMatchObject({ code: "ECONNRESET" });
  await expect(get({ isRepeatable: true })).rejects.toMatchObject({ code: "ECONNRESET" });
  expect(connections()).toBe(3);
});

test("a connection is kept no longer than its server says, nor longer than it may be idle or silent", async () => {
  const ended: number[] = [];
  const waiting: (() => void)[] = [];
  const watch = (socket: Socket, connection: number): void => {
    socket.once("close", () => {
      ended.push(connection);
      for (const each of waiting.splice(0)) each();
    });
  };
  const told = await scripted((socket, _bytes, connection) => {
    watch(socket, connection);
    socket.write("HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n");
  });
  await told.get();
  if (ended.length === 0) await new Promise<void>((resolve) => waiting.push(resolve));
  const silent = await scripted(() => undefined, { silenceMs: 20 });
  await expect(silent.get()).rejects.toThrow("nothing came for 20 ms");
  const away = await scripted(() => undefined);
  for (const server of servers.splice(-1)) await new Promise((resolve) => server.close(resolve));
  await expect(away.get()).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

test("of many connections some are kept; those that are not end, and a client that retires takes no more", async () => {
  const { pool, get, connections } = await scripted((socket) => socket.write(EMPTY), { maxIdle: 1 });
  await Promise.all([get(), get(), get()]);
  expect(connections()).toBe(3);
  await Promise.all([get(), get(), get()]);
  expect(connections()).toBe(5);
  pool.retire();
  await expect(get()).rejects.toMatchObject({ code: "Closed" });
});

test("a body is read as it comes: its server is held back meanwhile, and the connection is used again at its end", async () => {
  const { pool, connections } = await scripted((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n`);
    socket.write(Buffer.alloc(length, "x"));
  });
  let length = 0;
  const ask = () => pool.stream({ head: "GET / HTTP/1.1\r\nhost: a\r\n" });
  for (length of [0, 1, 300_000, 4_000_000]) {
    const { head, body } = await ask();
    expect(head.fields.contentLength).toBe(length);
    let read = 0;
    for await (const piece of body) read += piece.length;
    expect(read).toBe(length);
  }
  expect(connections()).toBe(1);
  // Whoever reads nothing holds little in memory, and gives it up.
  const left = await ask();
  left.drop();
  for await (const piece of (await ask()).body) {
    expect(piece.length).toBeGreaterThan(0);
    break;
  }
  const { body } = await ask();
  let read = 0;
  for await (const piece of body) read += piece.length;
  expect([read, connections()]).toEqual([length, 3]);
});

test("a body that breaks off, stalls, or is given up by its signal, fails where it is read", async () => {
  const { pool } = await scripted(
    (socket, bytes) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab", () => {
        if (bytes.includes("/break")) socket.destroy();
      });
    },
    { silenceMs: 50 },
  );
  const read = async (path: string, signal?: AbortSignal): Promise<string> => {
    let text = "";
    const { body } = await pool.stream({ head: `GET ${path} HTTP/1.1\r\nhost: a\r\n` }, { signal });
    for await (const piece of body) text += String(piece);
    return text;
  };
  await expect(read("/break")).rejects.toMatchObject({ code: "ECONNRESET" });
  await expect(read("/stall")).rejects.toMatchObject({ code: "ETIMEDOUT", message: "nothing came for 50 ms" });
  const stop = new AbortController();
  const stopped = read("/stall", stop.signal);
  setImmediate(() => stop.abort(new Error("enough")));
  await expect(stopped).rejects.toThrow("enough");
  await expect(read("/stall", stop.signal)).rejects.toThrow("enough");
});

test("a head has one Host, no word on where its body ends, and no field that could be two", () => {
  const url = new URL("http://me:secret@a.test:8080/b%20c?d=e#f");
  expect(requestHead("PUT", url, { accept: "x", "Content-Length": "9", "transfer-encoding": "chunked" })).toBe(
    "PUT /b%20c?d=e HTTP/1.1\r\nhost: a.test:8080\r\naccept: x\r\n",
  );
  expect(requestHead("GET", url, { Host: "b.test" })).toBe("GET /b%20c?d=e HTTP/1.1\r\nhost: b.test\r\n");
  for (const fields of [{ a: "b\r\nc: d" }, { a: "\u2192" }, { "a: b\r\nc": "d" }, { "": "a" }])
    expect(() => requestHead("GET", url, fields)).toThrow("cannot be sent");
});

import { once } from "node:events";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { type Http2Answer, Http2Client, type Http2Request } from "./client.js";
import { CODES, FLAGS, PREFACE, TYPES } from "./frames.js";
import { encodeHeaders, type Field, HeaderDecoder, HeaderEncoder } from "./hpack.js";

async function listening(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket.on("error", () => undefined)));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** A connection, with what its socket wrote. */
async function open(port: number): Promise<{ client: Http2Client; socket: Socket; closed: Promise<void> }> {
  const socket = connect(port, "127.0.0.1");
  await new Promise((resolve) => socket.once("connect", resolve));
  onTestFinished(() => void socket.destroy());
  let onClose = (): void => undefined;
  const closed = new Promise<void>((resolve) => {
    onClose = resolve;
  });
  return { client: new Http2Client(socket, { onClose }), socket, closed };
}

const asked = (path: string, more: Partial<Http2Request> = {}): Http2Request => ({
  method: "GET",
  path,
  authority: "there",
  fields: [["authorization", "Bearer t"]],
  body: undefined,
  limit: 1 << 26,
  ...more,
});

function ask(client: Http2Client, path: string, more: Partial<Http2Request> = {}): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    client.exchange(asked(path, more), {
      onAnswer: resolve,
      onFailure: (error, isUnseen) => reject(Object.assign(error, { isUnseen })),
    });
  });
}

/** node's own server. */
function nodeServer(
  answer: (stream: ServerHttp2Stream, headers: Record<string, unknown>) => void,
  settings: object = {},
): Promise<number> {
  const server = createHttp2Server({ settings });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    answer(stream, headers);
  });
  return listening(server);
}

const frame = (type: number, flags: number, id: number, payload: Uint8Array = new Uint8Array()): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
};
const number32 = (...values: number[]): Buffer =>
  Buffer.concat(values.map((each) => Buffer.of(each >>> 24, each >>> 16, each >>> 8, each)));
const head = (id: number, flags: number, fields: readonly Field[] = [[":status", "200"]]): Buffer =>
  frame(TYPES.HEADERS, flags | FLAGS.END_HEADERS, id, encodeHeaders(fields));
const settings = frame(TYPES.SETTINGS, 0, 0);

/** Says something to whoever connects, and more when the first request has come; what it was sent. */
async function scripted(said: (() => Buffer)[]): Promise<{ port: number; received: () => Buffer }> {
  let received = Buffer.alloc(0);
  const server = createServer((socket) => {
    socket.write(settings);
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.includes("Bearer t")) for (const next of said.splice(0, 1)) socket.write(next());
    });
  });
  return { port: await listening(server), received: () => received };
}

test("many exchanges at a time on one connection, small and large both ways, each with its own answer", async () => {
  const port = await nodeServer((stream, headers) => {
    const pieces: Buffer[] = [];
    stream.on("data", (piece: Buffer) => pieces.push(piece));
    stream.on("end", () => {
      stream.respond({ ":status": 201, "x-of": String(headers[":path"]), "x-auth": String(headers["authorization"]) });
      stream.end(Buffer.concat(pieces));
    });
  });
  const { client } = await open(port);
  const sizes = [0, 1, 100, 20_000, 70_000, 3_000_000, 25_000_000];
  const answers = await Promise.all(
    [...sizes, ...sizes].map((size, index) =>
      ask(client, `/${index}`, { method: "POST", body: Buffer.alloc(size, index + 65) }),
    ),
  );

  expect(answers.map(({ status, body }) => [status, body.length])).toEqual(
    [...sizes, ...sizes].map((size) => [201, size]),
  );
  expect(answers.every(({ body }, index) => body.equals(Buffer.alloc(body.length, index + 65)))).toBe(true);
  expect(answers.map(({ fields }) => new Map(fields).get("x-of"))).toEqual(answers.map((_, index) => `/${index}`));
  expect(answers.every(({ fields }) => new Map(fields).get("x-auth") === "Bearer t")).toBe(true);
  expect(client.isIdle).toBe(true);
});

test("what is asked in one turn leaves in one write", async () => {
  const port = await nodeServer((stream) => {
    stream.respond({ ":status": 200 });
    stream.end("yes");
  });
  const { client, socket } = await open(port);
  await ask(client, "/");
  const writes: number[] = [];
  const write = socket.write.bind(socket);
  socket.write = ((bytes: Uint8Array) => {
    writes.push(bytes.length);
    return write(bytes);
  }) as typeof socket.write;
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) => ask(client, `/${index}`, { method: "PATCH", body: Buffer.alloc(200) })),
  );

  expect(answers.map(({ body }) => String(body))).toEqual(Array.from({ length: 20 }, () => "yes"));
  // The credentials went once, with the first request.
  expect(writes).toEqual([expect.toSatisfy((size: number) => size < 20 * (200 + 9 + 9 + 24))]);
});

test("no more at a time than the server takes; what it has not seen is told from what it broke off", async () => {
  const port = await nodeServer(
    (stream, headers) => {
      if (headers[":path"] === "/refused") stream.close(CODES.REFUSED_STREAM);
      else if (headers[":path"] === "/broken") stream.close(CODES.INTERNAL_ERROR);
      else if (headers[":path"] === "/ok") stream.respond({ ":status": 200 }, { endStream: true });
    },
    { maxConcurrentStreams: 2 },
  );
  const { client } = await open(port);
  expect((await ask(client, "/ok")).status).toBe(200);
  await expect(ask(client, "/refused")).rejects.toMatchObject({ code: "ECONNRESET", isUnseen: true });
  await expect(ask(client, "/broken")).rejects.toMatchObject({ code: "ECONNRESET", isUnseen: false });
  const waiting = [ask(client, "/never"), ask(client, "/never")];
  for (const each of waiting) each.catch(() => undefined);
  expect(client.canTake).toBe(false);
  client.destroy(new Error("enough"));
  await expect(Promise.all(waiting)).rejects.toThrow("enough");
});

test("a server that goes away answers what it has seen; the rest may be sent again, on another connection", async () => {
  const { port } = await scripted([
    () => Buffer.concat([frame(TYPES.GOAWAY, 0, 0, number32(1, 0)), head(1, FLAGS.END_STREAM)]),
  ]);
  const { client, closed } = await open(port);
  const [first, second] = await Promise.allSettled([ask(client, "/a"), ask(client, "/b")]);

  expect(first).toMatchObject({ status: "fulfilled", value: { status: 200 } });
  expect(second).toMatchObject({ status: "rejected", reason: { isUnseen: true } });
  expect(client.canTake).toBe(false);
  await closed;
});

test("a cancelled exchange ends alone; after one of which nothing came at all no other begins on its connection", async () => {
  let streams = 0;
  const port = await nodeServer((stream, headers) => {
    streams++;
    if (headers[":path"] === "/ok") stream.respond({ ":status": 200 }, { endStream: true });
  });
  const { client, closed } = await open(port);
  const none = { onAnswer: () => expect.unreachable(), onFailure: () => expect.unreachable() };
  const slow = client.exchange(asked("/slow"), none);
  await ask(client, "/ok");
  slow.cancel();
  expect(client.canTake).toBe(true);
  const silent = client.exchange(asked("/slow"), none);
  await expect.poll(() => streams).toBe(3);
  silent.cancel();
  silent.cancel();
  expect(client.canTake).toBe(false);
  await closed;
});

test("an answer that is longer than what is wanted, or not as long as it says, is none", async () => {
  const port = await nodeServer((stream) => {
    stream.respond({ ":status": 200 });
    stream.end("0123456789");
  });
  const { client } = await open(port);
  await expect(ask(client, "/", { limit: 9 })).rejects.toMatchObject({ code: "TooLarge" });
  expect(String((await ask(client, "/", { limit: 10 })).body)).toBe("0123456789");
  const { port: other } = await scripted([
    () =>
      Buffer.concat([
        head(1, 0, [
          [":status", "200"],
          ["content-length", "4"],
        ]),
        frame(TYPES.DATA, FLAGS.END_STREAM, 1, Buffer.from("abc")),
      ]),
  ]);
  await expect(ask((await open(other)).client, "/")).rejects.toThrow("3 bytes of 4");
});

test("interim answers and trailers are no answers", async () => {
  const { port } = await scripted([
    () =>
      Buffer.concat([
        head(1, 0, [
          [":status", "103"],
          ["link", "</a>"],
        ]),
        head(1, 0, [
          [":status", "200"],
          ["x-a", "b"],
        ]),
        frame(TYPES.DATA, FLAGS.PADDED, 1, Buffer.from("\x02abc\0\0", "latin1")),
        head(1, FLAGS.END_STREAM, [["x-checksum", "1"]]),
      ]),
  ]);
  const { status, fields, body } = await ask((await open(port)).client, "/");
  expect([status, fields, String(body)]).toEqual([200, [["x-a", "b"]], "abc"]);
});

test.each<[string, Buffer, number]>([
  ["data before a head", frame(TYPES.DATA, 0, 1, Buffer.from("x")), CODES.PROTOCOL_ERROR],
  ["data of a stream that never was", frame(TYPES.DATA, 0, 99), CODES.PROTOCOL_ERROR],
  ["a head of a stream of its own", head(2, FLAGS.END_STREAM), CODES.PROTOCOL_ERROR],
  ["a promise", frame(TYPES.PUSH_PROMISE, FLAGS.END_HEADERS, 1, number32(2)), CODES.PROTOCOL_ERROR],
  ["a frame beyond the limit", frame(TYPES.DATA, 0, 1, Buffer.alloc(16_385)), CODES.FRAME_SIZE_ERROR],
  [
    "a head that cannot be read",
    frame(TYPES.HEADERS, FLAGS.END_HEADERS, 1, Buffer.of(0xff, 0xff, 0xff)),
    CODES.COMPRESSION_ERROR,
  ],
  [
    "something within a head",
    Buffer.concat([frame(TYPES.HEADERS, 0, 1, encodeHeaders([[":status", "200"]])), settings]),
    CODES.PROTOCOL_ERROR,
  ],
  ["a window without end", frame(TYPES.WINDOW_UPDATE, 0, 0, number32(0x7fff_ffff)), CODES.FLOW_CONTROL_ERROR],
  ["a reset of no length", frame(TYPES.RST_STREAM, 0, 1), CODES.FRAME_SIZE_ERROR],
  ["settings of no length", frame(TYPES.SETTINGS, 0, 0, Buffer.of(1)), CODES.FRAME_SIZE_ERROR],
  ["a ping of no length", frame(TYPES.PING, 0, 0, Buffer.of(1)), CODES.FRAME_SIZE_ERROR],
])("%s ends the connection, and it says why", async (_, bytes, code) => {
  const { port, received } = await scripted([() => bytes]);
  const { client, closed } = await open(port);
  await expect(ask(client, "/")).rejects.toMatchObject({ code: "ECONNRESET", isUnseen: false });
  await closed;
  await expect.poll(() => received().includes(frame(TYPES.GOAWAY, 0, 0, number32(0, code)))).toBe(true);
});

test("a status that is none fails the exchange alone", async () => {
  const { port } = await scripted([() => head(1, 0, [["x-a", "b"]]), () => head(3, FLAGS.END_STREAM)]);
  const { client } = await open(port);
  await expect(ask(client, "/")).rejects.toThrow("no head");
  expect((await ask(client, "/b")).status).toBe(200);
});

test("a connection that is not used is closed when its server has asked twice whether anybody is there", async () => {
  const ping = frame(TYPES.PING, 0, 0, Buffer.alloc(8));
  const { port, received } = await scripted([() => Buffer.concat([head(1, FLAGS.END_STREAM), ping, ping])]);
  const { client, closed } = await open(port);
  await ask(client, "/");
  await closed;
  expect(received().subarray(0, PREFACE.length)).toEqual(PREFACE);
  expect(
    received()
      .toString("latin1")
      .split(frame(TYPES.PING, FLAGS.ACK, 0, Buffer.alloc(8)).toString("latin1")),
  ).toHaveLength(3);
});

test("a server that closes without a word fails what is under way", async () => {
  const server = createServer((socket) => socket.once("data", () => socket.end(settings)));
  const { client, closed } = await open(await listening(server));
  await expect(ask(client, "/")).rejects.toMatchObject({ code: "ECONNRESET", isUnseen: false });
  await closed;
  expect(client.canTake).toBe(false);
});

test("heads come out as they went in, the second time in a few bytes; where no table is kept too", () => {
  const passing = new Set([":path"]);
  const heads = Array.from({ length: 200 }, (_, index): Field[] => [
    [":method", index % 3 === 0 ? "PATCH" : "GET"],
    [":path", `/a/${index}`],
    ["authorization", `Bearer ${"t".repeat(index < 100 ? 1200 : 900)}`],
    ["x-long", index % 50 === 0 ? "v".repeat(4000) : "v"],
    ["content-type", index % 2 === 0 ? "application/json" : "text/plain"],
  ]);
  for (const tableBytes of [4096, 65_536, 100, 0]) {
    const [encoder, decoder] = [new HeaderEncoder(), new HeaderDecoder()];
    const lengths = heads.map((fields, index) => {
      if (index === 5) encoder.limit(tableBytes);
      const block = encoder.encode(fields, passing) ?? Buffer.alloc(0);
      expect(decoder.decode(block, 1 << 20)).toEqual(fields);
      return block.length;
    });
    expect([lengths[0], lengths[98]].map((length = 0) => length > 1000)).toEqual([true, tableBytes < 4096]);
  }
  expect(new HeaderEncoder().encode([["x", "y".repeat(20_000)]], passing)).toBe(undefined);
});

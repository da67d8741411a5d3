import { connect as connectHttp2, constants } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../clock/index.js";
import { CODES, encodeHeaders, type Field, HeaderDecoder, Http2Connection, type Http2Stream } from "./index.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Listens; `onStream` gets each request. */
async function serve(
  onStream: (stream: Http2Stream) => void,
): Promise<{ port: number; connections: Set<Http2Connection> }> {
  const sockets = new Set<Socket>();
  const connections = new Set<Http2Connection>();
  const server: Server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    const onClose = (connection: Http2Connection): void => void connections.delete(connection);
    socket.once("data", (first: Buffer) => {
      socket.removeAllListeners("data");
      connections.add(new Http2Connection({ clock: systemClock, onStream, onClose }, socket, first));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0, connections };
}

/** Answers with what was sent, and trailers. */
function echo(stream: Http2Stream): void {
  const pieces: Buffer[] = [];
  stream.onData = (bytes) => pieces.push(Buffer.from(bytes));
  stream.onEnd = () => {
    stream.respond(
      encodeHeaders([
        [":status", "200"],
        ["x-path", stream.headers.get(":path") ?? ""],
      ]),
    );
    stream.end(Buffer.concat(pieces), encodeHeaders([["x-size", String(pieces.length)]]));
  };
}

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

function frame(type: number, flags: number, id: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

const request = (id: number, fields: readonly Field[] = [], flags = 5): Buffer =>
  frame(1, flags, id, encodeHeaders([[":method", "GET"], [":scheme", "http"], [":path", "/"], ...fields]));

const hello = Buffer.concat([PREFACE, frame(4, 0, 0)]);

/** Sends bytes, and ends where told; the frames that came until the server closed, or until `enough` of them. */
function talk(
  port: number,
  bytes: Buffer,
  enough: (frames: readonly { type: number; payload: Buffer }[]) => boolean,
  ends = false,
) {
  return new Promise<{ type: number; flags: number; id: number; payload: Buffer }[]>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => (ends ? socket.end(bytes) : socket.write(bytes)));
    let received = Buffer.alloc(0);
    const frames: { type: number; flags: number; id: number; payload: Buffer }[] = [];
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 9 && received.length >= 9 + received.readUIntBE(0, 3)) {
        const length = received.readUIntBE(0, 3);
        const [, , , type = 0, flags = 0] = received;
        frames.push({ type, flags, id: received.readUInt32BE(5), payload: received.subarray(9, 9 + length) });
        received = received.subarray(9 + length);
      }
      if (enough(frames)) socket.destroy();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(frames));
  });
}

const never = (): boolean => false;
const goAwayOf = (frames: readonly { type: number; payload: Buffer }[]): number | undefined =>
  frames.find(({ type }) => type === 7)?.payload.readUInt32BE(4);

test("node's client: many requests at once, bodies larger than every window, trailers", async () => {
  const { port } = await serve(echo);
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const ask = (path: string, body: Buffer) =>
    new Promise<{ status: unknown; trailers: unknown; body: Buffer }>((resolve, reject) => {
      const stream = session.request({ ":method": "POST", ":path": path });
      const pieces: Buffer[] = [];
      let status: unknown;
      let trailers: unknown;
      stream.on("response", (headers) => {
        status = [headers[":status"], headers["x-path"]];
      });
      stream.on("trailers", (headers) => {
        trailers = headers["x-size"];
      });
      stream.on("data", (chunk: Buffer) => pieces.push(chunk));
      stream.on("end", () => resolve({ status, trailers, body: Buffer.concat(pieces) }));
      stream.on("error", reject);
      stream.end(body);
    });
  const bodies = [0, 1, 5000, 70_000, 3 << 20].map((size) => Buffer.alloc(size, size % 251));

  const answers = await Promise.all(bodies.map((body, index) => ask(`/${index}`, body)));
  await new Promise<void>((resolve) => session.close(resolve));

  for (const [index, { status, trailers, body }] of answers.entries()) {
    expect(status).toEqual([200, `/${index}`]);
    expect(trailers).toMatch(/^\d+$/);
    expect(body.equals(bodies[index] ?? Buffer.alloc(0))).toBe(true);
  }
});

test("a client that sets its header table to nothing understands the answers", async () => {
  const { port } = await serve(echo);
  const session = connectHttp2(`http://127.0.0.1:${port}`, { settings: { headerTableSize: 0 } });
  for (let round = 0; round < 3; round++) {
    const status = await new Promise((resolve, reject) => {
      const stream = session.request({ ":path": "/" });
      stream.on("response", (headers) => resolve(headers[":status"]));
      stream.on("error", reject);
      stream.resume();
    });
    expect(status).toBe(200);
  }
  session.destroy();
});

test("a connection that drains answers what it has, then ends", async () => {
  const { port, connections } = await serve((stream) => {
    stream.onEnd = () => {
      setImmediate(() => {
        for (const connection of connections) connection.drain();
        stream.respond(encodeHeaders([[":status", "204"]]), true);
      });
    };
  });

  const frames = await talk(port, Buffer.concat([hello, request(1)]), never);

  expect(frames.map(({ type }) => type)).toEqual([4, 8, 4, 7, 1]);
  expect(goAwayOf(frames)).toBe(CODES.NO_ERROR);
});

test.each([
  ["no settings first", Buffer.concat([PREFACE, request(1)]), CODES.PROTOCOL_ERROR],
  ["a frame that is too large", Buffer.concat([hello, frame(0, 0, 1, Buffer.alloc(16_385))]), CODES.FRAME_SIZE_ERROR],
  ["data on a stream that is not there", Buffer.concat([hello, frame(0, 0, 1)]), CODES.PROTOCOL_ERROR],
  ["an even stream", Buffer.concat([hello, request(2)]), CODES.PROTOCOL_ERROR],
  ["a stream from the past", Buffer.concat([hello, request(5), request(3, [], 4)]), CODES.STREAM_CLOSED],
  ["a push", Buffer.concat([hello, frame(5, 4, 1, Buffer.alloc(4))]), CODES.PROTOCOL_ERROR],
  [
    "a broken header block",
    Buffer.concat([hello, frame(1, 5, 1, Buffer.of(0xff, 0xff, 0xff, 0xff, 0xff))]),
    CODES.COMPRESSION_ERROR,
  ],
  [
    "another frame within a header block",
    Buffer.concat([hello, request(1, [], 1), frame(6, 0, 0, Buffer.alloc(8))]),
    CODES.PROTOCOL_ERROR,
  ],
  [
    "a header block without end",
    Buffer.concat([hello, request(1, [], 1), ...Array.from({ length: 40 }, () => frame(9, 0, 1, Buffer.alloc(100)))]),
    CODES.ENHANCE_YOUR_CALM,
  ],
  [
    "a header that is too large",
    Buffer.concat([hello, frame(1, 1, 1), ...Array.from({ length: 5 }, () => frame(9, 0, 1, Buffer.alloc(9000)))]),
    CODES.ENHANCE_YOUR_CALM,
  ],
  [
    "a window beyond all bounds",
    Buffer.concat([hello, frame(8, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff]))]),
    CODES.FLOW_CONTROL_ERROR,
  ],
  [
    "a flood of pings",
    Buffer.concat([hello, ...Array.from({ length: 5000 }, () => frame(6, 0, 0, Buffer.alloc(8)))]),
    CODES.ENHANCE_YOUR_CALM,
  ],
  [
    "a flood of settings",
    Buffer.concat([hello, ...Array.from({ length: 5000 }, () => frame(4, 0, 0))]),
    CODES.ENHANCE_YOUR_CALM,
  ],
  [
    "requests that are broken off",
    Buffer.concat([
      hello,
      ...Array.from({ length: 3000 }, (_, index) => [
        request(index * 2 + 1, [], 4),
        frame(3, 0, index * 2 + 1, Buffer.alloc(4)),
      ]).flat(),
    ]),
    CODES.ENHANCE_YOUR_CALM,
  ],
])("%s ends the connection", async (_, bytes, code) => {
  const { port } = await serve(echo);

  expect(goAwayOf(await talk(port, bytes, never))).toBe(code);
});

test.each([
  ["an upper-case name", [["X-A", "b"]]],
  ["a field of connections", [["connection", "close"]]],
  ["a transfer coding", [["transfer-encoding", "chunked"]]],
  ["a line end in a value", [["a", "b\r\nc: d"]]],
  [
    "two lengths",
    [
      ["content-length", "1"],
      ["content-length", "2"],
    ],
  ],
  ["a length that is no number", [["content-length", "+1"]]],
  ["a length and no body", [["content-length", "5"]]],
  [
    "a pseudo-field after others",
    [
      ["a", "b"],
      [":authority", "c"],
    ],
  ],
  ["a path twice", [[":path", "/"]]],
  ["an unknown pseudo-field", [[":status", "200"]]],
] as [string, Field[]][])("a request with %s is refused, others go on", async (_, fields) => {
  let asked = 0;
  const { port } = await serve((stream) => {
    asked++;
    stream.onEnd = () => stream.respond(encodeHeaders([[":status", "204"]]), true);
  });

  const bytes = Buffer.concat([hello, request(1, fields), request(3)]);
  const frames = await talk(port, bytes, (all) => all.some(({ type }) => type === 1));

  expect(frames.find(({ type }) => type === 3)).toMatchObject({ id: 1, payload: Buffer.from([0, 0, 0, 1]) });
  expect(frames.find(({ type }) => type === 1)?.id).toBe(3);
  expect(asked).toBeLessThanOrEqual(2);
});

test("more streams than are allowed are refused, not begun", async () => {
  const open: Http2Stream[] = [];
  const { port } = await serve((stream) => open.push(stream));
  const many = Array.from({ length: 300 }, (_, index) => request(index * 2 + 1, [], 4));

  const frames = await talk(
    port,
    Buffer.concat([hello, ...many]),
    (all) => all.filter(({ type }) => type === 3).length === 44,
  );

  expect(open).toHaveLength(256);
  expect(frames.filter(({ type }) => type === 3).every(({ payload }) => payload[3] === CODES.REFUSED_STREAM)).toBe(
    true,
  );
});

test("a client that takes nothing is sent no more than its window", async () => {
  const { port } = await serve((stream) => {
    stream.onEnd = () => {
      stream.respond(encodeHeaders([[":status", "200"]]));
      stream.end(Buffer.alloc(200_000));
    };
  });
  const size = (frames: readonly { type: number; payload: Buffer }[]): number =>
    frames.filter(({ type }) => type === 0).reduce((sum, { payload }) => sum + payload.length, 0);

  const frames = await talk(port, Buffer.concat([hello, request(1)]), (all) => size(all) >= 65_535);

  expect(size(frames)).toBe(65_535);
});

test("a body larger than the windows that a client does not heed is refused", async () => {
  const { port } = await serve((stream) => stream.pause());
  const body = Array.from({ length: 80 }, () => frame(0, 0, 1, Buffer.alloc(16_384)));

  const frames = await talk(port, Buffer.concat([hello, request(1, [], 4), ...body]), (all) =>
    all.some(({ type }) => type === 3),
  );

  expect(frames.find(({ type }) => type === 3)?.payload[3]).toBe(CODES.FLOW_CONTROL_ERROR);
});

test("whatever bytes come, it ends or goes on, and never throws", async () => {
  const { port } = await serve(echo);
  const anyFrame = fc
    .tuple(
      fc.nat(11),
      fc.constantFrom(0, 1, 4, 5, 8, 9, 32, 45),
      fc.constantFrom(0, 1, 3, 5),
      fc.uint8Array({ maxLength: 30 }),
    )
    .map(([type, flags, id, payload]) => frame(type, flags, id, payload));
  const piece = fc.oneof(
    anyFrame,
    fc.constant(request(1)),
    fc.constant(request(3, [], 4)),
    fc.uint8Array({ maxLength: 20 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
      await talk(port, Buffer.concat([hello, ...pieces]), never, true);
    }),
    { numRuns: 60 },
  );
});

test("header blocks: what node's encoder writes is read, whatever the fields are", async () => {
  const seen: ReadonlyMap<string, string>[] = [];
  const { port } = await serve((stream) => {
    seen.push(stream.headers);
    stream.onEnd = () => stream.respond(encodeHeaders([[":status", "204"]]), true);
  });
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const value = fc.string({
    unit: fc.integer({ min: 33, max: 126 }).map((code) => String.fromCharCode(code)),
    maxLength: 60,
  });
  const name = fc.constantFrom("x-a", "user-agent", "grpc-timeout", "accept", "x-b");
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value), async (headers) => {
      await new Promise((resolve, reject) => {
        const stream = session.request({ ":path": "/", ...headers });
        stream.on("response", resolve);
        stream.on("error", reject);
        stream.resume();
      });
      expect(Object.fromEntries(seen.at(-1) ?? [])).toMatchObject({ ...headers });
    }),
    { numRuns: 60 },
  );
  session.destroy();
  expect(constants.NGHTTP2_NO_ERROR).toBe(CODES.NO_ERROR);
});

test("header blocks: what is written is read again", () => {
  const text = fc.string({
    unit: fc.integer({ min: 32, max: 255 }).map((code) => String.fromCharCode(code)),
    maxLength: 300,
  });
  const name = fc.constantFrom(":status", "content-type", "grpc-status", "x-long-name", "accept-encoding");
  fc.assert(
    fc.property(fc.array(fc.tuple(name, text), { maxLength: 10 }), (fields) => {
      expect(new HeaderDecoder().decode(encodeHeaders(fields), 1 << 20)).toEqual(fields);
    }),
  );
  expect(new HeaderDecoder().decode(encodeHeaders([["a", "b".repeat(100)]]), 100)).toBeUndefined();
});

test("header blocks: the examples of RFC 7541 C.4 and C.6, with their tables", () => {
  const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
  const requests = new HeaderDecoder();
  const first = requests.decode(hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"), 4096);
  const second = requests.decode(hex("8286 84be 5886 a8eb 1064 9cbf"), 4096);
  const third = requests.decode(hex("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"), 4096);

  expect(first?.at(-1)).toEqual([":authority", "www.example.com"]);
  expect(second?.slice(3)).toEqual([
    [":authority", "www.example.com"],
    ["cache-control", "no-cache"],
  ]);
  expect(third?.slice(3)).toEqual([
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  ]);
});

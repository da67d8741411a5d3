import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../clock/index.js";
import { createHttp1Server, type Http1Answer, type Http1Server, type Http1ServerOptions } from "./index.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(
  answer: () => Http1Answer,
  more: Pick<Http1ServerOptions, "takeOver"> = {},
): Promise<{ server: Http1Server; port: number }> {
  const server = createHttp1Server({
    clock: systemClock,
    answer,
    fail: (error) => ({ status: 400, body: String(error) }),
    ...more,
  });
  const port = await server.listen(0, "127.0.0.1");
  closers.push(() => server.close(0));
  return { server, port };
}

function talk(port: number, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    let text = "";
    socket.on("data", (chunk) => (text += chunk.toString()));
    socket.on("close", () => resolve(text));
  });
}

async function* pieces(...all: (string | Uint8Array)[]): AsyncGenerator<string | Uint8Array> {
  for (const piece of all) yield piece;
}

test("a streamed answer comes in chunks, and the connection goes on", async () => {
  const { port } = await serve(() => ({ status: 200, type: "text/plain", body: pieces("é", "", Buffer.from("bc")) }));

  const text = await talk(
    port,
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
  );

  const [first = "", second = ""] = text.split(/(?<=\r\n0\r\n\r\n)/);
  expect(first).toMatch(/^HTTP\/1\.1 200 OK\r\ncontent-type: text\/plain\r\ntransfer-encoding: chunked\r\n/);
  expect(first.endsWith("\r\n\r\n2\r\né\r\n2\r\nbc\r\n0\r\n\r\n")).toBe(true);
  expect(second).toContain("connection: close\r\n");
});

test("HTTP/1.0 knows no chunks: the end of the connection is the end of the answer", async () => {
  const { port } = await serve(() => ({ status: 200, body: pieces("a", "b") }));

  const text = await talk(port, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");

  expect(text).not.toContain("chunked");
  expect(text.endsWith("connection: close\r\n\r\nab")).toBe(true);
});

test("a stream that fails is cut, not ended", async () => {
  async function* failing(): AsyncGenerator<string> {
    yield "a";
    throw new TypeError("broken");
  }
  const { port } = await serve(() => ({ status: 200, body: failing() }));

  const text = await talk(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");

  expect(text).not.toContain("0\r\n\r\n");
});

test("a client that goes away ends the stream's making", async () => {
  let ended: () => void = () => {};
  const over = new Promise<void>((resolve) => {
    ended = resolve;
  });
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        yield Buffer.alloc(65_536);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      ended();
    }
  }
  const { port } = await serve(() => ({ status: 200, body: endless() }));
  const socket = connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));

  socket.once("data", () => socket.destroy());

  await over;
});

test("lines that end in LF alone are refused at once", async () => {
  const { port } = await serve(() => ({ status: 200, body: "" }));

  expect(await talk(port, "GET / HTTP/1.1\nHost: a\n\n")).toMatch(/^HTTP\/1\.1 400 /);
});

test("HTTP/2's preface hands the connection over with all that was read, but only as its beginning", async () => {
  const taken: [Socket, string][] = [];
  const { port } = await serve(() => ({ status: 200, body: "" }), {
    takeOver: (socket, first) => {
      taken.push([socket, first.toString()]);
      socket.destroy();
    },
  });
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

  await talk(port, `${preface}abc`);
  const late = await talk(port, `GET / HTTP/1.1\r\nHost: a\r\n\r\n${preface}`);

  expect(taken.map(([, first]) => first)).toEqual([`${preface}abc`]);
  expect(late).toContain("only HTTP/1.1 and HTTP/1.0 are spoken here");
});

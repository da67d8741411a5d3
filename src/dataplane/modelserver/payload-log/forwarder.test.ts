import { createServer, type IncomingMessage } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { call, callGrpc, eventsOf, serveProtocols } from "../protocols.fixture.js";
import { protocolModels } from "../text/letters.fixture.js";
import { bytesOf, type PayloadEvent } from "./event.js";
import { startForwarder } from "./forwarder.js";
import { createPayloadLog } from "./log.js";
import { readPayloadLog } from "./settings.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** A forwarder before a server, and the events that it makes. */
async function forwardTo(port: number, more: object = {}) {
  const events: PayloadEvent[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const settings = readPayloadLog(JSON.stringify({ urls: ["http://127.0.0.1:1/"], ...more }));
  const sink = {
    ...{ name: "play", concurrency: 8, batchSize: 1, batchIntervalMs: 0, close: () => Promise.resolve() },
    deliver: (batch: readonly PayloadEvent[]) => {
      events.push(...batch);
      for (const { count, resolve } of waiting) if (events.length >= count) resolve();
      return Promise.resolve();
    },
  };
  const tools = { clock: systemClock, random: systemRandom, log: silentLogger };
  const payloads = createPayloadLog({ settings, sinks: [sink], ...tools });
  const forwarder = await startForwarder({
    ...{ host: "127.0.0.1", port: 0, upstream: { host: "127.0.0.1", port }, metricsPort: 0 },
    ...{ clock: systemClock, payloads },
  });
  cleanups.push(() => forwarder.close({ delayMs: 0, drainMs: 0, deliverMs: 0 }));
  const until = (count: number): Promise<void> =>
    events.length >= count ? Promise.resolve() : new Promise((resolve) => waiting.push({ count, resolve }));
  return { ...forwarder, url: `http://127.0.0.1:${forwarder.port}`, events, until };
}

const textOf = (event: PayloadEvent | undefined): string => (event === undefined ? "" : String(bytesOf(event)));
const REQUEST = { inputs: [{ name: "x", datatype: "FP32", shape: [1, 1], data: [1] }] };

test("a real server behind it: REST, streams and gRPC are answered as without it, and logged in pairs", async () => {
  const server = await serveProtocols({}, protocolModels());
  cleanups.push(() => server.stop());
  const front = await forwardTo(server.port, { headers: ["x-who", "authorization"] });

  const direct = await call(`${server.url}/v2/models/fp32/infer`, REQUEST);
  const passed = await call(`${front.url}/v2/models/fp32/infer`, REQUEST, {
    ...{ "x-who": "me", "ce-id": "one", authorization: "Bearer hush" },
  });
  const missing = await call(`${front.url}/v2/models/none/infer`, REQUEST, { "ce-id": "two" });
  const text = { model: "letters", prompt: "ab", max_tokens: 3, seed: 1, stream: true };
  const streamed = await call(`${front.url}/openai/v1/completions`, text, { "ce-id": "three" });
  await call(`${front.url}/v2/health/ready`);
  const message = {
    ...{ model_name: "fp32", raw_input_contents: [Buffer.from(new Float32Array([1]).buffer)] },
    inputs: [{ name: "x", datatype: "FP32", shape: [1n, 1n] }],
  };
  const called = await callGrpc(front.port, "ModelInfer", [message], { "ce-id": "four" });
  const refused = await callGrpc(front.port, "ModelInfer", [{ ...message, model_name: "none" }], { "ce-id": "five" });
  const several = await callGrpc(front.port, "ModelStreamInfer", [message, message], { "ce-id": "six" });
  await front.until(12);

  expect(passed.json).toEqual(direct.json);
  expect([called.status, refused.status, several.answers.length]).toEqual([0, 5, 2]);
  const pair = (id: string): (PayloadEvent | undefined)[] =>
    ["request", "response"].map((kind) => front.events.find((event) => event.id === id && event.kind === kind));
  const [asked, answered] = pair("one");
  expect(JSON.parse(textOf(asked))).toEqual(REQUEST);
  expect(asked?.metadata).toEqual({ "x-who": ["me"], authorization: ["[redacted]"] });
  expect(textOf(answered)).toBe(passed.text);
  expect(answered?.status).toEqual({ http: 200 });
  expect(pair("two")[1]?.status).toEqual({ http: missing.status });
  expect(eventsOf(textOf(pair("three")[1]))).toEqual(eventsOf(streamed.text));
  expect(pair("four")[0]?.type).toBe("application/x-protobuf;messageType=inference.ModelInferRequest");
  expect(pair("four")[1]?.status).toEqual({ grpc: 0 });
  expect(pair("five")[1]?.status).toEqual({ grpc: 5 });
  expect(pair("six")[0]?.type).toBe("application/grpc");
  const metrics = await call(`http://127.0.0.1:${front.metricsPort ?? 0}/metrics`);
  expect(metrics.text).toContain('argosy_payload_log_events_total{sink="play",outcome="sent"} 12');
});

/** A server of plain bytes. */
async function bytesServer(onConnection: (socket: import("node:net").Socket) => void): Promise<number> {
  const server = createTcpServer(onConnection);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Sends bytes in pieces of a size, and gives what comes back until the end. */
function exchange(port: number, bytes: Buffer, size: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let text = "";
    socket.on("data", (chunk) => (text += chunk.toString("latin1")));
    socket.on("error", reject);
    socket.on("end", () => resolve(text));
    let at = 0;
    const next = (): void => {
      if (at >= bytes.length) return;
      socket.write(bytes.subarray(at, at + size), () => setImmediate(next));
      at += size;
    };
    next();
  });
}

test.each([1, 7, 4096])(
  "pipelined requests, chunks, 100 Continue and an answer without a length, in pieces of %i bytes",
  async (size) => {
    const answers =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: a/b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 Oh\r\ncontent-encoding: gzip\r\n\r\n";
    const coded = gzipSync("late");
    const port = await bytesServer((socket) => {
      let seen = "";
      socket.on("data", (chunk) => {
        seen += chunk.toString("latin1");
        if (!seen.endsWith("last!")) return;
        socket.write(answers);
        socket.end(coded);
      });
    });
    const front = await forwardTo(port);
    const requests = Buffer.from(
      "POST /a HTTP/1.1\r\nhost: x\r\nce-id: a\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\n\r\nPOST /c HTTP/1.1\r\nhost: x\r\nce-id: c\r\ncontent-length: 5\r\n\r\nlast!",
    );

    const got = await exchange(front.port, requests, size);
    await front.until(4);

    expect(got).toBe(answers + coded.toString("latin1"));
    const seen = front.events.map((event) => [event.id, event.kind, bytesOf(event).toString("latin1"), event.status]);
    expect(seen).toEqual(
      expect.arrayContaining([
        ["a", "request", "hi", undefined],
        ["a", "response", "abc", { http: 200 }],
        ["c", "request", "last!", undefined],
        ["c", "response", coded.toString("latin1"), { http: 500 }],
      ]),
    );
    expect(front.events.find(({ id, kind }) => id === "c" && kind === "response")).toMatchObject({
      coding: "gzip",
      isCut: false,
    });
  },
);

test("what is no HTTP is passed on all the same, and counted as not followed", async () => {
  const port = await bytesServer((socket) => {
    socket.on("data", (chunk) => socket.end(Buffer.from(chunk.toString("latin1").toUpperCase(), "latin1")));
  });
  const front = await forwardTo(port);

  expect(await exchange(front.port, Buffer.from("\x16\x03\x01 hello there\r\n\r\n"), 100)).toContain("HELLO THERE");
  const { text } = await call(`http://127.0.0.1:${front.metricsPort ?? 0}/metrics`);
  expect(text).toContain("argosy_payload_log_skipped_total 1");
});

test("a body that is too large is passed on, and not kept", async () => {
  const server = createServer((request: IncomingMessage, response) => {
    let size = 0;
    request.on("data", (chunk: Buffer) => (size += chunk.length));
    request.on("end", () => response.end(String(size)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  const front = await forwardTo(typeof address === "object" && address !== null ? address.port : 0, {
    maxBytes: 10_000,
  });

  expect((await call(`${front.url}/x`, "x".repeat(50_000))).text).toBe("50000");
  expect((await call(`${front.url}/x`, "small")).text).toBe("5");
  await front.until(4);

  expect(front.events.filter(({ isCut }) => isCut)).toHaveLength(1);
  expect(front.events.some((event) => textOf(event).length > 10_000)).toBe(false);
});

test("with nobody behind it, or one that breaks off, the client sees that; what came is logged as cut", async () => {
  const broken = await bytesServer((socket) => {
    socket.once("data", () =>
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart", () => socket.destroy()),
    );
  });
  const front = await forwardTo(broken);
  const away = await forwardTo(1);

  await expect(call(`${front.url}/x`, "body", { "ce-id": "x" })).rejects.toThrow();
  await expect(call(`${away.url}/x`, "body")).rejects.toThrow();
  await front.until(2);

  expect(front.events.map((event) => [event.kind, textOf(event), event.isCut])).toEqual([
    ["request", "body", false],
    ["response", "part", true],
  ]);
});

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { seededRandom, systemClock, systemRandom, virtualClock } from "../../../kernel/clock/index.js";
import { InputError } from "../../../kernel/errors/index.js";
import { createLogger, silentLogger } from "../../../kernel/log/index.js";
import { runModelServerProgram } from "../program.js";
import { call, callGrpc, eventsOf, serveProtocols } from "../protocols.fixture.js";
import { refuses } from "../storage/stores.fixture.js";
import { identityModel, protocolModels } from "../text/letters.fixture.js";
import { keyOf, type PayloadEvent } from "./event.js";
import { createPayloadLog, type PayloadLog } from "./log.js";
import { openPayloadLog } from "./open.js";
import { DeliveryError, type Sink } from "./queue.js";
import { type PayloadLogSettings, readPayloadLog } from "./settings.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

interface Received {
  readonly headers: IncomingMessage["headers"];
  readonly url: string;
  readonly body: Buffer;
}

/** A sink of events on loopback that answers as `answer` says; default 202. */
async function sinkServer(answer: (received: Received, count: number) => number | undefined = () => 202) {
  const received: Received[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const server: Server = createServer((request, response) => {
    if (refuses(request, response)) return;
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const one = { headers: request.headers, url: request.url ?? "", body: Buffer.concat(pieces) };
      received.push(one);
      const status = answer(one, received.length);
      if (status !== undefined) response.writeHead(status).end();
      for (const { count, resolve } of waiting) if (received.length >= count) resolve();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const until = (count: number): Promise<void> =>
    received.length >= count ? Promise.resolve() : new Promise((resolve) => waiting.push({ count, resolve }));
  return { url: `http://127.0.0.1:${port}/events`, port, received, until };
}

const settingsOf = (more: object): PayloadLogSettings =>
  readPayloadLog(
    JSON.stringify({
      service: "iris",
      namespace: "models",
      source: "iris-predictor",
      urls: ["http://127.0.0.1:1/"],
      ...more,
    }),
  );

const openLog = (more: object): PayloadLog =>
  openPayloadLog(settingsOf(more), { clock: systemClock, random: systemRandom, log: silentLogger, env: {} });

async function serve(payloads: PayloadLog, files?: Parameters<typeof serveProtocols>[1], payloadDrainMs = 5000) {
  const server = await serveProtocols(
    { payloads, payloadDrainMs },
    files ?? { "m/1/model.onnx": identityModel("FP32") },
  );
  cleanups.push(() => server.stop());
  return server;
}

const REQUEST = { inputs: [{ name: "x", datatype: "FP32", shape: [1, 1], data: [1.5] }] };
const kindOf = ({ headers }: Received): string => String(headers["ce-type"]).split(".").at(-1) ?? "";
const sorted = (received: readonly Received[]): Received[] =>
  [...received].sort((a, b) => (kindOf(a) < kindOf(b) ? -1 : 1));

test("a request and its answer are two CloudEvents with one id; credentials go without their value", async () => {
  const sink = await sinkServer();
  const headers = ["X-Who", "Authorization", "X-Absent"];
  const server = await serve(openLog({ urls: [sink.url], headers, annotations: { team: "a b" } }));

  const answer = await call(`${server.url}/v2/models/m/infer`, REQUEST, {
    ...{ "content-type": "application/json", "x-who": "me", authorization: "Bearer hush", "ce-id": "abc 1" },
  });
  await sink.until(2);

  const [request, response] = sorted(sink.received);
  expect(request?.headers).toMatchObject({
    ...{ "ce-specversion": "1.0", "ce-id": "abc%201", "ce-type": "org.kubeflow.serving.inference.request" },
    ...{ "ce-source": "iris-predictor", "ce-inferenceservicename": "iris", "ce-namespace": "models" },
    ...{ "ce-component": "predictor", "ce-endpoint": "default", "content-type": "application/json" },
  });
  expect(Date.parse(String(request?.headers["ce-time"]))).toBeGreaterThan(0);
  expect(JSON.parse(decodeURIComponent(String(request?.headers["ce-metadata"])))).toEqual({
    ...{ "X-Who": ["me"], Authorization: ["[redacted]"] },
  });
  expect(JSON.parse(decodeURIComponent(String(request?.headers["ce-annotations"])))).toEqual({ team: "a b" });
  expect(JSON.parse(String(request?.body))).toEqual(REQUEST);
  expect(response?.headers).toMatchObject({
    ...{ "ce-id": "abc%201", "ce-type": "org.kubeflow.serving.inference.response", "ce-statuscode": "200" },
    "content-type": "application/json",
  });
  expect(String(response?.body)).toBe(answer.text);
  expect(JSON.stringify(sink.received.map((one) => [one.headers, String(one.body)]))).not.toContain("hush");
});

test("mode says which of the two; refusals are answers too, with their own type", async () => {
  const sink = await sinkServer();
  const server = await serve(openLog({ urls: [sink.url], mode: "response" }));

  await call(`${server.url}/v2/models/m/infer`, { inputs: [] });
  await call(`${server.url}/v2/models/none/infer`, REQUEST);
  await call(`${server.url}/v2/models/m`);
  await call(`${server.url}/v2/health/ready`);
  await call(`${server.url}/v2/models/m/infer`, REQUEST);
  await sink.until(3);

  expect(sink.received.map(kindOf)).toEqual(["response", "response", "response"]);
  expect(sink.received.map(({ headers }) => String(headers["ce-statuscode"])).sort()).toEqual(["200", "400", "404"]);
});

test("binary tensors, coded bodies, V1, generate, OpenAI and its streams, gRPC and its streams: as they were on the wire", async () => {
  const sink = await sinkServer();
  const server = await serve(openLog({ urls: [sink.url] }), {
    ...protocolModels(),
    "m/1/model.onnx": identityModel("FP32"),
  });
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const before = sink.received.length;
    const answer = await call(`${server.url}${path}`, body, headers);
    await sink.until(before + 2);
    return { answer, seen: sorted(sink.received.slice(before)) };
  };
  const head = JSON.stringify({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 1], parameters: { binary_data_size: 4 } }],
  });
  const tensor = Buffer.from(new Float32Array([2.5]).buffer);
  const binary = Buffer.concat([Buffer.from(head), tensor]);

  const inBinary = await post("/v2/models/m/infer", binary, {
    ...{ "inference-header-content-length": String(head.length), "content-type": "application/octet-stream" },
  });
  const coded = gzipSync(JSON.stringify(REQUEST));
  const inGzip = await post("/v2/models/m/infer", coded, { "content-encoding": "gzip" });
  const inV1 = await post("/v1/models/m:predict", { instances: [[1]] });
  const text = { model: "letters", prompt: "ab", max_tokens: 3, seed: 1 };
  const whole = await post("/openai/v1/completions", text);
  const streamed = await post("/openai/v1/completions", { ...text, stream: true });
  const generated = await post("/v2/models/letters/generate_stream", {
    text_input: "ab",
    parameters: { max_tokens: 2 },
  });

  expect(inBinary.seen[0]?.body.equals(binary)).toBe(true);
  expect(inBinary.seen[0]?.headers["content-type"]).toBe("application/octet-stream");
  expect(inGzip.seen[0]?.body.equals(coded)).toBe(true);
  expect(inGzip.seen[0]?.headers["content-encoding"]).toBe("gzip");
  expect(String(inV1.seen[1]?.body)).toBe(inV1.answer.text);
  expect(String(whole.seen[1]?.body)).toBe(whole.answer.text);
  expect(streamed.seen[1]?.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
  expect(eventsOf(String(streamed.seen[1]?.body)).at(-1)).toBe("[DONE]");
  expect(String(streamed.seen[1]?.body)).toBe(streamed.answer.text);
  expect(String(generated.seen[1]?.body)).toBe(generated.answer.text);

  const tensorOf = (value: number) => ({
    ...{ model_name: "m", raw_input_contents: [Buffer.from(new Float32Array([value]).buffer)] },
    inputs: [{ name: "x", datatype: "FP32", shape: [1n, 1n] }],
  });
  const before = sink.received.length;
  await callGrpc(server.port, "ModelInfer", [tensorOf(1)]);
  await callGrpc(server.port, "ModelInfer", [{ ...tensorOf(1), model_name: "none" }], { "ce-id": "gone" });
  await callGrpc(server.port, "ModelStreamInfer", [tensorOf(2), tensorOf(3)]);
  await callGrpc(server.port, "ServerLive", [{}]);
  await sink.until(before + 8);
  const calls = sink.received.slice(before);
  expect(calls.map(kindOf).filter((kind) => kind === "request")).toHaveLength(4);
  expect(new Set(calls.map(({ headers }) => headers["ce-id"])).size).toBe(4);
  const gone = sorted(calls.filter(({ headers }) => headers["ce-id"] === "gone"));
  expect(gone[0]?.headers["content-type"]).toBe("application/x-protobuf;messageType=inference.ModelInferRequest");
  expect(gone[1]?.headers["ce-grpcstatus"]).toBe("5");
  expect(String(gone[1]?.body)).toContain("none");
});

test("a stream whose client goes away is logged as far as it came, and said to be cut", async () => {
  const sink = await sinkServer();
  const server = await serve(openLog({ urls: [sink.url] }), protocolModels());
  const body = JSON.stringify({ model: "letters", prompt: "ab", max_tokens: 2000, seed: 1, stream: true });
  const socket = connect(server.port, "127.0.0.1");
  socket.write(
    `POST /openai/v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await new Promise((resolve) => socket.once("data", resolve));
  socket.destroy();
  await sink.until(2);

  const [, response] = sorted(sink.received);
  expect(response?.headers["ce-truncated"]).toBe("true");
  expect(String(response?.body)).toContain("data: ");
});

test("a sink that is slow, dead, or answers 500 is not in the way of a request; what it misses is counted", async () => {
  const slow = await sinkServer(() => undefined);
  const broken = await sinkServer(() => 500);
  const urls = [slow.url, broken.url, "http://127.0.0.1:1/dead", "http://user:hush@127.0.0.1:1/x?token=hush"];
  const lines: string[] = [];
  const log = createLogger({ level: "debug", write: (line) => lines.push(line), clock: systemClock });
  const payloads = openPayloadLog(settingsOf({ urls, maxEvents: 10 }), {
    ...{ clock: systemClock, random: systemRandom, log, env: {} },
  });
  const server = await serve(payloads, undefined, 0);

  for (let index = 0; index < 40; index++)
    expect((await call(`${server.url}/v2/models/m/infer`, REQUEST)).status).toBe(200);
  await broken.until(1);

  const { text } = await call(`${server.url}/metrics`);
  const value = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? -1);
  // Eight are under way and ten wait; the rest made room.
  expect(value(/events_total\{sink="http:\/\/127[^"]*\/dead",outcome="dropped"\} (\d+)/)).toBeGreaterThan(40);
  expect(text).toContain(`argosy_payload_log_events_total{sink="${slow.url}",outcome="sent"} 0`);
  expect(value(new RegExp(`argosy_payload_log_waiting\\{sink="${slow.url}"\\} (\\d+)`))).toBe(18);
  expect(text).not.toContain("hush");
  expect(lines.join("")).toContain("does not take events");
  expect(lines.join("")).not.toContain("hush");
});

test("a sink that fails for a while gets everything in the end", async () => {
  const sink = await sinkServer((_, count) => (count <= 2 ? 503 : 200));
  const server = await serve(openLog({ urls: [sink.url], mode: "request" }));
  for (const id of ["a", "b", "c"]) await call(`${server.url}/v2/models/m/infer`, REQUEST, { "ce-id": id });

  await sink.until(5);

  expect(new Set(sink.received.slice(2).map(({ headers }) => headers["ce-id"]))).toEqual(new Set(["a", "b", "c"]));
});

/** A sink that does as the test says, and a log on virtual time. */
function playLog(more: object, deliver: Sink["deliver"], shape: Partial<Sink> = {}) {
  const clock = virtualClock(0);
  const sink: Sink = {
    ...{ name: "play", concurrency: 1, batchSize: 1, batchIntervalMs: 0 },
    ...{ deliver, close: () => Promise.resolve(), ...shape },
  };
  const settings = settingsOf(more);
  const log = createPayloadLog({ settings, sinks: [sink], clock, random: seededRandom(1), log: silentLogger });
  const send = (id: string, body: string | Uint8Array = "x"): void =>
    log.begin((name) => (name === "ce-id" ? id : undefined)).request({ body, type: undefined, coding: undefined });
  const count = (outcome: string): number =>
    Number(new RegExp(`outcome="${outcome}"\\} (\\d+)`).exec(log.render())?.[1] ?? -1);
  return { clock, log, send, count };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("pauses double to a bound, six tries are all, then newer events have their turn", async () => {
  const tries: number[] = [];
  const play = playLog({}, () => {
    tries.push(play.clock.now());
    return Promise.reject(new DeliveryError("away", true));
  });
  play.send("a");
  await turn();
  await play.clock.advance(120_000);

  expect(tries).toHaveLength(6);
  const pauses = tries.slice(1).map((at, index) => at - (tries[index] ?? 0));
  for (const [index, pause] of pauses.entries()) {
    expect(pause).toBeGreaterThanOrEqual(125 * 2 ** index);
    expect(pause).toBeLessThanOrEqual(250 * 2 ** index);
  }
  expect(play.count("failed")).toBe(1);
});

test("the queue holds so many events and so many bytes; the oldest make room; a refused event is not tried again", async () => {
  const taken: string[] = [];
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const play = playLog({ maxEvents: 3, maxBytes: 8192 }, async ([event]) => {
    await gate;
    if (event?.id === "bad") throw new DeliveryError("no", false);
    taken.push(event?.id ?? "");
  });
  for (const id of ["a", "b", "c", "bad", "e"]) play.send(id);
  await turn();
  expect(play.count("dropped")).toBe(2);
  play.send("big", "x".repeat(5000));
  play.send("large", "x".repeat(4000));
  play.send("larger", "x".repeat(4000));
  open();
  for (let index = 0; index < 10; index++) await turn();

  expect(play.log.render()).toContain("argosy_payload_log_skipped_total 1");
  expect(taken).toEqual(["c", "larger"]);
  play.send("bad");
  for (let index = 0; index < 3; index++) await turn();
  expect([play.count("sent"), play.count("refused"), play.count("failed")]).toEqual([2, 1, 0]);
  expect(play.log.render()).toContain('argosy_payload_log_waiting_bytes{sink="play"} 0');
});

test("a small body does not keep the large buffer that it was cut out of", async () => {
  let seen: PayloadEvent | undefined;
  const play = playLog({}, ([event]) => {
    seen = event;
    return Promise.resolve();
  });
  play.send("a", Buffer.alloc(1_000_000).subarray(5, 20_005));
  await turn();

  expect(seen?.body.length).toBe(20_000);
  expect(Buffer.isBuffer(seen?.body) && seen.body.buffer.byteLength).toBeLessThan(30_000);
});

test("batches are full, or as old as batchInterval, or all that there is at the end", async () => {
  const batches: string[][] = [];
  const play = playLog(
    {},
    (events) => {
      batches.push(events.map(({ id }) => id));
      return Promise.resolve();
    },
    { batchSize: 3, batchIntervalMs: 1000 },
  );
  for (const id of ["a", "b", "c", "d"]) play.send(id);
  await turn();
  await play.clock.advance(999);
  expect(batches).toEqual([["a", "b", "c"]]);
  await play.clock.advance(1);
  expect(batches).toEqual([["a", "b", "c"], ["d"]]);
  play.send("e");
  await turn();
  await play.log.close(1000);
  expect(batches.at(-1)).toEqual(["e"]);
});

test("at the end what is there is delivered, for a bounded time", async () => {
  const play = playLog({}, () => new Promise(() => undefined));
  play.send("a");
  play.send("b");
  await turn();
  const closed = play.log.close(5000);
  await play.clock.advance(5000);
  await closed;

  expect(play.count("failed")).toBe(1);
});

test("files of records lie under prefix, namespace, service, component and path; ids lead nowhere else", async () => {
  const folder = await mkdtemp(join(tmpdir(), "argosy-payloads-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const server = await serve(openLog({ urls: [`file://${folder}`], path: "daily" }));
  // The same id again: the records of one do not take the place of another's.
  for (let times = 0; times < 2; times += 1)
    await call(`${server.url}/v2/models/m/infer`, REQUEST, { "ce-id": "../../up" });
  await server.stop();

  const files = await readdir(join(folder, "models", "iris", "predictor", "daily"));
  files.sort();
  const marks = files.map((file) => /^__%2F\.\.%2Fup-([0-9a-f]{8})-(request|response)\.json$/.exec(file)?.slice(1));
  expect(marks.map((mark) => mark?.[1])).toEqual(["request", "response", "request", "response"]);
  expect(new Set(marks.map((mark) => mark?.[0])).size).toBe(2);
  const record = JSON.parse(await readFile(join(folder, "models/iris/predictor/daily", files[0] ?? ""), "utf8"));
  expect(record).toMatchObject({
    ...{ Id: "../../up", InferenceService: "iris", Namespace: "models", Component: "predictor" },
    ...{ ReqType: "org.kubeflow.serving.inference.request", Metadata: {} },
  });
  expect(JSON.parse(Buffer.from(record.Bytes, "base64").toString())).toEqual(REQUEST);
});

test("a batch is one CSV file; a marshaller makes its own", async () => {
  const folder = await mkdtemp(join(tmpdir(), "argosy-payloads-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const marshalled: unknown[] = [];
  const marshaller = createServer((request, response) => {
    let text = "";
    request.on("data", (piece) => (text += String(piece)));
    request.on("end", () => {
      marshalled.push(JSON.parse(text));
      response.setHeader("x-log-marshal-extension", "parquet").end("PAR1");
    });
  });
  await new Promise<void>((resolve) => marshaller.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => new Promise((resolve) => marshaller.close(resolve)));
  const address = marshaller.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const urls = [`file://${folder}`];
  const csv = openLog({ urls, format: "csv", batchSize: 10, path: "csv" });
  const made = openLog({ urls, batchSize: 10, path: "made", marshallerUrl: `http://127.0.0.1:${port}/marshal` });
  for (const log of [csv, made])
    for (const id of ["a", "b"]) {
      const exchange = log.begin((name) => (name === "ce-id" ? id : undefined));
      exchange.request({ body: gzipSync('{"a": "b,c"}'), type: "application/json", coding: "gzip" });
    }
  await csv.close(1000);
  await made.close(1000);

  const only = async (path: string, name: RegExp): Promise<string> => {
    const files = await readdir(join(folder, "models/iris/predictor", path));
    expect(files).toEqual([expect.stringMatching(name)]);
    return readFile(join(folder, "models/iris/predictor", path, files[0] ?? ""), "utf8");
  };
  const text = await only("csv", /^b-[0-9a-f]{8}-request\.csv$/);
  expect(text.split("\n").map((line) => line.split(",")[4])).toEqual(["id", "a", "b", undefined]);
  expect(text).toContain(Buffer.from('{"a": "b,c"}').toString("base64"));
  expect(await only("made", /^b-[0-9a-f]{8}-request\.parquet$/)).toBe("PAR1");
  expect(marshalled).toMatchObject([[{ Id: "a", ContentType: "application/json" }, { Id: "b" }]]);
});

test("objects are put into a store, signed with the keys that are for the log; a Secret may come late, a refusal is tried again", async () => {
  const store = await sinkServer((_, count) => (count === 1 ? 403 : 200));
  const folder = await mkdtemp(join(tmpdir(), "argosy-payloads-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const keys = (prefix: string) => ({
    ...{ [`${prefix}AWS_ACCESS_KEY_ID`]: `${prefix}id`, [`${prefix}AWS_SECRET_ACCESS_KEY`]: "hush" },
    [`${prefix}AWS_ENDPOINT_URL`]: `http://127.0.0.1:${store.port}`,
  });
  const open = (more: object) =>
    openPayloadLog(settingsOf({ urls: ["s3://logs/at here"], ...more }), {
      ...{ clock: systemClock, random: systemRandom, log: silentLogger },
      env: { ...keys(""), ...keys("PAYLOAD_LOG_") },
    });
  const byVariables = open({});
  const byFile = open({ s3cfg: join(folder, ".s3cfg") });
  byVariables.begin(() => "a").request({ body: "{}", type: "application/json", coding: undefined });
  await store.until(2);
  byFile.begin(() => "b").request({ body: "{}", type: "application/json", coding: undefined });
  const settings = `[default]\nhost_base = 127.0.0.1:${store.port}\nuse_https = False\naccess_key = of-file\nsecret_key = hush\n`;
  await writeFile(join(folder, ".s3cfg"), settings);
  await store.until(3);
  await Promise.all([byVariables.close(1000), byFile.close(1000)]);

  const [refused, taken, late] = store.received;
  expect(refused?.url).toMatch(/^\/logs\/at%20here\/models\/iris\/predictor\/a-[0-9a-f]{8}-request\.json$/);
  expect(taken?.url).toBe(refused?.url);
  expect(JSON.parse(String(taken?.body))).toMatchObject({ Id: "a", Url: { Scheme: "s3", Host: "logs" } });
  expect(taken?.headers.authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=PAYLOAD_LOG_id\//);
  expect(late?.headers.authorization).toMatch(/Credential=of-file\//);
  expect(JSON.stringify(store.received.map(({ headers }) => headers))).not.toContain("hush");
});

test("an MLService's events have its types, attributes and trace", async () => {
  const sink = await sinkServer();
  const server = await serve(
    openLog({
      ...{ urls: [sink.url], dialect: "mlservice", source: "iris-predict-v1", inferenceUrl: "http://iris.models.x" },
    }),
  );
  await call(`${server.url}/v2/models/m/infer`, REQUEST, { traceparent: "00-a-b-01" });
  await sink.until(2);

  expect(sorted(sink.received)[0]?.headers).toMatchObject({
    ...{ "ce-type": "tensorstack.dev.mlservice.request", "ce-mlservicename": "iris", "ce-traceparent": "00-a-b-01" },
    ...{ "ce-source": "iris-predict-v1", "ce-inferenceurl": "http://iris.models.x" },
  });
  expect(sink.received[0]?.headers["ce-inferenceservicename"]).toBeUndefined();
});

test.each([
  ["[]", "expected an object"],
  ["{}", "urls must name"],
  ['{"urls": ["ftp://x"]}', "there are http, https, s3 and file"],
  ['{"urls": ["http://x"], "mode": "some"}', "mode must be one of all, request, response"],
  ['{"urls": ["http://x"], "batchSize": 0}', "batchSize must be a whole number from 1"],
  ['{"urls": ["http://x"], "hurry": 1}', "there is no hurry"],
  ['{"urls": ["s3://"]}', "names no host or bucket"],
  ['{"urls": ["s3://b/%zz"]}', "urls[0] has a %"],
  ['{"urls": ["http://%ff@b/"]}', "urls[0] has a %"],
  ['{"urls": ["file://host/folder"]}', "names the host host"],
  ['{"urls": ["http://x"], "marshallerUrl": "s3://x"}', "marshallerUrl must be http"],
])("settings %s are refused: %s", (text, words) => {
  expect(() => readPayloadLog(text)).toThrow(InputError);
  expect(() => readPayloadLog(text)).toThrow(words);
});

test("the program refuses bad settings with exit code 2", async () => {
  const code = await runModelServerProgram({
    ...{ args: ["--model-dir", "/none", "--log-payloads", "{}"], env: { ARGOSY_TERMINATION_LOG: "/dev/null" } },
    ...{ clock: systemClock, random: systemRandom, log: silentLogger, stopped: Promise.resolve() },
  });
  expect(code).toBe(2);
});

test("keys have no parts that lead upwards", () => {
  const settings = { ...settingsOf({}), path: "../x//y" };
  const event = { id: ".", kind: "request" } as PayloadEvent;
  expect(keyOf(settings, "/logs/", event, "json")).toBe("logs/models/iris/predictor/x/y/_-request.json");
});

import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { DEFAULT_LIMITS } from "./engines/limits.js";
import { type Closers, counter, eater, folderWith, scale } from "./models.fixture.js";
import { call } from "./protocols.fixture.js";
import { type ModelServer, runModelServer } from "./server.js";

const closers: Closers = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(files: Readonly<Record<string, Uint8Array | string>>): Promise<ModelServer> {
  const server = await runModelServer({
    ...{ source: { repository: await folderWith(files, closers) }, port: 0, clock: systemClock, log: silentLogger },
    ...{ drainDelayMs: 0, drainTimeoutMs: 0, limits: { ...DEFAULT_LIMITS, memoryBytes: 400 * 2 ** 20 } },
  });
  closers.push(() => server.close());
  await server.loaded;
  return server;
}

/** A constant that has the shape of more numbers than are there. */
function liar(): Uint8Array {
  const bytes = Buffer.from(scale(2));
  // Dimension 1, type FP32, then the name.
  const dims = bytes.indexOf(Buffer.from([0x08, 1, 0x10, 1]));
  expect(dims).toBeGreaterThan(0);
  bytes[dims + 1] = 100;
  return bytes;
}

const fine = { inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], data: [1, 2] }] };
const count = (n: number | string) => `{"inputs":[{"name":"n","datatype":"INT64","shape":[1],"data":[${n}]}]}`;
const broken = ["cut", "words", "empty", "pickle", "liar", "torch", "nothing"];

test("whatever models are broken, hang or eat: each is named and counted, and the others answer meanwhile", async () => {
  const whole = scale(2);
  const server = await serve({
    "fine/1/model.onnx": whole,
    "cut/1/model.onnx": whole.subarray(0, whole.length / 2),
    "words/1/model.onnx": "this is no model",
    "empty/1/model.onnx": "",
    "pickle/1/model.pkl": "cposix\nsystem\n(Vtouch /tmp/never\ntR.",
    "liar/1/model.onnx": liar(),
    "torch/1/model.pt": "PK\u0003\u0004",
    "nothing/1/readme.md": "",
    "hang/config.json": JSON.stringify({ parameters: { run_timeout_ms: { string_value: "800" } } }),
    "hang/1/model.onnx": counter(),
    "eat/1/model.onnx": eater(),
  });
  const infer = (model: string, body: unknown) => call(`${server.url}/v2/models/${model}/infer`, body);
  let isOver = false;
  let answered = 0;
  const neighbour = (async () => {
    while (!isOver) {
      const { json } = await infer("fine", fine);
      expect(json.outputs[0].data).toEqual([2, 4]);
      answered++;
    }
  })();

  const reasons = Object.fromEntries(
    await Promise.all(
      broken.map(async (model) => {
        const { status, json } = await infer(model, fine);
        return [model, `${status} ${String(json.error).split(": ")[1]}`];
      }),
    ),
  );
  const [hanging, eating] = await Promise.all([infer("hang", count("1000000000000000")), infer("eat", count(4e9))]);
  isOver = true;
  await neighbour;

  expect(reasons).toEqual({
    cut: "503 ModelLoadFailed",
    words: "503 ModelLoadFailed",
    empty: "503 ModelLoadFailed",
    pickle: "503 ModelRefused",
    liar: "503 ModelLoadFailed",
    torch: "503 UnsupportedFormat",
    nothing: "503 ModelNotFound",
  });
  expect(hanging.status).toBe(504);
  // An allocation that fails within the run is the request's fault, one that ends the worker is not.
  expect([400, 503]).toContain(eating.status);
  expect(answered).toBeGreaterThan(1);
  const { text } = await call(`${server.url}/metrics`);
  for (const model of broken)
    expect(text).toContain(`argosy_modelserver_loads_total{model="${model}",outcome="failed"} 1`);
  expect(text).toContain('argosy_modelserver_worker_faults_total{model="hang",version="1",kind="timeout"} 1');
  expect((await call(`${server.url}/v2/health/live`)).status).toBe(200);
});

test("clients that vanish in their request or before their answer leave nothing behind, and are counted", async () => {
  const server = await serve({
    "fine/1/model.onnx": scale(2),
    "slow/config.json": JSON.stringify({ parameters: { run_timeout_ms: { string_value: "20000" } } }),
    "slow/1/model.onnx": counter(),
  });
  const body = count(1_000_000);
  const head = (length: number) =>
    `POST /v2/models/slow/infer HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
  const vanish = (bytes: string) =>
    new Promise<void>((resolve) => {
      const socket = connect(server.port, "127.0.0.1", () => socket.write(bytes, () => socket.destroy()));
      socket.on("error", () => undefined);
      socket.on("close", () => resolve());
    });
  await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      vanish(index % 2 === 0 ? `${head(body.length)}${body}` : `${head(body.length + 100)}${body}`),
    ),
  );
  const after = await call(`${server.url}/v2/models/fine/infer`, fine);
  const whole = await call(`${server.url}/v2/models/slow/infer`, count(3));
  const { text } = await call(`${server.url}/metrics`);

  expect(after.json.outputs[0].data).toEqual([2, 4]);
  expect(whole.json.outputs[0].data).toEqual([3]);
  const counted = (series: string): number => Number(text.split(`\n${series} `)[1]?.split("\n")[0]);
  expect(counted('argosy_modelserver_http_responses_total{code="400"}')).toBe(50);
  // The first ones had begun, or had just come: for a second they might be waiting for their answers.
  const runs = counted('argosy_modelserver_runs_total{model="slow",version="1"}');
  expect(runs).toBeLessThan(12);
  expect(counted('argosy_modelserver_http_responses_total{code="499"}')).toBe(51 - runs);
});

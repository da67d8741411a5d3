import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, expect } from "vitest";
import { readGraph } from "../../src/dataplane/graph/read.js";
import { type Router, runRouter } from "../../src/dataplane/graph/router.js";
import { systemClock } from "../../src/kernel/clock/index.js";
import { silentLogger } from "../../src/kernel/log/index.js";
import { clientsFolder, pythonTool, testWith } from "./support.js";

const endings: (() => unknown)[] = [];
afterAll(async () => {
  for (const end of endings.reverse()) await end();
});

/** Starts a server of others; its port. */
async function startServer(kind: "kserve" | "mlserver", packages: string): Promise<number> {
  const program = join(clientsFolder, "serving", "infer_server.py");
  const child = spawn("python3", [program, kind], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PYTHONPATH: packages, PYTHONDONTWRITEBYTECODE: "1" },
  });
  endings.push(() => child.kill("SIGKILL"));
  let said = "";
  child.stderr.on("data", (text) => (said = `${said}${String(text)}`.slice(-3000)));
  for await (const line of createInterface({ input: child.stdout })) {
    const match = /^ready (\d+)$/.exec(line);
    if (match?.[1] !== undefined) return Number(match[1]);
  }
  throw new Error(`${kind}'s server ended before it was ready: ${said}`);
}

async function startRouter(port: number, model: string): Promise<Router> {
  const serviceUrl = `grpc://127.0.0.1:${port}/v2/models/${model}/infer`;
  const nodes = { root: { routerType: "Sequence", steps: [{ serviceUrl }] } };
  const listening = { host: "127.0.0.1", port: 0, drainDelayMs: 0, clock: systemClock, log: silentLogger };
  const router = await runRouter({ ...listening, graph: readGraph({ nodes }), name: "t/g", propagate: ["x-user"] });
  endings.push(() => router.close());
  return router;
}

const TENSORS = [
  { name: "long", datatype: "INT64", shape: [2], data: "[9007199254740993,-1]" },
  { name: "small", datatype: "UINT8", shape: [1, 2], data: "[0,255]" },
  { name: "real", datatype: "FP32", shape: [2], data: "[0.5,-2]" },
  { name: "is", datatype: "BOOL", shape: [2], data: "[true,false]" },
  { name: "text", datatype: "BYTES", shape: [2], data: '["ä","b"]' },
];
const textOf = ({ name, datatype, shape, data }: (typeof TENSORS)[number]): string =>
  `{"name":"${name}","datatype":"${datatype}","shape":${JSON.stringify(shape)},"data":${data}}`;

async function ask({ port }: Router, body: string | Buffer, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: Buffer.from(body), headers });
}

/** What every server of V2 must make of it. */
async function checkEcho(router: Router): Promise<string> {
  const answer = await ask(router, `{"id":"i","inputs":[${TENSORS.map(textOf).join(",")}]}`, { "x-user": "ada" });
  const text = await answer.text();
  expect([answer.status, text]).toEqual([200, expect.stringContaining('"id":"i"')]);
  const bare = text.replaceAll(/,"parameters":\{[^}]*\}(?=,"data")/g, "");
  for (const tensor of TENSORS) expect(bare).toContain(textOf(tensor));
  return text;
}

/** Bytes that are no text come back as they went. */
async function checkBytes(router: Router): Promise<void> {
  const content = Buffer.from([3, 0, 0, 0, 0xff, 0, 0xfe]);
  const parameters = { binary_data_size: content.length };
  const head = JSON.stringify({
    parameters: { binary_data_output: true },
    inputs: [{ name: "blob", datatype: "BYTES", shape: [1], parameters }],
  });
  const answer = await ask(router, Buffer.concat([Buffer.from(head), content]), {
    "inference-header-content-length": String(head.length),
  });
  const length = Number(answer.headers.get("inference-header-content-length"));
  expect(answer.status).toBe(200);
  expect(Buffer.from(await answer.arrayBuffer()).subarray(length)).toEqual(content);
}

testWith(
  pythonTool("serving-kserve", "serving/requirements-kserve.txt"),
  "a graph's step asks KServe's Python server over gRPC, which answers with typed contents and with raw ones",
  async (packages) => {
    const port = await startServer("kserve", packages);
    // Metadata reach the model.
    expect(await checkEcho(await startRouter(port, "typed"))).toContain('"user":"ada"');
    const raw = await startRouter(port, "raw");
    await checkEcho(raw);
    await checkBytes(raw);
    const other = await ask(await startRouter(port, "other"), '{"inputs":[]}');
    expect([other.status, await other.text()]).toEqual([404, expect.stringContaining("other")]);
  },
);

testWith(
  pythonTool("serving-mlserver", "serving/requirements-mlserver.txt"),
  "a graph's step asks MLServer over gRPC",
  async (packages) => {
    const router = await startRouter(await startServer("mlserver", packages), "raw");
    await checkEcho(router);
    await checkBytes(router);
  },
);

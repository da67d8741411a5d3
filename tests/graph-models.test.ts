/** Graphs in front of real models: the router and the model server as they run in pods. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { loadAll } from "js-yaml";
import { afterEach, expect, test } from "vitest";
import { readGraph } from "../src/dataplane/graph/read.js";
import { runRouter } from "../src/dataplane/graph/router.js";
import { call, eventsOf, serveProtocols } from "../src/dataplane/modelserver/protocols.fixture.js";
import { protocolModels } from "../src/dataplane/modelserver/text/letters.fixture.js";
import { packageRoot } from "../src/kernel/assets/index.js";
import { systemClock } from "../src/kernel/clock/index.js";
import type { JsonObject } from "../src/kernel/kinds/index.js";
import { silentLogger } from "../src/kernel/log/index.js";
import { unless } from "../src/testing/unless.js";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Fixture {
  readonly name: string;
  readonly content: string;
  readonly rows: readonly (readonly number[])[];
  readonly expected: { readonly predict: readonly unknown[] };
}

const table = join(packageRoot(), "src/dataplane/modelserver/engines/tabular/models.data.json");
const fixtures: readonly Fixture[] = JSON.parse(readFileSync(table, "utf8")).models;

function fixture(name: string): Fixture {
  const found = fixtures.find((each) => each.name === name);
  if (found === undefined) throw new TypeError(`no model ${name}`);
  return found;
}

/** Classifiers of the same five features, made by the libraries that the corpus' models are of. */
const sklearn = fixture("sklearn logistic regression");
const xgboost = fixture("xgboost softmax");
const rows = sklearn.rows;

async function serve() {
  const server = await serveProtocols(
    {},
    {
      ...protocolModels(),
      "sklearn-iris/1/model.json": sklearn.content,
      "xgboost-iris/1/model.json": xgboost.content,
    },
  );
  closers.push(() => server.stop());
  return server;
}

/** A router of a spec whose services are models of the server, under the addresses that the controller gives them. */
async function route(serverUrl: string, nodes: JsonObject) {
  const text = JSON.stringify(nodes).replaceAll(
    /"serviceName":"([^"]+)"/g,
    (_, name: string) => `"serviceUrl":"${serverUrl}/v1/models/${name}:predict"`,
  );
  const router = await runRouter({
    graph: readGraph({ nodes: JSON.parse(text) }),
    ...{ name: "t/g", host: "127.0.0.1", port: 0, clock: systemClock, log: silentLogger },
    ...{ drainDelayMs: 0, drainTimeoutMs: 0 },
  });
  closers.push(() => router.close());
  return `http://127.0.0.1:${router.port}/`;
}

const sequence = (...steps: JsonObject[]): JsonObject => ({ root: { routerType: "Sequence", steps } });
const ask = async (url: string, body: unknown): Promise<[status: number, json: unknown]> => {
  const { status, json } = await call(url, body, { "content-type": "application/json" });
  return [status, json];
};

const corpus = join(
  process.env["ARGOSY_CORPUS"] ?? join(dirname(packageRoot()), "shared", "corpus"),
  "kserve/docs/samples/graph/sequence.yaml",
);
const withCorpus = unless(existsSync(corpus) ? undefined : `there is no ${corpus}`);

withCorpus("the corpus' sequence answers as its last model does, of the request", async () => {
  const documents = loadAll(readFileSync(corpus, "utf8")) as { kind: string; spec: { nodes: JsonObject } }[];
  const graph = documents.find(({ kind }) => kind === "InferenceGraph");
  const { url: server } = await serve();
  const url = await route(server, graph?.spec.nodes ?? {});
  const alone = await ask(`${server}/v1/models/xgboost-iris:predict`, { instances: rows });
  expect(alone).toEqual([200, { predictions: expect.any(Array) }]);
  expect(await ask(url, { instances: rows })).toEqual(alone);
});

test("a sequence hands answers on, under the name that V1 takes; ensembles, switches and splitters ask the models they name", async () => {
  const { url: server } = await serve();
  const first = { serviceName: "fp32" };
  const response = { data: "$response", mapPredictionsToInstances: true };
  // An ONNX model that gives its rows back, then scikit-learn's on what came of it.
  const chain = await route(server, sequence(first, { serviceName: "sklearn-iris", ...response }));
  expect(await ask(chain, { instances: rows })).toEqual([200, { predictions: sklearn.expected.predict }]);
  // Without the other name it is no request of V1.
  const wrong = await route(server, sequence(first, { serviceName: "sklearn-iris", data: "$response" }));
  expect((await ask(wrong, { instances: rows }))[0]).toBe(400);
  // What fails hard ends it with the model's own words; what fails softly is the answer that the next step is given.
  const words = { instances: [["x"]] };
  const [status, direct] = await ask(`${server}/v1/models/sklearn-iris:predict`, words);
  const hard = await route(server, sequence({ serviceName: "sklearn-iris", dependency: "Hard" }, first));
  expect(await ask(hard, words)).toEqual([status, direct]);
  expect((await ask(await route(server, sequence({ serviceName: "none" }, first)), { instances: rows }))[0]).toBe(200);

  const both = {
    routerType: "Ensemble",
    steps: [
      { name: "a", serviceName: "sklearn-iris" },
      { name: "b", nodeName: "split" },
    ],
  };
  const split = {
    routerType: "Splitter",
    steps: [
      { serviceName: "none", weight: 0 },
      { serviceName: "xgboost-iris", weight: 100 },
    ],
  };
  const [, voted] = await ask(await route(server, { root: both, split }), { instances: rows });
  const [, alone] = await ask(`${server}/v1/models/xgboost-iris:predict`, { instances: rows });
  expect(voted).toEqual({ a: { predictions: sklearn.expected.predict }, b: alone });

  const steps = [
    { serviceName: "sklearn-iris", condition: "instances.#(>=100)" },
    { serviceName: "xgboost-iris", when: { path: "parameters.by", operator: "Equals", value: "xgboost" } },
  ];
  const chosen = await route(server, { root: { routerType: "Switch", steps } });
  expect(await ask(chosen, { instances: rows, parameters: { by: "xgboost" } })).toEqual([200, alone]);
  expect((await ask(chosen, { instances: rows }))[0]).toBe(404);
});

test("tensors in binary form, and streams of a text model, go through a graph as they are", async () => {
  const { url: server } = await serve();
  const header = JSON.stringify({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } }],
    parameters: { binary_data_output: true },
  });
  const tensor = Buffer.from(new Float32Array([0.1, 3e38]).buffer);
  const binary = await route(server, sequence({ serviceUrl: `${server}/v2/models/fp32/infer` }));
  const answer = await fetch(binary, {
    method: "POST",
    headers: { "inference-header-content-length": String(header.length), "content-type": "application/octet-stream" },
    body: Buffer.concat([Buffer.from(header), tensor]),
  });
  const body = Buffer.from(await answer.arrayBuffer());
  const length = Number(answer.headers.get("inference-header-content-length"));
  expect([answer.status, body.subarray(length)]).toEqual([200, tensor]);

  const completions = `${server}/openai/v1/completions`;
  const text = { model: "letters", prompt: "ab", max_tokens: 5, seed: 1, stream: true };
  const contents = (events: readonly string[]): string[] =>
    events.flatMap((event) => (event === "[DONE]" ? [] : [JSON.parse(event).choices[0]?.text ?? ""]));
  const streamed = await call(await route(server, sequence({ serviceUrl: completions })), text);
  expect(streamed.headers.get("content-type")).toContain("text/event-stream");
  expect(contents(eventsOf(streamed.text))).toEqual(contents(eventsOf((await call(completions, text)).text)));
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../kernel/clock/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { Message } from "./message.js";
import { readGraph } from "./read.js";
import { type Answer, type AskStep, pickByWeight, runGraph } from "./run.js";

type Served = Readonly<Record<string, { status: number; body: Json | string }>>;
type Asked = readonly [string, string];

const url = (name: string): string => `http://${name}.test/`;
const message = (body: Json | string): Message =>
  new Message(Buffer.from(typeof body === "string" ? body : JSON.stringify(body)), {});

/** Runs a graph whose services answer as told; says what they were sent. */
async function run(nodes: Json, request: Json | string, served: Served, seed = 1) {
  const asked: [string, string][] = [];
  const ask: AskStep = async (step, sent) => {
    const name = step.url?.hostname.replace(".test", "") ?? "";
    asked.push([name, sent.body.toString()]);
    const { status, body } = served[name] ?? { status: 200, body: { from: name } };
    return { status, message: message(body) };
  };
  const graph = readGraph(JSON.parse(JSON.stringify({ nodes })));
  const way = { ask, random: seededRandom(seed), signal: new AbortController().signal };
  const answer = await runGraph(graph, message(request), way);
  return { status: answer.status, body: answer.message.body.toString(), asked };
}

const good = { status: 200, body: { predictions: [{ message: "SUCCESS" }] } };
const bad = { status: 404, body: { detail: "Intentional 404 code" } };
const step = (name: string, more: JsonObject = {}) => ({ serviceUrl: url(name), ...more });
const root = (routerType: string, ...steps: JsonObject[]) => ({ root: { routerType, steps } });
const services = { good, bad };

// What KServe's own tests of its router expect, scenario by scenario.
test.each<[string, Json, Json, number, Json]>([
  ["soft good, soft bad", root("Sequence", step("good"), step("bad", { data: "$request" })), {}, 404, bad.body],
  ["soft bad, soft good", root("Sequence", step("bad"), step("good", { data: "$request" })), {}, 200, good.body],
  ["hard bad, soft good", root("Sequence", step("bad", { dependency: "Hard" }), step("good")), {}, 404, bad.body],
  [
    "a switch that finds nothing",
    root("Switch", step("good", { condition: "[@this].#(pick==GOOD)" })),
    { pick: "NONE" },
    404,
    { error: "Failed to process request", cause: "None of the routes matched with the switch condition" },
  ],
  ["a switch that leads to what fails", root("Switch", step("bad", { condition: "pick" })), { pick: 1 }, 404, bad.body],
  [
    "a soft switch before a good step",
    {
      root: { routerType: "Sequence", steps: [{ nodeName: "one", dependency: "Soft" }, step("good")] },
      one: { routerType: "Switch", steps: [step("bad", { condition: "[@this].#(pick==ERROR)" })] },
    },
    { pick: "ERROR" },
    200,
    good.body,
  ],
  [
    "a hard switch before a good step",
    {
      root: { routerType: "Sequence", steps: [{ nodeName: "one", dependency: "Hard" }, step("good")] },
      one: { routerType: "Switch", steps: [step("bad", { condition: "pick" })] },
    },
    { pick: "ERROR" },
    404,
    bad.body,
  ],
  [
    "soft steps together",
    root("Ensemble", step("good", { name: "first" }), step("bad", { name: "second" }), step("good")),
    {},
    200,
    { first: good.body, second: bad.body, 2: good.body },
  ],
  ["a hard one among them", root("Ensemble", step("good"), step("bad", { dependency: "Hard" })), {}, 404, bad.body],
  ["a splitter is what it leads to", root("Splitter", step("bad", { weight: 100 })), {}, 404, bad.body],
])("%s", async (_, nodes, request, status, body) => {
  const answer = await run(nodes, request, services);
  expect([answer.status, JSON.parse(answer.body)]).toEqual([status, body]);
});

test("steps are sent the request, or the response before; predictions become instances and nothing else changes", async () => {
  const written = '{"a":"predictions", "predictions" : [12345678901234567890, 1.0, {"predictions":1}]}';
  const nodes = root(
    "Sequence",
    step("one", { data: "$response" }),
    step("two", { data: "$response", mapPredictionsToInstances: true }),
    step("three"),
    step("four", { data: "$response" }),
  );
  const { asked } = await run(nodes, '{"instances":[1]}', {
    one: { status: 200, body: written },
    three: { status: 200, body: "no JSON" },
  });
  expect(asked).toEqual([
    ["one", '{"instances":[1]}'],
    ["two", '{"a":"predictions", "instances" : [12345678901234567890, 1.0, {"predictions":1}]}'],
    ["three", '{"instances":[1]}'],
    ["four", "no JSON"],
  ]);
});

test("a sequence stops where a condition does not hold of the response before, and that is its answer", async () => {
  const nodes = root("Sequence", step("one"), step("two", { condition: "label" }), step("three"));
  const stopped = await run(nodes, {}, { one: { status: 418, body: { other: 1 } } });
  const gone = await run(nodes, {}, { one: { status: 200, body: { label: null } } });
  expect(stopped).toMatchObject({ status: 200, body: '{"other":1}', asked: [["one", "{}"]] });
  expect(gone.asked.map(([name]) => name)).toEqual(["one", "two", "three"]);
  await expect(run(nodes, {}, { one: { status: 200, body: "text" } })).rejects.toMatchObject({
    status: 500,
    message: "invalid response",
  });
});

test.each<[JsonObject, Json, boolean]>([
  [{ path: "age", operator: "GreaterOrEqual", value: 18 }, { age: 18 }, true],
  [{ path: "age", operator: "GreaterThan", value: 18 }, { age: 18 }, false],
  [{ path: "age", operator: "LessThan", value: 18 }, { age: "10" }, false],
  [{ path: "age", operator: "NotEquals", value: 18 }, {}, false],
  [{ path: "age", operator: "DoesNotExist" }, {}, true],
  [{ path: "age" }, { age: null }, true],
  [{ path: "p.#.class", operator: "Equals", value: ["dog", "cat"] }, { p: [{ class: "dog" }, { class: "cat" }] }, true],
  [{ path: "p.0.class", operator: "In", value: ["dog", "cat"] }, { p: [{ class: "cow" }] }, false],
  [{ path: "p.0.class", operator: "NotIn", value: ["dog", "cat"] }, { p: [{ class: "cow" }] }, true],
])("typed conditions compare without converting: %j of %j", async (when, request, holds) => {
  const { status } = await run(root("Switch", step("good", { when })), request, services);
  expect(status).toBe(holds ? 200 : 404);
});

test.each<[Json, string]>([
  [{ source: "client", instances: [{ intval: 11 }] }, "one"],
  [{ instances: [{ intval: 3 }, { intval: 11 }] }, "two"],
  [{ instances: [{ intval: 3, strval: "the red-server here" }] }, "three"],
])("conditions as KServe's users write them: %j goes to %s", async (request, service) => {
  const nodes = root(
    "Switch",
    step("one", { condition: "[@this].#(source==client)" }),
    step("two", { condition: "instances.#(intval>10)" }),
    step("three", { condition: "instances.#(strval%*red-server*)" }),
  );
  expect((await run(nodes, request, {})).asked.map(([name]) => name)).toEqual([service]);
});

test("weights are shares of a hundred", () => {
  const weights = fc.array(fc.nat({ max: 100 }), { minLength: 1, maxLength: 6 }).map((parts) => {
    const cuts = [...parts.map((part) => Math.min(part, 100)).sort((a, b) => a - b), 100];
    return cuts.map((cut, index) => cut - (cuts[index - 1] ?? 0));
  });
  fc.assert(
    fc.property(weights, (shares) => {
      const { nodes } = readGraph({
        nodes: root("Splitter", ...shares.map((weight, index) => step(`s${index}`, { weight }))),
      });
      const steps = nodes.get("root")?.steps ?? [];
      const seen = shares.map(() => 0);
      for (let point = 0; point < 100; point++) {
        const picked = pickByWeight(steps, { int: () => point });
        const at = picked === undefined ? -1 : steps.indexOf(picked);
        seen[at] = (seen[at] ?? 0) + 1;
      }
      expect(seen).toEqual(shares);
    }),
  );
});

/** The same rules once more, as plainly as can be: a graph as a tree, services by name. */
type Plain =
  | { readonly kind: "service"; readonly name: string }
  | {
      readonly kind: "Sequence" | "Ensemble";
      readonly steps: readonly { readonly of: Plain; readonly hard: boolean; readonly response: boolean }[];
    };

function plain(
  tree: Plain,
  request: string,
  served: Served,
  asked: [string, string][],
): { status: number; body: string } {
  if (tree.kind === "service") {
    asked.push([tree.name, request]);
    const { status, body } = served[tree.name] ?? { status: 200, body: { from: tree.name } };
    return { status, body: JSON.stringify(body) };
  }
  const answers: { status: number; body: string }[] = [];
  for (const [index, { of, hard, response }] of tree.steps.entries()) {
    const sent = tree.kind === "Sequence" && response && index > 0 ? (answers.at(-1)?.body ?? "") : request;
    const answer = plain(of, sent, served, asked);
    answers.push(answer);
    if (hard && answer.status >= 300) return answer;
  }
  if (tree.kind === "Sequence") return answers.at(-1) ?? { status: 0, body: "" };
  return { status: 200, body: `{${answers.map(({ body }, index) => `"${index}":${body}`).join(",")}}` };
}

function nodesOf(tree: Plain): JsonObject {
  const nodes: JsonObject = {};
  const add = (name: string, each: Exclude<Plain, { kind: "service" }>): void => {
    nodes[name] = {
      routerType: each.kind,
      steps: each.steps.map(({ of, hard, response }, index) => {
        const inner = `${name}-${index}`;
        if (of.kind !== "service") add(inner, of);
        return {
          ...(of.kind === "service" ? { serviceUrl: url(of.name) } : { nodeName: inner }),
          dependency: hard ? "Hard" : "Soft",
          data: response ? "$response" : "$request",
        };
      }),
    };
  };
  if (tree.kind !== "service") add("root", tree);
  return nodes;
}

test("nested sequences and ensembles do what the rules say", async () => {
  const names = ["a", "b", "c", "d"] as const;
  const { tree } = fc.letrec<{ tree: Plain; inner: Plain }>((tie) => ({
    inner: fc.oneof(
      { maxDepth: 2 },
      fc.record({ kind: fc.constant("service" as const), name: fc.constantFrom(...names) }),
      tie("tree"),
    ),
    tree: fc.record({
      kind: fc.constantFrom("Sequence" as const, "Ensemble" as const),
      steps: fc.array(fc.record({ of: tie("inner"), hard: fc.boolean(), response: fc.boolean() }), {
        minLength: 1,
        maxLength: 3,
      }),
    }),
  }));
  const statuses = fc.record(Object.fromEntries(names.map((name) => [name, fc.constantFrom(200, 201, 404, 503)])));
  await fc.assert(
    fc.asyncProperty(tree, statuses, async (graph, told) => {
      const served = Object.fromEntries(
        names.map((name) => [name, { status: told[name] ?? 200, body: { from: name } }]),
      );
      const asked: [string, string][] = [];
      const expected = plain(graph, '{"x":1}', served, asked);
      const seen = await run(nodesOf(graph), { x: 1 }, served);
      expect([seen.status, seen.body]).toEqual([expected.status, expected.body]);
      // Steps of an ensemble are asked together: those after what decides may have been asked too.
      const remaining: Asked[] = [...seen.asked];
      for (const [name, sent] of asked) {
        const at = remaining.findIndex(([other, body]) => other === name && body === sent);
        expect(at).toBeGreaterThanOrEqual(0);
        remaining.splice(at, 1);
      }
    }),
    { numRuns: 300 },
  );
});

test("an ensemble gives up what it does not need any more", async () => {
  const nodes = root("Ensemble", step("bad", { dependency: "Hard" }), step("slow"));
  let isGivenUp = false;
  const ask: AskStep = (asked, _sent, { signal }) =>
    asked.url?.hostname === "bad.test"
      ? Promise.resolve<Answer>({ status: 500, message: message("not JSON") })
      : new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            isGivenUp = true;
            reject(signal.reason as Error);
          });
        });
  const graph = readGraph({ nodes });
  const answer = await runGraph(graph, message({}), {
    ask,
    random: seededRandom(1),
    signal: new AbortController().signal,
  });
  expect([answer.status, answer.message.body.toString(), isGivenUp]).toEqual([500, "not JSON", true]);
});

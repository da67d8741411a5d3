import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTracking, type TestTracking } from "./test-server.js";

let tracking: TestTracking;
beforeAll(async () => {
  tracking = await startTracking();
});
afterAll(() => tracking.close());

interface Sample {
  name: string;
  metrics: Record<string, number>;
  params: Record<string, string>;
}

const texts = fc.constantFrom("adam", "Adam", "sgd", "a_b", "a%b", "", "ü", "it's");
const numbers = fc.constantFrom(-1, 0, 0.5, 1, 1e9, Number.NaN);
const sample: fc.Arbitrary<Sample> = fc.record({
  name: fc.constantFrom("alpha", "Beta", "gamma", "x y"),
  metrics: fc.dictionary(fc.constantFrom("acc", "loss 1"), numbers, { maxKeys: 2 }),
  params: fc.dictionary(fc.constantFrom("opt", "l-r"), texts, { maxKeys: 2 }),
});

type Term = { text: string; holds: (sample: Sample) => boolean };

/** The reference: LIKE by hand, one character at a time. */
function like(text: string, pattern: string): boolean {
  if (pattern === "") return text === "";
  const [first = "", rest] = [pattern[0], pattern.slice(1)];
  if (first === "%") return like(text, rest) || (text !== "" && like(text.slice(1), pattern));
  return text !== "" && (first === "_" || first === text[0]) && like(text.slice(1), rest);
}

const asciiLower = (text: string): string => text.replace(/[A-Z]/g, (c) => c.toLowerCase());
const textOperators: Record<string, (left: string, right: string) => boolean> = {
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  LIKE: like,
  ilike: (a, b) => like(asciiLower(a), asciiLower(b)),
};
const numberOperators: Record<string, (left: number, right: number) => boolean> = {
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};

const paramTerm: fc.Arbitrary<Term> = fc
  .tuple(
    fc.constantFrom("opt", "l-r"),
    fc.constantFrom(...Object.keys(textOperators)),
    fc.oneof(texts, fc.constantFrom("%d%", "a_b", "_dam", "A%")),
  )
  .filter(([, , value]) => !value.includes("'"))
  .map(([key, operator, value]) => ({
    text: `params.\`${key}\` ${operator} '${value}'`,
    holds: ({ params }) => params[key] !== undefined && (textOperators[operator]?.(params[key], value) ?? false),
  }));
const metricTerm: fc.Arbitrary<Term> = fc
  .tuple(
    fc.constantFrom("acc", "loss 1"),
    fc.constantFrom(...Object.keys(numberOperators)),
    fc.constantFrom(-1, 0, 0.5, 1, 2),
  )
  .map(([key, operator, value]) => ({
    text: `metrics."${key}"${operator}${value}`,
    holds: ({ metrics }) => metrics[key] !== undefined && (numberOperators[operator]?.(metrics[key], value) ?? false),
  }));
const nullTerm: fc.Arbitrary<Term> = fc.tuple(fc.constantFrom("opt", "l-r"), fc.boolean()).map(([key, isNull]) => ({
  text: `params.\`${key}\` is ${isNull ? "" : "NOT "}null`,
  holds: ({ params }) => (params[key] === undefined) === isNull,
}));
const nameTerm: fc.Arbitrary<Term> = fc.constantFrom("alpha", "Beta", "nobody").map((name) => ({
  text: `attributes.run_name != "${name}"`,
  holds: (run) => run.name !== name,
}));

test("searches of runs find what a plain evaluation finds", async () => {
  let round = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(sample, { minLength: 1, maxLength: 6 }),
      fc.array(fc.array(fc.oneof(paramTerm, metricTerm, nullTerm, nameTerm), { minLength: 1, maxLength: 3 }), {
        minLength: 4,
        maxLength: 4,
      }),
      async (samples, filters) => {
        const experiment = (await tracking.send("experiments/create", { name: `property ${round++}` })).json[
          "experiment_id"
        ];
        const ids: string[] = [];
        for (const { name, metrics, params } of samples) {
          const { json } = await tracking.send("runs/create", { experiment_id: experiment, run_name: name });
          const run_id = (json["run"] as { info: { run_id: string } }).info.run_id;
          ids.push(run_id);
          await tracking.send("runs/log-batch", {
            run_id,
            metrics: Object.entries(metrics).map(([key, value]) => ({
              key,
              value: Number.isNaN(value) ? "NaN" : value,
              timestamp: 1,
            })),
            params: Object.entries(params).map(([key, value]) => ({ key, value })),
          });
        }
        for (const terms of filters) {
          const { json } = await tracking.send("runs/search", {
            experiment_ids: [experiment],
            filter: terms.map((t) => t.text).join(" and "),
          });
          const found = ((json["runs"] ?? []) as { info: { run_id: string } }[]).map((run) => run.info.run_id);
          const expected = ids.filter((_, index) => terms.every((term) => term.holds(samples[index] as Sample)));
          expect(new Set(found)).toEqual(new Set(expected));
        }
      },
    ),
    { numRuns: 25 },
  );
});

describe("filters that are none", () => {
  test.each([
    ["metrics.acc", "Invalid clause(s) in filter string: 'metrics.acc'"],
    ["metrics.acc >", "Invalid clause(s) in filter string: 'metrics.acc', '>'"],
    ["metrics.acc > 'x'", "Expected numeric value type for metric. Found 'x'"],
    ["params.a = 1", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 1"],
    [
      "params.a = adam",
      "Parameter value is either not quoted or unidentified quote types used for string value adam. Use either single or double quotes.",
    ],
    [
      "foo.a = '1'",
      "Invalid entity type 'foo'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']",
    ],
    ["params.a = '1' OR params.a = '2'", "Invalid clause(s) in filter string: 'OR'"],
    ["(params.a = '1')", "Invalid clause(s) in filter string: '(params.a = '1')'"],
    [
      "params.a = '1'; drop table x",
      `Search filter contained multiple expression "params.a = '1'; drop table x". Provide AND-ed expression list.`,
    ],
    [
      "run_id IN ()",
      "While parsing a list in the query, expected a non-empty list of string values, but got empty list",
    ],
    ["status IN ('a')", "Only ['run_id'] attributes support comparison with a list of quoted string values."],
    ["metrics.a IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'a'"],
    ["dataset.foo = 'x'", "Invalid dataset key 'foo' specified. Valid keys are '{'name', 'digest', 'context'}'"],
    ["metrics.a BETWEEN 1 AND 2", "Invalid clause(s) in filter string: 'metrics.a', 'BETWEEN', '1', '2'"],
    ["params.a > '1'", "Invalid comparator '>' not one of '['!=', '=', 'ILIKE', 'IS NOT NULL', 'IS NULL', 'LIKE']'"],
    ["tags.a-b = 'x'", "Invalid comparison clause. Expected 'Identifier' found 'tags.a-b'"],
    ["run_id IN 'x'", "Invalid clause(s) in filter string: 'run_id', 'IN', ''x''"],
    ["metrics.a = NULL", "Expected numeric value type for metric. Found NULL"],
    ["status = 1", "Expected a quoted string value for attributes. Got value 1"],
    ["  ", "Invalid filter '  '. Could not be parsed."],
  ])("%s", async (filter, message) => {
    const answer = await tracking.send("runs/search", { experiment_ids: ["0"], filter });

    expect([answer.status, answer.json["message"]]).toEqual([400, message]);
  });

  test("no text whatever makes the server fail", async () => {
    const pieces = fc.constantFrom(
      "params.a",
      "=",
      "'x'",
      '"',
      "`",
      "(",
      ")",
      "IN",
      "NOT",
      "IS",
      "NULL",
      "AND",
      "LIKE",
      ";",
      ",",
      "metrics.m",
      "> 1",
      "--",
      "'; DROP TABLE tracking_runs",
      "\\",
      "\u0000",
      "1e5",
      ".",
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(pieces, fc.string({ maxLength: 4 })), { maxLength: 8 }),
        fc.boolean(),
        async (parts, asOrder) => {
          const text = parts.join(" ");
          const answer = await tracking.send("runs/search", {
            experiment_ids: ["0"],
            ...(asOrder ? { order_by: [text] } : { filter: text }),
          });
          expect([200, 400]).toContain(answer.status);
        },
      ),
      { numRuns: 300 },
    );
  });
});

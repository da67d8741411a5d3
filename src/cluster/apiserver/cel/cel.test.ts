import fc from "fast-check";
import { expect, test } from "vitest";
import { checkRules, dynamicValue, libraryEngine, ruleSet } from "./index.js";

function evaluate(text: string, variables: Record<string, unknown> = {}): unknown {
  const engine = libraryEngine();
  for (const name of Object.keys(variables)) engine.declareVariable(name, "dyn");
  const compiled = engine.compile(text);
  if ("fault" in compiled) return compiled.fault;
  return compiled.program.run(variables, { left: 10_000_000 });
}

test.each([
  ["[1, 2, 2].isSorted() && ![2, 1].isSorted()", true],
  ["[1, 2, 3].sum() == 6 && [0.5, 0.5].sum() == 1.0", true],
  ["['b', 'a'].min() + ['b', 'a'].max()", "ab"],
  ["[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && [1].indexOf(3) == -1", true],
  ["'a1b22'.find('[0-9]+') + '|' + 'a1b22'.findAll('[0-9]+').join(',')", "1|1,22"],
  ["'%s is %d, %.2f, %x'.format(['a', 3, 1.5, 255])", "a is 3, 1.50, ff"],
  ["'banana'.replace('a', 'o', 2)", "bonona"],
  ["quantity('1.5Gi').isGreaterThan(quantity('1500Mi')) && quantity('1k').add(1).asInteger() == 1001", true],
  ["isQuantity('1Zi')", false],
  ["ip('2001:db8::1').family() == 6 && !isIP('1.2.3') && string(ip('2001:0:0::1')) == '2001::1'", true],
  ["cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.0.0.0/8').containsIP('11.0.0.1')", true],
  ["url('https://a.example:8443/p?q=1').getHost() + url('/x').getEscapedPath()", "a.example:8443/x"],
  ["semver('1.0.0-rc.1').isLessThan(semver('1.0.0')) && !isSemver('1.0') && isSemver('v1.0', true)", true],
  ["sets.contains([1, 2, 3], [3, 1]) && sets.equivalent([1, 1, 2], [2, 1]) && sets.intersects([1], [1, 2])", true],
  ["{'a': 1}[?'b'].orValue(7)", 7n],
  ["{?'a': optional.of(1), ?'b': optional.none()} == {'a': 1} && [?optional.none()] == []", true],
  [
    "string(timestamp('1999-12-31T23:59:59.5+01:00')) + string(duration('1h30m')) + string(1e21)",
    "1999-12-31T23:59:59.5+01:00" + "5400s" + "1e+21",
  ],
  [
    "'%.2f|%e|%s'.format([1234.5, 1.5, {'b': 1.5, 'a': [true, 'x']}])",
    '1,234.50|1.500000\u202f×\u202f10⁰⁰|{"a":[true, "x"], "b":1.500000}',
  ],
  ["[1, 2].transformMap(i, v, v > 1, v * 2) == {1: 4} && {'a': 1}.exists(k, v, k == 'a' && v == 1)", true],
  ["[0, 2].all(x, 4 / x > 3) || true", true],
  ["optional.of(2).optMap(x, x + 1).orValue(0) + [1, 2, 3].filter(x, x > 1)[0]", 5n],
])("%s", (text, expected) => {
  expect(evaluate(text)).toEqual(expected);
});

test("a sum and an order of lists are those of JavaScript (property)", () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const variables = { l: dynamicValue(numbers) };
      expect(evaluate("dyn(l).sum()", variables)).toBe(BigInt(numbers.reduce((sum, one) => sum + one, 0)));
      const isSorted = numbers.every((one, index) => index === 0 || (numbers[index - 1] ?? one) <= one);
      expect(evaluate("l.isSorted()", variables)).toBe(isSorted);
    }),
    { numRuns: 50 },
  );
});

const text = { type: "string", maxLength: 10 };
const schema = {
  type: "object",
  properties: {
    spec: {
      type: "object",
      properties: {
        "a-b": { type: "integer" },
        list: {
          type: "array",
          maxItems: 3,
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["name"],
          items: {
            type: "object",
            properties: { name: text, value: { type: "integer" } },
            "x-kubernetes-validations": [{ rule: "self.value >= oldSelf.value", message: "only up" }],
          },
        },
        map: {
          type: "object",
          maxProperties: 3,
          additionalProperties: { ...text, "x-kubernetes-validations": [{ rule: "self != 'bad'" }] },
        },
      },
      "x-kubernetes-validations": [{ rule: "!has(self.a__dash__b) || self.a__dash__b > 0", fieldPath: ".a-b" }],
    },
  },
};

test("rules hold at every level of a schema, for the values that belong together", () => {
  const rules = ruleSet(schema);
  const faults = (object: object, old?: object) =>
    rules
      ?.validate({ spec: { ...object } }, old === undefined ? undefined : { spec: { ...old } })
      .map(({ field, message }) => `${field}: ${message}`);
  expect(faults({ "a-b": 0, map: { x: "bad", y: "good" } })).toEqual([
    'spec.a-b: Invalid value: "object": failed rule: !has(self.a__dash__b) || self.a__dash__b > 0',
    "spec.map[x]: Invalid value: \"string\": failed rule: self != 'bad'",
  ]);
  const [one, two] = [
    { name: "one", value: 1 },
    { name: "two", value: 5 },
  ];
  expect(faults({ list: [two, one] }, { list: [one, two] })).toEqual([]);
  expect(faults({ list: [{ ...two, value: 4 }, one] }, { list: [one, two] })).toEqual([
    'spec.list[0]: Invalid value: "object": only up',
  ]);
  // What broke a rule before may stay, as long as it does not change.
  expect(faults({ map: { x: "bad" }, "a-b": 1 }, { map: { x: "bad" } })).toEqual([]);
});

test("rules that cost too much are refused when they are written, and stopped when they run", () => {
  const loop = { rule: "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))" };
  const nested = {
    type: "object",
    properties: { l: { type: "array", items: { type: "integer" }, "x-kubernetes-validations": [loop] } },
  };
  expect(checkRules(nested, "spec").map(({ reason }) => reason)).toEqual(Array(3).fill("FieldValueForbidden"));
  const found = ruleSet(nested)?.validate({ l: Array.from({ length: 200 }, () => 1) });
  expect(found?.map(({ message }) => message)).toEqual([
    expect.stringContaining("no further validation rules will be run"),
  ]);
});

test("faults of rules are told with their place", () => {
  const faultOf = (rule: string) =>
    checkRules(
      { type: "object", properties: { n: { type: "integer" } }, "x-kubernetes-validations": [{ rule }] },
      "s",
    )[0]?.message;
  expect(faultOf("self.n +")).toContain("ERROR: <input>:1:9: Syntax error");
  expect(faultOf("self.nn == 1")).toContain("ERROR: <input>:1:5: undefined field 'nn'\n | self.nn == 1\n | ....^");
  expect(faultOf("self.n == 'a'")).toContain("1:8: found no matching overload for '_==_' applied to '(int, string)'");
  expect(faultOf("other == 1")).toContain("1:1: undeclared reference to 'other' (in container '')");
  expect(faultOf("nope + self.nn")).toBe(
    "Invalid value: {" +
      `"Rule":"nope + self.nn","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ` +
      "ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')\n | nope + self.nn\n | ^\n" +
      "ERROR: <input>:1:12: undefined field 'nn'\n | nope + self.nn\n | ...........^",
  );
  expect(faultOf("has(self.nn)")).toContain("1:4: undefined field 'nn'");
  expect(faultOf("package == 1")).toContain("1:1: reserved identifier: package");
  expect(faultOf("[1, 'a'].size() > duration('x').getHours()")).toContain("1:28: invalid duration argument");
  expect(faultOf("'%d'.format([1.5]) == ''")).toContain(
    "error during formatting: decimal clause can only be used on integers, was given double",
  );
  expect(faultOf("int('x') == 1")).toContain(
    "program instantiation failed: type conversion error from 'string' to 'int'",
  );
  expect(faultOf("size(self.n) == 1")).toContain("1:5: found no matching overload for 'size' applied to '(int)'");
});

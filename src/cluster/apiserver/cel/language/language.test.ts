import { Environment as Oracle } from "@marcbachmann/cel-js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Engine } from "./index.js";

/** What an expression gives: a value as text, or that it fails. */
function ours(text: string): string {
  const compiled = Engine.bare().compile(text);
  if (!("program" in compiled)) return `refused: ${compiled.fault}`;
  try {
    return String(compiled.program.run({}, { left: 1_000_000 }));
  } catch {
    return "fails";
  }
}

function oracle(text: string): string {
  try {
    return String(new Oracle({ enableOptionalTypes: true }).evaluate(text));
  } catch {
    return "fails";
  }
}

const { int, bool } = fc.letrec<{ int: string; bool: string }>((tie) => ({
  int: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.integer({ min: 0, max: 9 }).map(String),
    fc
      .tuple(tie("int"), fc.constantFrom("+", "-", "*", "/", "%"), tie("int"))
      .map(([a, sign, b]) => `(${a} ${sign} ${b})`),
    fc.tuple(tie("bool"), tie("int"), tie("int")).map(([test, a, b]) => `(${test} ? ${a} : ${b})`),
    fc.tuple(tie("int"), tie("int")).map(([a, b]) => `[${a}, ${b}].map(x, x + 1)[0]`),
    fc.tuple(tie("int"), tie("int")).map(([a, b]) => `{'a': ${a}, 'b': ${b}}['b']`),
  ),
  bool: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom("true", "false"),
    fc
      .tuple(tie("int"), fc.constantFrom("<", "<=", "==", "!=", ">="), tie("int"))
      .map((parts) => `(${parts.join(" ")})`),
    fc.tuple(tie("bool"), fc.constantFrom("&&", "||"), tie("bool")).map((parts) => `(${parts.join(" ")})`),
    tie("bool").map((one) => `!${one}`),
    fc.tuple(tie("int"), tie("int"), tie("int")).map(([a, b, c]) => `[${a}, ${b}].exists(x, x > ${c})`),
    fc.tuple(tie("int"), tie("int")).map(([a, b]) => `(${a} in [1, ${b}])`),
  ),
}));

test("expressions have the values that another implementation gives them (property)", () => {
  fc.assert(
    fc.property(fc.oneof(int, bool), (text) => {
      expect(ours(text)).toBe(oracle(text));
    }),
    { numRuns: 300 },
  );
});

const any =
  "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

test.each([
  ["(", [`1:2: Syntax error: mismatched input '<EOF>' expecting ${any}`]],
  ["1 2", ["1:3: Syntax error: extraneous input '2' expecting <EOF>"]],
  ["self.", ["1:6: Syntax error: no viable alternative at input '.'"]],
  ["a.true", ["1:3: Syntax error: mismatched input 'true' expecting IDENTIFIER"]],
  ["{'a' 1}", ["1:6: Syntax error: missing ':' at '1'"]],
  ["a ? b", ["1:6: Syntax error: mismatched input '<EOF>' expecting ':'"]],
  [
    "'abc",
    [
      "1:1: Syntax error: token recognition error at: ''abc'",
      `1:5: Syntax error: mismatched input '<EOF>' expecting ${any}`,
    ],
  ],
  [
    "1 + + 2) (3",
    [
      `1:5: Syntax error: extraneous input '+' expecting ${any}`,
      "1:8: Syntax error: mismatched input ')' expecting <EOF>",
    ],
  ],
  ["'é' + nope", ["1:7: undeclared reference to 'nope' (in container '')"]],
])("the faults of %s are told as upstream tells them", (text, faults) => {
  const told = ours(text).match(/(?<=<input>:).*/g);
  expect(told).toEqual(faults);
});

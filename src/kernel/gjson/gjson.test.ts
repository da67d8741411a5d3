import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json } from "../kinds/object.js";
import { compileGjson } from "./index.js";
import { matchesWildcard } from "./wildcard.js";

const people = {
  name: { first: "Ada", last: "Byron" },
  "fav.machine": "Engine",
  age: 37,
  none: null,
  tags: ["red", "blue"],
  friends: [
    { first: "Dora", last: "Moss", age: 44, nets: ["ig", "fb"] },
    { first: "Rene", last: "Cole", age: 68, nets: ["fb", "tw"] },
    { first: "Jean", last: "Moss", age: 47, nets: ["tw"] },
  ],
};

test.each<[string, Json | undefined]>([
  ["name.last", "Byron"],
  ["name.middle", undefined],
  ["none", null],
  ["fav\\.machine", "Engine"],
  ["na*.fir?t", "Ada"],
  ["tags.1", "blue"],
  ["tags.2", undefined],
  ["friends.#", 3],
  ["friends.#.age", [44, 68, 47]],
  ['friends.#(last=="Moss").first', "Dora"],
  ["friends.#(last==Moss)#.first", ["Dora", "Jean"]],
  ["friends.#(age>45)#.last", ["Cole", "Moss"]],
  ['friends.#(first%"D*").last', "Moss"],
  ['friends.#(first!%"D*").last', "Cole"],
  ['friends.#(nets.#(=="fb"))#.first', ["Dora", "Rene"]],
  ["friends.#(last=Moss)#|0.first", "Dora"],
  ["friends.#(last=Moss)#|first", undefined],
  ["friends.#(last=Nobody)#", []],
  ["friends.#(last=Nobody)", undefined],
  ["[@this].#(age==37).name.first", "Ada"],
  ["friends.#(sick==~false).first", "Dora"],
  ["[name.first,age,nothing]", ["Ada", 37]],
])("%s", (path, expected) => {
  expect(compileGjson(path).find(people)).toEqual(expected);
});

test.each([
  ["", /empty/],
  ["friends.#(age>45", /query is not closed, at `#\(age>45`/],
  ["friends.#(age>45)first", /after a query comes/],
  ["{a,b}", /not supported/],
  ["a.@pretty", /@pretty is not supported/],
  ["@this:1", /takes no argument/],
  ["!true", /literals/],
  ["..a", /lines/],
  ["[a,b", /not closed/],
  [`a${".#(a".repeat(100)}`, /query is not closed/],
  [`${"#(a.".repeat(100)}a${")".repeat(100)}`, /nested too deeply/],
  ["a".repeat(5000), /longer than/],
])("what is not understood is refused: %s", (path, message) => {
  expect(() => compileGjson(path)).toThrow(message);
});

test("answers are those that GJSON itself gave", () => {
  const recorded: [string, Json, Json?][] = JSON.parse(
    readFileSync(new URL("recorded.data.json", import.meta.url), "utf8"),
  );
  const wrong = recorded.filter(
    ([path, value, expected]) => JSON.stringify(compileGjson(path).find(value)) !== JSON.stringify(expected),
  );
  expect(wrong).toEqual([]);
  expect(recorded.length).toBeGreaterThan(300);
});

test("no text makes it do anything but answer or refuse", () => {
  const path = fc.string({
    unit: fc.constantFrom(...Array.from('ab.|#()[]{}@!*?\\"=<>%~0,:')),
    minLength: 1,
    maxLength: 24,
  });
  fc.assert(
    fc.property(path, fc.json({ maxDepth: 3 }), (text, json) => {
      try {
        compileGjson(text).find(JSON.parse(json));
      } catch (error) {
        expect(error).toMatchObject({ code: "InvalidInput" });
      }
    }),
    { numRuns: 2000 },
  );
});

test("wildcards are those of a regular expression", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 8 });
  fc.assert(
    fc.property(letters, letters, (text, pattern) => {
      const same = new RegExp(`^${pattern.replaceAll(/[*?]/g, (each) => (each === "*" ? "[^]*" : "[^]"))}$`);
      expect(matchesWildcard(text, pattern)).toBe(same.test(text));
    }),
    { numRuns: 1000 },
  );
});

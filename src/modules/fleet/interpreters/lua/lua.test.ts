import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json } from "../../../../kernel/kinds/index.js";
import { LuaError, Script, toJsonValue } from "./index.js";

const NOW_MS = Date.UTC(2026, 0, 2, 3, 4, 5);

/** What the body of a function of one argument returns; several values as a list. */
function run(body: string, arg: Json = {}): unknown {
  const script = new Script(`function F(x)\n${body}\nend`);
  return script.run({ name: "F", args: [arg], nowMs: NOW_MS, modules: {} }, (values, budget) => {
    const all = values.map((value) => toJsonValue(value, budget) ?? null);
    return all.length === 1 ? all[0] : all;
  });
}

function fault(source: string): string {
  try {
    new Script(source);
  } catch (error) {
    if (error instanceof LuaError) return error.message;
    throw error;
  }
  return "none";
}

test.each([
  ["return 1 + 2 * 3 ^ 2 ^ 0.5 > 3 and 'a' .. 1 .. 'b' or nil", "a1b"],
  ["return -2 ^ 2, 7 % 3, -7 % 3, 10 / 4", [-4, 1, 2, 2.5]],
  ["return not nil == true, 1 == '1', 'a' < 'b', 2 >= 2", [true, false, true, true]],
  ["local s = 0 for i = 10, 1, -3 do s = s + i end return s", 22],
  [
    "local t = {} for k, v in pairs({a = 1, b = 2}) do t[#t + 1] = k .. v end table.sort(t) return table.concat(t, ',')",
    "a1,b2",
  ],
  [
    "local t = {5, 3, 9} table.insert(t, 1, 7) table.remove(t) table.sort(t, function(a, b) return a > b end) return t",
    [7, 5, 3],
  ],
  ["local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end return fib(15)", 610],
  ["local n = 0 repeat local done = n > 3 n = n + 1 until done return n", 5],
  [
    "for i = 1, 5 do for j = 1, 5 do if j == 3 then goto next end if i == 3 then return i, j end end ::next:: end",
    [3, 1],
  ],
  ["local i = 0 while true do i = i + 1 if i == 4 then break end end return i", 4],
  [
    "local f = function(...) local a, b = ... return select('#', ...), b, ... end return f(1, nil, 3)",
    [3, null, 1, null, 3],
  ],
  ["local t = {n = 1} function t:add(k) self.n = self.n + k return self end return t:add(2):add(3).n", 6],
  ["local ok, message = pcall(function() error('bad') end) return ok, message", [false, "bad"]],
  [
    "return tostring(1e15), tostring(0.1), tostring(10 / 2), tonumber('0x10'), tonumber('ff', 16), tonumber('x')",
    ["1000000000000000", "0.1", "5", 16, 255, null],
  ],
  ["return ('%5.2f|%-4s|%03d|%x|%s'):format(3.14159, 'ab', 7, 255, nil)", " 3.14|ab  |007|ff|nil"],
  ["return string.find('a.b', '.', 1, true), string.find('hello', 'l+')", [2, 3, 4]],
  ["return string.match('key = value', '^(%w+)%s*=%s*(%w+)$')", ["key", "value"]],
  ["local t = {} for w in string.gmatch('one two', '%a+') do t[#t + 1] = w end return t", ["one", "two"]],
  ["return string.gsub('hello world', '(o)', '<%1>')", ["hell<o> w<o>rld", 2]],
  ["return string.match('f(a(b)c)d', '%b()'), string.gsub('abc', '', '-')", ["(a(b)c)", "-a-b-c-", 4]],
  ["return ('x'):rep(3), #'abc', ('abc'):sub(-2), ('abc'):byte(2), string.char(72, 105)", ["xxx", 3, "bc", 98, "Hi"]],
  ["return os.date('!%Y-%m-%dT%H:%M:%SZ'), os.time()", ["2026-01-02T03:04:05Z", NOW_MS / 1000]],
  ["return math.floor(2.7), math.max(1, 5, 3), type(nil), type({}), type(type)", [2, 5, "nil", "table", "function"]],
  ['-- nothing\n--[[ of\nthis ]] return [[\nlong]], "q\\n\\065"', ["long", "q\nA"]],
  ["return next({}) == nil, next({7})", [true, 1, 7]],
] as const)("%s", (body, wanted) => {
  expect(run(body)).toEqual(wanted);
});

test("what comes in as JSON goes out as the same JSON, empty lists and objects too", () => {
  const plain = fc
    .jsonValue({ maxDepth: 4 })
    .filter((value) => !JSON.stringify(value).includes("null") && typeof value === "object");
  fc.assert(
    fc.property(plain, (value) => {
      const json = JSON.parse(JSON.stringify(value)) as Json;
      expect(run("return x", json)).toEqual(json);
    }),
  );
});

test.each([
  ["function GetReplicas(obj) return end end", "<string> line:1(column:40) near 'end':   syntax error\n"],
  ["local x = = 1", "<string> line:1(column:11) near '=':   syntax error\n"],
  ["if a then", "<string> at EOF:   syntax error\n"],
  ["\n\nx = 'a", "<string> line:3(column:6) near 'a':   unterminated string\n"],
  ["x", "<string> at EOF:   syntax error\n"],
])("%j is refused with its place", (source, message) => {
  expect(fault(source)).toBe(message);
});

test.each([
  ["return x.nothing.here", "<string>:2: attempt to index a non-table object(nil) with key 'here'"],
  ["x.y()", "<string>:2: attempt to call a non-function object"],
  ["return {} .. 'a'", "<string>:2: cannot perform concat operation between table and string"],
  ["return io.open('/etc/passwd')", "<string>:2: attempt to index a non-table object(nil) with key 'open'"],
  ["return require('fs')", "module fs not found"],
  ["return load('return 1')", "call function load is not supported in karmada customized resourceinterpreter."],
  ["return ('x'):bad()", "<string>:2: attempt to call a non-function object"],
  ["return string.rep()", "bad argument #1 to string.rep (string expected, got nil)"],
])("%s fails with a reason", (body, message) => {
  expect(() => run(body)).toThrow(new LuaError(message));
});

test.each([
  ["while true do end"],
  ["for i = 1, 1e18 do end"],
  ["while true do pcall(function() while true do end end) end"],
  ["local s = 'x' while true do s = s .. s end"],
  ["return string.rep('x', 1e12)"],
  ["local t = {} while true do t[#t + 1] = {} end"],
  ["local function f() return 1 + f() end return f()"],
  ["local function f() return pcall(f) end return f()"],
  ["return string.find(string.rep('a', 5000), string.rep('a-', 30) .. 'b')"],
  ["return string.gsub(string.rep('a', 1000), '.*.*.*.*b', '')"],
  ["local t = {} t.t = t return t"],
  ["return table.concat({}, ',', 1, 1e15)"],
  ["return unpack({}, 1, 1e15)"],
  ["table.insert({}, -1e15, 1)"],
  ["return ('%99999999d'):format(1) .. ('%.99999999f'):format(1):rep(1e9)"],
  ["return ('('):rep(5000)"],
])("%s ends, and ends nothing else", (body) => {
  const outcome = ((): unknown => {
    try {
      return run(body);
    } catch (error) {
      return error;
    }
  })();
  expect(outcome instanceof LuaError || typeof outcome === "string").toBe(true);
  expect(run("return 1")).toBe(1);
});

test("no text crashes the reader, and what it reads ends", () => {
  const word = fc.constantFrom(
    ..."and break do else end for function if in local nil not or repeat return then true until while goto x y 1 'a' ( ) { } [ ] = == .. ... + - * # : :: , ; .".split(
      " ",
    ),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(word, { maxLength: 30 }).map((words) => words.join(" ")),
        fc.string(),
      ),
      (source) => {
        try {
          new Script(`${source}\nfunction F() end`).run(
            { name: "F", args: [], nowMs: 0, modules: {} },
            () => undefined,
          );
        } catch (error) {
          expect(error).toBeInstanceOf(LuaError);
        }
      },
    ),
    { numRuns: 2000 },
  );
  expect(fault("(".repeat(10_000))).toContain("nested");
  expect(fault("do ".repeat(10_000))).toContain("nested");
  expect(fault(`x = ${"a.".repeat(50_000)}b`)).toBe("none");
});

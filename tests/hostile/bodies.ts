import { gzipSync } from "node:zlib";
import type { Dice } from "./random.js";

/** A body with what is said about it. */
export interface HostileBody {
  readonly type: string;
  readonly bytes: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

const json = "application/json";
const yaml = "application/yaml";
const patches = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
  "application/apply-patch+yaml",
];

const envelope = (fields: string) =>
  `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"h-","namespace":"default"},${fields}}`;

const deep = (open: string, close: string, depth: number, core = "1") =>
  open.repeat(depth) + core + close.repeat(depth);

/** A tower of aliases: each line names the one before it nine times. */
function aliasBomb(levels: number): string {
  const lines = ['a0: &a0 ["x","x","x","x","x","x","x","x","x"]'];
  for (let level = 1; level <= levels; level++)
    lines.push(`a${level}: &a${level} [${Array.from({ length: 9 }, () => `*a${level - 1}`).join(",")}]`);
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: h-}\n${lines.join("\n")}\n`;
}

function anyJson(dice: Dice, depth = 0): unknown {
  if (depth > 4 || dice.chance(3))
    return dice.pick<unknown>([null, true, 0, -1, 1e308, 1.5, Number.MAX_SAFE_INTEGER, "", dice.text(), [], {}]);
  if (dice.chance(2)) return Array.from({ length: dice.int(5) }, () => anyJson(dice, depth + 1));
  const keys = [
    "__proto__",
    "constructor",
    "toString",
    "metadata",
    "spec",
    "name",
    "data",
    "$patch",
    "$setElementOrder/x",
  ];
  return Object.fromEntries(
    Array.from({ length: dice.int(5) }, () => [
      dice.chance(2) ? dice.pick(keys) : dice.text(5),
      anyJson(dice, depth + 1),
    ]),
  );
}

const makers: ((dice: Dice) => HostileBody)[] = [
  (dice) => ({ type: json, bytes: dice.bytes(dice.int(200)) }),
  (dice) => ({ type: dice.pick([json, yaml, ...patches]), bytes: Buffer.from(JSON.stringify(anyJson(dice))) }),
  (dice) => ({ type: json, bytes: Buffer.from(envelope(`"data":${deep("[", "]", 10 + dice.int(100_000))}`)) }),
  (dice) => ({ type: json, bytes: Buffer.from(envelope(`"x":${deep('{"a":', "}", 10 + dice.int(50_000))}`)) }),
  (dice) => ({ type: json, bytes: Buffer.from(deep("[", "", dice.int(100_000), "")) }),
  (dice) => ({ type: yaml, bytes: Buffer.from(`a: ${deep("[", "]", 10 + dice.int(20_000))}`) }),
  (dice) => ({ type: yaml, bytes: Buffer.from(deep("- ", "", 10 + dice.int(5_000), "x")) }),
  (dice) => ({
    type: dice.pick([yaml, "application/apply-patch+yaml"]),
    bytes: Buffer.from(aliasBomb(3 + dice.int(20))),
  }),
  () => ({
    type: yaml,
    bytes: Buffer.from("apiVersion: v1\nkind: ConfigMap\nmetadata: &a {name: x, annotations: *a}\n"),
  }),
  () => ({ type: yaml, bytes: Buffer.from("a: &a [*a]\n") }),
  () => ({ type: yaml, bytes: Buffer.from("%YAML 1.2\n---\n!!js/function 'x'\n---\n? {a: b}\n: c\n<<: [1]\n") }),
  (dice) => ({ type: json, bytes: Buffer.from(envelope(`"data":{"k":"${"x".repeat(dice.int(2_000_000))}"}`)) }),
  (dice) => ({ type: json, bytes: Buffer.alloc(3 * 1024 * 1024 + dice.int(100_000), "[") }),
  (dice) => ({
    type: json,
    bytes: Buffer.from(`{${Array.from({ length: dice.int(20_000) }, (_, i) => `"k${i}":1`).join(",")}}`),
  }),
  (dice) => ({
    type: json,
    bytes: Buffer.from(`{"kind":"ConfigMap",${'"a":1,'.repeat(dice.int(5000))}"apiVersion":"v1"}`),
  }),
  () => ({ type: json, bytes: Buffer.from(envelope(`"n":${"9".repeat(5000)},"e":1e99999`)) }),
  (dice) => ({
    type: json,
    bytes: Buffer.from([...Buffer.from(envelope('"data":{"a":"')), 0xff, 0xfe, 0xc0, dice.int(256)]),
  }),
  () => ({ type: json, bytes: Buffer.from(`\ufeff${envelope('"data":{}')}`, "utf16le") }),
  (dice) => ({
    type: "application/vnd.kubernetes.protobuf",
    bytes: Buffer.concat([Buffer.from("k8s\0"), dice.bytes(dice.int(300))]),
  }),
  (dice) => ({
    type: dice.pick([
      "",
      "text/html",
      "multipart/form-data",
      `${json}; charset=utf-7`,
      dice.text().replace(/[^ -~]/g, ""),
    ]),
    bytes: Buffer.from("{}"),
  }),
  (dice) => ({
    type: json,
    bytes: gzipSync(Buffer.alloc(dice.pick([100, 1_000_000, 50_000_000]), "a")),
    headers: { "content-encoding": dice.pick(["gzip", "deflate", "br", "gzip, gzip", "x"]) },
  }),
  (dice) => ({
    type: patches[0] ?? "",
    bytes: Buffer.from(
      JSON.stringify(
        Array.from({ length: dice.pick([1, 3, 20_000]) }, () => ({
          op: dice.pick(["add", "remove", "replace", "move", "copy", "test", "x"]),
          path: dice.pick([
            "",
            "/",
            "/metadata",
            "/data/-",
            "/metadata/labels/a~1b",
            "/data/99999999999",
            "/~2",
            "data",
            "/__proto__/x",
            "/constructor/prototype/y",
          ]),
          from: dice.pick(["", "/metadata", "/data"]),
          value: dice.pick<unknown>([1, "x", {}, null]),
        })),
      ),
    ),
  }),
  // Copying itself into itself doubles the object each time.
  () => ({
    type: patches[0] ?? "",
    bytes: Buffer.from(
      JSON.stringify([
        { op: "add", path: "/data", value: { a: "x".repeat(1000) } },
        ...Array.from({ length: 40 }, (_, i) => ({ op: "copy", from: "/data", path: `/data/c${i}` })),
      ]),
    ),
  }),
];

/** One of all kinds. */
export function hostileBody(dice: Dice): HostileBody {
  return dice.pick(makers)(dice);
}

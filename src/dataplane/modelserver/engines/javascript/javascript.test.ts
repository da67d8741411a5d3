import { afterEach, expect, test } from "vitest";
import { type Closers, openRepository, scale, tensor } from "../../models.fixture.js";

const closers: Closers = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const doubler = `
export const inputs = [{ name: "x", datatype: "FP32", shape: [-1, 2] }];
export const outputs = [{ name: "y", datatype: "FP64", shape: [-1, 2] }, { name: "word", datatype: "BYTES", shape: [-1] }];
export const batchable = true;
let factor = 1;
export function load({ parameters }) { factor = Number(parameters.factor ?? 2); }
export function predict({ x }) {
  if (x.data[0] === 404) throw Object.assign(new Error("no such thing"), { status: 422 });
  if (x.data[0] === 500) throw new Error("broken");
  if (x.data[0] === 13) for (;;);
  if (x.data[0] === 14) process.exit(3);
  if (x.data[0] === 15) { const all = []; for (;;) all.push(new Array(100000).fill(all.length)); }
  if (x.data[0] === 16) return { y: [[1, 2, 3]], word: ["a"] };
  if (x.data[0] === 17) return { y: [[Object.keys(process.env).length, 0]], word: ["env"] };
  const rows = x.shape[0];
  return { y: Array.from(x.data, (value) => value * factor), word: Array.from({ length: rows }, (_, i) => "row " + i) };
}
`;
const row = (a: number, b: number) => [tensor("x", "FP32", Float32Array.of(a, b), [1, 2])];

test("a model in JavaScript: what it gives, refuses and breaks, each answered as such", async () => {
  const { repository } = await openRepository(
    {
      "m/config.json": JSON.stringify({ parameters: { factor: { string_value: "3" }, run_timeout_ms: "10000" } }),
      "m/1/model.js": doubler,
    },
    closers,
  );
  const { batcher, platform } = repository.find("m");
  const failed = (a: number) => batcher.infer(row(a, 0)).catch((error: unknown) => error);

  expect(platform).toBe("javascript");
  expect(await batcher.infer(row(1, 2))).toEqual([
    tensor("y", "FP64", Float64Array.of(3, 6), [1, 2]),
    tensor("word", "BYTES", ["row 0"]),
  ]);
  expect(await failed(404)).toMatchObject({ status: 422, message: "the model could not compute: no such thing" });
  expect(await failed(500)).toMatchObject({ status: 500, message: "the model could not compute: broken" });
  expect(await failed(16)).toMatchObject({ status: 500, message: expect.stringContaining("shape [1, 3]") });
  expect((await batcher.infer(row(17, 0)))[0]?.data[0]).toBe(0);
});

test.each([
  ["loops for ever", 13, { status: 504, kind: "timeout" }],
  ["ends its process", 14, { status: 503, kind: "crash" }],
  ["eats memory", 15, { status: 503, kind: "memory" }],
])("a model in JavaScript that %s is ended, and answers again; others do not notice", async (_, poison, wanted) => {
  const { repository } = await openRepository(
    {
      "m/config.json": JSON.stringify({ parameters: { run_timeout_ms: "1500", memory_limit_bytes: `${2 ** 26}` } }),
      "m/1/model.js": doubler,
      "fine/1/model.onnx": scale(5),
    },
    closers,
  );
  const { batcher } = repository.find("m");

  const poisoned = batcher.infer(row(poison, 0)).catch((error: unknown) => error);
  const fine = await repository.find("fine").batcher.infer(row(1, 1));
  const error = await poisoned;
  const after = await batcher.infer(row(4, 5));

  expect(fine[0]?.data[0]).toBe(5);
  expect(error).toMatchObject(wanted);
  expect(after[0]?.data).toEqual(Float64Array.of(8, 10));
});

test("a transformer stands before and behind the model beside it; a class will do as well", async () => {
  const transformer = `
    export class Model {
      async load({ model }) { this.model = model; }
      preprocess({ x }) { return { x: { shape: x.shape, data: x.data.map((value) => value + 1) } }; }
      async postprocess({ y }) {
        const again = await this.model.run({ x: y.data });
        return { y: again.y };
      }
    }`;
  const { repository } = await openRepository(
    { "m/1/transformer.mjs": transformer, "m/1/model.onnx": scale(10) },
    closers,
  );

  const [output] = await repository.find("m").batcher.infer(row(1, 2));

  expect([...(output?.data ?? [])]).toEqual([200, 300]);
  expect(repository.find("m").platform).toBe("onnxruntime_onnx");
});

test.each([
  ["export const inputs = 5;", "inputs must be a list"],
  ["export const inputs = [{ name: 'x' }];", "without name, datatype and shape"],
  ["export function predict() {}", "must export inputs and outputs"],
  [
    "export default { inputs: [{name:'x',datatype:'FP32',shape:[1]}], outputs: [{name:'y',datatype:'FP32',shape:[1]}] }",
    "must export a function predict",
  ],
  ["export const x = ;", "cannot be imported"],
  [
    "export const inputs = [{name:'x',datatype:'FP32',shape:[1]}], outputs = inputs; export function load() { throw new Error('no key') } export function predict() {}",
    "load failed: no key",
  ],
])("a module that is no model is refused with what is missing: %s", async (source, words) => {
  const { repository } = await openRepository({ "m/1/model.mjs": source }, closers);

  expect(repository.index()[0]).toMatchObject({ state: "UNAVAILABLE", reason: expect.stringContaining(words) });
});

test("code is refused where the server may not run it", async () => {
  const { repository } = await openRepository({ "m/1/model.js": doubler, "p/model.pkl": "x" }, closers, {
    limits: { allowCode: false },
  });

  expect(repository.index().map(({ reason }) => reason.split(":")[0])).toEqual(["ModelRefused", "ModelRefused"]);
});

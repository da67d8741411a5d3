import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import type { TensorData } from "../../../../kernel/tensors/index.js";
import { ModelError } from "../../failures.js";
import { findModelFile } from "../../model-file.js";
import { type Closers, folderWith, tensor } from "../../models.fixture.js";
import { loadDirect } from "../load-direct.js";
import { Forest, type TreeNode } from "./forest.js";
import { parseUbjson } from "./ubjson.js";

const closers: Closers = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Fixture {
  readonly name: string;
  readonly kind: string;
  readonly file: string;
  readonly encoding: "utf8" | "base64";
  readonly content: string;
  readonly settings: Record<string, string>;
  readonly rows: readonly (readonly (number | null)[])[];
  readonly expected: Readonly<Record<string, readonly unknown[]>>;
}

const fixtures: readonly Fixture[] = JSON.parse(
  readFileSync(join(process.cwd(), "src/dataplane/modelserver/engines/tabular/models.data.json"), "utf8"),
).models;

const flat = (rows: Fixture["rows"]): Float64Array =>
  Float64Array.from(rows.flatMap((row) => row.map((value) => value ?? Number.NaN)));

async function load(fixture: Fixture, content = Buffer.from(fixture.content, fixture.encoding)) {
  const folder = await folderWith({ [fixture.file]: content }, closers);
  const found = await findModelFile(folder);
  expect(found.kind).toBe(fixture.kind);
  return loadDirect({ ...found, settings: fixture.settings }, { threads: 1 });
}

/** XGBoost computes in single precision, and takes powers with a function that may be one step off JavaScript's. */
function isClose(kind: string, got: number, wanted: number): boolean {
  const scale = Math.max(1e-30, Math.abs(wanted));
  return Math.abs(got - wanted) <= scale * (kind === "xgboost" ? 3e-7 : 1e-12);
}

test.each(fixtures.map((fixture) => [fixture.name, fixture] as const))(
  "%s: as the library predicts",
  async (_, fixture) => {
    const engine = await load(fixture);
    const shape = [fixture.rows.length, fixture.rows[0]?.length ?? 0];

    const outputs = await engine.run([tensor("input-0", "FP64", flat(fixture.rows), shape)]);

    expect(outputs.map(({ name }) => name)).toEqual(Object.keys(fixture.expected));
    for (const output of outputs) {
      const wanted = fixture.expected[output.name]?.flat() ?? [];
      const got: unknown[] = Array.from<unknown>(output.data as Exclude<TensorData, string[]>);
      expect(got.length).toBe(wanted.length);
      const wrong = got.flatMap((value, index) => {
        const expected = wanted[index];
        if (typeof expected === "string") return value === expected ? [] : [{ index, value, expected }];
        return isClose(fixture.kind, Number(value), Number(expected)) ? [] : [{ index, value, expected }];
      });
      expect(wrong).toEqual([]);
    }
  },
);

test("margins of XGBoost's trees are equal to the last bit", async () => {
  const trees = fixtures.filter(
    ({ name }) => name.startsWith("xgboost") && name.endsWith(" raw") && !/linear|dart/.test(name),
  );
  expect(trees.length).toBeGreaterThan(10);
  for (const fixture of trees) {
    const engine = await load(fixture);
    const [output] = await engine.run([
      tensor("input-0", "FP64", flat(fixture.rows), [fixture.rows.length, fixture.rows[0]?.length ?? 0]),
    ]);
    const wanted = Float32Array.from((fixture.expected["predict"] ?? []).flat() as number[]);
    expect(output?.data, fixture.name).toEqual(wanted);
  }
});

test("a model that is cut short anywhere is refused as such, or is the whole model", async () => {
  const some = fixtures.filter(({ name }) =>
    ["xgboost binary", "xgboost regression in ubjson", "lightgbm regression", "sklearn tree"].includes(name),
  );
  expect(some.length).toBe(4);
  for (const fixture of some) {
    const whole = Buffer.from(fixture.content, fixture.encoding);
    const folder = await folderWith({}, closers);
    const end = whole.includes("\nend of trees") ? whole.indexOf("\nend of trees") : whole.length - 2;
    for (let cut = 20; cut < end; cut += Math.ceil(whole.length / 60)) {
      const file = join(folder, fixture.file);
      await writeFile(file, whole.subarray(0, cut));
      const kind = fixture.kind as "xgboost";
      await expect(
        loadDirect({ kind, file, settings: {} }, { threads: 1 }),
        `${fixture.name} ${cut}`,
      ).rejects.toBeInstanceOf(ModelError);
    }
  }
});

test("whatever bytes a UBJSON document has, reading it ends, in a value or a typed refusal", () => {
  const original = Buffer.from(fixtures.find(({ file }) => file === "model.ubj")?.content ?? "", "base64");
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(original.length - 1), fc.nat(255)), { maxLength: 8 }), (changes) => {
      const bytes = Buffer.from(original);
      for (const [at, value] of changes) bytes[at] = value;
      try {
        parseUbjson(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(ModelError);
      }
    }),
    { numRuns: 200 },
  );
});

test("a tree with a cycle, a shared child or a feature that is not there is refused", () => {
  const node = (left: number, right: number, feature = 0): TreeNode => ({
    ...{ feature, left, right, defaultLeft: true, missing: "nan", split: 0 },
  });
  const rules = { strict: false, single: false };

  expect(() => new Forest([[node(0, 1), { leaf: 1 }]], 1, rules)).toThrow("node 0 has two parents");
  expect(() => new Forest([[node(1, 1), { leaf: 1 }]], 1, rules)).toThrow("node 1 has two parents");
  expect(() => new Forest([[node(1, 7), { leaf: 1 }]], 1, rules)).toThrow("node 7 is not there");
  expect(() => new Forest([[node(1, 2, 3), { leaf: 1 }, { leaf: 2 }]], 1, rules)).toThrow("splits feature 3");
});

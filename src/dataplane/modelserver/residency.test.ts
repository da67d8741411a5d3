import { utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import type { Engine } from "./engines/types.js";
import { type Closers, folderWith, openRepository, scale, tensor } from "./models.fixture.js";
import { createResidency } from "./residency.js";

const closers: Closers = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const pair = [tensor("x", "FP32", Float32Array.of(1, 2), [1, 2])];

/** Gives its number; counts how often it was opened and closed. */
function fake(number: number, tally: { open: number; opened: number }): () => Promise<Engine> {
  return async () => {
    tally.open++;
    tally.opened++;
    return {
      ...{ platform: "fake", inputs: [], outputs: [], batchable: false, concurrency: 1, memoryBytes: 0 },
      run: async () => [tensor("y", "FP64", Float64Array.of(number))],
      close: async () => {
        tally.open--;
      },
    };
  };
}

test("whatever is asked in whatever order, every model answers as itself and the budget holds (against a plain LRU)", async () => {
  const sizes = [10, 20, 30, 40, 25, 15];
  const folder = await folderWith(
    Object.fromEntries(sizes.map((size, index) => [`m${index}`, "x".repeat(size)])),
    closers,
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(sizes.length - 1), { maxLength: 40 }), async (asked) => {
      const budgetBytes = 70;
      const evicted: string[] = [];
      const residency = createResidency({
        budgetBytes,
        processBytes: () => 0,
        onEvicted: (label) => evicted.push(label),
      });
      const tallies = sizes.map(() => ({ open: 0, opened: 0 }));
      const engines: Engine[] = [];
      for (const [index] of sizes.entries()) {
        const tally = tallies[index] ?? { open: 0, opened: 0 };
        engines.push(
          await residency.admit({
            label: String(index),
            kind: "fake",
            file: join(folder, `m${index}`),
            open: fake(index, tally),
          }),
        );
      }
      // The oracle: a list, the one used last at its end.
      const used: number[] = [];
      let resident: number[] = [];
      const touch = (index: number): void => {
        used.splice(0, used.length, ...used.filter((each) => each !== index), index);
        if (resident.includes(index)) return;
        const size = () => resident.reduce((sum, each) => sum + (sizes[each] ?? 0), 0) + (sizes[index] ?? 0);
        for (const each of [...used])
          if (size() > budgetBytes && each !== index) resident = resident.filter((r) => r !== each);
        resident.push(index);
      };
      for (const [index] of sizes.entries()) touch(index);
      for (const index of asked) {
        touch(index);
        const [output] = (await engines[index]?.run([])) ?? [];
        expect(output?.data[0]).toBe(index);
        const open = tallies.flatMap(({ open }, each) => (open === 1 ? [each] : []));
        expect(open).toEqual([...resident].sort((a, b) => a - b));
        expect(residency.state()).toMatchObject({ resident: resident.length, known: sizes.length });
        expect(residency.state().residentBytes).toBeLessThanOrEqual(budgetBytes);
      }
    }),
    { numRuns: 40 },
  );
});

test("a model greater than the whole budget is refused with both sizes", async () => {
  const folder = await folderWith({ big: "x".repeat(100) }, closers);
  const residency = createResidency({ budgetBytes: 70, processBytes: () => 0, onEvicted: () => {} });

  const admitted = residency.admit({
    label: "big",
    kind: "fake",
    file: join(folder, "big"),
    open: fake(0, { open: 0, opened: 0 }),
  });

  await expect(admitted).rejects.toMatchObject({ reason: "ModelTooLarge" });
});

test("a model that runs is not taken from under its request; the other one is told to come back", async () => {
  const folder = await folderWith({ a: "x".repeat(50), b: "x".repeat(50) }, closers);
  const residency = createResidency({ budgetBytes: 70, processBytes: () => 0, onEvicted: () => {} });
  const wait: { release?: () => void } = {};
  const slow: Engine = {
    ...(await fake(1, { open: 0, opened: 0 })()),
    run: () => new Promise((resolve) => Object.assign(wait, { release: () => resolve([]) })),
  };
  const b = await residency.admit({
    label: "b",
    kind: "fake",
    file: join(folder, "b"),
    open: fake(2, { open: 0, opened: 0 }),
  });
  const a = await residency.admit({ label: "a", kind: "fake", file: join(folder, "a"), open: async () => slow });

  const running = a.run([]);
  const refused = b.run([]);
  await expect(refused).rejects.toMatchObject({ status: 503 });
  wait.release?.();
  await running;

  expect((await b.run([]))[0]?.data[0]).toBe(2);
});

test("more models than the budget holds all answer; a file that changed since is not served as the same version", async () => {
  const names = Array.from({ length: 12 }, (_, index) => `m${index}`);
  const files = Object.fromEntries(names.map((name, index) => [`${name}/1/model.onnx`, scale(index)]));
  const { repository, folder, page } = await openRepository(files, closers, {
    memoryBudgetBytes: 500,
    processBytes: () => 0,
  });

  for (const [index, name] of names.entries()) {
    const [output] = await repository.find(name).batcher.infer(pair);
    expect([...(output?.data ?? [])]).toEqual([index, 2 * index]);
  }
  await writeFile(join(folder, "m0/1/model.onnx"), scale(99));
  await utimes(join(folder, "m0/1/model.onnx"), 1, 1);
  const changed = await repository
    .find("m0")
    .batcher.infer(pair)
    .catch((error: unknown) => error);
  await repository.load("m0");
  const [reloaded] = await repository.find("m0").batcher.infer(pair);

  expect(repository.memory().resident).toBeLessThan(6);
  expect(page()).toMatch(/evictions_total [1-9]/);
  expect(changed).toMatchObject({ status: 503 });
  expect(String(changed)).toContain("ModelChanged");
  expect([...(reloaded?.data ?? [])]).toEqual([99, 198]);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { systemClock, virtualClock } from "../../kernel/clock/index.js";
import { HttpError } from "../../kernel/http1/index.js";
import {
  fromBrainHalf,
  fromHalf,
  parseExactJson,
  parseJson,
  type TensorValue,
  toHalf,
} from "../../kernel/tensors/index.js";
import { createBatcher } from "./batcher.js";
import type { Engine } from "./engines/types.js";
import { EngineFault } from "./failures.js";
import { createTurns } from "./turns.js";

test("every half comes back from its number", () => {
  const strange: number[] = [];
  for (let half = 0; half < 65_536; half++) {
    const value = fromHalf(half);
    if (toHalf(value) !== (Number.isNaN(value) ? 0x7e00 : half)) strange.push(half);
  }

  expect(strange).toEqual([]);
  expect(fromBrainHalf(0x3f80)).toBe(1);
});

/** What is left of an exact value when its long integers lose their digits. */
function lossy(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(lossy);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, lossy(item)]));
}

test("a number becomes the nearest half, the even one of two", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 65_504, noNaN: true }), (value) => {
      const half = toHalf(value);
      const distance = Math.abs(fromHalf(half) - value);
      for (const other of [half - 1, half + 1]) {
        if (other < 0 || other > 0x7bff) continue;
        const theirs = Math.abs(fromHalf(other) - value);
        expect(distance < theirs || (distance === theirs && half % 2 === 0)).toBe(true);
      }
    }),
  );
});

test("the exact parser agrees with JSON.parse on everything that JSON.parse can hold", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(undefined, 2), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      expect(lossy(parseExactJson(text))).toEqual(JSON.parse(text));
    }),
  );
});

const JSON_CHARACTERS = Array.from('{}[]",:0-1.eE+tfn\\u aul rse\t\n');

test("the exact parser refuses what JSON.parse refuses", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...JSON_CHARACTERS) }), (text) => {
      let wanted: unknown = "refused";
      try {
        wanted = JSON.parse(text);
      } catch {}
      let got: unknown = "refused";
      try {
        got = parseExactJson(text);
      } catch (error) {
        expect(error).toBeInstanceOf(HttpError);
      }
      expect(lossy(got)).toEqual(wanted);
    }),
    { numRuns: 2000 },
  );
});

test("64-bit integers keep their digits", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }), (value) => {
      const got = parseExactJson(`[${value}]`) as (number | bigint)[];
      expect(BigInt(got[0] ?? 0)).toBe(value);
    }),
  );
  expect(() => parseJson("{")).toThrow("the body is not JSON");
  expect(() => parseExactJson("[".repeat(5000))).toThrow("nested more than 100 deep");
});

const row = (values: readonly number[]): TensorValue[] => [
  { name: "x", datatype: "FP32", shape: [values.length], data: Float32Array.from(values) },
];

/** Doubles; refuses runs that hold a negative number. */
function doubler(extra: Partial<Engine> = {}): Engine & { readonly runs: number[] } {
  const runs: number[] = [];
  return {
    runs,
    inputs: [{ name: "x", datatype: "FP32", shape: [-1] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1] }],
    batchable: true,
    platform: "test",
    concurrency: 1,
    memoryBytes: 0,
    async run(inputs) {
      const data = inputs[0]?.data as Float32Array;
      runs.push(data.length);
      if (data.some((value) => value < 0)) throw new HttpError(400, "negative");
      return [{ name: "y", datatype: "FP32", shape: [data.length], data: data.map((value) => value * 2) }];
    },
    close: async () => {},
    ...extra,
  };
}

const turns = createTurns(systemClock);
const options = { maxRows: 8, maxDelayMs: 0, maxWaiting: 100, clock: systemClock, turns, onRun: () => {} };

test("requests that are there together share runs, and each gets its own rows", async () => {
  const engine = doubler();
  const batcher = createBatcher(engine, options);

  const answers = await Promise.all([[1], [2, 3], [4], [5, 6, 7, 8]].map((values) => batcher.infer(row(values))));

  expect(answers.map(([output]) => [...(output?.data ?? [])])).toEqual([[2], [4, 6], [8], [10, 12, 14, 16]]);
  expect(engine.runs).toEqual([8]);
});

test("no run is larger than allowed, and a request larger than that runs alone", async () => {
  const engine = doubler();
  const batcher = createBatcher(engine, options);

  await Promise.all(
    [[1, 1, 1, 1, 1], [2, 2, 2, 2], Array.from({ length: 20 }, () => 3), [4]].map((values) =>
      batcher.infer(row(values)),
    ),
  );

  expect(engine.runs).toEqual([6, 4, 20]);
});

test.each([
  { rowMs: 0.01, runs: [8, 32, 24, 64, 64, 32] },
  { rowMs: 0.05, runs: [8, 16, 16, 16, 8, ...Array.from({ length: 10 }, () => 16)] },
  { rowMs: 0.2, runs: Array.from({ length: 28 }, () => 8) },
])("runs grow beyond the usual limit while they are short: $rowMs ms a row", async ({ rowMs, runs }) => {
  let now = 0;
  const plain = doubler();
  const engine = doubler({
    run: (inputs) => {
      now += rowMs * (inputs[0]?.data.length ?? 0);
      return plain.run(inputs);
    },
  });
  const clock = { ...systemClock, monotonicMs: () => now };
  const batcher = createBatcher(engine, { ...options, clock, maxShortRows: 64 });
  const wave = (count: number) =>
    Promise.all(Array.from({ length: count }, () => batcher.infer(row([1, 2, 3, 4, 5, 6, 7, 8]))));

  await wave(8);
  await wave(20);

  expect(plain.runs).toEqual(runs);
});

test("a bad request fails alone", async () => {
  const batcher = createBatcher(doubler(), options);

  const answers = await Promise.allSettled([[1], [-1], [3]].map((values) => batcher.infer(row(values))));

  expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

test("a model that does not keep rows apart is no longer shared", async () => {
  const runs: number[] = [];
  const engine = doubler({
    run: async (inputs) => {
      runs.push(inputs[0]?.data.length ?? 0);
      return [{ name: "y", datatype: "FP32", shape: [1], data: Float32Array.of(inputs[0]?.data.length ?? 0) }];
    },
  });
  const batcher = createBatcher(engine, options);

  const answers = await Promise.all([batcher.infer(row([1])), batcher.infer(row([2, 3]))]);
  await Promise.all([batcher.infer(row([1])), batcher.infer(row([2]))]);

  expect(answers.map(([output]) => output?.data[0])).toEqual([1, 2]);
  expect(runs).toEqual([3, 1, 2, 1, 1]);
});

test("too many waiting requests are refused with 503", async () => {
  const batcher = createBatcher(doubler(), { ...options, maxWaiting: 2 });

  const answers = await Promise.allSettled([1, 2, 3].map((value) => batcher.infer(row([value]))));

  expect(answers[2]).toMatchObject({ status: "rejected", reason: { status: 503, headers: { "retry-after": "1" } } });
});

test("with a delay a lone request waits for company until the batch is full", async () => {
  const clock = virtualClock();
  const engine = doubler();
  const batcher = createBatcher(engine, { ...options, clock, maxRows: 2, maxDelayMs: 5 });
  const first = batcher.infer(row([1]));
  const second = batcher.infer(row([2]));
  await Promise.all([first, second]);
  const third = batcher.infer(row([3]));
  await clock.advance(5);

  const answer = await third;

  expect(engine.runs).toEqual([2, 1]);
  expect(answer[0]?.data[0]).toBe(6);
});

test("a request whose time is over leaves the batch with 504, waiting or under way; one that nobody waits for is not run", async () => {
  const clock = virtualClock();
  const wait: { release?: () => void } = {};
  const plain = doubler();
  const engine = doubler({
    run: async (inputs) => {
      await new Promise<void>((resolve) => Object.assign(wait, { release: resolve }));
      return plain.run(inputs);
    },
  });
  const batcher = createBatcher(engine, { ...options, clock });
  const settled = (answer: Promise<unknown>) => answer.catch((error: unknown) => error);
  const running = settled(batcher.infer(row([1]), undefined, clock.monotonicMs() + 50));
  await new Promise((resolve) => setImmediate(resolve));
  const waiting = settled(batcher.infer(row([2]), undefined, clock.monotonicMs() + 50));
  const gone = settled(batcher.infer(row([3]), () => true));
  const late = settled(batcher.infer(row([4]), undefined, clock.monotonicMs()));
  const patient = settled(batcher.infer(row([5]), undefined, clock.monotonicMs() + 5000));
  await clock.advance(60);
  wait.release?.();
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  wait.release?.();

  expect(await running).toMatchObject({ status: 504 });
  expect(await waiting).toMatchObject({ status: 504 });
  expect(await gone).toMatchObject({ status: 499 });
  expect(await late).toMatchObject({ status: 504 });
  expect(await patient).toMatchObject([{ data: Float32Array.of(10) }]);
  expect(plain.runs).toEqual([1, 1]);
  await batcher.idle();
});

test("whatever arrives together, each gets what it would get alone, in runs of alike requests within the limit", async () => {
  const shapes = fc.record({
    rows: fc.integer({ min: 1, max: 5 }),
    tail: fc.constantFrom(1, 2, 3),
    bad: fc.boolean(),
    maxRows: fc.constant(0),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(shapes, { maxLength: 20 }), fc.integer({ min: 1, max: 9 }), async (requests, maxRows) => {
      const runs: number[] = [];
      const run = (inputs: readonly TensorValue[]): TensorValue[] => {
        const [input] = inputs;
        const data = input?.data as Float32Array;
        if (data.some((value) => value < 0)) throw new HttpError(400, "negative");
        return [{ name: "y", datatype: "FP32", shape: input?.shape ?? [], data: data.map((value) => value * 2) }];
      };
      const engine = doubler({
        run: async (inputs) => {
          runs.push(inputs[0]?.shape[0] ?? 0);
          return run(inputs);
        },
      });
      const batcher = createBatcher(engine, { ...options, maxRows });
      const all = requests.map(({ rows, tail, bad }, index) => {
        const data = Float32Array.from({ length: rows * tail }, (_, at) => (bad && at === 0 ? -1 : index * 100 + at));
        return [{ name: "x", datatype: "FP32" as const, shape: [rows, tail], data }];
      });

      const answers = await Promise.allSettled(all.map((inputs) => batcher.infer(inputs)));

      for (const [index, answer] of answers.entries()) {
        if (requests[index]?.bad) expect(answer.status).toBe("rejected");
        else expect(answer).toEqual({ status: "fulfilled", value: run(all[index] ?? []) });
      }
      const largest = Math.max(maxRows, ...requests.map(({ rows }) => rows));
      expect(Math.max(0, ...runs)).toBeLessThanOrEqual(largest);
    }),
    { numRuns: 60 },
  );
});

test("when a worker fails under several requests, each that was not alone in it is tried once more", async () => {
  const plain = doubler();
  const engine = doubler({
    run: async (inputs) => {
      if (inputs.some(({ data }) => (data as Float32Array).includes(13))) throw new EngineFault("crash", "gone");
      return plain.run(inputs);
    },
  });
  const batcher = createBatcher(engine, options);

  const answers = await Promise.allSettled([1, 13, 3].map((value) => batcher.infer(row([value]))));

  expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(plain.runs).toEqual([1, 1]);
});

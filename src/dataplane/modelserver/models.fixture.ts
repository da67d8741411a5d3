/** ONNX models and repositories for tests of this room. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { systemClock } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import type { OnnxNode, OnnxType } from "../../kernel/onnx/index.js";
import { encodeOnnxModel } from "../../kernel/onnx/index.js";
import type { Datatype, TensorData, TensorValue } from "../../kernel/tensors/index.js";
import { DEFAULT_LIMITS, type EngineLimits } from "./engines/limits.js";
import { createMetrics } from "./metrics.js";
import { createRepository, type Repository, type RepositoryOptions } from "./repository.js";
import { createTurns } from "./turns.js";

/** One tensor. */
export const tensor = (name: string, datatype: Datatype, data: TensorData, shape?: readonly number[]): TensorValue => ({
  ...{ name, datatype, data },
  shape: shape ?? [data.length],
});

/** y = x * factor for rows of two. */
export const scale = (factor: number): Uint8Array =>
  encodeOnnxModel({
    producer: "test",
    graph: {
      name: "scale",
      inputs: [{ name: "x", type: "FP32", shape: ["batch", 2] }],
      outputs: [{ name: "y", type: "FP32", shape: ["batch", 2] }],
      constants: [{ name: "f", type: "FP32", shape: [1], data: Float32Array.of(factor) }],
      nodes: [{ op: "Mul", inputs: ["x", "f"], outputs: ["y"] }],
    },
  });

const scalar = (name: string, type: OnnxType) => ({ name, type, shape: [] });

/** Counts to `n` one by one, in native code: a great `n` hangs. */
export const counter = (): Uint8Array => {
  const body = {
    name: "body",
    inputs: [scalar("i", "INT64"), scalar("go", "BOOL"), scalar("v", "INT64")],
    outputs: [scalar("again", "BOOL"), scalar("w", "INT64")],
    constants: [{ name: "one", type: "INT64", shape: [], data: BigInt64Array.of(1n) }] as const,
    nodes: [
      { op: "Identity", inputs: ["go"], outputs: ["again"] },
      { op: "Add", inputs: ["v", "one"], outputs: ["w"] },
    ],
  };
  const nodes: OnnxNode[] = [
    { op: "Squeeze", inputs: ["n"], outputs: ["trips"] },
    { op: "Loop", inputs: ["trips", "yes", "zero"], outputs: ["sum"], attributes: { body: { graph: body } } },
    { op: "Unsqueeze", inputs: ["sum", "axis"], outputs: ["count"] },
  ];
  return encodeOnnxModel({
    producer: "test",
    graph: {
      name: "counter",
      inputs: [{ name: "n", type: "INT64", shape: [1] }],
      outputs: [{ name: "count", type: "INT64", shape: [1] }],
      constants: [
        { name: "zero", type: "INT64", shape: [], data: BigInt64Array.of(0n) },
        { name: "axis", type: "INT64", shape: [1], data: BigInt64Array.of(0n) },
        { name: "yes", type: "BOOL", shape: [], data: Uint8Array.of(1) },
      ],
      nodes,
    },
  });
};

/** Makes a tensor of `n` numbers from a small request: a great `n` eats memory. */
export const eater = (): Uint8Array =>
  encodeOnnxModel({
    producer: "test",
    graph: {
      name: "eater",
      inputs: [{ name: "n", type: "INT64", shape: [1] }],
      outputs: [{ name: "sum", type: "FP32", shape: [1] }],
      constants: [{ name: "one", type: "FP32", shape: [1], data: Float32Array.of(1) }],
      nodes: [
        { op: "Expand", inputs: ["one", "n"], outputs: ["many"] },
        { op: "ReduceSum", inputs: ["many"], outputs: ["sum"], attributes: { keepdims: { int: 1 } } },
      ],
    },
  });

/** What a test closes at its end. */
export type Closers = (() => Promise<unknown>)[];

/** A temporary folder with these files. */
export async function folderWith(
  files: Readonly<Record<string, Uint8Array | string>>,
  closers: Closers,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "models-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return folder;
}

/** A repository of these files, loaded as far as its models can be. */
export async function openRepository(
  files: Readonly<Record<string, Uint8Array | string>>,
  closers: Closers,
  more: Partial<Omit<RepositoryOptions, "limits">> & { readonly limits?: Partial<EngineLimits> } = {},
): Promise<{ readonly repository: Repository; readonly folder: string; readonly page: () => string }> {
  const folder = await folderWith(files, closers);
  const metrics = createMetrics();
  const repository = createRepository({
    source: { repository: folder },
    ...{
      threads: 1,
      maxBatchRows: 32,
      maxBatchDelayMs: 0,
      maxShortBatchRows: 32,
      maxWaiting: 100,
      memoryBudgetBytes: 2 ** 30,
      clock: systemClock,
      turns: createTurns(systemClock),
    },
    ...{ log: silentLogger, metrics },
    ...more,
    limits: { ...DEFAULT_LIMITS, ...more.limits },
  });
  closers.push(() => repository.close());
  await repository.loadAll();
  return { repository, folder, page: () => metrics.render({}) };
}

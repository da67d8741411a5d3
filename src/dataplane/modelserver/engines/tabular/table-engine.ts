/** Models of rows of numbers as engines. */
import { readFile } from "node:fs/promises";
import { messageOf } from "../../../../kernel/errors/index.js";
import { HttpError } from "../../../../kernel/http1/index.js";
import type { TensorSpec, TensorValue } from "../../../../kernel/tensors/index.js";
import { ModelError } from "../../failures.js";
import { readText } from "../settings.js";
import type { Engine, EngineFile } from "../types.js";
import type { DocumentValue } from "./document.js";
import { asNumbers } from "./numbers.js";
import type { TableModel, TableOutput } from "./types.js";

/** Numeric types that are taken in place of the declared one: people send what they have. */
const NUMERIC = [
  "FP32",
  "FP64",
  "INT8",
  "INT16",
  "INT32",
  "INT64",
  "UINT8",
  "UINT16",
  "UINT32",
  "UINT64",
  "BOOL",
  "FP16",
  "BF16",
] as const;

/** Loads an XGBoost, LightGBM or scikit-learn model. Throws `ModelError`. */
export async function loadTable(model: EngineFile): Promise<Engine> {
  const table = await readTable(model);
  const name = readText(model.settings, "input_name") ?? "input-0";
  const spec: TensorSpec = {
    ...{ name, datatype: table.datatype, shape: [-1, table.features] },
    ...{ alsoTakes: NUMERIC, nullIsNaN: true },
  };
  let lastRunMs = 0;
  return {
    get lastRunMs() {
      return lastRunMs;
    },
    platform: table.platform,
    inputs: [spec],
    outputs: table.outputs.map(({ name: output, datatype, width }) => ({
      ...{ name: output, datatype },
      shape: width === 0 ? [-1] : [-1, width],
    })),
    batchable: true,
    concurrency: 1,
    memoryBytes: 0,
    async run(inputs) {
      await Promise.resolve();
      const begun = performance.now();
      const outputs = runTable(table, inputs[0]);
      lastRunMs = performance.now() - begun;
      return outputs;
    },
    close: async () => {
      await Promise.resolve();
    },
  };
}

function runTable(table: TableModel, input: TensorValue | undefined): TensorValue[] {
  const rows = input?.shape[0] ?? 0;
  if (input === undefined || input.shape.length !== 2 || input.shape[1] !== table.features)
    throw new HttpError(400, `the model takes rows of ${table.features} numbers`);
  const results = table.predict(asNumbers(input), rows);
  return table.outputs.map((output, index) => asTensor(output, results[index] ?? [], rows));
}

function asTensor(
  { name, datatype, width }: TableOutput,
  values: Float64Array | readonly string[],
  rows: number,
): TensorValue {
  const shape = width === 0 ? [rows] : [rows, width];
  if (!(values instanceof Float64Array)) return { name, datatype: "BYTES", shape, data: [...values] };
  switch (datatype) {
    case "FP32":
      return { name, datatype, shape, data: Float32Array.from(values) };
    case "INT64":
      return { name, datatype, shape, data: BigInt64Array.from(values, BigInt) };
    default:
      return { name, datatype: "FP64", shape, data: values };
  }
}

async function readTable({ kind, file, settings }: EngineFile): Promise<TableModel> {
  const output = readText(settings, "output") ?? "predict";
  if (kind !== "sklearn" && output !== "predict" && output !== "raw")
    throw new ModelError("ModelLoadFailed", `parameter output is "${output}"; expected predict or raw`);
  const raw = output === "raw";
  const bytes = await readFile(file);
  try {
    switch (kind) {
      case "xgboost": {
        const [{ readXgboost }, { parseUbjson }] = await Promise.all([import("./xgboost.js"), import("./ubjson.js")]);
        const isJson = /^\s*\{\s*["}]/.test(bytes.subarray(0, 64).toString("latin1"));
        return readXgboost(isJson ? parseDocument(bytes) : parseUbjson(bytes), file, { raw });
      }
      case "lightgbm": {
        const { readLightgbmJson, readLightgbmText } = await import("./lightgbm.js");
        if (/^\s*\{/.test(bytes.subarray(0, 64).toString("latin1")))
          return readLightgbmJson(parseDocument(bytes), file, { raw });
        return readLightgbmText(bytes.toString("utf8"), file, { raw });
      }
      default: {
        const { readSklearn } = await import("./sklearn.js");
        return readSklearn(parseDocument(bytes), file, output);
      }
    }
  } catch (error) {
    if (error instanceof ModelError) throw error;
    throw new ModelError("ModelLoadFailed", `${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

const parseDocument = (bytes: Buffer): DocumentValue => JSON.parse(bytes.toString("utf8"));

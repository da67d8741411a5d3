/** Which models are text models, and what is beside them for that. */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { messageOf } from "../../../kernel/errors/index.js";
import { HttpError } from "../../../kernel/http1/index.js";
import type { Json } from "../../../kernel/kinds/object.js";
import type { TensorSpec } from "../../../kernel/tensors/index.js";
import { ModelError } from "../failures.js";
import type { ServedModel } from "../repository.js";
import { readBpeTokenizer } from "./bpe.js";
import { byteTokenizer, type Tokenizer } from "./tokenizer.js";

/** A model that reads tokens: `generate` gives the logits of the next one, `embed` a vector. */
export interface TextModel {
  readonly model: ServedModel;
  readonly task: "generate" | "embed";
  readonly tokenizer: Tokenizer;
  /** The output that counts: logits [rows, tokens, size], a vector [rows, size], or states [rows, tokens, size]. */
  readonly output: TensorSpec;
  /** Most tokens of prompt and answer together. */
  readonly maxTokens: number;
}

/** Inputs that can be made from the tokens alone. */
const INPUTS = new Set(["input_ids", "attention_mask", "position_ids", "token_type_ids"]);
const EMBEDDINGS = ["sentence_embedding", "embedding", "embeddings", "pooler_output", "last_hidden_state"];
const DEFAULT_MAX_TOKENS = 2048;

/** What a model does with text, told by its tensors alone; `undefined`: nothing. */
export function textTaskOf(model: Pick<ServedModel, "inputs" | "outputs">): "generate" | "embed" | undefined {
  if (!model.inputs.some(({ name }) => name === "input_ids")) return undefined;
  const fits = ({ name, datatype, shape }: TensorSpec): boolean =>
    INPUTS.has(name) && (datatype === "INT64" || datatype === "INT32") && shape.length === 2;
  if (!model.inputs.every(fits)) return undefined;
  if (model.outputs.some((output) => isFloats(output, 3) && output.name === "logits")) return "generate";
  return outputOf(model, "embed") === undefined ? undefined : "embed";
}

const isFloats = ({ datatype, shape }: TensorSpec, rank: number): boolean =>
  datatype === "FP32" && shape.length === rank && (shape.at(-1) ?? -1) > 0;

function outputOf(model: Pick<ServedModel, "outputs">, task: "generate" | "embed"): TensorSpec | undefined {
  if (task === "generate") return model.outputs.find((output) => output.name === "logits");
  return EMBEDDINGS.flatMap((name) => model.outputs.filter((output) => output.name === name)).find(
    (output) => isFloats(output, 2) || isFloats(output, 3),
  );
}

const known = new WeakMap<ServedModel, Promise<TextModel>>();

/** Opens a model's text side; what lies beside it is read once. Throws 400 where it has none for `task`, 503 where its tokenizer cannot be used. */
export async function openText(model: ServedModel, config: Json, task: "generate" | "embed"): Promise<TextModel> {
  const output = outputOf(model, task);
  if (textTaskOf(model) !== task || output === undefined) {
    const what = task === "generate" ? "generates no text" : "gives no embeddings";
    throw new HttpError(
      400,
      `model ${model.name} ${what}; it takes ${model.inputs.map(({ name }) => name).join(", ")}`,
    );
  }
  const opened = known.get(model) ?? open({ model, config, task, output });
  known.set(model, opened);
  try {
    return await opened;
  } catch (error) {
    known.delete(model);
    throw new HttpError(503, `model ${model.name}: ${messageOf(error)}`, { "retry-after": "5" });
  }
}

async function open(of: {
  model: ServedModel;
  config: Json;
  task: "generate" | "embed";
  output: TensorSpec;
}): Promise<TextModel> {
  const { model, config, task, output } = of;
  // Beside the version's file, or beside config.json for all versions.
  const file = await readFirst([model.folder, dirname(model.folder)], "tokenizer.json");
  const settings = await readFirst([model.folder, dirname(model.folder)], "tokenizer_config.json");
  const size = output.shape.at(-1) ?? 0;
  const tokenizer =
    file === undefined ? byteTokenizer(sizeOf(model, task, size)) : readBpeTokenizer(file, tokenIn(settings));
  const limits = [numberIn(config, "max_sequence_length"), maxLengthIn(settings)].filter(
    (limit) => limit !== undefined,
  );
  return {
    model,
    task,
    output,
    tokenizer,
    maxTokens: Math.min(...limits, limits.length > 0 ? 1 << 20 : DEFAULT_MAX_TOKENS),
  };
}

/** An embedding's size says nothing of the vocabulary; without a tokenizer.json `config.json` may, and ASCII is what is sure. */
const sizeOf = (_model: ServedModel, task: "generate" | "embed", size: number): number =>
  task === "generate" ? Math.min(size, 256) : 128;

async function readFirst(folders: readonly string[], name: string): Promise<Json | undefined> {
  for (const folder of folders) {
    let text: string;
    try {
      text = await readFile(join(folder, name), "utf8");
    } catch {
      continue;
    }
    try {
      const value: Json = JSON.parse(text);
      return value;
    } catch (error) {
      throw new ModelError("ModelLoadFailed", `${name} is not JSON: ${messageOf(error)}`);
    }
  }
  return undefined;
}

function member(value: Json | undefined, name: string): Json | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value[name] : undefined;
}

/** The end-of-text token of `tokenizer_config.json`, as text or as an object with its content. */
function tokenIn(settings: Json | undefined): string | undefined {
  const token = member(settings, "eos_token");
  const text = typeof token === "string" ? token : member(token, "content");
  return typeof text === "string" ? text : undefined;
}

/** `parameters.NAME.string_value` of config.json. */
function numberIn(config: Json, name: string): number | undefined {
  const value = Number(member(member(member(config, "parameters"), name), "string_value"));
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

function maxLengthIn(settings: Json | undefined): number | undefined {
  const length = member(settings, "model_max_length");
  return typeof length === "number" && length > 0 && length < 10_000_000 ? length : undefined;
}

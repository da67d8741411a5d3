/** What lies in a model's folder: configuration and versions. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../kernel/errors/index.js";
import type { Json } from "../../kernel/kinds/object.js";
import { ModelError } from "./failures.js";

/** The parts of `config.json` (Triton's model configuration) that this server acts on. */
export interface ModelConfig {
  /** Most rows of one run; 0 forbids sharing runs, absent leaves it to the model's shapes. */
  readonly maxBatchSize?: number;
  /** `dynamic_batching.max_queue_delay_microseconds`, in milliseconds. */
  readonly maxDelayMs: number;
  readonly versionPolicy: { readonly latest: number } | { readonly specific: readonly string[] } | "all";
  /** The file as it is, for `GET …/config`. */
  readonly raw: Json;
}

/** A version's number and its model file. */
export interface ModelVersionFile {
  readonly version: string;
  readonly file: string;
}

/** Reads `config.json`; a folder without one gets the defaults. Throws `ModelError` naming the file and field. */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const file = join(folder, "config.json");
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch {
    return { maxDelayMs: 0, versionPolicy: "all", raw: {} };
  }
  let raw: Json;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    throw new ModelError("ModelLoadFailed", `${file} is not JSON: ${messageOf(error)}`);
  }
  const number = (field: string, value: Json | undefined): number | undefined => {
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
      throw new ModelError("ModelLoadFailed", `${file}: ${field} must be a whole number from 0`);
    }
    return value;
  };
  const maxBatchSize = number("max_batch_size", member(raw, "max_batch_size"));
  const delay = number(
    "dynamic_batching.max_queue_delay_microseconds",
    member(raw, "dynamic_batching", "max_queue_delay_microseconds"),
  );
  const latest = number("version_policy.latest.num_versions", member(raw, "version_policy", "latest", "num_versions"));
  const specific = member(raw, "version_policy", "specific", "versions");
  return {
    ...(maxBatchSize === undefined ? {} : { maxBatchSize }),
    maxDelayMs: (delay ?? 0) / 1000,
    versionPolicy: Array.isArray(specific)
      ? { specific: specific.map(String) }
      : latest === undefined
        ? "all"
        : { latest },
    raw,
  };
}

/**
 * The versions to serve, oldest first. A folder holds either numbered folders with a `.onnx` file in each, or one `.onnx` file
 * itself (that is version 1). Throws `ModelError` when there is nothing to serve.
 */
export async function listVersions(folder: string, policy: ModelConfig["versionPolicy"]): Promise<ModelVersionFile[]> {
  const entries = await readFolder(folder);
  const numbers = entries
    .filter((entry) => entry.isDirectory() && /^[1-9]\d{0,17}$/.test(entry.name))
    .map((entry) => entry.name);
  if (numbers.length === 0) return [{ version: "1", file: await onnxFileOf(folder) }];
  numbers.sort((a, b) => Number(a) - Number(b));
  const chosen = numbers.filter((version, index) => {
    if (policy === "all") return true;
    return "latest" in policy ? index >= numbers.length - policy.latest : policy.specific.includes(version);
  });
  if (chosen.length === 0)
    throw new ModelError(
      "ModelNotFound",
      `${folder}: version_policy leaves none of the versions ${numbers.join(", ")}`,
    );
  return Promise.all(chosen.map(async (version) => ({ version, file: await onnxFileOf(join(folder, version)) })));
}

/** Folders of a repository that look like models, by name. */
export async function listModelFolders(repository: string): Promise<Map<string, string>> {
  const entries = await readFolder(repository);
  const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("."));
  return new Map(folders.map((entry) => [entry.name, join(repository, entry.name)]));
}

async function onnxFileOf(folder: string): Promise<string> {
  const names = (await readFolder(folder))
    .filter((entry) => !entry.isDirectory() && entry.name.endsWith(".onnx"))
    .map((entry) => entry.name);
  const [first] = names;
  if (names.includes("model.onnx")) return join(folder, "model.onnx");
  if (first === undefined) throw new ModelError("ModelNotFound", `${folder} holds no .onnx file`);
  if (names.length > 1)
    throw new ModelError(
      "ModelLoadFailed",
      `${folder} holds several .onnx files (${names.join(", ")}) and none is model.onnx`,
    );
  return join(folder, first);
}

async function readFolder(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    throw new ModelError("ModelNotFound", `cannot read the model folder ${folder}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function member(value: Json, ...path: string[]): Json | undefined {
  let current: Json | undefined = value;
  for (const step of path) {
    if (typeof current !== "object" || current === null || Array.isArray(current)) return undefined;
    current = current[step];
  }
  return current;
}

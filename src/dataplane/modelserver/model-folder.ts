/** What lies in a model's folder: configuration and versions. */
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { messageOf } from "../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { ModelError } from "./failures.js";

/** The parts of a model's configuration that this server acts on. */
export interface ModelConfig {
  /** Most rows of one run; 0 forbids sharing runs, absent leaves it to the model's shapes. */
  readonly maxBatchSize?: number;
  /** How long a request may wait for company, milliseconds. */
  readonly maxDelayMs: number | undefined;
  readonly versionPolicy: { readonly latest: number } | { readonly specific: readonly string[] } | "all";
  /** Names for versions: `stable` → `3`. */
  readonly labels: Readonly<Record<string, string>>;
  /** What is for the engine: `parameters` of the configuration. */
  readonly settings: JsonObject;
  /** The model's file where the configuration names it. */
  readonly file?: string;
  /** The version of a folder without numbered ones; default 1. */
  readonly version?: string;
  /** The file as it is, for `GET …/config`. */
  readonly raw: Json;
}

/** A version's number and where its files are. */
export interface ModelVersionFolder {
  readonly version: string;
  readonly folder: string;
}

/** Reads a model's configuration: Triton's `config.json` or `config.pbtxt`, or MLServer's `model-settings.json`; a folder without one gets the defaults. Throws `ModelError` naming the file and field. */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const triton = join(folder, "config.json");
  const json = await readText(triton);
  if (json !== undefined) return tritonConfig(triton, parseConfig(triton, json));
  const proto = join(folder, "config.pbtxt");
  const text = await readText(proto);
  if (text !== undefined) {
    const { parseTextProto } = await import("./text-proto.js");
    return tritonConfig(proto, parseTextProto(text, proto));
  }
  const mlserver = join(folder, "model-settings.json");
  const settings = await readText(mlserver);
  if (settings !== undefined) return mlserverConfig(mlserver, parseConfig(mlserver, settings));
  return { maxDelayMs: undefined, versionPolicy: "all", labels: {}, settings: {}, raw: {} };
}

/** A configuration that came with the request to load the model. Throws `ModelError` naming the field. */
export const sentConfig = (raw: JsonObject): ModelConfig => tritonConfig("parameter config", raw);

function tritonConfig(file: string, raw: Json): ModelConfig {
  const maxBatchSize = wholeNumber(file, "max_batch_size", member(raw, "max_batch_size"));
  const delayField = ["dynamic_batching", "max_queue_delay_microseconds"];
  const delay = wholeNumber(file, delayField.join("."), member(raw, ...delayField));
  const latest = wholeNumber(
    file,
    "version_policy.latest.num_versions",
    member(raw, "version_policy", "latest", "num_versions"),
  );
  const specific = member(raw, "version_policy", "specific", "versions");
  const labels = objectAt(file, "version_labels", member(raw, "version_labels"));
  const modelFile = member(raw, "default_model_filename");
  const instances = instanceCount(file, raw);
  return {
    ...(maxBatchSize === undefined ? {} : { maxBatchSize }),
    maxDelayMs: delay === undefined ? undefined : delay / 1000,
    versionPolicy: Array.isArray(specific)
      ? { specific: specific.map(String) }
      : latest === undefined
        ? "all"
        : { latest },
    labels: Object.fromEntries(
      Object.entries(labels).map(([label, version]) => [
        label,
        typeof version === "string" ? version : JSON.stringify(version),
      ]),
    ),
    settings: {
      ...(instances === undefined ? {} : { instances }),
      ...plainParameters(objectAt(file, "parameters", member(raw, "parameters"))),
    },
    ...(modelFile === undefined || modelFile === ""
      ? {}
      : { file: plainName(file, "default_model_filename", modelFile) }),
    raw,
  };
}

/** Triton writes a parameter as `{"string_value": …}`. */
function plainParameters(parameters: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [
      name,
      typeof value === "object" && value !== null && !Array.isArray(value) ? (value["string_value"] ?? value) : value,
    ]),
  );
}

/** Copies over all instance groups, each of which has one unless it says more. */
function instanceCount(file: string, raw: Json): number | undefined {
  const groups = member(raw, "instance_group");
  if (!Array.isArray(groups) || groups.length === 0) return undefined;
  return groups.reduce<number>(
    (sum, group) => sum + Math.max(1, wholeNumber(file, "instance_group.count", member(group, "count")) ?? 1),
    0,
  );
}

function mlserverConfig(file: string, raw: Json): ModelConfig {
  const maxBatchSize = wholeNumber(file, "max_batch_size", member(raw, "max_batch_size"));
  const seconds = member(raw, "max_batch_time");
  const uri = member(raw, "parameters", "uri");
  const version = member(raw, "parameters", "version");
  checkImplementation(file, member(raw, "implementation"));
  return {
    // MLServer batches only when told to; natural batching costs no waiting and stays.
    ...(maxBatchSize === undefined || maxBatchSize === 0 ? {} : { maxBatchSize }),
    maxDelayMs: typeof seconds === "number" && seconds > 0 ? seconds * 1000 : undefined,
    versionPolicy: "all",
    labels: {},
    settings: objectAt(file, "parameters.extra", member(raw, "parameters", "extra")),
    ...(uri === undefined || uri === null ? {} : { file: plainName(file, "parameters.uri", uri) }),
    ...(typeof version === "string" ? { version } : {}),
    raw,
  };
}

/** MLServer's own runtimes for what this server runs; the file says which it is. */
const MLSERVER_RUNTIMES = /^mlserver_(sklearn|xgboost|lightgbm|onnx)\./;

function checkImplementation(file: string, value: Json | undefined): void {
  if (value === undefined || (typeof value === "string" && MLSERVER_RUNTIMES.test(value))) return;
  throw new ModelError(
    "UnsupportedFormat",
    `${file}: implementation ${JSON.stringify(value)} is not run here; MLServer's sklearn, xgboost and lightgbm are. Write a model.py instead, or export the model to ONNX`,
  );
}

/** A file beside the configuration; paths that lead out of the folder are refused. */
function plainName(file: string, field: string, value: Json): string {
  const name = typeof value === "string" ? value.replace(/^\.\//, "") : "";
  if (name === "" || basename(name) !== name || name === "..")
    throw new ModelError("ModelLoadFailed", `${file}: ${field} must name a file in the model's folder`);
  return name;
}

/**
 * The versions to serve, oldest first. A folder holds either numbered folders with a model file in each, or one model file
 * itself (that is version 1). Throws `ModelError` when there is nothing to serve.
 */
export async function listVersions(folder: string, config: ModelConfig): Promise<ModelVersionFolder[]> {
  const { versionPolicy: policy, version = "1" } = config;
  const entries = await readFolder(folder);
  const numbers = entries
    .filter((entry) => entry.isDirectory() && /^[1-9]\d{0,17}$/.test(entry.name))
    .map((entry) => entry.name);
  if (numbers.length === 0) return [{ version, folder }];
  numbers.sort((a, b) => Number(a) - Number(b));
  const chosen = numbers.filter((each, index) => {
    if (policy === "all") return true;
    return "latest" in policy ? index >= numbers.length - policy.latest : policy.specific.includes(each);
  });
  if (chosen.length === 0)
    throw new ModelError(
      "ModelNotFound",
      `${folder}: version_policy leaves none of the versions ${numbers.join(", ")}`,
    );
  return chosen.map((each) => ({ version: each, folder: join(folder, each) }));
}

/** Folders of a repository that look like models, by name. */
export async function listModelFolders(repository: string): Promise<Map<string, string>> {
  const entries = await readFolder(repository);
  const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("."));
  return new Map(folders.map((entry) => [entry.name, join(repository, entry.name)]));
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

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch {
    return undefined;
  }
}

function parseConfig(file: string, text: string): Json {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ModelError("ModelLoadFailed", `${file} is not JSON: ${messageOf(error)}`);
  }
}

function wholeNumber(file: string, field: string, value: Json | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new ModelError("ModelLoadFailed", `${file}: ${field} must be a whole number from 0`);
  }
  return value;
}

function objectAt(file: string, field: string, value: Json | undefined): JsonObject {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" || Array.isArray(value))
    throw new ModelError("ModelLoadFailed", `${file}: ${field} must be an object`);
  return value;
}

function member(value: Json, ...path: string[]): Json | undefined {
  let current: Json | undefined = value;
  for (const step of path) {
    if (typeof current !== "object" || current === null || Array.isArray(current)) return undefined;
    current = current[step];
  }
  return current;
}

/** Which file of a folder is the model, and of which kind it is. */
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../kernel/errors/index.js";
import type { EngineKind } from "./engines/types.js";
import { ModelError } from "./failures.js";

/** A model file and what it is. */
export interface ModelFile {
  readonly file: string;
  readonly kind: EngineKind;
}

/** Endings by kind; `sniff`: the content says which. Earlier ones win where a folder holds several. */
const ENDINGS: readonly (readonly [ending: string, kind: EngineKind | "sniff"])[] = [
  [".onnx", "onnx"],
  [".mjs", "javascript"],
  [".js", "javascript"],
  [".py", "python"],
  [".ubj", "xgboost"],
  [".xgb", "sniff"],
  [".bst", "sniff"],
  [".lgb", "lightgbm"],
  [".json", "sniff"],
  [".txt", "sniff"],
  [".model", "sniff"],
  [".joblib", "python"],
  [".pkl", "python"],
  [".pickle", "python"],
  [".cloudpickle", "python"],
];

/** What people bring and this server does not run, with what to do. */
const FOREIGN: Readonly<Record<string, string>> = {
  ".pt": "PyTorch: export it to ONNX (torch.onnx.export), or write a model.py that loads it",
  ".pth": "PyTorch: export it to ONNX (torch.onnx.export), or write a model.py that loads it",
  ".pb": "TensorFlow: convert it to ONNX (tf2onnx), or write a model.py that loads it",
  ".h5": "Keras: convert it to ONNX (tf2onnx), or write a model.py that loads it",
  ".keras": "Keras: convert it to ONNX (tf2onnx), or write a model.py that loads it",
  ".pmml": "PMML: export the model to ONNX instead",
  ".pdmodel": "Paddle: convert it to ONNX (paddle2onnx)",
  ".safetensors": "weights alone: export the model to ONNX",
  ".gguf": "llama.cpp weights: run them in a runtime for them",
  ".cbm": "CatBoost: save it as ONNX (save_model(format='onnx'))",
};

/** A file below a folder that runs code when it is a model; `undefined` where there is none. */
export async function findCode(folder: string): Promise<string | undefined> {
  const names = await readdir(folder, { recursive: true });
  return names.find((name) => {
    const kind = ENDINGS.find(([ending]) => name.endsWith(ending))?.[1];
    return kind === "javascript" || kind === "python";
  });
}

/** Files that lie beside models and are none. */
const BESIDE = new Set(["config.json", "metadata.json", "model-settings.json", "settings.json", "tokenizer.json"]);

/** A module that stands before the model beside it. */
export const TRANSFORMER = /^transformer\.m?js$/;

/** Finds the model of a folder: `model.*` before other names, a given name before all. Throws `ModelError`. */
export async function findModelFile(
  folder: string,
  wanted?: string,
  { withTransformer = true }: { readonly withTransformer?: boolean } = {},
): Promise<ModelFile> {
  const names = await fileNames(folder);
  const transformer = withTransformer ? names.find((name) => TRANSFORMER.test(name)) : undefined;
  if (transformer !== undefined) return { file: join(folder, transformer), kind: "javascript" };
  if (wanted !== undefined) {
    if (!names.includes(wanted)) throw new ModelError("ModelNotFound", `${folder} holds no file ${wanted}`);
    return { file: join(folder, wanted), kind: await kindOf(join(folder, wanted)) };
  }
  const candidates = names.filter((name) => !BESIDE.has(name));
  for (const [ending] of ENDINGS) {
    if (candidates.includes(`model${ending}`)) {
      const file = join(folder, `model${ending}`);
      return { file, kind: await kindOf(file) };
    }
  }
  for (const [ending, kind] of ENDINGS) {
    // Only what is a model by its name alone may be called anything: a helper.py or notes.txt is no model.
    if (kind === "javascript" || ending === ".py" || ending === ".txt" || ending === ".json") continue;
    const found = candidates.filter((name) => name.endsWith(ending));
    const [only] = found;
    if (only === undefined) continue;
    if (found.length > 1)
      throw new ModelError(
        "ModelLoadFailed",
        `${folder} holds several ${ending} files (${found.join(", ")}) and none is model${ending}`,
      );
    return { file: join(folder, only), kind: await kindOf(join(folder, only)) };
  }
  // One that lies alone is meant, whatever it is called: so do models come that are one file of a store.
  const [only, other] = candidates;
  if (only !== undefined && other === undefined && /\.(json|txt)$/.test(only))
    return { file: join(folder, only), kind: await kindOf(join(folder, only)) };
  throw nothingIn(folder, names, names.length === 0 ? await folderNames(folder) : []);
}

function nothingIn(folder: string, names: readonly string[], folders: readonly string[]): ModelError {
  for (const name of names) {
    const ending = Object.keys(FOREIGN).find((each) => name.endsWith(each));
    if (ending !== undefined) return new ModelError("UnsupportedFormat", `${join(folder, name)} is ${FOREIGN[ending]}`);
  }
  const few = (all: readonly string[]): string => `${all.slice(0, 8).join(", ")}${all.length > 8 ? ", …" : ""}`;
  const nothing =
    folders.length === 0 ? "nothing" : `no file, but folders: ${few(folders)}; name the one that is meant`;
  const found = names.length === 0 ? nothing : few(names);
  return new ModelError(
    "ModelNotFound",
    `${folder} holds no model file: model.onnx, .json, .ubj, .txt, .bst, .js, .py, .joblib or .pkl; there is ${found}`,
  );
}

async function folderNames(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() && !entry.name.startsWith(".") ? [entry.name] : [])).sort();
}

async function fileNames(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory() && !entry.name.startsWith("."))
      .map((entry) => entry.name)
      .sort();
  } catch (error) {
    throw new ModelError("ModelNotFound", `cannot read the model folder ${folder}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function kindOf(file: string): Promise<EngineKind> {
  const entry = ENDINGS.find(([ending]) => file.endsWith(ending));
  if (entry === undefined) {
    const ending = Object.keys(FOREIGN).find((each) => file.endsWith(each)) ?? "";
    throw new ModelError(
      "UnsupportedFormat",
      `${file} is ${FOREIGN[ending] ?? "of a format that is not known by its name"}`,
    );
  }
  return entry[1] === "sniff" ? sniff(file) : entry[1];
}

async function sniff(file: string): Promise<EngineKind> {
  const handle = await open(file, "r");
  try {
    const buffer = Buffer.alloc(8192);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    const start = buffer.subarray(0, bytesRead).toString("latin1");
    if (/^tree\r?\n/.test(start)) return "lightgbm";
    if (/^\{[iUIlL]/.test(start)) return "xgboost";
    if (/^\s*\{/.test(start)) {
      if (/"format"\s*:\s*"argosy-sklearn"/.test(start)) return "sklearn";
      if (/"num_tree_per_iteration"/.test(start)) return "lightgbm";
      if (/"learner"/.test(start)) return "xgboost";
    }
    if (start.startsWith("binf") || start.startsWith("bs64"))
      throw new ModelError(
        "UnsupportedFormat",
        `${file} is XGBoost's binary format, which XGBoost itself has given up; save it as JSON or UBJSON (save_model("model.json"))`,
      );
    throw new ModelError(
      "UnsupportedFormat",
      `${file} is neither XGBoost (JSON, UBJSON), LightGBM (text, JSON) nor a scikit-learn export (argosy-sklearn)`,
    );
  } finally {
    await handle.close();
  }
}

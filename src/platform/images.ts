import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { load } from "js-yaml";
import { type ImageCatalogue, type ImageEntry, imageCatalogue } from "../cluster/node/index.js";
import { packageRoot } from "../kernel/assets/index.js";
import { InputError, messageOf } from "../kernel/errors/index.js";
import type { JsonObject } from "../kernel/kinds/object.js";
import { isObject } from "../kernel/schema/index.js";
import type { Layout } from "./layout.js";

/** A file of this installation. */
export function programFile(...parts: string[]): string {
  return join(packageRoot(), ...parts);
}

/** Argosy's own programs as images of pods. */
function ownImages(): Readonly<Record<string, ImageEntry>> {
  const files = ["package.json", "bin", "dist", "node_modules", "assets", "examples"].map((name) => programFile(name));
  const program = (...path: string[]): ImageEntry => ({
    entrypoint: [process.execPath, programFile(...path)],
    files: [...files, dirname(process.execPath)],
  });
  return {
    "argosy.dev/argosy": program("bin", "argosy.mjs"),
    "argosy.dev/model-server": program("dist", "programs", "model-server.js"),
    "argosy.dev/inference-router": program("dist", "src", "dataplane", "graph", "main.js"),
    "argosy.dev/examples/digits": program("dist", "examples", "digits", "train.js"),
  };
}

/**
 * The images of this machine: Argosy's own programs, the machine's `node` and `python`, and what the user names in `DIR/images.yaml`. That file
 * is read at each pull, so an image may be added while everything runs; a mistake in it is said where the image is wanted.
 */
export function platformImages(layout: Layout): ImageCatalogue {
  const file = join(layout.root, "images.yaml");
  const options = {
    cacheDir: join(layout.root, "images"),
    hint: `To add one, write to ${file}: a line \`NAME:\` and below it \`directory: /path\` (with \`entrypoint: [program, …]\`) or \`ociLayout: /path\`; see docs/images.md`,
  };
  let names = Object.keys(ownImages());
  return {
    names: () => names,
    resolve: async (image) => {
      const entries = { ...ownImages(), ...(await readUserImages(file)) };
      names = Object.keys(entries);
      return imageCatalogue({ ...options, entries }).resolve(image);
    },
  };
}

/** Reads the user's images; a missing file holds none. Throws `InputError` naming the file and the image. */
export async function readUserImages(file: string): Promise<Readonly<Record<string, ImageEntry>>> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch {
    return {};
  }
  let document: unknown;
  try {
    document = load(text);
  } catch (error) {
    throw new InputError(`${file} is not valid YAML: ${messageOf(error)}`, { cause: error });
  }
  if (!isObject(document)) {
    throw new InputError(`${file} must be a mapping from image names to where they are`);
  }
  return Object.fromEntries(Object.entries(document).map(([name, entry]) => [name, parseEntry(file, name, entry)]));
}

function parseEntry(file: string, name: string, value: unknown): ImageEntry {
  const where = `${file}: image ${name}`;
  if (!isObject(value)) {
    throw new InputError(`${where}: a mapping with \`directory\` or \`ociLayout\` is wanted`);
  }
  const unknown = Object.keys(value).find(
    (field) => !["directory", "ociLayout", "entrypoint", "cmd", "env", "workingDir"].includes(field),
  );
  if (unknown !== undefined) {
    throw new InputError(
      `${where}: unknown field ${unknown}; known are directory, ociLayout, entrypoint, cmd, env, workingDir`,
    );
  }
  const { directory, ociLayout, workingDir } = value;
  const defaults = {
    ...texts(where, value, "entrypoint"),
    ...texts(where, value, "cmd"),
    ...environment(where, value),
    ...(typeof workingDir === "string" ? { workingDir } : {}),
  };
  if (typeof directory === "string" && isAbsolute(directory) && ociLayout === undefined) {
    return { directory, ...defaults };
  }
  if (typeof ociLayout === "string" && isAbsolute(ociLayout) && directory === undefined) {
    return { ociLayout, ...defaults };
  }
  throw new InputError(`${where}: give either \`directory\` or \`ociLayout\`, as an absolute path`);
}

function texts(
  where: string,
  entry: JsonObject,
  field: "entrypoint" | "cmd",
): Partial<Record<"entrypoint" | "cmd", string[]>> {
  const value = entry[field];
  if (value === undefined) {
    return {};
  }
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    throw new InputError(`${where}: ${field} must be a list of texts`);
  }
  return { [field]: value };
}

function environment(where: string, { env }: JsonObject): { env?: Record<string, string> } {
  if (env === undefined) {
    return {};
  }
  if (!isObject(env)) {
    throw new InputError(`${where}: env must be a mapping from names to texts`);
  }
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (typeof value !== "string") {
      throw new InputError(`${where}: env.${name} must be a text`);
    }
    result[name] = value;
  }
  return { env: result };
}

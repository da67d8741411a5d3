import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { EVENT_ID, getScalarValue, loadAll, parseEvents, YAMLException } from "js-yaml";
import { InputError, messageOf } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { parseJsonObject } from "./json.js";
import { fieldPositions, findPosition, type Position } from "./positions.js";

/** One object of a manifest file, and where its fields stand there. */
export interface ManifestObject {
  readonly file: string;
  readonly object: JsonObject;
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace: string | undefined;
  /** `file:line` of a field path, or of its nearest ancestor. */
  locate(path: string): string;
}

/** What a manifest file held, and what a reader should know about it. */
export interface Manifest {
  readonly objects: readonly ManifestObject[];
  readonly warnings: readonly string[];
}

/**
 * Reads YAML or JSON manifests: files, directories (their `.yaml`, `.yml`, `.json`, by name) or `-` for standard input. `kind: List` is
 * taken apart. Throws `InputError` naming file and line.
 */
export async function loadManifests(paths: readonly string[], stdin: () => Promise<string>): Promise<Manifest> {
  if (paths.length === 0) {
    throw new InputError("say which manifests: -f FILE, -f DIRECTORY, or -f - for standard input");
  }
  const objects: ManifestObject[] = [];
  const warnings: string[] = [];
  for (const path of paths) {
    for (const [file, source] of await readSources(path, stdin)) {
      const manifest = parseManifest(file, source);
      objects.push(...manifest.objects);
      warnings.push(...manifest.warnings);
    }
  }
  if (objects.length === 0) {
    throw new InputError(`no objects found in ${paths.join(", ")}`);
  }
  return { objects, warnings };
}

async function readSources(path: string, stdin: () => Promise<string>): Promise<[string, string][]> {
  if (path === "-") {
    return [["stdin", await stdin()]];
  }
  try {
    if (!(await stat(path)).isDirectory()) {
      return [[path, await readFile(path, "utf8")]];
    }
    const names = (await readdir(path)).filter((name) => [".yaml", ".yml", ".json"].includes(extname(name))).sort();
    return await Promise.all(
      names.map(
        async (name): Promise<[string, string]> => [join(path, name), await readFile(join(path, name), "utf8")],
      ),
    );
  } catch (error) {
    throw new InputError(`cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Parses one manifest text; `file` is for messages. */
export function parseManifest(file: string, source: string): Manifest {
  let documents: unknown[];
  let positions: ReadonlyMap<string, Position>[];
  try {
    documents = loadAll(source, { filename: file });
    positions = fieldPositions(source);
  } catch (error) {
    throw yamlError(file, source, error);
  }
  const objects: ManifestObject[] = [];
  documents.forEach((document, index) => {
    if (document !== null && document !== undefined) {
      objects.push(...toObjects(file, document, positions[index] ?? new Map(), ""));
    }
  });
  return { objects, warnings: oldScalars(file, source) };
}

function toObjects(
  file: string,
  document: unknown,
  positions: ReadonlyMap<string, Position>,
  prefix: string,
): ManifestObject[] {
  const locate = (path: string): string => {
    const full = prefix === "" ? path : path === "" ? prefix : `${prefix}.${path}`;
    const position = findPosition(positions, full);
    return position === undefined ? file : `${file}:${position.line}`;
  };
  const object = parseJsonObject(document);
  if (object === undefined) {
    throw new InputError(`${locate("")}: an object with apiVersion, kind and metadata is wanted here`);
  }
  if (object["kind"] === "List" && Array.isArray(object["items"])) {
    return object["items"].flatMap((item, index) => toObjects(file, item, positions, `items[${index}]`));
  }
  const metadata = parseJsonObject(object["metadata"]) ?? {};
  return [
    {
      file,
      object,
      apiVersion: requiredText(object["apiVersion"], "apiVersion", locate),
      kind: requiredText(object["kind"], "kind", locate),
      name: requiredText(metadata["name"], "metadata.name", locate),
      namespace: typeof metadata["namespace"] === "string" ? metadata["namespace"] : undefined,
      locate,
    },
  ];
}

function requiredText(value: unknown, path: string, locate: (path: string) => string): string {
  if (typeof value === "string" && value !== "") {
    return value;
  }
  const found = value === undefined ? "is missing" : `must be a text, not ${JSON.stringify(value)}`;
  throw new InputError(`${locate(path)}: ${path} ${found}`);
}

function yamlError(file: string, source: string, error: unknown): InputError {
  if (error instanceof YAMLException && error.mark !== undefined && error.mark !== null) {
    const line = source.slice(0, error.mark.position).split("\n").length;
    return new InputError(`${file}:${line}: not valid YAML: ${error.reason}`, { cause: error });
  }
  return new InputError(`${file}: not valid YAML: ${messageOf(error)}`, { cause: error });
}

/** Plain scalars that YAML 1.1 (kubectl) reads as another type than YAML 1.2 does. */
function oldScalars(file: string, source: string): string[] {
  const warnings: string[] = [];
  for (const event of parseEvents(source, {})) {
    if (
      event.type !== EVENT_ID.SCALAR ||
      source[event.valueStart - 1] === '"' ||
      source[event.valueStart - 1] === "'"
    ) {
      continue;
    }
    const text = getScalarValue(source, event);
    if (/^(y|yes|n|no|on|off)$/i.test(text) || /^0[0-7]+$/.test(text)) {
      const line = source.slice(0, event.valueStart).split("\n").length;
      warnings.push(
        `${file}:${line}: \`${text}\` is read as ${/^0/.test(text) ? "a decimal number" : "text"} here, unlike in kubectl; quote it to be sure`,
      );
    }
  }
  return warnings;
}

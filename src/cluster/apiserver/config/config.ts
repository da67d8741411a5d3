import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import { InputError, messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import {
  didYouMean,
  isObject,
  knownNames,
  prune,
  type Schema,
  toJsonObject,
  validateSchema,
} from "../../../kernel/schema/index.js";

/** What a configuration file must be. */
export interface ConfigShape {
  readonly kind: string;
  /** Any of them will do. */
  readonly apiVersions: readonly string[];
  /** Of the fields besides apiVersion and kind. */
  readonly schema: Schema;
}

/** Collects what is wrong with a file, field by field; thrown together, so that one look at the message is enough. */
export class ConfigFaults {
  readonly #file: string;
  readonly #faults: string[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  add(field: string, message: string): void {
    this.#faults.push(field === "" ? message : `${field}: ${message}`);
  }

  /** Throws `InputError` when there was any. */
  check(): void {
    if (this.#faults.length === 0) return;
    const lines = this.#faults.map((fault) => `${this.#file}: ${fault}`);
    throw new InputError(lines.join("\n"));
  }
}

/** Reads a YAML or JSON file of that shape. Throws `InputError`. */
export async function readConfig(file: string, shape: ConfigShape): Promise<JsonObject> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new InputError(`cannot read ${file}: ${messageOf(error)}`, { cause: error });
  }
  return parseConfig(file, text, shape);
}

/** The same for a text; `file` is for messages. Throws `InputError`. */
export function parseConfig(file: string, text: string, shape: ConfigShape): JsonObject {
  const object = parseYaml(file, text);
  const { apiVersion, kind, ...fields } = object;
  const faults = new ConfigFaults(file);
  if (kind !== shape.kind) faults.add("kind", `must be ${shape.kind}, not ${shown(kind)}`);
  if (typeof apiVersion !== "string" || !shape.apiVersions.includes(apiVersion))
    faults.add("apiVersion", `must be ${shape.apiVersions.join(" or ")}, not ${shown(apiVersion)}`);
  for (const { field, message } of validateSchema(shape.schema, fields)) faults.add(field, message);
  for (const path of prune(shape.schema, fields)) {
    const names = knownNames(shape.schema, path);
    const meant = didYouMean(path.split(".").at(-1) ?? "", names);
    faults.add(path, `there is no such field${meant === undefined ? "" : `; ${meant} is meant, perhaps`}`);
  }
  faults.check();
  return fields;
}

function parseYaml(file: string, text: string): JsonObject {
  let value: unknown;
  try {
    value = load(text, { filename: file });
  } catch (error) {
    throw new InputError(`${file}: not valid YAML: ${messageOf(error)}`, { cause: error });
  }
  if (!isObject(value)) throw new InputError(`${file}: an object with apiVersion and kind is wanted here`);
  return toJsonObject(value);
}

function shown(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}

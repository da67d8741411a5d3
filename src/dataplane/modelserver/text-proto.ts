/** Protobuf's text format, as Triton's `config.pbtxt` is written in it. */
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { ModelError } from "./failures.js";

const TOKENS =
  /\s+|#[^\n]*|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|([A-Za-z_][\w.]*|[-+]?[\d.][\w.+-]*)|([{}[\]:,;<>])/y;
const MAX_DEPTH = 32;
/** Fields of Triton's model configuration that are lists even where they are written once. */
const LISTS = new Set([
  "input",
  "output",
  "dims",
  "versions",
  "instance_group",
  "gpus",
  "preferred_batch_size",
  "step",
]);
const MAPS = new Set(["parameters", "version_labels", "metric_tags", "cc_model_filenames"]);

/** Reads a message as JSON with the fields' names as written; maps of `key`, `value` become objects. Throws `ModelError` with the place. */
export function parseTextProto(text: string, file: string): JsonObject {
  const tokens = tokenize(text, file);
  let at = 0;
  const broken = (wanted: string): ModelError =>
    new ModelError(
      "ModelLoadFailed",
      `${file}: ${wanted} expected${tokens[at] === undefined ? " at its end" : `, not ${tokens[at]}`}`,
    );
  const message = (end: string | undefined, depth: number): JsonObject => {
    if (depth > MAX_DEPTH) throw new ModelError("ModelLoadFailed", `${file}: nested too deep`);
    const out: JsonObject = {};
    while (tokens[at] !== end) {
      const name = tokens[at];
      if (name === undefined || !/^[A-Za-z_]/.test(name)) throw broken("a field's name");
      at++;
      if (tokens[at] === ":") at++;
      for (const value of values(depth)) add(out, name, value);
      if (tokens[at] === "," || tokens[at] === ";") at++;
    }
    at++;
    return out;
  };
  const values = (depth: number): Json[] => {
    if (tokens[at] !== "[") return [value(depth)];
    at++;
    const list: Json[] = [];
    while (tokens[at] !== "]") {
      list.push(value(depth));
      if (tokens[at] === ",") at++;
      else if (tokens[at] !== "]") throw broken("]");
    }
    at++;
    return list;
  };
  const value = (depth: number): Json => {
    const token = tokens[at];
    if (token === "{" || token === "<") {
      at++;
      return message(token === "{" ? "}" : ">", depth + 1);
    }
    if (token === undefined || /^[}\]:,;>[]/.test(token)) throw broken("a value");
    at++;
    return scalar(token);
  };
  const result = message(undefined, 0);
  return result;
}

function tokenize(text: string, file: string): string[] {
  const tokens: string[] = [];
  TOKENS.lastIndex = 0;
  while (TOKENS.lastIndex < text.length) {
    const from = TOKENS.lastIndex;
    const match = TOKENS.exec(text);
    if (match === null) {
      const line = text.slice(0, from).split("\n").length;
      throw new ModelError("ModelLoadFailed", `${file}:${line} is not protobuf's text format`);
    }
    const token = match[1] ?? match[2] ?? match[3];
    if (token !== undefined) tokens.push(token);
  }
  return tokens;
}

function scalar(token: string): Json {
  if (token.startsWith('"') || token.startsWith("'")) {
    return token.slice(1, -1).replaceAll(/\\(.)/g, (_, char: string) => ({ n: "\n", t: "\t", r: "\r" })[char] ?? char);
  }
  if (token === "true" || token === "false") return token === "true";
  const number = Number(token);
  return Number.isNaN(number) ? token : number;
}

function add(out: JsonObject, name: string, value: Json): void {
  if (MAPS.has(name) && typeof value === "object" && value !== null && !Array.isArray(value)) {
    const { key, value: entry = null } = value;
    const map = out[name];
    const into: JsonObject = typeof map === "object" && map !== null && !Array.isArray(map) ? map : {};
    into[typeof key === "string" ? key : JSON.stringify(key ?? "")] = entry;
    out[name] = into;
    return;
  }
  const before = out[name];
  if (Array.isArray(before)) before.push(value);
  else if (before !== undefined) out[name] = [before, value];
  else out[name] = LISTS.has(name) ? [value] : value;
}

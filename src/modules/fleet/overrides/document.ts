import { boolYaml11Tag, CORE_SCHEMA, dump, load, mergeTag } from "js-yaml";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Json } from "../../../kernel/kinds/index.js";
import { isObject, parseJson, toJson } from "../../../kernel/schema/index.js";
import { escapedJson } from "../karmada-json.js";
import { OverrideError } from "./errors.js";
import { type Change, changed } from "./patch.js";

/** As those who read it have it: `yes` is true, `<<` merges. */
const SCHEMA = CORE_SCHEMA.withTags(boolYaml11Tag, mergeTag);
/** More values than this, aliases counted as often as they are used, are no configuration. */
const MAX_VALUES = 200_000;

/** A JSON text with changes inside; its members keep their order. Throws `OverrideError`. */
export function changedJson(text: string, changes: readonly Change[]): string {
  const document = parseJson(text);
  if (document === undefined) throw new OverrideError("the field does not hold JSON");
  checkNumbers(document);
  return escapedJson(changed(document, changes));
}

/** A YAML text with changes inside; keys are sorted, comments go. Throws `OverrideError`. */
export function changedYaml(text: string, changes: readonly Change[]): string {
  const document = readYaml(text);
  checkNumbers(document);
  return dump(changed(document, changes), { noRefs: true, lineWidth: -1, seqNoIndent: true, sortKeys: byKey });
}

function readYaml(text: string): Json {
  let loaded: unknown;
  try {
    loaded = load(text, { schema: SCHEMA });
  } catch (error) {
    throw new OverrideError(`the field does not hold YAML: ${messageOf(error)}`, { cause: error });
  }
  const budget = { left: MAX_VALUES };
  countValues(loaded, budget);
  return toJson(loaded ?? null);
}

function countValues(value: unknown, budget: { left: number }): void {
  budget.left -= 1;
  if (budget.left < 0) throw new OverrideError(`the field holds more than ${MAX_VALUES} values`);
  if (typeof value === "object" && value !== null) for (const item of Object.values(value)) countValues(item, budget);
}

/** A number that would not come out as it went in is not touched. */
function checkNumbers(value: Json): void {
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value))
    throw new OverrideError(`the field holds ${value}, which cannot be carried exactly: write it as text`);
  if (Array.isArray(value)) for (const item of value) checkNumbers(item);
  else if (isObject(value)) for (const item of Object.values(value)) if (item !== undefined) checkNumbers(item);
}

/** Letters after other characters, numbers by value. */
function byKey(a: unknown, b: unknown): number {
  return String(a).localeCompare(String(b), "en", { numeric: true, caseFirst: "upper" });
}

import type { StatusCause } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asList, asString, equalJson, isObject } from "../../../kernel/schema/index.js";
import { CelCostError, CelEvaluationError } from "./errors.js";
import { type Budget, Optional } from "./language/index.js";
import { joinPath, resolveFieldPath } from "./paths.js";
import { compileRules, hasRules, type Rule, type RuleNode } from "./rules.js";

/** What all rules may cost for one object. */
const objectBudget = 10_000_000;
const maxMessageLength = 5 * 1024;
const never = Symbol("no old value");

interface Validation {
  readonly causes: StatusCause[];
  readonly budget: Budget;
  isOver: boolean;
}

/** An old value; `never`: there is none, or none that belongs to the new one. */
type Old = Json | typeof never;

/** The rules of one schema, ready to run. */
export interface RuleSet {
  /** One cause per rule that does not hold. `old` absent: the object is new. Paths as upstream writes them (the root is `<nil>`). */
  validate(object: JsonObject, old?: JsonObject): StatusCause[];
}

/** The rules of a schema, compiled when they are first needed; `undefined`: it has none. */
export function ruleSet(schema: JsonObject): RuleSet | undefined {
  if (!hasRules(schema)) return undefined;
  let root: RuleNode | undefined;
  return {
    validate(object, old) {
      root ??= compileRules(schema);
      const validation: Validation = { causes: [], budget: { left: objectBudget }, isOver: false };
      if (root !== undefined) validateNode(root, "", [object, old ?? never], validation);
      return validation.causes;
    },
  };
}

function validateNode(node: RuleNode, path: string, [value, old]: readonly [Json, Old], validation: Validation): void {
  const isUnchanged = old !== never && equalJson(value, old);
  let self: unknown;
  for (const rule of node.rules) {
    if (validation.isOver) return;
    if (rule.usesOldSelf && !rule.isOldSelfOptional && old === never) continue;
    // What was stored before the rule was may stay as it is.
    if (!rule.usesOldSelf && isUnchanged) continue;
    self ??= rule.shape.convert(value);
    validateRule(node, rule, { path, self, old, validation });
  }
  if (Array.isArray(value)) validateItems(node, path, [value, old], validation);
  else if (isObject(value)) validateMembers(node, path, [value, old], validation);
}

function validateMembers(
  node: RuleNode,
  path: string,
  [value, old]: readonly [JsonObject, Old],
  validation: Validation,
): void {
  const before = old !== never && isObject(old) ? old : undefined;
  const oldOf = (name: string): Old =>
    before !== undefined && Object.hasOwn(before, name) ? (before[name] ?? never) : never;
  for (const [name, below] of node.properties) {
    const member = Object.hasOwn(value, name) ? value[name] : undefined;
    if (member !== undefined && member !== null)
      validateNode(below, joinPath(path, name), [member, oldOf(name)], validation);
  }
  if (node.values === undefined) return;
  for (const name of Object.keys(value).sort()) {
    const member = value[name];
    if (member !== undefined && member !== null)
      validateNode(node.values, `${path}[${name}]`, [member, oldOf(name)], validation);
  }
}

function validateItems(
  node: RuleNode,
  path: string,
  [value, old]: readonly [readonly Json[], Old],
  validation: Validation,
): void {
  const { items, mapKeys } = node;
  if (items === undefined) return;
  const known = new Map<string, Json>();
  if (mapKeys !== undefined && old !== never) for (const item of asList(old)) known.set(keyOf(item, mapKeys), item);
  for (const [index, item] of value.entries()) {
    if (item === null) continue;
    const before = mapKeys === undefined ? undefined : known.get(keyOf(item, mapKeys));
    validateNode(items, `${path}[${index}]`, [item, before ?? never], validation);
  }
}

function keyOf(item: Json, keys: readonly string[]): string {
  return JSON.stringify(keys.map((key) => (isObject(item) ? (item[key] ?? null) : null)));
}

interface Place {
  readonly path: string;
  readonly self: unknown;
  readonly old: Old;
  readonly validation: Validation;
}

function validateRule(node: RuleNode, rule: Rule, place: Place): void {
  const { validation, path } = place;
  const type = asString(node.schema["type"]) || "object";
  try {
    if (rule.program?.run(variablesOf(rule, place), validation.budget) === true) return;
    if (rule.program !== undefined) {
      validation.causes.push(broken(node, rule, { ...place, type }));
      return;
    }
  } catch (error) {
    if (!(error instanceof CelEvaluationError || error instanceof CelCostError)) throw error;
    validation.isOver = error instanceof CelCostError;
    validation.causes.push(failed(path, type, whyFailed(rule, error, validation.budget)));
    return;
  }
  validation.causes.push(failed(path, type, `rule compile error: ${rule.fault ?? ""}`));
}

function failed(path: string, type: string, detail: string): StatusCause {
  const message = `Invalid value: ${JSON.stringify(type)}: ${detail}`;
  return { reason: "FieldValueInvalid", message, field: path === "" ? "<nil>" : path };
}

function whyFailed(rule: Rule, error: CelEvaluationError | CelCostError, budget: Budget): string {
  if (error instanceof CelCostError)
    return budget.left <= 0
      ? "validation failed due to running out of cost budget, no further validation rules will be run"
      : `'${error.message}': no further validation rules will be run due to call cost exceeds limit for rule: ${told(rule)}`;
  return error.message.startsWith("no such overload")
    ? `'${error.message}': call arguments did not match a supported operator, function or macro signature for rule: ${told(rule)}`
    : `${error.message} evaluating rule: ${told(rule)}`;
}

function variablesOf(rule: Rule, { self, old }: Place): Record<string, unknown> {
  if (!rule.usesOldSelf && rule.messageProgram === undefined) return { self };
  const before = old === never ? undefined : rule.shape.convert(old);
  if (rule.isOldSelfOptional) return { self, oldSelf: before === undefined ? Optional.none : new Optional(before) };
  return before === undefined ? { self } : { self, oldSelf: before };
}

function told(rule: Rule): string {
  return asString(rule.source["message"]).trim() || rule.text.trim();
}

const words: Readonly<Record<string, (type: string, message: string) => string>> = {
  FieldValueRequired: (_type, message) => `Required value: ${message}`,
  FieldValueForbidden: (_type, message) => `Forbidden: ${message}`,
  FieldValueDuplicate: (type) => `Duplicate value: ${JSON.stringify(type)}`,
};

function broken(node: RuleNode, rule: Rule, place: Place & { readonly type: string }): StatusCause {
  const message = messageOf(rule, place);
  const reason = asString(rule.source["reason"]) || "FieldValueInvalid";
  const below = resolveFieldPath(node.schema, asString(rule.source["fieldPath"])) ?? "";
  const field = below === "" ? place.path : joinPath(place.path, below);
  const shown = words[reason]?.(place.type, message) ?? `Invalid value: ${JSON.stringify(place.type)}: ${message}`;
  return { reason, message: shown, field: field === "" ? "<nil>" : field };
}

function messageOf(rule: Rule, place: Place): string {
  const fallback = asString(rule.source["message"]).trim() || `failed rule: ${rule.text.trim()}`;
  if (rule.messageProgram === undefined) return fallback;
  try {
    const made = rule.messageProgram.run(variablesOf(rule, place), place.validation.budget);
    const text = typeof made === "string" ? made.trim() : "";
    return text === "" || text.includes("\n") || text.length > maxMessageLength ? fallback : text;
  } catch (error) {
    if (error instanceof CelEvaluationError || error instanceof CelCostError) return fallback;
    throw error;
  }
}

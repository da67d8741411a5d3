import type { LabelSelector, LabelSelectorRequirement } from "kubernetes-types/meta/v1.js";
import { InputError } from "../errors/index.js";

/** Labels or field values by name. */
export type Labels = Readonly<Record<string, string>>;

/** How a requirement compares; `Gt` and `Lt` compare integers. */
export type SelectorOperator = "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt";

/** One term of a label selector. */
export interface Requirement {
  readonly key: string;
  readonly operator: SelectorOperator;
  readonly values: readonly string[];
}

/** A parsed label selector: all requirements must hold; none hold for everything. */
export interface Selector {
  readonly requirements: readonly Requirement[];
  matches(labels: Labels | undefined): boolean;
  /** Canonical text, as list queries and `status.selector` carry it. */
  toString(): string;
}

const namePattern = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const prefixPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const integerPattern = /^[+-]?\d{1,18}$/;
const maxSelectorLength = 64 * 1024;

/** Whether `key` is a label key (`name` or `dns.prefix/name`). */
export function isLabelKey(key: string): boolean {
  const slash = key.indexOf("/");
  if (slash < 0) return namePattern.test(key);
  const prefix = key.slice(0, slash);
  return prefix.length <= 253 && prefixPattern.test(prefix) && namePattern.test(key.slice(slash + 1));
}

/** Whether `value` is a label value (at most 63 characters, or empty). */
export function isLabelValue(value: string): boolean {
  return value === "" || namePattern.test(value);
}

function compareIntegers(text: string | undefined, operator: "Gt" | "Lt", limit: string | undefined): boolean {
  if (text === undefined || limit === undefined || !integerPattern.test(text)) return false;
  return operator === "Gt" ? BigInt(text) > BigInt(limit) : BigInt(text) < BigInt(limit);
}

/** Whether one requirement holds for these labels. */
export function requirementHolds(requirement: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.operator) {
    case "In":
      return value !== undefined && requirement.values.includes(value);
    case "NotIn":
      return value === undefined || !requirement.values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
    case "Lt":
      return compareIntegers(value, requirement.operator, requirement.values[0]);
  }
}

function formatRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case "In":
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.toSorted().join(",")})`;
    case "NotIn":
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${values.toSorted().join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
    case "Gt":
      return `${key}>${values[0]}`;
    case "Lt":
      return `${key}<${values[0]}`;
  }
}

/** A selector of these requirements. */
export function selectorOf(requirements: readonly Requirement[]): Selector {
  return {
    requirements,
    matches: (labels = {}) => requirements.every((requirement) => requirementHolds(requirement, labels)),
    toString: () => requirements.map(formatRequirement).join(","),
  };
}

/** Matches nothing, as an absent selector of a PodDisruptionBudget or affinity term does. */
const nothing: Selector = { requirements: [], matches: () => false, toString: () => "" };

function checkRequirement(requirement: Requirement, where: string): Requirement {
  const { key, operator, values } = requirement;
  if (!isLabelKey(key)) throw new InputError(`${where}: "${key}" is no label key`);
  const bad = operator === "Gt" || operator === "Lt" ? [] : values.filter((value) => !isLabelValue(value));
  if (bad.length > 0) throw new InputError(`${where}: "${bad[0]}" is no label value`);
  if ((operator === "Gt" || operator === "Lt") && !integerPattern.test(values[0] ?? "")) {
    throw new InputError(`${where}: "${values[0] ?? ""}" is no integer`);
  }
  return requirement;
}

/** Splits at commas that are not inside parentheses. */
function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i += 1) {
    const character = text[i];
    if (character === "(") depth += 1;
    else if (character === ")") depth -= 1;
    else if (character === "," && depth === 0) {
      terms.push(text.slice(start, i));
      start = i + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

const setTerm = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/;
const comparedTerm = /^([^\s=!<>,()]+)\s*(==|=|!=|>|<)\s*([^\s=!<>,()]*)$/;
const existsTerm = /^(!?)\s*([^\s=!<>,()]+)$/;
const comparisons: Readonly<Record<string, SelectorOperator>> = {
  "=": "In",
  "==": "In",
  "!=": "NotIn",
  ">": "Gt",
  "<": "Lt",
};

function parseTerm(term: string): Requirement | undefined {
  const [, setKey, word, list] = setTerm.exec(term) ?? [];
  if (setKey !== undefined && list !== undefined) {
    return {
      key: setKey,
      operator: word === "in" ? "In" : "NotIn",
      values: list.split(",").map((value) => value.trim()),
    };
  }
  const [, comparedKey, sign, value] = comparedTerm.exec(term) ?? [];
  const operator = sign === undefined ? undefined : comparisons[sign];
  if (comparedKey !== undefined && operator !== undefined && value !== undefined) {
    return { key: comparedKey, operator, values: [value] };
  }
  const [, not, existsKey] = existsTerm.exec(term) ?? [];
  if (existsKey === undefined) return undefined;
  return { key: existsKey, operator: not === "!" ? "DoesNotExist" : "Exists", values: [] };
}

/** Parses a label selector as queries carry it: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>3`. Throws `InputError`. */
export function parseSelector(text: string): Selector {
  if (text.length > maxSelectorLength)
    throw new InputError(`label selector is longer than ${maxSelectorLength} characters`);
  if (text.trim() === "") return selectorOf([]);
  const where = `label selector "${text}"`;
  return selectorOf(
    splitTerms(text).map((term) => {
      const requirement = parseTerm(term.trim());
      if (requirement === undefined) throw new InputError(`${where}: cannot read "${term.trim()}"`);
      return checkRequirement(requirement, where);
    }),
  );
}

const objectOperators: ReadonlyMap<string, SelectorOperator> = new Map([
  ["In", "In"],
  ["NotIn", "NotIn"],
  ["Exists", "Exists"],
  ["DoesNotExist", "DoesNotExist"],
]);

function requirementOf(expression: LabelSelectorRequirement): Requirement {
  const operator = objectOperators.get(expression.operator);
  const values = expression.values ?? [];
  const where = `label selector expression on "${expression.key}"`;
  if (operator === undefined)
    throw new InputError(`${where}: operator "${expression.operator}" is not one of In, NotIn, Exists, DoesNotExist`);
  const needsValues = operator === "In" || operator === "NotIn";
  if (needsValues !== values.length > 0) {
    throw new InputError(`${where}: ${operator} ${needsValues ? "needs values" : "takes no values"}`);
  }
  return checkRequirement({ key: expression.key, operator, values }, where);
}

/** A metav1.LabelSelector as a selector: empty matches everything, absent matches nothing. Throws `InputError`. */
export function selectorFrom(selector: LabelSelector | undefined): Selector {
  if (selector === undefined) return nothing;
  const equal = Object.entries(selector.matchLabels ?? {}).map(
    ([key, value]): Requirement => ({ key, operator: "In", values: [value] }),
  );
  const requirements = [...equal, ...(selector.matchExpressions ?? []).map(requirementOf)];
  return selectorOf(requirements.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)));
}

/** Whether labels match a metav1.LabelSelector; see `selectorFrom`. */
export function labelSelectorMatches(selector: LabelSelector | undefined, labels: Labels | undefined): boolean {
  return selectorFrom(selector).matches(labels);
}

/** One term of a field selector. */
export interface FieldRequirement {
  readonly field: string;
  readonly equal: boolean;
  readonly value: string;
}

/** A parsed field selector. */
export interface FieldSelector {
  readonly requirements: readonly FieldRequirement[];
  /** A field that is missing counts as empty. */
  matches(fields: Labels): boolean;
}

/** Splits at commas that no backslash precedes. */
function splitEscaped(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let i = 0; i < text.length; i += 1) {
    const character = text.charAt(i);
    if (character === "\\") {
      part += character + text.charAt(i + 1);
      i += 1;
    } else if (character === ",") {
      parts.push(part);
      part = "";
    } else part += character;
  }
  return [...parts, part];
}

function parseFieldTerm(term: string): FieldRequirement {
  const [, field, sign, escaped] = /^([^=!\\,]+)(==|=|!=)((?:[^\\=,]|\\[\\,=])*)$/s.exec(term) ?? [];
  if (field === undefined || escaped === undefined) {
    throw new InputError(`field selector: cannot read "${term}": write field=value, field==value or field!=value`);
  }
  return { field: field.trim(), equal: sign !== "!=", value: escaped.replaceAll(/\\(.)/gs, "$1") };
}

/** Parses `metadata.name=a,status.phase!=Running` (backslash escapes `,`, `=` and itself). Throws `InputError`. */
export function parseFieldSelector(text: string): FieldSelector {
  if (text.length > maxSelectorLength)
    throw new InputError(`field selector is longer than ${maxSelectorLength} characters`);
  const requirements = splitEscaped(text)
    .filter((term) => term !== "")
    .map(parseFieldTerm);
  return {
    requirements,
    matches: (fields) =>
      requirements.every(
        ({ field, equal, value }) => ((Object.hasOwn(fields, field) ? fields[field] : "") === value) === equal,
      ),
  };
}

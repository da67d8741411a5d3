import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest } from "../failures.js";
import { objectAt, stringAt } from "../fields.js";
import type { ResourceType } from "../types.js";
import { parseLabelSelector, type Requirement } from "./label-selector.js";

/** One `path=value` or `path!=value` of a field selector. */
interface FieldTerm {
  readonly field: string;
  readonly value: string;
  readonly isNegated: boolean;
}

/** What a list or watch leaves out. */
export interface Selection {
  /** Nothing is left out by it; lists may count what remains. */
  readonly isEverything: boolean;
  /** The one name that it can match, if its terms say so. */
  readonly onlyName: string | undefined;
  matches(object: JsonObject): boolean;
}

const everything: Selection = { isEverything: true, onlyName: undefined, matches: () => true };

/** The two selectors of a query, as parsed. */
export interface Selectors {
  readonly requirements: readonly Requirement[];
  readonly terms: readonly FieldTerm[];
}

const noSelectors: Selectors = { requirements: [], terms: [] };

/** Reads `labelSelector` and `fieldSelector`. Throws 400 in upstream's words. */
export function parseSelectors(query: URLSearchParams): Selectors {
  const labelText = query.get("labelSelector") ?? "";
  const fieldText = query.get("fieldSelector") ?? "";
  if (labelText === "" && fieldText === "") return noSelectors;
  return { requirements: parseLabelSelector(labelText), terms: parseFieldSelector(fieldText) };
}

/** Both at once. Throws 400. */
export function parseSelection(type: ResourceType, query: URLSearchParams): Selection {
  return selectionOf(type, parseSelectors(query));
}

/** What the selectors leave of a kind. Throws 400 for fields that the kind does not select by. */
export function selectionOf(type: ResourceType, { requirements, terms }: Selectors): Selection {
  for (const term of terms) checkFieldLabel(type, term.field);
  if (requirements.length === 0 && terms.length === 0) return everything;
  const onlyName = terms.find((term) => term.field === "metadata.name" && !term.isNegated)?.value;
  return {
    isEverything: false,
    onlyName,
    matches: (object) => matchesLabels(object, requirements) && matchesFields(type, object, terms),
  };
}

function matchesLabels(object: JsonObject, requirements: readonly Requirement[]): boolean {
  if (requirements.length === 0) return true;
  const labels = objectAt(objectAt(object, "metadata"), "labels");
  return requirements.every((requirement) => {
    const value = labels[requirement.key];
    return requirement.matches(typeof value === "string" ? value : undefined);
  });
}

function matchesFields(type: ResourceType, object: JsonObject, terms: readonly FieldTerm[]): boolean {
  if (terms.length === 0) return true;
  const metadata = objectAt(object, "metadata");
  const others = terms.some((term) => !term.field.startsWith("metadata.")) ? type.selectableFields(object) : {};
  return terms.every(({ field, value, isNegated }) => {
    const actual = field.startsWith("metadata.") ? stringAt(metadata, field.slice(9)) : (others[field] ?? "");
    return (actual === value) !== isNegated;
  });
}

/** Terms of a field selector; `\` escapes `\`, `,` and `=`. Throws 400. */
export function parseFieldSelector(text: string): FieldTerm[] {
  return splitUnescaped(text)
    .filter((part) => part !== "")
    .map((part) => parseTerm(part, text))
    .filter((term): term is FieldTerm => term !== undefined);
}

function splitUnescaped(text: string): string[] {
  return text.match(/(?:\\.|[^,\\]|\\$)+/g) ?? [];
}

function parseTerm(part: string, text: string): FieldTerm | undefined {
  const match = /^((?:\\.|[^=!\\])*)(!=|==|=)(.*)$/s.exec(part);
  if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
  const [, field = "", operator = "", value = ""] = match;
  const sequence = /\\.?/su.exec(value.replaceAll(/\\[\\,=]/g, ""))?.[0];
  if (sequence !== undefined) throw badRequest(`invalid field selector: invalid escape sequence: ${sequence}`);
  if (/^(?:\\.|[^\\=])*=/s.test(value)) throw badRequest("invalid field selector: unescaped character in value: 61");
  return { field, value: value.replace(/\\(.)/g, "$1"), isNegated: operator === "!=" };
}

/** Kinds that know no fields of their own are refused in other words than those that do. */
function checkFieldLabel(type: ResourceType, field: string): void {
  if (field === "metadata.name" || (field === "metadata.namespace" && (type.namespaced || !type.custom))) return;
  if (type.selectableFieldNames.includes(field)) return;
  const own = type.selectableFieldNames.filter((name) => !name.startsWith("metadata."));
  if (own.length > 0 || type.custom) throw badRequest(`field label not supported: ${field}`);
  throw badRequest(`"${field}" is not a known field selector: only "metadata.name", "metadata.namespace"`);
}

import type { Schema } from "../schema/index.js";
import type { KindDefinition } from "./define.js";
import { apiVersionOf } from "./object.js";

/** The reference of a kind in Markdown: what it is, how it is named, and every field with type, default, bounds and meaning. */
export function renderKindReference(definition: KindDefinition): string {
  const { kind, plural, shortNames, namespaced, description, printerColumns, schema } = definition;
  const names = [plural, ...shortNames].map((name) => `\`${name}\``).join(", ");
  const columns = printerColumns
    .map(({ name, priority }) => (priority === undefined || priority === 0 ? name : `${name} (wide)`))
    .join(", ");
  const fields = ["spec", "status"].flatMap((section) => {
    const part = schema.properties?.[section];
    return part === undefined ? [] : fieldRows(part, section, true);
  });
  return [
    `## ${kind}`,
    "",
    description,
    "",
    `\`apiVersion: ${apiVersionOf(definition)}\`; ${namespaced ? "in a namespace" : "for a whole cluster"}; \`kubectl get\` ${names}${columns === "" ? "" : `: ${columns}`}.`,
    "",
    "| field | type | meaning |",
    "|---|---|---|",
    ...fields,
    "",
  ].join("\n");
}

/** Paths of all fields of a kind that say nothing of what they mean. */
export function undescribedFields(definition: KindDefinition): string[] {
  return ["spec", "status"].flatMap((section) => {
    const part = definition.schema.properties?.[section];
    return part === undefined ? [] : undescribed(part, section);
  });
}

function undescribed(schema: Schema, path: string): string[] {
  const own = (schema.description ?? "") === "" ? [path] : [];
  return [...own, ...fieldsOf(schema, path).flatMap((field) => undescribed(field.schema, field.path))];
}

function fieldRows(schema: Schema, path: string, isRequired: boolean): string[] {
  const told = facts(schema).join("; ");
  const meaning = [schema.description ?? "", told === "" ? "" : `(${told})`].filter((text) => text !== "").join(" ");
  const row = `| \`${path}\` | ${typeName(schema)}${isRequired ? "" : "?"} | ${escapeCell(meaning)} |`;
  return [row, ...children(schema, path)];
}

function children(schema: Schema, path: string): string[] {
  const fields = fieldsOf(schema, path);
  const own = fields.filter((field) => !isBorrowed(field.schema));
  const borrowed = new Map<string, string[]>();
  for (const { schema: field, path: at } of fields) {
    if (!isBorrowed(field)) continue;
    const names = borrowed.get(field.description ?? "") ?? [];
    borrowed.set(field.description ?? "", [...names, at.slice(at.lastIndexOf(".") + 1)]);
  }
  return [
    ...own.flatMap((field) => fieldRows(field.schema, field.path, field.isRequired)),
    ...[...borrowed].map(([meaning, names]) => `| \`${path}.…\` | | ${meaning} ${names.sort().join(", ")} |`),
  ];
}

/** A field that is another type's, described there: it is told with its likes in one row. */
const isBorrowed = ({ title, description }: Schema): boolean =>
  title !== undefined && description?.startsWith("As in a ") === true;

/** The fields right below one, through lists and maps. What has a title is a type of Kubernetes', described there. */
function fieldsOf(schema: Schema, path: string): { schema: Schema; path: string; isRequired: boolean }[] {
  if (schema.title !== undefined) return [];
  if (schema.type === "array" && schema.items !== undefined) {
    return fieldsOf(schema.items, `${path}[]`);
  }
  if (typeof schema.additionalProperties === "object") {
    return fieldsOf(schema.additionalProperties, `${path}.*`);
  }
  return Object.entries(schema.properties ?? {}).map(([name, field]) => ({
    schema: field,
    path: `${path}.${name}`,
    isRequired: schema.required?.includes(name) === true,
  }));
}

function typeName(schema: Schema): string {
  if (schema.title !== undefined) return schema.title;
  if (schema["x-kubernetes-int-or-string"] === true) return "integer or string";
  if (schema["x-kubernetes-embedded-resource"] === true) return "object of any kind";
  if (schema.type === "array") return `list of ${schema.items === undefined ? "anything" : typeName(schema.items)}`;
  if (typeof schema.additionalProperties === "object") return `map of ${typeName(schema.additionalProperties)}`;
  return schema.type ?? "anything";
}

function facts(schema: Schema): string[] {
  const fact = (name: string, value: unknown): string[] =>
    value === undefined ? [] : [`${name} \`${typeof value === "string" ? value : JSON.stringify(value)}\``];
  return [
    ...(schema.enum === undefined
      ? []
      : [`one of ${schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(", ")}`]),
    ...fact("default", schema.default),
    ...fact(schema.exclusiveMinimum === true ? "above" : "at least", schema.minimum),
    ...fact(schema.exclusiveMaximum === true ? "below" : "at most", schema.maximum),
    ...fact("at least items", schema.minItems),
    ...fact("at most items", schema.maxItems),
    ...fact("longest", schema.maxLength),
    ...fact("pattern", schema.pattern),
  ];
}

function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

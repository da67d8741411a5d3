/** `{{.Name}}` and the like in the containers of runtimes. */
import { InputError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { isObject, setMember } from "../../../kernel/schema/index.js";

/** What placeholders stand for. */
export interface PlaceholderValues {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A copy in which every placeholder of every text is replaced. Throws `InputError` for one that is not understood, or that has no value. */
export function fillPlaceholders(value: JsonObject, values: PlaceholderValues): JsonObject {
  const copy: JsonObject = {};
  for (const [key, member] of Object.entries(value))
    if (member !== undefined) setMember(copy, key, fill(member, values));
  return copy;
}

function fill(value: Json, values: PlaceholderValues): Json {
  if (typeof value === "string") return value.includes("{{") ? fillText(value, values) : value;
  if (Array.isArray(value)) return value.map((item) => fill(item, values));
  return isObject(value) ? fillPlaceholders(value, values) : value;
}

function fillText(text: string, values: PlaceholderValues): string {
  return text.replaceAll(/\{\{-?\s*(.*?)\s*-?\}\}/g, (whole, action: string) => {
    const found = lookUp(action, values);
    if (found === undefined)
      throw new InputError(
        `${whole} in ${JSON.stringify(text)} has no value: there are .Name, .Namespace, .Labels.KEY and .Annotations.KEY`,
      );
    return found;
  });
}

function lookUp(action: string, { name, namespace, labels, annotations }: PlaceholderValues): string | undefined {
  if (action === ".Name" || action === ".ObjectMeta.Name") return name;
  if (action === ".Namespace" || action === ".ObjectMeta.Namespace") return namespace;
  const match =
    /^\.(Labels|Annotations)\.([\w-]+)$/.exec(action) ?? /^index \.(Labels|Annotations) "([^"]+)"$/.exec(action);
  const map = match?.[1] === "Labels" ? labels : annotations;
  const key = match?.[2];
  return key !== undefined && Object.hasOwn(map, key) ? map[key] : undefined;
}

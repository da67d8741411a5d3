import { dump } from "js-yaml";
import { InputError } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";

export const outputFormats = ["table", "wide", "json", "yaml", "name"] as const;
export type OutputFormat = (typeof outputFormats)[number];

/** Checks the value of `-o`. */
export function parseOutputFormat(text: string): OutputFormat {
  const format = outputFormats.find((candidate) => candidate === text);
  if (format === undefined) {
    throw new InputError(`unknown output format ${JSON.stringify(text)}: use one of ${outputFormats.join(", ")}`);
  }
  return format;
}

/** JSON with two spaces, or YAML in the wide form that kubectl prints. */
export function renderDocument(document: JsonObject, format: "json" | "yaml"): string {
  return format === "json"
    ? `${JSON.stringify(document, undefined, 2)}\n`
    : dump(document, { lineWidth: -1, noRefs: true });
}

/** As `kubectl get`: no managedFields unless asked for. */
export function withoutManagedFields(object: JsonObject): JsonObject {
  const metadata = object["metadata"];
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    return object;
  }
  const { managedFields: _, ...rest } = metadata;
  return { ...object, metadata: rest };
}

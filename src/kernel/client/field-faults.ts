import type { ApiError } from "../errors/index.js";

/** A field of an object that an API refused, with what is wrong with it. */
export interface FieldFault {
  /** Path from the object's root, `spec.containers[0].name`. */
  readonly field: string;
  /** `undefined`: the kind has no such field. */
  readonly fault: string | undefined;
  /** The cause's reason, where the refusal has causes. */
  readonly reason?: string;
}

/**
 * The faulty fields of a refusal: those that strict decoding (`unknown field "spec.x"`) or the typing of an applied object (`.spec.x: expected
 * string, got …`) names in the message, else the causes. Values are shown as JSON, not as the server's own structures.
 */
export function fieldFaults(error: ApiError): FieldFault[] {
  const unknown = [...error.message.matchAll(/unknown field "([^"]+)"/g)].map(([, field = ""]) => field);
  if (unknown.length > 0) return unknown.map((field) => ({ field, fault: undefined }));
  const [, typing = ""] = /^failed to create typed patch object \([^)]*\): (.*)$/s.exec(error.message) ?? [];
  const typed = [...typing.matchAll(/^\s*\.(\S+): (.+)$/gm)].map(([, field = "", fault = ""]) => ({
    field,
    fault: fault === "field not declared in schema" ? undefined : plainValues(fault),
  }));
  if (typed.length > 0) return typed;
  return (error.status.details?.causes ?? []).map(({ field = "", message = "", reason }) => ({
    field: field.replace(/^\./, ""),
    fault: message,
    ...(reason === undefined ? {} : { reason }),
  }));
}

/** The server's way to print a value (`&value.valueUnstructured{Value:"x"}`) becomes the value where it is JSON, else what it is. */
function plainValues(text: string): string {
  return text.replace(
    /&value\.valueUnstructured\{Value:(.*)\}|&\{.*\}|map\[string\]interface \{\}.*/s,
    (_whole, value: unknown) => {
      try {
        const shown = typeof value === "string" ? value : "";
        JSON.parse(shown);
        return shown;
      } catch {
        return "something else";
      }
    },
  );
}

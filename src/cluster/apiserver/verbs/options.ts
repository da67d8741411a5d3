import type { StatusCause } from "../../../kernel/errors/index.js";
import { invalid } from "../failures.js";
import { isTrue } from "../request/info.js";
import type { ApiRequest } from "../types.js";

/** Options of create, update and patch. */
export interface WriteOptions {
  readonly dryRun: boolean;
  readonly manager: string;
  readonly fieldValidation: "Ignore" | "Warn" | "Strict";
  readonly force: boolean;
}

type OptionsKind = "CreateOptions" | "UpdateOptions" | "PatchOptions";

/** Reads the query of a write. Throws 422 for values that are not among the known ones. */
export function readWriteOptions(request: ApiRequest, kind: OptionsKind, isApply = false): WriteOptions {
  const { query } = request;
  const causes: StatusCause[] = [];
  const dryRun = readDryRun(query, causes);
  const manager = readManager(request, isApply, causes);
  const fieldValidation = readFieldValidation(query.get("fieldValidation") ?? "", causes);
  const force = query.get("force");
  if (force !== null && !isApply && kind === "PatchOptions") {
    causes.push({ reason: "FieldValueForbidden", field: "force", message: "may not be specified for non-apply patch" });
  }
  if (causes.length > 0) throw invalid({ group: "meta.k8s.io", kind }, "", causes);
  return { dryRun, manager, fieldValidation, force: isTrue(force) };
}

/** Whether the request asks to change nothing. */
export function readDryRun(query: URLSearchParams, causes: StatusCause[]): boolean {
  const values = query.getAll("dryRun");
  if (values.some((value) => value !== "All")) {
    const list = values.map((value) => JSON.stringify(value)).join(",");
    causes.push({
      reason: "FieldValueNotSupported",
      field: "dryRun",
      message: `Unsupported value: [${list}]: supported values: "All"`,
    });
  }
  return values.length > 0;
}

function readFieldValidation(value: string, causes: StatusCause[]): WriteOptions["fieldValidation"] {
  if (value === "" || value === "Warn") return "Warn";
  if (value === "Ignore" || value === "Strict") return value;
  causes.push({
    reason: "FieldValueNotSupported",
    field: "fieldValidation",
    message: `Unsupported value: ${JSON.stringify(value)}: supported values: "", "Ignore", "Strict", "Warn"`,
  });
  return "Warn";
}

const maxManagerLength = 128;

/** The field manager: as given, or else the client's name from its User-Agent. */
function readManager(request: ApiRequest, isApply: boolean, causes: StatusCause[]): string {
  const given = request.query.get("fieldManager") ?? "";
  const field = "fieldManager";
  if (given.length > maxManagerLength) {
    causes.push({
      reason: "FieldValueTooLong",
      field,
      message: `Too long: may not be more than ${maxManagerLength} bytes`,
    });
  }
  const strange = isPrintable(given) ? -1 : Array.from(given).findIndex((character) => !isPrintable(character));
  if (strange >= 0) {
    const code = given.codePointAt(strange)?.toString(16).toUpperCase().padStart(4, "0") ?? "";
    const message = `Invalid value: ${goQuote(given)}: invalid character U+${code} (at position ${strange})`;
    causes.push({ reason: "FieldValueInvalid", field, message });
  }
  if (given === "" && isApply) {
    causes.push({ reason: "FieldValueRequired", field, message: "Required value: is required for apply patch" });
  }
  return given === "" ? managerOfAgent(request.headers["user-agent"] ?? "") : given;
}

function isPrintable(text: string): boolean {
  return /^[\P{C}]*$/u.test(text);
}

const goEscapes: Readonly<Record<string, string>> = {
  "\u0000": "\\x00",
  "\u0007": "\\a",
  "\v": "\\v",
  "\u001b": "\\x1b",
};

/** A text in Go's quotes. */
function goQuote(text: string): string {
  const inner = Array.from(text, (character) => goEscapes[character] ?? JSON.stringify(character).slice(1, -1));
  return `"${inner.join("")}"`;
}

function managerOfAgent(agent: string): string {
  const name = agent.split("/", 1)[0] ?? "";
  return name === "" ? "unknown" : name.slice(0, maxManagerLength);
}

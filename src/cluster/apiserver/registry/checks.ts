import type { Faults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { Shape } from "./shape.js";

const worthChecking = new WeakMap<Shape, boolean>();

/** Whether anything below a shape is enumerated or required. */
function hasChecks(shape: Shape): boolean {
  const known = worthChecking.get(shape);
  if (known !== undefined) return known;
  worthChecking.set(shape, true);
  const fields = [...shape.fields.values()];
  const below = [...fields.map((field) => field.shape), shape.items, shape.values].filter((one) => one !== undefined);
  const found =
    shape.enum !== undefined ||
    fields.some((field) => field.required && field.shape.type === "string") ||
    below.some(hasChecks);
  worthChecking.set(shape, found);
  return found;
}

interface Checking {
  readonly faults: Faults;
  /** Paths without indexes that are checked elsewhere. */
  readonly skipped: ReadonlySet<string>;
  /** Paths without indexes whose absence is reported elsewhere. */
  readonly required: ReadonlySet<string>;
}

/** What schemas alone say of a native object: enumerated texts and required texts. Status and metadata are not looked at. */
export function checkBySchema(shape: Shape, object: JsonObject, checking: Checking): void {
  for (const field of shape.fields.values()) {
    if (field.name === "metadata" || field.name === "status") continue;
    const value = object[field.name];
    if (isMissing(field.required && field.shape.type === "string", value)) checking.faults.required(field.name);
    else if (value !== undefined && hasChecks(field.shape)) checkValue(field.shape, value, field.name, checking);
  }
}

function isMissing(required: boolean, value: Json | undefined): boolean {
  return required && (value === undefined || value === "");
}

function reportMissing(path: string, { faults, required }: Checking): void {
  if (required.size === 0 || !required.has(withoutIndexes(path))) faults.required(path);
}

function withoutIndexes(path: string): string {
  return path.replaceAll(/\[[^\]]*\]/g, "");
}

function checkValue(shape: Shape, value: Json, path: string, checking: Checking): void {
  if (Array.isArray(value)) {
    const { items } = shape;
    if (items === undefined || !hasChecks(items)) return;
    for (const [index, item] of value.entries()) checkValue(items, item, `${path}[${index}]`, checking);
  } else if (isObject(value)) {
    if (checking.skipped.size === 0 || !checking.skipped.has(withoutIndexes(path)))
      checkObject(shape, value, path, checking);
  } else if (typeof value === "string" && value !== "" && shape.enum !== undefined)
    checkEnum(shape.enum, value, path, checking);
}

function checkEnum(allowed: readonly Json[], value: string, path: string, { faults, skipped }: Checking): void {
  if (allowed.includes(value)) return;
  if (skipped.size > 0 && skipped.has(withoutIndexes(path))) return;
  faults.unsupported(
    path,
    value,
    allowed.filter((item): item is string => typeof item === "string" && item !== ""),
  );
}

function checkObject(shape: Shape, value: JsonObject, path: string, checking: Checking): void {
  const { values } = shape;
  if (values !== undefined && hasChecks(values))
    for (const key in value) {
      const present = value[key];
      if (present !== undefined && !shape.fields.has(key)) checkValue(values, present, `${path}[${key}]`, checking);
    }
  for (const field of shape.fields.values()) {
    // Metadata of templates is not looked at either.
    if (field.name === "metadata") continue;
    const present = value[field.name];
    if (isMissing(field.required && field.shape.type === "string", present))
      reportMissing(`${path}.${field.name}`, checking);
    else if (present !== undefined && field.name !== "status" && hasChecks(field.shape))
      checkValue(field.shape, present, `${path}.${field.name}`, checking);
  }
}

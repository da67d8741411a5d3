import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";
import type { Faults } from "./faults.js";
import type { Shape } from "./shape.js";

const worthChecking = new WeakMap<Shape, boolean>();

/** Whether anything below a shape is enumerated or required. */
function hasChecks(shape: Shape): boolean {
  const known = worthChecking.get(shape);
  if (known !== undefined) return known;
  worthChecking.set(shape, true);
  const below = [
    ...[...shape.fields.values()].map((field) => field.shape),
    ...(shape.items === undefined ? [] : [shape.items]),
    ...(shape.values === undefined ? [] : [shape.values]),
  ];
  const found =
    shape.enum !== undefined ||
    [...shape.fields.values()].some((field) => field.required && field.shape.type === "string") ||
    below.some(hasChecks);
  worthChecking.set(shape, found);
  return found;
}

/** What schemas alone say of a native object: enumerated texts and required texts. Status and metadata are not looked at. */
export function checkBySchema(shape: Shape, object: JsonObject, faults: Faults): void {
  for (const field of shape.fields.values()) {
    if (field.name === "metadata" || field.name === "status") continue;
    const value = object[field.name];
    if (value !== undefined && hasChecks(field.shape)) checkValue(field.shape, value, field.name, faults);
  }
}

function checkValue(shape: Shape, value: Json, path: string, faults: Faults): void {
  if (Array.isArray(value)) {
    const { items } = shape;
    if (items !== undefined && hasChecks(items))
      for (const [index, item] of value.entries()) checkValue(items, item, `${path}[${index}]`, faults);
  } else if (isObject(value)) checkObject(shape, value, path, faults);
  else if (typeof value === "string" && value !== "" && shape.enum !== undefined && !shape.enum.includes(value))
    faults.unsupported(
      path,
      value,
      shape.enum.filter((item): item is string => typeof item === "string" && item !== ""),
    );
}

function checkObject(shape: Shape, value: JsonObject, path: string, faults: Faults): void {
  const { values } = shape;
  if (values !== undefined && hasChecks(values))
    for (const key in value) {
      const present = value[key];
      if (present !== undefined && !shape.fields.has(key)) checkValue(values, present, `${path}[${key}]`, faults);
    }
  for (const field of shape.fields.values()) {
    const present = value[field.name];
    if (field.required && field.shape.type === "string" && (present === undefined || present === ""))
      faults.required(`${path}.${field.name}`);
    else if (present !== undefined && field.name !== "status" && hasChecks(field.shape))
      checkValue(field.shape, present, `${path}.${field.name}`, faults);
  }
}

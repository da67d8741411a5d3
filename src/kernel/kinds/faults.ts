import type { StatusCause } from "../errors/index.js";
import { quoteValue } from "../schema/index.js";
import type { Json } from "./object.js";

/** Collects the faults of an object, worded as upstream words them (`field.Error`). Paths look like `spec.ports[0].name`. */
export class Faults {
  readonly causes: StatusCause[] = [];
  /** What is no fault but worth saying. */
  readonly warnings: string[] = [];

  warn(message: string): void {
    if (!this.warnings.includes(message)) this.warnings.push(message);
  }

  required(field: string, detail = ""): void {
    this.#add("FieldValueRequired", field, detail === "" ? "Required value" : `Required value: ${detail}`);
  }

  invalid(field: string, value: Json | undefined, detail: string): void {
    const why = detail === "" ? "" : `: ${detail}`;
    this.#add("FieldValueInvalid", field, `Invalid value: ${quoteValue(value)}${why}`);
  }

  /** Invalid, without showing the value. */
  plain(field: string, detail: string): void {
    this.#add("FieldValueInvalid", field, `Invalid value: ${detail}`);
  }

  /** `supported` in the order in which they shall be shown. */
  unsupported(field: string, value: Json | undefined, supported: readonly string[]): void {
    const list = supported.map((item) => JSON.stringify(item)).join(", ");
    this.#add("FieldValueNotSupported", field, `Unsupported value: ${quoteValue(value)}: supported values: ${list}`);
  }

  forbidden(field: string, detail: string): void {
    this.#add("FieldValueForbidden", field, `Forbidden: ${detail}`);
  }

  duplicate(field: string, value: Json | undefined, detail = ""): void {
    const why = detail === "" ? "" : `: ${detail}`;
    this.#add("FieldValueDuplicate", field, `Duplicate value: ${quoteValue(value)}${why}`);
  }

  notFound(field: string, value: Json | undefined, detail = ""): void {
    const why = detail === "" ? "" : `: ${detail}`;
    this.#add("FieldValueNotFound", field, `Not found: ${quoteValue(value)}${why}`);
  }

  /** What could not be checked. */
  internal(field: string, detail: string): void {
    this.#add("InternalError", field, `Internal error: ${detail}`);
  }

  tooLong(field: string, maximumBytes: number): void {
    this.#add("FieldValueTooLong", field, `Too long: may not be more than ${maximumBytes} bytes`);
  }

  tooMany(field: string, actual: number, maximum: number): void {
    this.#add("FieldValueTooMany", field, `Too many: ${actual}: must have at most ${maximum} items`);
  }

  #add(reason: string, field: string, message: string): void {
    this.causes.push({ reason, message, field });
  }
}

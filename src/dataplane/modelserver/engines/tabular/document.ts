/** Reading parsed model files: values that are checked as they are taken out. */
import { ModelError } from "../../failures.js";

/** A value of a JSON or UBJSON document. Arrays of numbers may be typed. */
export type DocumentValue =
  | string
  | number
  | boolean
  | null
  | readonly DocumentValue[]
  | NumberArray
  | { readonly [key: string]: DocumentValue };

/** Arrays that UBJSON has as such. */
export type NumberArray = Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Int32Array;

/** A place in a document; every reading names it in its `ModelError`. */
export class Place {
  readonly value: DocumentValue | undefined;
  readonly path: string;

  constructor(value: DocumentValue | undefined, path: string) {
    this.value = value;
    this.path = path;
  }

  /** A member; an absent one is a place too, which only `isHere` and the optional readings accept. */
  at(...names: readonly string[]): Place {
    return names.reduce<Place>((place, name) => {
      const map = asMap(place.value);
      return new Place(map !== undefined && Object.hasOwn(map, name) ? map[name] : undefined, `${place.path}.${name}`);
    }, this);
  }

  get isHere(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  /** The elements of a list. */
  list(): Place[] {
    const { value } = this;
    if (!Array.isArray(value)) throw this.wrong("must be a list");
    return value.map((each: DocumentValue, index) => new Place(each, `${this.path}[${index}]`));
  }

  /** A list of numbers. */
  numbers(): ArrayLike<number> {
    const { value } = this;
    if (ArrayBuffer.isView(value)) return value;
    if (!Array.isArray(value)) throw this.wrong("must be a list of numbers");
    return value.map((each: DocumentValue) => {
      if (typeof each === "number") return each;
      if (typeof each === "boolean") return each ? 1 : 0;
      throw this.wrong("must hold numbers only");
    });
  }

  /** A list of lists of numbers. */
  matrix(): ArrayLike<number>[] {
    return this.list().map((row) => row.numbers());
  }

  number(): number {
    const { value } = this;
    const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    if (typeof number === "number" && !Number.isNaN(number)) return number;
    throw this.wrong("must be a number");
  }

  text(): string {
    if (typeof this.value === "string") return this.value;
    throw this.wrong("must be a text");
  }

  /** What is wrong here. */
  wrong(what: string): ModelError {
    return new ModelError("ModelLoadFailed", `${this.path} ${what}`);
  }
}

function asMap(value: DocumentValue | undefined): { readonly [key: string]: DocumentValue } | undefined {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || isList(value)) return undefined;
  return value;
}

const isList = (value: DocumentValue): value is readonly DocumentValue[] => Array.isArray(value);

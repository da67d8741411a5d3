import { InputError } from "../../kernel/errors/index.js";

interface NumberRule {
  readonly minimum: number;
  readonly maximum?: number;
  readonly integer?: boolean;
  readonly fallback?: number;
}

/** Reads the fields of one JSON object and names the place of what is wrong. */
export class Reader {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new InputError(`${path}: must be an object`);
    this.#fields = new Map(Object.entries(value).filter((entry) => entry[1] !== undefined));
    this.#path = path;
  }

  fail(name: string, message: string): never {
    throw new InputError(`${this.#path}.${name}: ${message}`);
  }

  only(names: readonly string[]): void {
    for (const name of this.#fields.keys()) {
      if (!names.includes(name)) this.fail(name, `unknown field; known are ${names.join(", ")}`);
    }
  }

  has(name: string): boolean {
    return this.#fields.has(name);
  }

  field(name: string): unknown {
    return this.#fields.get(name);
  }

  text(name: string, fallback?: string): string {
    return this.optionalText(name) ?? fallback ?? this.fail(name, "is required");
  }

  optionalText(name: string): string | undefined {
    const value = this.field(name);
    if (value !== undefined && (typeof value !== "string" || value.length > 4096)) this.fail(name, "must be a string");
    return typeof value === "string" ? value : undefined;
  }

  texts(name: string): string[] {
    const value = this.field(name);
    if (!Array.isArray(value) || value.length > 4096) return this.fail(name, "must be a list of strings");
    return value.map((item: unknown) =>
      typeof item === "string" ? item : this.fail(name, "must be a list of strings"),
    );
  }

  /** HTTP status codes. */
  statuses(name: string): number[] {
    const value = this.field(name);
    if (!Array.isArray(value) || value.length > 64) return this.fail(name, "must be a list of status codes");
    return value.map((item: unknown) =>
      typeof item === "number" && Number.isInteger(item) && item >= 400 && item <= 599
        ? item
        : this.fail(name, "must be a list of status codes from 400 to 599"),
    );
  }

  flag(name: string): boolean {
    const value = this.field(name);
    if (value !== undefined && typeof value !== "boolean") this.fail(name, "must be true or false");
    return value === true;
  }

  number(name: string, rule: NumberRule): number {
    const value = this.field(name) ?? rule.fallback;
    const maximum = rule.maximum ?? Number.MAX_SAFE_INTEGER;
    if (typeof value !== "number" || !(value >= rule.minimum && value <= maximum)) {
      return this.fail(name, `must be a number from ${rule.minimum} to ${maximum}`);
    }
    if (rule.integer === true && !Number.isInteger(value)) this.fail(name, "must be a whole number");
    return value;
  }

  list(name: string, limit: number): Reader[] {
    const value = this.field(name);
    if (!Array.isArray(value)) return this.fail(name, "must be a list");
    if (value.length > limit) this.fail(name, `has ${value.length} entries; at most ${limit} are allowed`);
    return value.map((item: unknown, index) => new Reader(item, `${this.#path}.${name}[${index}]`));
  }

  child(name: string): Reader | undefined {
    return this.has(name) ? new Reader(this.field(name), `${this.#path}.${name}`) : undefined;
  }
}

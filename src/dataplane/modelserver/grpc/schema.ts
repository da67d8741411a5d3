/** Messages and services from proto3 text (the part of the language that our protocols use). */
import { InputError } from "../../../kernel/errors/index.js";

const SCALARS = {
  double: 1,
  float: 2,
  int64: 3,
  uint64: 4,
  int32: 5,
  bool: 8,
  string: 9,
  bytes: 12,
  uint32: 13,
} as const;

/** A scalar type by its name in proto3. */
export type Scalar = keyof typeof SCALARS;

/** The number of a type in `FieldDescriptorProto.Type`. */
export const typeNumber = (scalar: Scalar): number => SCALARS[scalar];

/** One field of a message. */
export interface FieldSchema {
  readonly name: string;
  readonly number: number;
  /** A scalar, or the full name of a message or an enum. */
  readonly type: Scalar | { readonly message: string } | { readonly enum: string };
  readonly isRepeated: boolean;
  /** A map is a repeated message with key and value. */
  readonly isMap: boolean;
  readonly oneof: string | undefined;
}

export interface MessageSchema {
  /** With its package. */
  readonly name: string;
  readonly fields: readonly FieldSchema[];
  readonly oneofs: readonly string[];
  readonly isMapEntry: boolean;
}

export interface MethodSchema {
  readonly name: string;
  readonly input: string;
  readonly output: string;
  readonly streamsIn: boolean;
  readonly streamsOut: boolean;
}

/** A file: what it declares, under full names. */
export interface FileSchema {
  readonly file: string;
  readonly package: string;
  readonly messages: ReadonlyMap<string, MessageSchema>;
  readonly enums: ReadonlyMap<string, readonly (readonly [string, number])[]>;
  readonly services: ReadonlyMap<string, readonly MethodSchema[]>;
}

/** Reads a file. Nested messages are declared beside the others; names are of this file or scalars. Throws `InputError`. */
export function parseProto(file: string, text: string): FileSchema {
  return new Parser(file, text).parse();
}

const isScalar = (name: string): name is Scalar => Object.hasOwn(SCALARS, name);

interface LooseField extends Omit<FieldSchema, "type"> {
  readonly type: string;
}

interface LooseMessage {
  readonly fields: LooseField[];
  readonly oneofs: string[];
  readonly isMapEntry: boolean;
}

class Parser {
  readonly #file: string;
  readonly #words: string[];
  #at = 0;
  #package = "";
  readonly #messages = new Map<string, LooseMessage>();
  readonly #enums = new Map<string, (readonly [string, number])[]>();
  readonly #services = new Map<string, MethodSchema[]>();

  constructor(file: string, text: string) {
    this.#file = file;
    this.#words = text.match(/[\w.]+|[{}=;<>,()]/g) ?? [];
  }

  parse(): FileSchema {
    while (this.#at < this.#words.length) {
      const word = this.#next();
      if (word === "package") this.#package = this.#until(";");
      else if (word === "message") this.#message();
      else if (word === "enum") this.#enum();
      else if (word === "service") this.#service();
      else throw new InputError(`${this.#file}: ${word} is not expected`);
    }
    const messages = new Map<string, MessageSchema>();
    for (const [name, { fields, oneofs, isMapEntry }] of this.#messages) {
      const full = this.#full(name);
      messages.set(full, {
        ...{ name: full, oneofs, isMapEntry },
        fields: fields.map((field) => ({ ...field, type: this.#resolve(field.type) })),
      });
    }
    const enums = new Map([...this.#enums].map(([name, values]) => [this.#full(name), values]));
    return { file: this.#file, package: this.#package, messages, enums, services: this.#services };
  }

  #next(): string {
    return this.#words[this.#at++] ?? "";
  }

  #until(mark: string): string {
    const word = this.#next();
    this.#expect(mark);
    return word;
  }

  #expect(mark: string): void {
    const word = this.#next();
    if (word !== mark) throw new InputError(`${this.#file}: expected ${mark}, not ${word}`);
  }

  #full(name: string): string {
    return `${this.#package}.${name}`;
  }

  #resolve(name: string): FieldSchema["type"] {
    if (isScalar(name)) return name;
    if (this.#enums.has(name)) return { enum: this.#full(name) };
    if (!this.#messages.has(name)) throw new InputError(`${this.#file}: ${name} is not declared`);
    return { message: this.#full(name) };
  }

  #message(): void {
    const name = this.#until("{");
    const message: LooseMessage = { fields: [], oneofs: [], isMapEntry: false };
    this.#messages.set(name, message);
    for (let word = this.#next(); word !== "}"; word = this.#next()) {
      if (word !== "oneof") this.#field(name, word, message.fields);
      else {
        const oneof = this.#until("{");
        message.oneofs.push(oneof);
        for (word = this.#next(); word !== "}"; word = this.#next()) this.#field(name, word, message.fields, oneof);
      }
    }
  }

  #field(message: string, first: string, into: LooseField[], oneof?: string): void {
    let type = first === "repeated" ? this.#next() : first;
    const isMap = type === "map";
    if (isMap) {
      this.#expect("<");
      const key = this.#until(",");
      const value = this.#until(">");
      const entry = { name: "", number: 0, type: "", isRepeated: false, isMap: false, oneof: undefined };
      const fields = [
        { ...entry, name: "key", number: 1, type: key },
        { ...entry, name: "value", number: 2, type: value },
      ];
      const named = `${message}.${entryName(this.#words[this.#at] ?? "")}`;
      this.#messages.set(named, { fields, oneofs: [], isMapEntry: true });
      type = named;
    }
    const name = this.#until("=");
    const number = Number(this.#until(";"));
    into.push({ name, number, type, isRepeated: isMap || first === "repeated", isMap, oneof });
  }

  #enum(): void {
    const name = this.#until("{");
    const values: (readonly [string, number])[] = [];
    for (let word = this.#next(); word !== "}"; word = this.#next()) {
      this.#expect("=");
      values.push([word, Number(this.#until(";"))]);
    }
    this.#enums.set(name, values);
  }

  #service(): void {
    const methods: MethodSchema[] = [];
    this.#services.set(this.#full(this.#until("{")), methods);
    for (let word = this.#next(); word !== "}"; word = this.#next()) {
      const name = this.#until("(");
      const input = this.#side();
      this.#expect("returns");
      this.#expect("(");
      const output = this.#side();
      this.#expect(";");
      methods.push({
        ...{ name, input: input.type, output: output.type },
        ...{ streamsIn: input.isStream, streamsOut: output.isStream },
      });
    }
  }

  #side(): { type: string; isStream: boolean } {
    const first = this.#next();
    const isStream = first === "stream";
    const type = isStream ? this.#next() : first;
    this.#expect(")");
    return { type: this.#full(type), isStream };
  }
}

/** `a_map` has entries of type `AMapEntry`, as protoc names them. */
const entryName = (field: string): string =>
  `${field.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())}Entry`;

/** Bodies on their way through a graph: bytes that stay as they are, looked into only where a condition asks. */
import type { Json } from "../../kernel/kinds/object.js";

/** What a body is, beside its bytes: fields that belong to it. */
export type BodyFields = Readonly<Record<string, string>>;

/** In V2's binary form: where the JSON ends. */
export const JSON_LENGTH = "inference-header-content-length";

/** A request's or an answer's body. */
export class Message {
  readonly body: Buffer;
  readonly fields: BodyFields;
  #document: { readonly value: Json | undefined } | undefined;

  constructor(body: Buffer, fields: BodyFields) {
    this.body = body;
    this.fields = fields;
  }

  /** The body as JSON; of V2's binary form the part that is JSON; `undefined` where it is none. */
  document(): Json | undefined {
    this.#document ??= { value: parse(this.#text()) };
    return this.#document.value;
  }

  #text(): string {
    const length = this.fields[JSON_LENGTH];
    return (length === undefined ? this.body : this.body.subarray(0, Number(length) || 0)).toString("utf8");
  }

  /** The same with its member `predictions` called `instances`; numbers are not touched. */
  renamed(): Message {
    const place = findMember(this.body.toString("latin1"), "predictions");
    if (place === undefined || this.document() === undefined) return this;
    const [before, after] = [this.body.subarray(0, place.start), this.body.subarray(place.end)];
    return new Message(Buffer.concat([before, Buffer.from('"instances"'), after]), this.fields);
  }
}

function parse(text: string): Json | undefined {
  try {
    const value: Json = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

/** Where a name of the outermost object is written, with its quotation marks. */
function findMember(text: string, name: string): { readonly start: number; readonly end: number } | undefined {
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (character !== '"') continue;
    const end = endOfText(text, index);
    if (depth === 1 && text.slice(index + 1, end) === name && /^\s*:/.test(text.slice(end + 1, end + 64)))
      return { start: index, end: end + 1 };
    index = end;
  }
  return undefined;
}

function endOfText(text: string, start: number): number {
  let index = start + 1;
  while (index < text.length && text[index] !== '"') index += text[index] === "\\" ? 2 : 1;
  return index;
}

/** One object of several answers, each as it came. */
export function merge(parts: readonly (readonly [label: string, message: Message])[]): Message {
  const pieces: Buffer[] = [];
  for (const [label, { body }] of parts)
    pieces.push(Buffer.from(`${pieces.length === 0 ? "{" : ","}${JSON.stringify(label)}:`), body);
  pieces.push(Buffer.from(pieces.length === 0 ? "{}" : "}"));
  return new Message(Buffer.concat(pieces), { "content-type": "application/json" });
}

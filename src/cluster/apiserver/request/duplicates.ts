import type { JsonObject } from "../../../kernel/kinds/object.js";

/**
 * Fields that a JSON text gives more than once, as `metadata.labels.a` or `items[0].x`. `parsed` is the text's value:
 * where it prints as long as the text, no member was overwritten and the text need not be scanned.
 */
export function duplicateFields(text: string, parsed: JsonObject): string[] {
  if (JSON.stringify(parsed).length === text.length) return [];
  return new Scanner(text).scan();
}

interface Frame {
  readonly path: string;
  /** Of an object: the keys seen; of a list: `undefined`. */
  readonly keys: Set<string> | undefined;
  index: number;
  /** The key whose value comes next. */
  key: string;
}

/** Walks text that is known to be valid JSON. */
class Scanner {
  readonly #text: string;
  readonly #found: string[] = [];
  readonly #frames: Frame[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  scan(): string[] {
    const tokens = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;
    let expectsKey = false;
    for (let match = tokens.exec(this.#text); match !== null; match = tokens.exec(this.#text)) {
      const token = match[0];
      if (token === "{" || token === "[") this.#open(token);
      else if (token === "}" || token === "]") this.#frames.pop();
      else if (token === ",") this.#next();
      else if (token !== ":" && expectsKey) this.#seeKey(token);
      expectsKey = (token === "{" || token === ",") && this.#frames.at(-1)?.keys !== undefined;
    }
    return this.#found;
  }

  #open(token: string): void {
    const path = this.#childPath();
    this.#frames.push({ path, keys: token === "{" ? new Set() : undefined, index: 0, key: "" });
  }

  #next(): void {
    const frame = this.#frames.at(-1);
    if (frame !== undefined) frame.index++;
  }

  #seeKey(token: string): void {
    const frame = this.#frames.at(-1);
    if (frame?.keys === undefined) return;
    const key = String(JSON.parse(token));
    frame.key = key;
    if (frame.keys.has(key)) this.#found.push(this.#childPath());
    frame.keys.add(key);
  }

  #childPath(): string {
    const frame = this.#frames.at(-1);
    if (frame === undefined) return "";
    if (frame.keys === undefined) return `${frame.path}[${frame.index}]`;
    return frame.path === "" ? frame.key : `${frame.path}.${frame.key}`;
  }
}

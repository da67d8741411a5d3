/** Byte-level BPE from a `tokenizer.json` (the form of Hugging Face's tokenizers), as GPT-2, Llama 3, Qwen and SmolLM have it. */
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { ModelError } from "../failures.js";
import type { Tokenizer } from "./tokenizer.js";

/** How GPT-2 cuts text into words, where the file says nothing else. */
const GPT2_WORDS = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
/** Tokens that end a text, whatever the file's settings say. */
const ENDS = new Set(["<|endoftext|>", "</s>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<eos>"]);
const MAX_KEPT_WORDS = 10_000;

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Reads a file. Throws `ModelError` for kinds of tokenizers that are not offered. `eos`: the token of `tokenizer_config.json`. */
export function readBpeTokenizer(file: Json, eos: string | undefined): Tokenizer {
  const model = isObject(file) ? file["model"] : undefined;
  if (!isObject(file) || !isObject(model)) throw refused("it is no object with a model");
  if (model["type"] !== undefined && model["type"] !== "BPE")
    throw refused(`its type is ${JSON.stringify(model["type"])}; byte-level BPE is offered`);
  const preTokenizers = stepsOf(file["pre_tokenizer"], "pretokenizers");
  if (!preTokenizers.some(({ type }) => type === "ByteLevel"))
    throw refused("it is not byte-level (pre_tokenizer ByteLevel)");
  const { vocab, merges } = model;
  if (!isObject(vocab) || !Array.isArray(merges)) throw refused("it has no vocab or no merges");
  return new BpeTokenizer({
    vocab: new Map(Object.entries(vocab).flatMap(([text, id]) => (typeof id === "number" ? [[text, id]] : []))),
    ranks: new Map(merges.map((merge, rank) => [mergeOf(merge), rank])),
    words: wordsOf(preTokenizers),
    added: addedOf(file["added_tokens"]),
    addsSpace: preTokenizers.some((step) => step["add_prefix_space"] === true),
    eos,
  });
}

/** Two neighbours, as a list or with a space between. */
const mergeOf = (merge: Json): string =>
  (Array.isArray(merge) ? merge : [merge]).filter((part) => typeof part === "string").join(" ");

const refused = (why: string): ModelError => new ModelError("ModelLoadFailed", `tokenizer.json cannot be used: ${why}`);

function stepsOf(value: Json | undefined, list: string): JsonObject[] {
  if (!isObject(value)) return [];
  const steps = value[list];
  return Array.isArray(steps) ? steps.filter(isObject) : [value];
}

function wordsOf(steps: readonly JsonObject[]): RegExp {
  const patterns = steps.flatMap(({ type, pattern }) =>
    type === "Split" && isObject(pattern) && typeof pattern["Regex"] === "string" ? [pattern["Regex"]] : [],
  );
  const [first = GPT2_WORDS, ...others] = patterns;
  if (others.length > 0) throw refused("it splits by several patterns");
  try {
    // Flags inside of a group, as (?i:…), are not known to every engine: the letters are few, so both cases are written out.
    const plain = first.replaceAll(/\(\?i:([^()]*)\)/g, (_, inner: string) => `(?:${bothCases(inner)})`);
    return new RegExp(plain, "gu");
  } catch {
    throw refused("its pattern for words is not one that can be used here");
  }
}

const bothCases = (pattern: string): string =>
  pattern.replaceAll(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}]`);

interface AddedToken {
  readonly id: number;
  readonly text: string;
  readonly isSpecial: boolean;
}

const addedOf = (value: Json | undefined): AddedToken[] =>
  (Array.isArray(value) ? value : [])
    .filter(isObject)
    .flatMap(({ id, content, special }) =>
      typeof id === "number" && typeof content === "string" ? [{ id, text: content, isSpecial: special === true }] : [],
    );

/** Bytes as the characters that stand for them in the vocabulary: printable ones as they are, the others from U+0100 on. */
const LETTERS: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
})();
const BYTES = new Map(LETTERS.map((letter, byte) => [letter, byte]));

interface BpeParts {
  readonly vocab: ReadonlyMap<string, number>;
  readonly ranks: ReadonlyMap<string, number>;
  readonly words: RegExp;
  readonly added: readonly AddedToken[];
  readonly addsSpace: boolean;
  readonly eos: string | undefined;
}

class BpeTokenizer implements Tokenizer {
  readonly size: number;
  readonly #parts: BpeParts;
  readonly #texts = new Map<number, string>();
  readonly #special = new Map<number, AddedToken>();
  readonly #addedPattern: RegExp | undefined;
  /** Words that were seen, with their tokens. */
  readonly #kept = new Map<string, readonly number[]>();

  constructor(parts: BpeParts) {
    this.#parts = parts;
    for (const [text, id] of parts.vocab) this.#texts.set(id, text);
    for (const token of parts.added) this.#special.set(token.id, token);
    this.size = Math.max(0, ...this.#texts.keys(), ...this.#special.keys()) + 1;
    const texts = parts.added.map(({ text }) => text).sort((a, b) => b.length - a.length);
    if (texts.length > 0)
      this.#addedPattern = new RegExp(
        `(${texts.map((text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)).join("|")})`,
        "u",
      );
  }

  encode(text: string): number[] {
    const ids: number[] = [];
    const pieces = this.#addedPattern === undefined ? [text] : text.split(this.#addedPattern);
    for (const [index, piece] of pieces.entries()) {
      const added = index % 2 === 1 ? this.special(piece) : undefined;
      if (added !== undefined) ids.push(added);
      else if (piece !== "") this.#encodePlain(index === 0 && this.#parts.addsSpace ? ` ${piece}` : piece, ids);
    }
    return ids;
  }

  #encodePlain(text: string, ids: number[]): void {
    for (const [word] of text.matchAll(this.#parts.words)) {
      let tokens = this.#kept.get(word);
      if (tokens === undefined) {
        tokens = this.#encodeWord(word);
        if (this.#kept.size >= MAX_KEPT_WORDS) this.#kept.clear();
        this.#kept.set(word, tokens);
      }
      for (const id of tokens) ids.push(id);
    }
  }

  /** Joins the neighbours that were joined first in training, until none are left that can be. */
  #encodeWord(word: string): number[] {
    let parts = Array.from(Buffer.from(word, "utf8"), (byte) => LETTERS[byte] ?? "");
    for (;;) {
      let best = -1;
      let bestRank = Number.POSITIVE_INFINITY;
      for (let at = 0; at + 1 < parts.length; at++) {
        const rank = this.#parts.ranks.get(`${parts[at] ?? ""} ${parts[at + 1] ?? ""}`);
        if (rank !== undefined && rank < bestRank) {
          best = at;
          bestRank = rank;
        }
      }
      if (best < 0) break;
      parts = [...parts.slice(0, best), `${parts[best] ?? ""}${parts[best + 1] ?? ""}`, ...parts.slice(best + 2)];
    }
    return parts.flatMap((part) => this.#parts.vocab.get(part) ?? []);
  }

  bytesOf(id: number): Uint8Array {
    const added = this.#special.get(id);
    if (added !== undefined) return added.isSpecial ? new Uint8Array() : Buffer.from(added.text);
    const text = this.#texts.get(id) ?? "";
    return Uint8Array.from(Array.from(text).flatMap((letter) => BYTES.get(letter) ?? []));
  }

  isEnd(id: number): boolean {
    const text = this.#special.get(id)?.text;
    return text !== undefined && (text === this.#parts.eos || ENDS.has(text));
  }

  isSpecial(id: number): boolean {
    return this.#special.get(id)?.isSpecial === true;
  }

  special(text: string): number | undefined {
    return this.#parts.added.find((token) => token.text === text)?.id;
  }
}

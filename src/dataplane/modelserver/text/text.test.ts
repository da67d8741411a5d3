import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../../kernel/clock/index.js";
import { readBpeTokenizer } from "./bpe.js";
import { chooseToken, type Sampling } from "./sampler.js";
import { StopScanner } from "./stops.js";
import { byteTokenizer, TextJoiner } from "./tokenizer.js";

const sampling: Sampling = {
  ...{ temperature: 1, topP: 1, topK: 0, presencePenalty: 0, frequencyPenalty: 0, bias: new Map(), alternatives: 0 },
};

test("stop sequences: what is shown ends before the first, however the text is cut up", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "\n"), maxLength: 20 });
  fc.assert(
    fc.property(fc.array(text, { maxLength: 8 }), fc.array(text, { maxLength: 3 }), (pieces, stops) => {
      const scanner = new StopScanner(stops);
      let shown = "";
      for (const piece of pieces) shown += scanner.push(piece);
      shown += scanner.end();
      const whole = pieces.join("");
      const cuts = stops
        .filter((stop) => stop !== "")
        .map((stop) => whole.indexOf(stop))
        .filter((at) => at >= 0);
      expect(shown).toBe(cuts.length === 0 ? whole : whole.slice(0, Math.min(...cuts)));
      expect(scanner.found !== undefined).toBe(cuts.length > 0);
    }),
  );
});

test("sampling: greedy, cuts, bias, penalties, and probabilities that are those of the logits", () => {
  const logits = Float32Array.of(0, 2, 1, Number.NaN);
  const at = (more: Partial<Sampling>, seen = new Map<number, number>()) =>
    chooseToken(logits, { ...sampling, ...more }, seen, seededRandom(1));
  const counts = [0, 0, 0, 0];
  const random = seededRandom(7);
  for (let round = 0; round < 4000; round++) {
    const { id } = chooseToken(logits, sampling, new Map(), random);
    counts[id] = (counts[id] ?? 0) + 1;
  }
  const total = 1 + Math.exp(2) + Math.E;

  expect(at({ temperature: 0, alternatives: 2 })).toMatchObject({ id: 1, alternatives: [{ id: 1 }, { id: 2 }] });
  expect(at({ temperature: 0 }).logprob).toBeCloseTo(2 - Math.log(total), 6);
  expect(at({ temperature: 100, topK: 1 }).id).toBe(1);
  expect(at({ temperature: 100, topP: 0.5 }).id).toBe(1);
  expect(at({ temperature: 0, bias: new Map([[0, 50]]) }).id).toBe(0);
  expect(at({ temperature: 0, frequencyPenalty: 2 }, new Map([[1, 1]])).id).toBe(2);
  expect(at({ temperature: 0, presencePenalty: 2 }, new Map([[1, 1]])).id).toBe(2);
  expect(counts[3]).toBe(0);
  expect((counts[1] ?? 0) / 4000).toBeCloseTo(Math.exp(2) / total, 1);
});

test("characters that come in parts are given whole", () => {
  const tokenizer = byteTokenizer(256);
  const joiner = new TextJoiner(tokenizer);
  const shown = tokenizer.encode("aé漢").map((id) => joiner.push(id));

  expect(shown).toEqual(["a", "", "é", "", "", "漢"]);
  joiner.push(0xc3);
  expect(joiner.end()).toBe("�");
  expect(() => byteTokenizer(128).encode("é")).toThrow("reads 128 characters");
});

const BYTE_LETTERS = Object.fromEntries(
  ["a", "b", "c", "Ġ", "ab", "abc", "Ġab", "Ã", "©"].map((text, id) => [text, id]),
);
const file = (more: object = {}) => ({
  model: { type: "BPE", vocab: BYTE_LETTERS, merges: ["a b", ["ab", "c"], "Ġ ab"] },
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false },
  added_tokens: [
    { id: 100, content: "<|endoftext|>", special: true },
    { id: 101, content: "<|im_start|>", special: true },
    { id: 102, content: "<x>", special: false },
  ],
  ...more,
});

test("byte-level BPE: merges by rank, words apart, added tokens whole", () => {
  const tokenizer = readBpeTokenizer(file(), undefined);
  const back = (ids: readonly number[]): string => Buffer.concat(ids.map((id) => tokenizer.bytesOf(id))).toString();

  expect(tokenizer.encode("abc ab")).toEqual([5, 6]);
  expect(tokenizer.encode("ab<|endoftext|>ab<x>")).toEqual([4, 100, 4, 102]);
  expect(tokenizer.encode("é")).toEqual([7, 8]);
  expect(back(tokenizer.encode("abc abé<x>"))).toBe("abc abé<x>");
  expect([tokenizer.isEnd(100), tokenizer.isEnd(101), tokenizer.special("<|im_start|>")]).toEqual([true, false, 101]);
  expect(readBpeTokenizer(file(), "<x>").isEnd(102)).toBe(true);
});

test.each([
  [{ model: { type: "Unigram" } }, "its type is"],
  [{ pre_tokenizer: { type: "Metaspace" } }, "not byte-level"],
  [{ model: { type: "BPE" } }, "no vocab"],
  [
    {
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [{ type: "Split", pattern: { Regex: "(" } }, { type: "ByteLevel" }],
      },
    },
    "pattern",
  ],
])("a tokenizer that is not offered is named: %j", (more, words) => {
  expect(() => readBpeTokenizer(file(more), undefined)).toThrow(words);
});

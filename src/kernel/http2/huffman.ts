/** The Huffman code of HPACK (RFC 7541 appendix B). It is canonical: the symbols of each length, in hex, say it all. */
const SYMBOLS: readonly (readonly [length: number, symbols: string])[] = [
  [5, "30-32 61 63 65 69 6f 73-74"],
  [6, "20 25 2d-2f 33-39 3d 41 5f 62 64 66-68 6c-6e 70 72 75"],
  [7, "3a 42-57 59 6a-6b 71 76-7a"],
  [8, "26 2a 2c 3b 58 5a"],
  [10, "21-22 28-29 3f"],
  [11, "27 2b 7c"],
  [12, "23 3e"],
  [13, "00 24 40 5b 5d 7e"],
  [14, "5e 7d"],
  [15, "3c 60 7b"],
  [19, "5c c3 d0"],
  [20, "80 82-83 a2 b8 c2 e0 e2"],
  [21, "99 a1 a7 ac b0-b1 b3 d1 d8-d9 e3 e5-e6"],
  [22, "81 84-86 88 92 9a 9c a0 a3-a4 a9-aa ad b2 b5 b9-bb bd-be c4 c6 e4 e8-e9"],
  [23, "01 87 89-8d 8f 93 95-98 9b 9d-9e a5-a6 a8 ae-af b4 b6-b7 bc bf c5 e7 ef"],
  [24, "09 8e 90-91 94 9f ab ce d7 e1 ec-ed"],
  [25, "c7 cf ea-eb"],
  [26, "c0-c1 c8-ca cd d2 d5 da-db ee f0 f2-f3 ff"],
  [27, "cb-cc d3-d4 d6 dd-df f1 f4-f8 fa-fe"],
  [28, "02-08 0b-0c 0e-15 17-1f 7f dc f9"],
  [30, "0a 0d 16 100"],
];

/** The code as a tree: two numbers a node, the next node for each bit; below 0: the symbol, as `-1 - symbol`. */
const TREE: Int16Array = buildTree();

function buildTree(): Int16Array {
  const tree = new Int16Array(1024);
  let nodes = 1;
  let code = 0;
  let before = 0;
  for (const [length, symbols] of SYMBOLS) {
    code *= 2 ** (length - before);
    before = length;
    for (const symbol of symbolsIn(symbols)) {
      let node = 0;
      for (let bit = length - 1; bit >= 0; bit--) {
        const at = node * 2 + (Math.floor(code / 2 ** bit) % 2);
        if (bit === 0) tree[at] = -1 - symbol;
        else if (tree[at] === 0) tree[at] = nodes++;
        node = tree[at] ?? 0;
      }
      code++;
    }
  }
  return tree;
}

function* symbolsIn(text: string): Generator<number> {
  for (const part of text.split(" ")) {
    const [first = "", last = first] = part.split("-");
    for (let symbol = Number.parseInt(first, 16); symbol <= Number.parseInt(last, 16); symbol++) yield symbol;
  }
}

const END_OF_STRING = 256;

/** The text of coded bytes, one character a byte; `undefined` where they are not well-formed. */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  let node = 0;
  let depth = 0;
  let isPadding = true;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >> bit) & 1;
      const next = TREE[node * 2 + one] ?? 0;
      depth++;
      if (one === 0) isPadding = false;
      if (next >= 0) {
        node = next;
        continue;
      }
      if (-1 - next === END_OF_STRING) return undefined;
      text += String.fromCharCode(-1 - next);
      node = 0;
      depth = 0;
      isPadding = true;
    }
  }
  // What is left must be the beginning of the longest code, all ones, and less than a byte.
  return depth > 7 || !isPadding ? undefined : text;
}

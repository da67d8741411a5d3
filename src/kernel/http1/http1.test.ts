import fc from "fast-check";
import { expect, test } from "vitest";
import { Framing, HeadFault, normalisePath, parseRequestHead, parseResponseHead } from "./index.js";

/** Chunked coding, the plain way. */
function encodeChunks(pieces: readonly Uint8Array[], trailer: string): Buffer {
  const parts = pieces
    .filter((piece) => piece.length > 0)
    .flatMap((piece) => [Buffer.from(`${piece.length.toString(16)};x=1\r\n`), piece, Buffer.from("\r\n")]);
  return Buffer.concat([...parts, Buffer.from(`0\r\n${trailer}\r\n`)]);
}

test("a chunked body ends exactly where it ends, however it is cut up, and whatever follows it", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
      fc.constantFrom("", "X-Sum: 1\r\n"),
      fc.uint8Array({ maxLength: 20 }),
      fc.array(fc.nat(30), { maxLength: 40 }),
      (pieces, trailer, after, cuts) => {
        const body = encodeChunks(pieces, trailer);
        const bytes = Buffer.concat([body, after]);
        const framing = new Framing("chunked");
        let position = 0;
        let taken = 0;
        const content: Uint8Array[] = [];
        while (position < bytes.length && !framing.isDone) {
          const end = Math.min(bytes.length, position + 1 + (cuts.pop() ?? 1000));
          taken += framing.consume(bytes, position, end, (from, to) => content.push(bytes.subarray(from, to)));
          position = end;
        }
        expect(framing).toMatchObject({ isDone: true, isBroken: false });
        expect(taken).toBe(body.length);
        expect(Buffer.concat(content)).toEqual(Buffer.concat(pieces));
      },
    ),
  );
});

test("bytes that are no chunked body never end well by accident, and never throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const framing = new Framing("chunked");
      const used = framing.consume(bytes, 0, bytes.length);
      expect(used).toBeLessThanOrEqual(bytes.length);
      expect(framing.isDone && framing.isBroken).toBe(false);
    }),
  );
  for (const bad of [
    "\r\n",
    "g\r\n",
    "5 \nhello",
    "5\r\nhelloX\r\n",
    "5\r\nhello\n",
    "0\r\n X\r\n\r\n",
    "5 \r\nhello\r\n",
    "0\r\nno field\r\n\r\n",
    "0\r\nX\r\n\r\n",
    "0\r\n: x\r\n\r\n",
    "0\r\nX : y\r\n\r\n",
    "1".repeat(13),
  ]) {
    const framing = new Framing("chunked");
    framing.consume(Buffer.from(bad), 0, bad.length);
    expect([bad, framing.isBroken]).toEqual([bad, true]);
  }
});

test("a head is parsed or refused with a reason, never thrown at; what is passed on has no framing or connection fields of its own", () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom(
      "Host: a",
      "Content-Length: 3",
      "Transfer-Encoding: chunked",
      "Connection: close, X-A",
      "X-A: 1",
      "Upgrade: websocket",
      "Accept: */*",
    ),
  );
  fc.assert(
    fc.property(
      fc.constantFrom("GET / HTTP/1.1", "POST /x HTTP/1.0", "GET http://a/b HTTP/1.1"),
      fc.array(line, { maxLength: 8 }),
      (first, lines) => {
        const text = `${[first, ...lines].join("\r\n")}\r\n`;
        const head = parseRequestHead(text, text.length);
        if (head instanceof HeadFault) {
          expect(head.status).toBeGreaterThanOrEqual(400);
          expect(head.message).not.toBe("");
          return;
        }
        expect(head.fields.rest).not.toMatch(/^(connection|upgrade|host|te|keep-alive|x-forwarded-for):/im);
        expect(head.fields.rest === "" || head.fields.rest.endsWith("\r\n")).toBe(true);
        expect(head.fields.isChunked && head.fields.contentLength >= 0).toBe(false);
      },
    ),
  );
  fc.assert(fc.property(fc.string(), (text) => void parseResponseHead(text, text.length)));
});

test("dot segments are resolved as URLs resolve them, and cannot climb out", () => {
  const segment = fc.constantFrom("a", "b.c", ".", "..", "%2e", "%2E%2e", ".%2e", "...", "");
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 8 }), (segments) => {
      const path = `/${segments.join("/")}`;
      const normal = normalisePath(path);
      // WHATWG URL resolves the same segments; it is the oracle.
      expect(normal).toBe(new URL(`http://h${path}`).pathname);
      expect(normal).toMatch(/^\//);
      expect(normal.split("/").some((part) => /^(\.|%2e){1,2}$/i.test(part))).toBe(false);
    }),
  );
  expect(normalisePath("/a/../../b?x=/../y")).toBe("/b?x=/../y");
  expect(normalisePath("/a/./b/..")).toBe("/a/");
});

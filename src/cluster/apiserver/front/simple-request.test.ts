import { createServer } from "node:http";
import { Duplex } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { SimpleReader } from "./simple-request.js";

interface Seen {
  readonly method: string | undefined;
  readonly target: string | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** What node's server reads first, and whether it read all of it without a fault. */
function readByNode(piece: Buffer): Promise<Seen | "refused"> {
  return new Promise((resolve) => {
    const server = createServer((request) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { method, url: target, headers } = request;
        resolve({ method, target, headers: { ...headers }, body: Buffer.concat(chunks).toString("latin1") });
        socket.destroy();
      });
    });
    server.on("clientError", () => resolve("refused"));
    const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
    socket.on("close", () => resolve("refused"));
    socket.on("error", () => resolve("refused"));
    server.emit("connection", socket);
    socket.push(piece);
    socket.push(null);
  });
}

const fieldLines = [
  "Host: localhost",
  "host:localhost:6443  ",
  "Content-Type: application/json",
  "Accept:",
  "X-Long: a b\tc",
  "User-Agent: bench/1.0 (x; y)",
  "Connection: keep-alive",
  "Connection: close",
  "Content-Length: 5",
  "content-length: 0",
  "Content-Length: +5",
  "Content-Length: 05",
  "Transfer-Encoding: chunked",
  "Expect: 100-continue",
  "Upgrade: websocket",
  " folded: yes",
  "Sp ace: x",
  "Colon : x",
  "Bare: a\nb: c",
  "Return: a\rb",
  "Umlaut: ä",
  "Null: \0",
  "noColon",
  "",
  "_under: x",
];
const request = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "get", "PRI"),
  target: fc.constantFrom("/", "/api/v1?a=b%20c", "//x/../y", "*", "http://other/x", "/a b", "/ü", "/#x", ""),
  version: fc.constantFrom("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.1 ", "HTTP/2.0", "http/1.1"),
  fields: fc.array(fc.constantFrom(...fieldLines), { maxLength: 5 }),
  body: fc.constantFrom("", "", "hello", "hello!", "5\r\nhello\r\n0\r\n\r\n", "\r\n\r\n"),
  end: fc.constantFrom("\r\n\r\n", "\r\n\r\n", "\r\n\r\n", "\n\n", "\r\n"),
});

test("what is taken for a simple request is, byte for byte, what node's parser makes of it", async () => {
  let simple = 0;
  await fc.assert(
    fc.asyncProperty(request, fc.boolean(), async ({ method, target, version, fields, body, end }, isPlain) => {
      const lines = isPlain ? ["Host: x", ...(body === "" ? [] : [`Content-Length: ${body.length}`])] : fields;
      const piece = Buffer.from(`${[`${method} ${target} ${version}`, ...lines].join("\r\n")}${end}${body}`, "latin1");
      const read = new SimpleReader().read(piece);
      if (read === undefined || typeof read === "number") return;
      simple++;
      const expected = await readByNode(piece);
      expect({ ...read, body: Buffer.from(read.body).toString("latin1") }).toEqual(expected);
    }),
    { numRuns: 3000 },
  );
  expect(simple).toBeGreaterThan(30);
});

const plain = "GET /version HTTP/1.1\r\nHost: x\r\nAccept: a\r\n\r\n";
test.each([
  ["a head that has not come whole", plain.slice(0, -1)],
  ["a second request behind it", plain + plain],
  ["a field that comes twice", plain.replace("Accept: a", "Accept: a\r\naccept: b")],
  ["a body that is too long", plain.replace("Accept: a", "Content-Length: 2").concat("abc")],
  ["a body of an odd length", plain.replace("Accept: a", "Content-Length: 0x9").concat("abc")],
  ["a body that will be very long", plain.replace("Accept: a", "Content-Length: 4000000").concat("abc")],
  ["no host", plain.replace("Host: x\r\n", "")],
  ["a connection that shall end", plain.replace("Accept: a", "Connection: close")],
  ["a proto", plain.replace("Accept", "__proto__")],
  ["a head that is too long", plain.replace("Accept: a", `Accept: ${"a".repeat(20_000)}`)],
])("not simple: %s", (_, text) => {
  const reader = new SimpleReader();

  expect(reader.read(Buffer.from(plain))).toMatchObject({ headers: { host: "x", accept: "a" } });
  expect(reader.read(Buffer.from(text))).toBeUndefined();
  expect(reader.read(Buffer.from(plain))).toMatchObject({ target: "/version" });
});

test("of a body that has not come whole, more is wanted", () => {
  const reader = new SimpleReader();
  const text = `${plain.replace("Accept: a", "Content-Length: 4")}abcd`;

  expect(reader.read(Buffer.from(text.slice(0, -4)))).toBe(text.length);
  expect(reader.read(Buffer.from(text.slice(0, -1)))).toBe(text.length);
  expect(reader.read(Buffer.from(text))).toMatchObject({ body: Buffer.from("abcd") });
});

/** Malformed and ambiguous HTTP as raw bytes, with what every front of ours answers. */

/** A request that must be refused: its bytes, and the status. */
export interface Malformed {
  readonly name: string;
  readonly bytes: string;
  readonly status: number;
  /** The head is well formed: it may have been passed on before the fault was seen, but never a whole request. */
  readonly inBody?: true;
}

const get = (lines: string): string => `GET /v2/health/live HTTP/1.1\r\n${lines}\r\n\r\n`;
const post = (lines: string, body = ""): string =>
  `POST /v2/models/fp32/infer HTTP/1.1\r\nHost: a\r\n${lines}\r\n\r\n${body}`;
const chunked = (body: string): string => post("Transfer-Encoding: chunked", body);

const heads: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  400: {
    "no HTTP": "hello\r\n\r\n",
    "HTTP/0.9": "GET /v2/health/live\r\n\r\n",
    "no target": "GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "a small protocol": "GET / http/1.1\r\nHost: a\r\n\r\n",
    "a blank after the version": "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "two blanks": "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab for a blank": "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method that is no token": "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is no path": "GET v2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "an authority for a target": "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "an asterisk for GET": "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in the target": "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a carriage return in the target": "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
    "no Host": "GET / HTTP/1.1\r\n\r\n",
    "two Hosts": get("Host: a\r\nHost: b"),
    "the same Host twice": get("Host: a\r\nhost: a"),
    "a list of Hosts": get("Host: a, b"),
    "a Host with a path": get("Host: a/b"),
    "a Host with a user": get("Host: a@b"),
    "a Host and an absolute target with a user": "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a blank before the colon": get("Host : a"),
    "a blank before the colon of a length": post("Content-Length : 1", "a"),
    "a field without a colon": get("Host: a\r\nnothing"),
    "a field without a name": get("Host: a\r\n: x"),
    "a name of two words": get("Host: a\r\nX Y: 1"),
    "a name with NUL": get("Host: a\r\nX\0: 1"),
    "a name with other letters": get("Host: a\r\nX\xfc: 1"),
    "NUL in a value": get("Host: a\r\nX: \0"),
    "DEL in a value": get("Host: a\r\nX: \x7f"),
    "a carriage return in a value": get("Host: a\r\nX: 1\rY: 2"),
    "a line feed in a value": get("Host: a\r\nX: 1\nY: 2"),
    "bare line feeds": "GET / HTTP/1.1\nHost: a\n\n",
    "a folded line": get("Host: a\r\nX: 1\r\n 2"),
    "a line folded by a tab": get("Host: a\r\nX: 1\r\n\t2"),
    "a fold before the first field": get(" X: 1\r\nHost: a"),
    "a folded Transfer-Encoding": post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
    "two lengths": post("Content-Length: 1\r\nContent-Length: 2", "ab"),
    "the same length twice": post("Content-Length: 1\r\nContent-Length: 1", "a"),
    "a list of lengths": post("Content-Length: 1, 1", "a"),
    "a signed length": post("Content-Length: +1", "a"),
    "a negative length": post("Content-Length: -1"),
    "a hexadecimal length": post("Content-Length: 0x1", "a"),
    "a length with a fraction": post("Content-Length: 1.0", "a"),
    "a length of two numbers": post("Content-Length: 1 1", "a"),
    "an empty length": post("Content-Length:"),
    "a length beyond all numbers": post("Content-Length: 99999999999999999999"),
    "length and chunks": post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    "chunks and length": post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
    "chunks in HTTP/1.0": "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding with a control character": post("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"),
  },
  414: { "a long target": `GET /${"x".repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n` },
  417: { "an expectation that is none": post("Content-Length: 1\r\nExpect: 200-ok", "a") },
  431: {
    "a long head": get(`Host: a\r\nX: ${"x".repeat(40_000)}`),
    "a head without end": `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(70_000)}`,
    "many fields": get(`Host: a\r\n${"X: 1\r\n".repeat(200)}Y: 1`),
  },
  501: {
    // No method of any resource here: a 405 would have to say which are (RFC 9110 15.5.6).
    "a tunnel": "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown coding": post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
    "chunked twice": post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
    "two codings in two lines": post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
    "nearly chunked": post("Transfer-Encoding: xchunked", "0\r\n\r\n"),
    "chunked with a parameter": post("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"),
  },
  505: {
    "HTTP/0.9 by name": "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "another version": "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "a later version": "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
  },
};

const bodies: Readonly<Record<string, string>> = {
  "a size that is none": chunked("zz\r\n"),
  "no size": chunked("\r\nhello\r\n0\r\n\r\n"),
  "a signed size": chunked("+5\r\nhello\r\n0\r\n\r\n"),
  "a size in C": chunked("0x5\r\nhello\r\n0\r\n\r\n"),
  "a blank before the size": chunked(" 5\r\nhello\r\n0\r\n\r\n"),
  "a blank behind the size": chunked("5 \r\nhello\r\n0\r\n\r\n"),
  "a trailer that is no field": chunked("5\r\nhello\r\n0\r\nno field\r\n\r\n"),
  "a trailer with a blank before its colon": chunked("5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
  "two sizes": chunked("5 5\r\nhello\r\n0\r\n\r\n"),
  "a size beyond all numbers": chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
  "more than the size": chunked("5\r\nhello!\r\n0\r\n\r\n"),
  "less than the size": chunked("6\r\nhello\r\n0\r\n\r\n"),
  "chunks that end in line feeds": chunked("5\nhello\n0\n\n"),
  "a size that ends in a carriage return": chunked("5\rhello\r\n0\r\n\r\n"),
  "a control character in an extension": chunked("5;\x01\r\nhello\r\n0\r\n\r\n"),
  "NUL in an extension": chunked("5;\0\r\nhello\r\n0\r\n\r\n"),
  "an extension without end": chunked(`5;${"x".repeat(40_000)}`),
  "a folded trailer": chunked("0\r\nX: 1\r\n 2\r\n\r\n"),
  "a trailer with a line feed": chunked("0\r\nX: 1\nY: 2\r\n\r\n"),
  "trailers without end": chunked(`0\r\n${"X: 1\r\n".repeat(5000)}`),
};

/** Every malformed request of HTTP/1. */
export const malformedRequests: readonly Malformed[] = [
  ...Object.entries(heads).flatMap(([status, named]) =>
    Object.entries(named).map(([name, bytes]): Malformed => ({ name, bytes, status: Number(status) })),
  ),
  ...Object.entries(bodies).map(([name, bytes]): Malformed => ({ name, bytes, status: 400, inBody: true })),
];

type Fields = readonly (readonly [string, string])[];

const usual: Fields = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/v2/models/fp32/infer"],
  [":authority", "a"],
];
const without = (name: string): Fields => usual.filter(([field]) => field !== name);

/** A request of HTTP/2 that must not be answered as if it were well. */
export interface MalformedHttp2 {
  readonly name: string;
  readonly fields: Fields;
  readonly body?: string;
  /** What must not reach a backend, where the request is answered without it. */
  readonly dropped?: string;
}

/** Every malformed request of HTTP/2. */
export const malformedHttp2: readonly MalformedHttp2[] = [
  { name: "a large letter in a name", fields: [...usual, ["X-Large", "1"]] },
  { name: "a field of connections", fields: [...usual, ["connection", "close"]] },
  { name: "a coding", fields: [...usual, ["transfer-encoding", "chunked"]] },
  { name: "an upgrade", fields: [...usual, ["upgrade", "h2c"]] },
  { name: "te with more than trailers", fields: [...usual, ["te", "gzip"]] },
  { name: "two paths", fields: [...usual, [":path", "/other"]] },
  { name: "two authorities", fields: [...usual, [":authority", "b"]] },
  { name: "no method", fields: without(":method") },
  { name: "no path", fields: without(":path") },
  { name: "an empty path", fields: [...without(":path"), [":path", ""]] },
  { name: "a path that is none", fields: [...without(":path"), [":path", "v2"]] },
  { name: "a pseudo field after others", fields: [...without(":path"), ["x", "1"], [":path", "/"]] },
  { name: "an unknown pseudo field", fields: [...usual, [":other", "1"]] },
  { name: "a field of answers", fields: [...usual, [":status", "200"]] },
  { name: "a line end in a value", fields: [...usual, ["x", "1\r\ny: 2"]], dropped: "y: 2" },
  { name: "NUL in a value", fields: [...usual, ["x-nul", "\0"]], dropped: "x-nul" },
  { name: "a name with a colon", fields: [...usual, ["x:y", "1"]], dropped: "x:y" },
  { name: "an empty name", fields: [...usual, ["", "nameless"]], dropped: "nameless" },
  { name: "less than the length", fields: [...usual, ["content-length", "9"]], body: "{}" },
  { name: "more than the length", fields: [...usual, ["content-length", "1"]], body: "{}" },
  { name: "two lengths", fields: [...usual, ["content-length", "2"], ["content-length", "3"]], body: "{}" },
  { name: "a length that is none", fields: [...usual, ["content-length", "+2"]], body: "{}" },
];

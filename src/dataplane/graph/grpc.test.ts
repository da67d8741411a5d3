import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { expect, test } from "vitest";
import { BYTES, VARINT, WireReader, WireWriter } from "../../kernel/protobuf/index.js";
import { atEnd } from "../../testing/at-end.js";
import { ok, root, route, serve } from "./router.fixture.js";

/** What a service of gRPC was sent. */
interface Call {
  readonly headers: IncomingHttpHeaders;
  readonly message: Buffer;
}

/** A service of gRPC that is none of ours: HTTP/2 of Node's, and messages by hand. */
async function serveGrpc(answer: (stream: ServerHttp2Stream, call: Call) => void) {
  const calls: Call[] = [];
  const server = createServer();
  const sessions = new Set<{ destroy: () => void }>();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream, headers) => {
    const pieces: Buffer[] = [];
    stream.on("error", () => undefined);
    stream.on("data", (piece: Buffer) => pieces.push(piece));
    stream.on("end", () => {
      const call = { headers, message: Buffer.concat(pieces).subarray(5) };
      calls.push(call);
      answer(stream, call);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const end = async (): Promise<void> => {
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  atEnd(end);
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: `grpc://127.0.0.1:${port}/v2/models/echo/versions/3/infer`, port, calls, end };
}

/** Ends a call as gRPC does. */
function finish(stream: ServerHttp2Stream, message: Buffer | undefined, status = "0", words = ""): void {
  const trailers = { "grpc-status": status, ...(words === "" ? {} : { "grpc-message": words }) };
  if (message === undefined) {
    stream.respond({ ":status": 200, "content-type": "application/grpc", ...trailers }, { endStream: true });
    return;
  }
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([head, message]));
}

/** Fields of a message by number; texts and parts as bytes. */
function fieldsOf(bytes: Buffer): [number, Buffer | number | bigint][] {
  const reader = new WireReader(bytes);
  const fields: [number, Buffer | number | bigint][] = [];
  while (!reader.isDone) {
    const tag = reader.tag();
    fields.push([tag >>> 3, (tag & 7) === BYTES ? reader.take() : reader.int64()]);
  }
  return fields;
}
const all = (bytes: Buffer, field: number): Buffer[] =>
  fieldsOf(bytes).flatMap(([number, value]) => (number === field && Buffer.isBuffer(value) ? [value] : []));

interface Given {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly raw?: Buffer;
  readonly contents?: (writer: WireWriter) => unknown;
}

function responseOf(outputs: readonly Given[]): Buffer {
  const writer = new WireWriter();
  writer.text(1, "echo");
  writer.text(3, "an id");
  const entry = writer.open(4);
  writer.text(1, "took");
  const inner = writer.open(2);
  writer.tag(2, VARINT);
  writer.varint(9_007_199_254_740_993n);
  writer.close(inner);
  writer.close(entry);
  for (const { name, datatype, shape, contents } of outputs) {
    const start = writer.open(5);
    writer.text(1, name);
    writer.text(2, datatype);
    for (const size of shape) {
      writer.tag(3, VARINT);
      writer.varint(size);
    }
    if (contents !== undefined) {
      const typed = writer.open(5);
      contents(writer);
      writer.close(typed);
    }
    writer.close(start);
  }
  for (const { raw } of outputs) if (raw !== undefined) writer.content(6, raw);
  return writer.finish();
}

const element = (content: Buffer): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(content.length);
  return Buffer.concat([length, content]);
};
const one = (name: string, datatype: string, raw: Buffer, count = 1): Given => ({
  name,
  datatype,
  shape: [count],
  raw,
});

test("a request in JSON is a ModelInferRequest, with its fields as metadata; the answer is JSON, whatever form its contents have", async () => {
  const packed = (field: number, write: (writer: WireWriter) => unknown) => (writer: WireWriter) => {
    const start = writer.open(field);
    write(writer);
    writer.close(start);
  };
  const service = await serveGrpc((stream) =>
    finish(
      stream,
      responseOf([
        {
          name: "long",
          datatype: "INT64",
          shape: [2],
          contents: packed(3, (writer) => [-1, 2n ** 62n + 1n].map((each) => writer.varint(each))),
        },
        {
          name: "small",
          datatype: "INT8",
          shape: [2],
          contents: (writer) => {
            for (const each of [5, -6]) {
              writer.tag(2, VARINT);
              writer.varint(each);
            }
          },
        },
        {
          name: "real",
          datatype: "FP32",
          shape: [1, 2],
          contents: packed(6, (writer) => [0.5, -2].map((each) => writer.float(each))),
        },
        {
          name: "text",
          datatype: "BYTES",
          shape: [2],
          contents: (writer) => ["ä", ""].map((each) => writer.text(8, each)),
        },
        {
          name: "is",
          datatype: "BOOL",
          shape: [2],
          contents: packed(1, (writer) => [1, 0].map((each) => writer.varint(each))),
        },
      ]),
    ),
  );
  const { post } = await route(root("Sequence", { serviceUrl: service.url, timeoutMs: 5000 }), {
    propagate: ["x-user"],
  });
  const answer = await post(
    `{"id":"a","parameters":{"deep":true,"much":18446744073709551615,"share":0.5,"binary_data_output":false},
      "inputs":[{"name":"x","datatype":"INT64","shape":[1,2],"data":[[9007199254740993,-1]]},
                {"name":"t","datatype":"BYTES","shape":[1],"parameters":{"kind":"k"},"data":["ä"]}],
      "outputs":[{"name":"long"}]}`,
    { "x-user": "ada" },
  );

  expect(answer.status).toBe(200);
  expect(answer.body).toBe(
    `{"model_name":"echo","id":"an id","parameters":{"took":9007199254740993},"outputs":[${[
      '{"name":"long","datatype":"INT64","shape":[2],"data":[-1,4611686018427387905]}',
      '{"name":"small","datatype":"INT8","shape":[2],"data":[5,-6]}',
      '{"name":"real","datatype":"FP32","shape":[1,2],"data":[0.5,-2]}',
      '{"name":"text","datatype":"BYTES","shape":[2],"data":["ä",""]}',
      '{"name":"is","datatype":"BOOL","shape":[2],"data":[true,false]}',
    ].join(",")}]}`,
  );
  const [call] = service.calls;
  expect(call?.headers).toMatchObject({
    ...{ ":path": "/inference.GRPCInferenceService/ModelInfer", te: "trailers" },
    ...{ "content-type": "application/grpc+proto", "grpc-timeout": "5000m", "x-user": "ada" },
  });
  const message = call?.message ?? Buffer.alloc(0);
  expect([1, 2, 3].map((field) => String(all(message, field)[0]))).toEqual(["echo", "3", "a"]);
  const long = Buffer.alloc(16);
  long.writeBigInt64LE(9_007_199_254_740_993n, 0);
  long.writeBigInt64LE(-1n, 8);
  expect(all(message, 7)).toEqual([long, element(Buffer.from("ä"))]);
  const parameters = all(message, 4).map((entry) => [
    String(all(entry, 1)[0]),
    [...new Uint8Array(all(entry, 2)[0] ?? [])].slice(0, 1),
  ]);
  // bool_param, uint64_param and double_param; what only REST has is left out.
  expect(parameters).toEqual([
    ["deep", [8]],
    ["much", [40]],
    ["share", [33]],
  ]);
  expect(all(message, 5).map((input) => String(all(input, 1)[0]))).toEqual(["x", "t"]);
  expect(all(message, 6).map((output) => String(all(output, 1)[0]))).toEqual(["long"]);
});

test("bytes that are no text, NaN and the bits of halves go through steps as they are; in JSON they are refused with what helps", async () => {
  const blob = Buffer.from([0xff, 0x00, 0xfe]);
  const nan = Buffer.from([1, 0, 0xc0, 0x7f]);
  const half = Buffer.from([0x34, 0x12]);
  const service = await serveGrpc((stream, { message }) => {
    const [first = Buffer.alloc(0)] = all(message, 7);
    finish(stream, responseOf([one("blob", "BYTES", first), one("nan", "FP32", nan), one("half", "BF16", half)]));
  });
  const { url } = await route(root("Sequence", { serviceUrl: service.url }));
  const content = element(blob);
  const head = (binary: boolean): string =>
    JSON.stringify({
      parameters: { binary_data_output: binary },
      inputs: [{ name: "blob", datatype: "BYTES", shape: [1], parameters: { binary_data_size: content.length } }],
    });
  const ask = (text: string): Promise<Response> =>
    fetch(url, {
      method: "POST",
      body: Buffer.concat([Buffer.from(text), content]),
      headers: { "inference-header-content-length": String(text.length) },
    });
  const answer = await ask(head(true));
  const length = Number(answer.headers.get("inference-header-content-length"));
  const body = Buffer.from(await answer.arrayBuffer());
  expect(answer.headers.get("content-type")).toBe("application/octet-stream");
  expect(JSON.parse(body.toString("utf8", 0, length)).outputs).toMatchObject([
    { name: "blob", parameters: { binary_data_size: 7 } },
    { name: "nan", parameters: { binary_data_size: 4 } },
    { name: "half", datatype: "BF16", parameters: { binary_data_size: 2 } },
  ]);
  expect(body.subarray(length)).toEqual(Buffer.concat([content, nan, half]));

  const refused = await ask(head(false));
  expect(refused.status).toBe(500);
  expect(await refused.text()).toContain("output blob holds bytes that are not UTF-8");
});

test("gRPC's status is the step's, by what it means over HTTP; what is no V2 is the sender's fault, and what is no gRPC the service's", async () => {
  const failing = await serveGrpc((stream) => finish(stream, undefined, "5", "no model %C3%A4"));
  const hard = await route(
    root("Sequence", { serviceUrl: failing.url, dependency: "Hard" }, { serviceUrl: failing.url }),
  );
  const request = '{"inputs":[]}';
  const found = await hard.post(request);
  expect([found.status, found.body]).toEqual([404, '{"error":"no model ä"}']);
  expect(failing.calls).toHaveLength(1);

  const v1 = await hard.post('{"instances":[1]}');
  expect([v1.status, v1.body]).toEqual([400, expect.stringContaining("services of gRPC are asked by V2")]);

  const plain = await serve(ok);
  const http = new URL(plain.url).port;
  const noGrpc = await route(root("Sequence", { serviceUrl: `grpc://127.0.0.1:${http}/v2/models/m/infer` }));
  expect((await noGrpc.post(request)).status).toBe(500);
  await failing.end();
  const gone = await hard.post(request);
  expect([gone.status, gone.body]).toEqual([500, expect.stringContaining("127.0.0.1")]);
});

test("a call ends with its time, and with an answer that is too large; the next one comes through", async () => {
  let calls = 0;
  const service = await serveGrpc((stream) => {
    calls++;
    if (calls === 1) return;
    finish(stream, calls === 2 ? Buffer.alloc(200_000) : responseOf([]));
  });
  const { post } = await route(root("Sequence", { serviceUrl: service.url, timeoutMs: 300 }), {
    maxBodyBytes: 100_000,
  });
  expect((await post('{"inputs":[]}')).status).toBe(504);
  const large = await post('{"inputs":[]}');
  expect([large.status, large.body]).toEqual([500, expect.stringContaining("more than 100000 bytes")]);
  expect((await post('{"inputs":[]}')).body).toContain('"outputs":[]');
});

test("an address of gRPC names its port and its model", async () => {
  for (const serviceUrl of ["grpc://h/v2/models/m/infer", "grpc://h:80/", "grpc://h:80/v2/models/m", "ftp://h:80/"])
    await expect(route(root("Sequence", { serviceUrl }))).rejects.toThrow("grpc://HOST:PORT/v2/models/NAME/infer");
});

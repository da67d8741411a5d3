import { createHash, createHmac } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { AwsV4Signer } from "aws4fetch";
import { Agent, request } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seededRandom, systemClock } from "../../kernel/clock/index.js";
import { type BlobStore, createS3Blobs, openDirectoryBlobs } from "./index.js";
import { createChecksum } from "./s3-checksums.js";
import { parseXml } from "./s3-xml.js";
import { startS3, TEST_SECRET } from "./test-s3.js";

let directory: string;
let store: BlobStore;
let server: Awaited<ReturnType<typeof startS3>>;
let agent: Agent;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "argosy-s3-"));
  store = await openDirectoryBlobs({ directory, random: seededRandom(1) });
  server = await startS3(store, [
    {
      accessKeyId: "all",
      secretAccessKey: TEST_SECRET,
      grants: [{ bucket: "artifacts", prefix: "", access: "read-write" }],
    },
    {
      accessKeyId: "reader",
      secretAccessKey: TEST_SECRET,
      grants: [{ bucket: "artifacts", prefix: "1/", access: "read" }],
    },
    { accessKeyId: "nothing", secretAccessKey: TEST_SECRET, grants: [] },
  ]);
  agent = new Agent({ connect: { ca: server.caPem } });
});

afterAll(async () => {
  await agent.close();
  await server.close();
  await rm(directory, { recursive: true });
});

interface Call {
  method?: string;
  body?: string | Uint8Array;
  headers?: Record<string, string>;
  accessKeyId?: string;
  secretAccessKey?: string;
  signQuery?: boolean;
  datetime?: string;
  /** Changes the request after it was signed. */
  tamper?: (signed: { url: URL; headers: Headers }) => void;
  sendBody?: string;
}

/** Signs with aws4fetch, which is none of ours, and sends. */
async function call(
  target: string,
  options: Call = {},
): Promise<{ status: number; headers: Record<string, unknown>; text: string }> {
  const signer = new AwsV4Signer({
    url: `${server.url}${target}`,
    method: options.method ?? "GET",
    headers: {
      ...(options.body === undefined
        ? {}
        : { "x-amz-content-sha256": createHash("sha256").update(options.body).digest("hex") }),
      ...options.headers,
    },
    accessKeyId: options.accessKeyId ?? "all",
    secretAccessKey: options.secretAccessKey ?? TEST_SECRET,
    service: "s3",
    region: "us-east-1",
    ...(options.body === undefined ? {} : { body: options.body as string }),
    ...(options.signQuery === undefined ? {} : { signQuery: options.signQuery }),
    ...(options.datetime === undefined ? {} : { datetime: options.datetime }),
  });
  const signed = await signer.sign();
  options.tamper?.(signed);
  const body = options.sendBody ?? options.body;
  const response = await request(signed.url, {
    method: (options.method ?? "GET") as "GET",
    headers: Object.fromEntries(signed.headers),
    ...(body === undefined ? {} : { body }),
    dispatcher: agent,
  });
  return { status: response.statusCode, headers: response.headers, text: await response.body.text() };
}

const code = (text: string): string | undefined => parseXml(text)?.children.find((c) => c.name === "Code")?.text;

describe("signatures", () => {
  test("takes requests signed in headers and in the URL", async () => {
    expect((await call("/artifacts/1/a%20b%2Bc.txt", { method: "PUT", body: "hello" })).status).toBe(200);

    expect((await call("/artifacts/1/a%20b%2Bc.txt")).text).toBe("hello");
    expect((await call("/artifacts/1/a%20b%2Bc.txt?X-Amz-Expires=60", { signQuery: true })).text).toBe("hello");
    expect(
      (await call("/artifacts/1/presigned?X-Amz-Expires=60", { method: "PUT", signQuery: true, sendBody: "by url" }))
        .status,
    ).toBe(200);
    expect((await call("/artifacts/1/presigned")).text).toBe("by url");
  });

  test.each<[string, number, string, Call]>([
    ["a wrong secret", 403, "SignatureDoesNotMatch", { secretAccessKey: "wrong" }],
    ["an unknown key", 403, "InvalidAccessKeyId", { accessKeyId: "nobody" }],
    [
      "another path than the signed one",
      403,
      "SignatureDoesNotMatch",
      {
        tamper: ({ url }) => {
          url.pathname = "/artifacts/2/other";
        },
      },
    ],
    [
      "another header than the signed one",
      403,
      "SignatureDoesNotMatch",
      {
        tamper: ({ headers }) =>
          headers.set("x-amz-date", `${new Date().toISOString().slice(0, 10).replaceAll("-", "")}T000000Z`),
      },
    ],
    [
      "a header that is not signed",
      403,
      "AccessDenied",
      { tamper: ({ headers }) => headers.set("x-amz-copy-source", "/artifacts/secret") },
    ],
    ["an old signature", 403, "RequestTimeTooSkewed", { datetime: "20200101T000000Z" }],
    ["no signature", 403, "AccessDenied", { tamper: ({ headers }) => headers.delete("authorization") }],
    [
      "a signature of another kind",
      400,
      "AuthorizationHeaderMalformed",
      { tamper: ({ headers }) => headers.set("authorization", "AWS all:abc") },
    ],
  ])("refuses %s", async (_, status, errorCode, options) => {
    const answer = await call("/artifacts/1/x", options);

    expect([answer.status, code(answer.text)]).toEqual([status, errorCode]);
  });

  test("refuses an expired URL", async () => {
    const answer = await call("/artifacts/1/x?X-Amz-Expires=60", { signQuery: true, datetime: "20250101T000000Z" });

    expect([answer.status, code(answer.text)]).toEqual([403, "AccessDenied"]);
  });

  test("refuses content that is not the signed one, and keeps nothing of it", async () => {
    const answer = await call("/artifacts/1/tampered", { method: "PUT", body: "signed", sendBody: "other!" });

    expect([answer.status, code(answer.text)]).toEqual([400, "BadDigest"]);
    expect(await store.head("1/tampered")).toBeUndefined();
  });
});

describe("permissions", () => {
  test("a key reads and writes only where it was granted", async () => {
    await store.put("1/granted", Buffer.from("x"));
    await store.put("2/secret", Buffer.from("x"));
    const as = (target: string, options: Call = {}) => call(target, { ...options, accessKeyId: "reader" });

    expect((await as("/artifacts/1/granted")).status).toBe(200);
    expect((await as("/artifacts/2/secret")).status).toBe(403);
    expect((await as("/artifacts/1/granted", { method: "PUT", body: "y" })).status).toBe(403);
    expect((await as("/artifacts/1/granted", { method: "DELETE" })).status).toBe(403);
    expect((await as("/artifacts?list-type=2&prefix=1%2F")).status).toBe(200);
    expect((await as("/artifacts?list-type=2")).status).toBe(403);
    const batch = await as("/artifacts?delete=", {
      method: "POST",
      body: "<Delete><Object><Key>1/granted</Key></Object></Delete>",
    });
    expect(batch.text).toContain("<Code>AccessDenied</Code>");
    expect(await store.head("1/granted")).toBeDefined();
    expect((await call("/artifacts/1/granted", { accessKeyId: "nothing" })).status).toBe(403);
    expect(
      (
        await call("/artifacts/1/copy", {
          method: "PUT",
          accessKeyId: "reader",
          headers: { "x-amz-copy-source": "/artifacts/2/secret" },
        })
      ).status,
    ).toBe(403);
  });

  test("parts of unfinished uploads are out of sight and reach", async () => {
    const started = await call("/artifacts/1/multi?uploads=", { method: "POST" });
    const id = parseXml(started.text)?.children.find((c) => c.name === "UploadId")?.text ?? "";

    expect((await call(`/artifacts/.argosy-uploads/${id}/upload.json`)).status).toBe(403);
    expect((await call("/artifacts?list-type=2")).text).not.toContain("argosy-uploads");
    expect((await call("/artifacts?list-type=2&delimiter=%2F")).text).not.toContain("argosy-uploads");
    expect((await call(`/artifacts/1/multi?uploadId=${id}`, { method: "DELETE" })).status).toBe(204);
    expect((await call(`/artifacts/1/multi?uploadId=${id}`, { method: "DELETE" })).status).toBe(404);
  });
});

describe("objects", () => {
  test("answers ranges and conditions", async () => {
    await call("/artifacts/1/r", { method: "PUT", body: "0123456789", headers: { "content-type": "text/x" } });
    const whole = await call("/artifacts/1/r");
    const etag = String(whole.headers["etag"]);
    const get = (headers: Record<string, string>) => call("/artifacts/1/r", { headers });

    expect(whole.headers["content-type"]).toBe("text/x");
    const part = await get({ range: "bytes=2-4" });
    expect([part.status, part.text, part.headers["content-range"], part.headers["x-amz-checksum-sha256"]]).toEqual([
      206,
      "234",
      "bytes 2-4/10",
      undefined,
    ]);
    expect((await get({ range: "bytes=-3" })).text).toBe("789");
    expect((await get({ range: "bytes=20-" })).status).toBe(416);
    expect((await get({ range: "lines=1-2" })).status).toBe(200);
    expect((await get({ "if-none-match": etag })).status).toBe(304);
    expect((await get({ "if-match": '"other"' })).status).toBe(412);
    expect((await get({ "if-modified-since": new Date(Date.now() + 1000).toUTCString() })).status).toBe(304);
    expect((await call("/artifacts/1/r", { method: "PUT", body: "x", headers: { "if-none-match": "*" } })).status).toBe(
      412,
    );
    const head = await call("/artifacts/1/r", { method: "HEAD" });
    expect([head.status, head.headers["content-length"], head.text]).toEqual([200, "10", ""]);
  });

  test("checks MD5 and the newer checksums", async () => {
    const put = (headers: Record<string, string>) =>
      call("/artifacts/1/sum", { method: "PUT", body: "123456789", headers });
    const md5 = createHash("md5").update("123456789").digest("base64");

    expect((await put({ "content-md5": md5 })).status).toBe(200);
    expect(code((await put({ "content-md5": createHash("md5").update("x").digest("base64") })).text)).toBe("BadDigest");
    expect((await put({ "x-amz-checksum-crc32c": "4waSgw==" })).status).toBe(200);
    expect(code((await put({ "x-amz-checksum-crc32c": "AAAAAA==" })).text)).toBe("BadDigest");
  });

  test("puts a multipart upload together, in order, whole", async () => {
    const home = createS3Blobs({ ...server.access, clock: systemClock });
    const piece = Buffer.alloc(5 * 1024 * 1024, "abc");
    const content = Buffer.concat([piece, piece, piece, Buffer.from("end")]);

    await home.put(
      "1/large",
      (async function* () {
        yield piece;
        yield piece;
        yield piece;
        yield Buffer.from("end");
      })(),
    );

    expect(await home.head("1/large")).toMatchObject({
      sizeBytes: content.length,
      sha256: createHash("sha256").update(content).digest("hex"),
    });
    expect((await store.list({ prefix: ".argosy-uploads/" })).blobs).toEqual([]);
    await home.close();
  });

  test.each<[string, string, number, Call]>([
    ["an unknown bucket", "/elsewhere/x", 403, {}],
    ["an absent object", "/artifacts/1/none", 404, {}],
    ["parts of S3 that are not here", "/artifacts/1/x?acl=", 501, {}],
    ["a broken document", "/artifacts?delete=", 400, { method: "POST", body: "<Delete><Object>" }],
    [
      "a document with entities of its own",
      "/artifacts?delete=",
      400,
      { method: "POST", body: '<!DOCTYPE x [<!ENTITY a "b">]><Delete/>' },
    ],
    ["a broken escape in the key, which no signature fits", "/artifacts/1/%E0%A4%A", 403, {}],
    ["a foreign continuation token", "/artifacts?list-type=2&continuation-token=%21%21", 400, {}],
    ["a method that means nothing", "/artifacts/1/x", 405, { method: "PATCH" }],
  ])("refuses %s with a document", async (_, target, status, options) => {
    const answer = await call(target, options);

    expect(answer.status).toBe(status);
    expect(code(answer.text)).toBeTruthy();
  });
});

describe("chunked bodies", () => {
  const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
  const hex = (data: string): string => createHash("sha256").update(data).digest("hex");

  /** A body in signed chunks, as AWS documents them; `spoil` changes the content after it was signed. */
  async function putChunked(
    chunks: string[],
    spoil: (text: string) => string = (text) => text,
  ): Promise<{ status: number; text: string }> {
    const length = chunks.join("").length;
    const signer = new AwsV4Signer({
      url: `${server.url}/artifacts/1/chunked`,
      method: "PUT",
      headers: {
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-decoded-content-length": String(length),
        "content-encoding": "aws-chunked",
      },
      accessKeyId: "all",
      secretAccessKey: TEST_SECRET,
      service: "s3",
      region: "us-east-1",
    });
    const { headers, url } = await signer.sign();
    const time = headers.get("x-amz-date") ?? "";
    const scope = `${time.slice(0, 8)}/us-east-1/s3/aws4_request`;
    const key = hmac(hmac(hmac(hmac(`AWS4${TEST_SECRET}`, time.slice(0, 8)), "us-east-1"), "s3"), "aws4_request");
    let previous = /Signature=(\w+)/.exec(headers.get("authorization") ?? "")?.[1] ?? "";
    let body = "";
    for (const chunk of [...chunks, ""]) {
      previous = hmac(
        key,
        ["AWS4-HMAC-SHA256-PAYLOAD", time, scope, previous, hex(""), hex(chunk)].join("\n"),
      ).toString("hex");
      body += `${chunk.length.toString(16)};chunk-signature=${previous}\r\n${chunk}\r\n`;
    }
    const response = await request(url, {
      method: "PUT",
      headers: Object.fromEntries(headers),
      body: spoil(body),
      dispatcher: agent,
    });
    return { status: response.statusCode, text: await response.body.text() };
  }

  test("takes signed chunks and refuses changed, cut or nonsensical ones", async () => {
    expect((await putChunked(["hello ", "chunked ", "world"])).status).toBe(200);
    expect((await call("/artifacts/1/chunked")).text).toBe("hello chunked world");

    expect(code((await putChunked(["hello"], (text) => text.replace("hello", "jello"))).text)).toBe(
      "SignatureDoesNotMatch",
    );
    expect(code((await putChunked(["hello", "world"], (text) => text.slice(0, text.indexOf("\r\n5")))).text)).toBe(
      "IncompleteBody",
    );
    expect(code((await putChunked(["hello"], () => "zz\r\n")).text)).toBe("IncompleteBody");
    expect((await call("/artifacts/1/chunked")).text).toBe("hello chunked world");
  });

  test("takes unsigned chunks with a checksum behind them", async () => {
    const put = (checksum: string) =>
      call("/artifacts/1/trailer", {
        method: "PUT",
        headers: {
          "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
          "x-amz-trailer": "x-amz-checksum-crc32",
          "x-amz-decoded-content-length": "9",
        },
        sendBody: `9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:${checksum}\r\n\r\n`,
      });

    expect((await put("y/Q5Jg==")).status).toBe(200);
    expect((await call("/artifacts/1/trailer")).text).toBe("123456789");
    expect(code((await put("AAAAAA==")).text)).toBe("BadDigest");
  });
});

test.each([
  ["crc32", "cbf43926"],
  ["crc32c", "e3069283"],
  ["crc64nvme", "ae8b14860a799888"],
])("%s gives the check value of its definition", (name, expected) => {
  const sum = createChecksum(name);
  sum?.update(Buffer.from("12345"));
  sum?.update(Buffer.from("6789"));

  expect(Buffer.from(sum?.digest() ?? "", "base64").toString("hex")).toBe(expected);
});

import { readdir, readFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { fetchModel } from "../fetch.js";
import { type Asked, closers, contentOf, digestOf, fetchOptions, sendContent, startServer } from "../stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const readModel = async (folder: string, name = "model.onnx"): Promise<Buffer> => readFile(join(folder, "model", name));

/** A server of one file that can be told to misbehave. */
async function serveFile(content = contentOf(5000)) {
  const file = {
    content,
    etag: (): string => `"${digestOf("sha256", file.content).slice(0, 8)}"`,
    more: {} as Record<string, string>,
    fault: (_asked: Asked, _response: ServerResponse): boolean => false,
  };
  const server = await startServer((asked, response) => {
    if (file.fault(asked, response)) return;
    const match = asked.headers["if-match"];
    if (match !== undefined && match !== file.etag()) return void response.writeHead(412).end();
    sendContent(asked, response, file.content, { etag: file.etag(), ...file.more });
  });
  return { file, server, ranges: () => server.asked.map(({ headers }) => headers.range ?? "all") };
}

test("a file comes by ranges at once, a second time it is only looked at", async () => {
  const { server, ranges } = await serveFile();
  const options = await fetchOptions(`${server.url}/models/model.onnx?download=1`);

  await fetchModel(options);
  await fetchModel({ ...options, destination: join(options.folder, "again") });

  expect(await readModel(options.folder)).toEqual(contentOf(5000));
  expect(await readFile(join(options.folder, "again", "model.onnx"))).toEqual(contentOf(5000));
  expect(ranges()).toHaveLength(1 + 5 + 1);
});

test("a server without ranges sends all of it; what is cut off is read again", async () => {
  const content = contentOf(3000);
  let count = 0;
  const server = await startServer((_asked, response) => {
    count += 1;
    response.writeHead(200, { "content-length": 3000, etag: '"a"' });
    if (count === 2) response.write(content.subarray(0, 1200), () => response.destroy());
    else response.end(content);
  });
  const options = await fetchOptions(`${server.url}/model.onnx`);

  await fetchModel(options);

  expect(await readModel(options.folder)).toEqual(content);
});

test("503 and 429 are waited for as long as the server asks, a part that was cut off is read alone", async () => {
  const { file, server, ranges } = await serveFile();
  const waits: number[] = [];
  file.fault = ({ headers }, response) => {
    const before = ranges().filter((range) => range === headers.range).length;
    if (headers.range === "bytes=1000-1999" && before === 1) {
      response.writeHead(503, { "retry-after": "7" }).end();
      return true;
    }
    if (headers.range !== "bytes=3000-3999" || before > 1) return false;
    response.writeHead(206, { "content-length": 1000, "content-range": "bytes 3000-3999/5000", etag: file.etag() });
    response.write(file.content.subarray(3000, 3400), () => response.destroy());
    return true;
  };
  const options = await fetchOptions(`${server.url}/model.onnx`);

  await fetchModel({
    ...options,
    clock: {
      ...options.clock,
      sleep: async (ms) => void waits.push(ms),
    },
  });

  expect(await readModel(options.folder)).toEqual(contentOf(5000));
  expect(ranges().filter((range) => range === "bytes=0-999")).toHaveLength(1);
  expect(waits[0]).toBe(7_000);
});

test("a file that is replaced under way is read anew; one that keeps changing is given up by name", async () => {
  const { file, server } = await serveFile(contentOf(3000));
  let changes = 1;
  file.fault = ({ headers }) => {
    if (headers.range === "bytes=2000-2999" && changes > 0) {
      changes -= 1;
      file.content = Buffer.concat([file.content.subarray(0, 2999), Buffer.from([changes % 256])]);
    }
    return false;
  };
  const options = await fetchOptions(`${server.url}/model.onnx`);
  await fetchModel(options);
  const once = await readModel(options.folder);
  changes = Number.POSITIVE_INFINITY;
  let seed = 0;
  file.fault = ({ headers }) => {
    if (headers.range === "bytes=2000-2999") file.content = Buffer.concat([file.content, Buffer.from([seed++])]);
    return false;
  };

  expect(once).toEqual(Buffer.concat([contentOf(3000).subarray(0, 2999), Buffer.from([0])]));
  await expect(fetchModel({ ...options, cache: join(options.folder, "other") })).rejects.toMatchObject({
    reason: "ModelDownloadFailed",
    download: "ChangedDuringDownload",
    message: expect.stringMatching(/^ChangedDuringDownload: .*was replaced while it was read/),
  });
});

test("weak validators are held against every answer", async () => {
  const server = await startServer((asked, response, { asked: all }) =>
    sendContent(asked, response, contentOf(2500), { etag: all.length < 3 ? 'W/"a"' : 'W/"b"' }),
  );
  const options = await fetchOptions(`${server.url}/model.onnx`);

  await fetchModel(options);

  expect(server.asked.some(({ headers }) => headers["if-match"] !== undefined)).toBe(false);
  // Looked at again, and read under the new name.
  expect(server.asked.filter(({ headers }) => headers.range === "bytes=0-0")).toHaveLength(2);
});

test("a server that stops sending is given up after its time, and by name when it stays so", async () => {
  const { file, server } = await serveFile();
  file.fault = ({ headers }, response) => {
    if (headers.range !== "bytes=2000-2999") return false;
    response.writeHead(206, { "content-length": 1000, "content-range": "bytes 2000-2999/5000", etag: file.etag() });
    response.write(file.content.subarray(2000, 2100));
    return true;
  };
  const options = await fetchOptions(`${server.url}/model.onnx`);

  await expect(fetchModel({ ...options, stallMs: 60, retryForMs: -1 })).rejects.toMatchObject({
    download: "Stalled",
    transient: true,
  });
});

test.each([
  [404, "NotFound"],
  [403, "AccessDenied"],
  [401, "AccessDenied"],
])("%i is %s, at once", async (status, download) => {
  const { server } = await serveFile();
  const refusing = await startServer((_asked, response) => void response.writeHead(status).end("no"));
  const options = await fetchOptions(`${refusing.url}/model.onnx`);

  await expect(fetchModel(options)).rejects.toMatchObject({ download, transient: false });
  expect(refusing.asked).toHaveLength(1);
  expect(server.asked).toHaveLength(0);
});

test("checksums of the server and of the address are held against the content", async () => {
  const { file, server } = await serveFile();
  const right = digestOf("sha256", file.content);
  const options = await fetchOptions(`${server.url}/model.onnx#sha256=${right}`);
  await fetchModel(options);
  const wrong = await fetchOptions(`${server.url}/model.onnx#sha256=${"0".repeat(64)}`);
  file.more = { "repr-digest": `sha-256=:${digestOf("sha256", Buffer.from("other"), "base64")}:` };
  const named = await fetchOptions(`${server.url}/model.onnx`);

  expect(await readModel(options.folder)).toEqual(file.content);
  await expect(fetchModel(wrong)).rejects.toMatchObject({ download: "ChecksumMismatch" });
  await expect(fetchModel(named)).rejects.toMatchObject({ download: "ChecksumMismatch" });
  expect(await readdir(join(wrong.cache, "blobs"))).toEqual([]);
});

test("headers of a host's Secret go to that host alone; nothing of them is in messages", async () => {
  const other = await startServer((asked, response) => sendContent(asked, response, contentOf(10), { etag: '"a"' }));
  const first = await startServer((asked, response) => {
    if (asked.headers.authorization !== "Bearer hunter2") return void response.writeHead(403).end();
    response.writeHead(302, { location: `${other.url}/signed/model.onnx?signature=x` }).end();
  });
  const env = { "127.0.0.1-headers": '{"Authorization": "Bearer hunter2"}' };
  const options = await fetchOptions(`${first.url}/model.onnx`, env);
  await fetchModel(options);
  const broken = await fetchOptions(`${first.url}/model.onnx`, { "127.0.0.1-headers": '{"A": "hunter2\\r\\nB: c"}' });
  const refused = await fetchModel(broken).catch((error: unknown) => String(error));

  expect(await readModel(options.folder)).toEqual(contentOf(10));
  expect(other.asked.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  expect(refused).toContain("one that is none");
  expect(refused).not.toContain("hunter2");
});

test("a name and password in an address are for its server, and in no message", async () => {
  const wanted = `Basic ${Buffer.from("me:hunter 2").toString("base64")}`;
  const server = await startServer((asked, response) => {
    if (asked.headers.authorization !== wanted) return void response.writeHead(401).end();
    sendContent(asked, response, contentOf(10), { etag: '"a"' });
  });
  const options = await fetchOptions(`http://me:hunter%202@${server.host}/model.onnx`);
  await fetchModel(options);
  const refused = await fetchModel({
    ...options,
    uri: `http://me:hunter3@${server.host}/model.onnx?sig=hunter4`,
  }).catch(String);

  expect(await readModel(options.folder)).toEqual(contentOf(10));
  expect(refused).toMatch(/AccessDenied/);
  expect(refused).not.toMatch(/hunter/);
});

test("an empty file is a file, and an address without a name is none", async () => {
  const { server } = await serveFile(Buffer.alloc(0));
  const options = await fetchOptions(`${server.url}/empty`);
  await fetchModel(options);

  expect(await readModel(options.folder, "empty")).toHaveLength(0);
  await expect(fetchModel(await fetchOptions(`${server.url}/`))).rejects.toThrow("names no file");
  await expect(fetchModel(await fetchOptions(`${server.url}/a%zz`))).rejects.toThrow("an escape (%) that is none");
});

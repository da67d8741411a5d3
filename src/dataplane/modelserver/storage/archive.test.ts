import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { unpack } from "./archive.js";
import { fetchModel } from "./fetch.js";
import { closers, fetchOptions, sendContent, startServer, tarOf } from "./stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface ZipEntry {
  readonly name: string;
  readonly content?: string;
  readonly stored?: boolean;
  readonly mode?: number;
  /** What the directory says instead of the truth. */
  readonly size?: number;
}

/** As much of a zip as is read. */
function zipOf(...entries: readonly ZipEntry[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  for (const { name, content = "", stored = false, mode = 0o100644, size = content.length } of entries) {
    const data = stored ? Buffer.from(content) : deflateRawSync(content);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    const head = Buffer.alloc(46);
    head.writeUInt32LE(0x02014b50, 0);
    head.writeUInt16LE(stored ? 0 : 8, 10);
    head.writeUInt32LE(data.length, 20);
    head.writeUInt32LE(size, 24);
    head.writeUInt16LE(name.length, 28);
    head.writeUInt32LE(((mode << 16) >>> 0) >>> 0, 38);
    head.writeUInt32LE(Buffer.concat(parts).length, 42);
    parts.push(local, Buffer.from(name), data);
    directory.push(head, Buffer.from(name));
  }
  const [body, tail, end] = [Buffer.concat(parts), Buffer.concat(directory), Buffer.alloc(22)];
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(tail.length, 12);
  end.writeUInt32LE(body.length, 16);
  return Buffer.concat([body, tail, end]);
}

async function fetchArchive(name: string, content: Buffer) {
  const server = await startServer((asked, response) => sendContent(asked, response, content, { etag: '"a"' }));
  const options = await fetchOptions(`${server.url}/${name}`);
  await fetchModel(options);
  return options;
}

const filesIn = async (folder: string): Promise<string[]> => (await readdir(folder, { recursive: true })).sort();

test("a tar in gzip becomes the model's folder; links to its own files are copies", async () => {
  const archive = await tarOf(
    [{ name: "./", type: "directory" }],
    [{ name: "./1/model.onnx" }, "weights"],
    [{ name: "./config.json" }, "{}"],
    [{ name: "./latest.onnx", type: "symlink", linkname: "1/model.onnx" }],
    [{ name: "./same.onnx", type: "link", linkname: "./1/model.onnx" }],
  );

  const { destination } = await fetchArchive("model.tar.gz", archive);

  expect(await filesIn(destination)).toEqual(["1", "1/model.onnx", "config.json", "latest.onnx", "same.onnx"]);
  expect(await readFile(join(destination, "latest.onnx"), "utf8")).toBe("weights");
  expect((await stat(join(destination, "same.onnx"))).isFile()).toBe(true);
});

test("a zip does too, stored and deflated", async () => {
  const archive = zipOf(
    { name: "model/", stored: true },
    { name: "model/model.onnx", content: "weights".repeat(1000) },
    { name: "model/labels.txt", content: "0,1", stored: true },
  );

  const { destination } = await fetchArchive("model.zip", archive);

  expect(await filesIn(join(destination, "model"))).toEqual(["labels.txt", "model.onnx"]);
  expect(await readFile(join(destination, "model", "model.onnx"), "utf8")).toBe("weights".repeat(1000));
});

test.each([
  ["a path upwards", () => tarOf([{ name: "../evil" }, "x"]), /"..\/evil" leads out of the folder/],
  ["an absolute path", () => tarOf([{ name: "/etc/evil" }, "x"]), /leads out of the folder/],
  [
    "a link out",
    () => tarOf([{ name: "a/b", type: "symlink", linkname: "../../etc/passwd" }]),
    /is a link to .*, outside/,
  ],
  [
    "a link to a folder",
    () => tarOf([{ name: "a/f" }, "x"], [{ name: "b", type: "symlink", linkname: "a" }]),
    /is no file before it/,
  ],
  ["a device", () => tarOf([{ name: "null", type: "character-device" }]), /is a character-device/],
  [
    "an archive that ends too soon",
    async () => (await tarOf([{ name: "f" }, "x".repeat(5000)])).subarray(0, 60),
    /cannot be unpacked/,
  ],
  ["what is none", async () => Buffer.from("not an archive at all".repeat(100)), /cannot be unpacked/],
  ["a zip upwards", async () => zipOf({ name: "a/../../evil", content: "x" }), /leads out of the folder/],
  ["a zip with backslashes", async () => zipOf({ name: "..\\evil", content: "x" }), /leads out of the folder/],
  ["a zip with a link", async () => zipOf({ name: "l", content: "/etc/passwd", mode: 0o120777 }), /is a link/],
  [
    "a zip that lies",
    async () => zipOf({ name: "f", content: "x".repeat(1000), size: 10 }),
    /is larger than the directory says/,
  ],
  ["a zip without its end", async () => zipOf({ name: "f", content: "x" }).subarray(0, 40), /no directory/],
])("%s is refused, and nothing outside of the folder is written", async (_what, make, words) => {
  const archive = await make();
  const server = await startServer((asked, response) => sendContent(asked, response, archive, { etag: '"a"' }));
  const name = archive[0] === 0x50 ? "model.zip" : "model.tar.gz";
  const options = await fetchOptions(`${server.url}/${name}`);

  await expect(fetchModel(options)).rejects.toMatchObject({
    download: "InvalidArchive",
    transient: false,
    message: expect.stringMatching(words),
  });
  expect(await readdir(options.folder)).toEqual(["cache", "model"]);
  expect(await readdir(options.destination).then((names) => names.includes(".fetching"))).toBe(false);
});

test("what becomes more than was reckoned with is given up: bytes, and files", async () => {
  const options = await fetchOptions("http://127.0.0.1/x");
  const archive = join(options.folder, "model.tar.gz");
  await writeFile(archive, await tarOf([{ name: "a" }, "x".repeat(100_000)], [{ name: "b" }, "y"]));
  const into = (maxBytes: number, maxEntries: number) =>
    unpack(archive, "model", { folder: options.destination, limits: { maxBytes, maxEntries } });

  await expect(into(50_000, 10)).rejects.toThrow("makes it more than 50000 bytes");
  await expect(into(200_000, 1)).rejects.toThrow("is one of more than 1");
  await into(200_000, 2);
  expect(await filesIn(options.destination)).toEqual(["a", "b"]);
});

test("an archive for which the disk has no room is no wrong archive", async () => {
  const options = await fetchOptions("http://127.0.0.1/x");
  const archive = join(options.folder, "model.tar.gz");
  await writeFile(archive, await tarOf([{ name: "a" }, "x".repeat(100_000)]));
  const limits = { maxBytes: 200_000, maxEntries: 10, roomBytes: 50_000 };

  await expect(unpack(archive, "model", { folder: options.destination, limits })).rejects.toMatchObject({
    download: "NoSpace",
    isFull: true,
  });
});

test("links become files, and count as such", async () => {
  const options = await fetchOptions("http://127.0.0.1/x");
  const archive = join(options.folder, "model.tar.gz");
  const links = ["b", "c", "d"].map((name) => [{ name, type: "link" as const, linkname: "a" }] as const);
  await writeFile(archive, await tarOf([{ name: "a" }, ""], ...links));

  await expect(
    unpack(archive, "model", { folder: options.destination, limits: { maxBytes: 1000, maxEntries: 3 } }),
  ).rejects.toThrow('"d" is one of more than 3');
});

test("layers lie over each other: what is whited out is gone, and only the model's folder counts", async () => {
  const options = await fetchOptions("http://127.0.0.1/x");
  const layers = [
    await tarOf([{ name: "etc/passwd" }, "root"], [{ name: "models/a" }, "1"], [{ name: "models/sub/b" }, "2"]),
    await tarOf([{ name: "models/.wh.a" }], [{ name: "models/sub/.wh..wh..opq" }], [{ name: "models/c" }, "3"]),
  ];
  for (const [index, layer] of layers.entries()) {
    const archive = join(options.folder, `layer-${index}`);
    await mkdir(dirname(archive), { recursive: true });
    await writeFile(archive, layer);
    await unpack(archive, archive, {
      ...{ folder: options.destination, only: "models", isLayer: true },
      limits: { maxBytes: 1000, maxEntries: 10 },
    });
  }

  expect(await filesIn(options.destination)).toEqual(["c"]);
});

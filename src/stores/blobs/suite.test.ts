import { createHash } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seededRandom, systemClock } from "../../kernel/clock/index.js";
import { unless } from "../../testing/unless.js";
import { type BlobStore, createS3Blobs, openDirectoryBlobs } from "./index.js";
import { startS3 } from "./test-s3.js";

interface Home {
  readonly store: BlobStore;
  readonly close: () => Promise<void>;
}

async function directoryHome(): Promise<Home & { directory: string }> {
  const directory = await mkdtemp(path.join(tmpdir(), "argosy-blobs-"));
  const store = await openDirectoryBlobs({ directory, random: seededRandom(1) });
  return { store, directory, close: () => rm(directory, { recursive: true, force: true }) };
}

async function s3Home(): Promise<Home> {
  const directory = await directoryHome();
  const server = await startS3(directory.store);
  const store = createS3Blobs({ ...server.access, clock: systemClock });
  const close = async (): Promise<void> => {
    await store.close();
    await server.close();
    await directory.close();
  };
  return { store, close };
}

const homes: Record<string, () => Promise<Home>> = { directory: directoryHome, S3: s3Home };

const bytes = (text: string): Uint8Array => Buffer.from(text);
async function* stream(...parts: string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield bytes(part);
}
async function textOf(
  store: BlobStore,
  key: string,
  range?: { start: number; end?: number } | { suffix: number },
): Promise<string | undefined> {
  const read = await store.get(key, range === undefined ? {} : { range });
  if (read === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of read.body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

describe.each(Object.entries(homes))("%s home", (_, make) => {
  let home: Home;
  let store: BlobStore;
  beforeAll(async () => {
    home = await make();
    store = home.store;
  });
  afterAll(() => home.close());

  test("gives back what was put, with size, media type and an etag that follows the content", async () => {
    const put = await store.put("a/one.json", stream("[1,", "2]"));
    const again = await store.put("a/one.json", bytes("[3]"), { contentType: "application/x-mine" });

    expect(put).toMatchObject({ key: "a/one.json", sizeBytes: 5, contentType: "application/json" });
    expect(again.etag).not.toBe(put.etag);
    expect(await store.head("a/one.json")).toMatchObject({
      sizeBytes: 3,
      etag: again.etag,
      contentType: "application/x-mine",
    });
    expect(await textOf(store, "a/one.json")).toBe("[3]");
  });

  test("says undefined for what is not there, also for folders", async () => {
    await store.put("f/inner/x", bytes("x"));

    expect(await store.head("none")).toBeUndefined();
    expect(await store.get("f/inner")).toBeUndefined();
    expect(await store.delete("none")).toBe(false);
  });

  test("keeps an empty blob and a large one", async () => {
    const large = "0123456789".repeat(100_000);
    await store.put("empty", stream());
    await store.put("large", stream(large, large));

    expect(await textOf(store, "empty")).toBe("");
    expect(await textOf(store, "large")).toBe(large + large);
  });

  test("reads ranges", async () => {
    await store.put("r", bytes("0123456789"));

    expect(await textOf(store, "r", { start: 2, end: 4 })).toBe("234");
    expect(await textOf(store, "r", { start: 7 })).toBe("789");
    expect(await textOf(store, "r", { start: 7, end: 100 })).toBe("789");
    expect(await textOf(store, "r", { suffix: 3 })).toBe("789");
    expect(await textOf(store, "r", { suffix: 30 })).toBe("0123456789");
    await expect(store.get("r", { range: { start: 10 } })).rejects.toMatchObject({ code: "InvalidRange" });
  });

  test("refuses content that does not fit its checksum or bound, and keeps the old blob", async () => {
    await store.put("c", bytes("old"));

    await expect(store.put("c", stream("new"), { sha256: sha256("other") })).rejects.toMatchObject({
      code: "BadDigest",
    });
    await expect(store.put("c", stream("too", "long"), { maxBytes: 5 })).rejects.toMatchObject({ code: "TooLarge" });
    await expect(store.put("c", bytes("new"), { onlyIfAbsent: true })).rejects.toMatchObject({ code: "Exists" });
    expect(await textOf(store, "c")).toBe("old");
    await store.put("c", stream("new"), { sha256: sha256("new") });
    expect(await textOf(store, "c")).toBe("new");
  });

  test("a source that fails leaves nothing behind", async () => {
    const failing = (async function* () {
      yield bytes("half");
      throw new Error("line is cut");
    })();

    await expect(store.put("never", failing)).rejects.toThrow(/line is cut/);
    expect(await store.head("never")).toBeUndefined();
  });

  test("refuses a key under a blob, a key that is a folder, and keys that are none", async () => {
    await store.put("t/leaf", bytes("x"));

    await expect(store.put("t/leaf/under", bytes("x"))).rejects.toMatchObject({ code: "Conflict" });
    await expect(store.put("t", bytes("x"))).rejects.toMatchObject({ code: "Conflict" });
    await expect(store.put("", bytes("x"))).rejects.toMatchObject({ code: "InvalidKey" });
    await expect(store.put("k".repeat(1025), bytes("x"))).rejects.toMatchObject({ code: "InvalidKey" });
  });

  test("lists by prefix, in key order, in pages, with folders rolled up", async () => {
    const keys = ["l/a", "l/a-b", "l/b/1", "l/b/2", "l/b/c/3", "l/b.txt", "l/é", "l/😀", "l/\uffee"];
    for (const key of keys) await store.put(key, bytes(key));
    const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

    const flat = await store.list({ prefix: "l/" });
    const paged: string[] = [];
    for (let after: string | undefined = ""; after !== undefined; ) {
      const page = await store.list({ prefix: "l/", limit: 2, after });
      paged.push(...page.blobs.map((b) => b.key));
      after = page.next;
    }
    const rolled = await store.list({ prefix: "l/", delimiter: "/" });

    expect(flat.blobs.map((b) => b.key)).toEqual(sorted);
    expect(flat.next).toBeUndefined();
    expect(paged).toEqual(sorted);
    expect(rolled.prefixes).toEqual(["l/b/"]);
    expect(rolled.blobs.map((b) => b.key)).toEqual(sorted.filter((k) => !k.startsWith("l/b/")));
    expect((await store.list({ prefix: "l/b" })).blobs.map((b) => b.key)).toEqual([
      "l/b.txt",
      "l/b/1",
      "l/b/2",
      "l/b/c/3",
    ]);
    expect((await store.list({ prefix: "l/", delimiter: "/", limit: 3, after: "l/b.txt" })).prefixes).toEqual(["l/b/"]);
    expect((await store.list({ prefix: "nothing/" })).blobs).toEqual([]);
  });

  test("deleting removes the blob and the folders that it leaves empty", async () => {
    await store.put("d/x/y/z", bytes("1"));

    expect(await store.delete("d/x/y/z")).toBe(true);
    expect((await store.list({ prefix: "d", delimiter: "/" })).prefixes).toEqual([]);
    await store.put("d/x", bytes("now a blob"));
    expect(await textOf(store, "d/x")).toBe("now a blob");
  });

  test("holds awkward keys apart and gives each back as it was", async () => {
    const part = fc.oneof(
      fc.constantFrom(
        "..",
        ".",
        "%2E",
        "%",
        "a b",
        ".argosy.x",
        "\\",
        "\u0001",
        "ü",
        "a%2Fb",
        "CON",
        "~",
        "a:b",
        "'\"",
      ),
      fc.string({ minLength: 1, maxLength: 8, unit: "grapheme" }),
    );
    const keyOf = fc
      .array(
        part.map((p) => p.replaceAll("/", "_")),
        { minLength: 1, maxLength: 3 },
      )
      .map((parts) => `p/${parts.join("/")}/leaf`);
    let round = 0;
    await fc.assert(
      fc.asyncProperty(keyOf, async (key) => {
        const content = `${round++}`;
        await store.put(key, bytes(content));
        expect(await textOf(store, key)).toBe(content);
        expect((await store.list({ prefix: key })).blobs.map((b) => b.key)).toContain(key);
      }),
      { numRuns: 60 },
    );
  });

  test("puts to one key at once: one of them wins, whole", async () => {
    const contents = Array.from({ length: 8 }, (_, i) => `content ${i} `.repeat(1000));

    await Promise.all(contents.map((content) => store.put("race", stream(content.slice(0, 100), content.slice(100)))));

    expect(contents).toContain(await textOf(store, "race"));
  });
});

describe("directory home", () => {
  test("keeps plain files below the directory, private, and takes in files dropped there by hand", async () => {
    const { store, directory, close } = await directoryHome();
    await store.put("1/run/artifacts/model.txt", bytes("plain"));
    await writeFile(path.join(directory, "1/run/artifacts/dropped.txt"), "by hand");
    await writeFile(path.join(directory, "1/run/artifacts/model.txt"), "changed");

    const listed = await store.list({ prefix: "1/" });

    expect(await readFile(path.join(directory, "1/run/artifacts/model.txt"), "utf8")).toBe("changed");
    expect(listed.blobs.map((b) => [b.key, b.sha256])).toEqual([
      ["1/run/artifacts/dropped.txt", undefined],
      ["1/run/artifacts/model.txt", undefined],
    ]);
    expect(await textOf(store, "1/run/artifacts/dropped.txt")).toBe("by hand");
    await close();
  });

  test("no key leaves the directory", async () => {
    const { store, directory, close } = await directoryHome();
    await store.put("../../escape", bytes("x"));
    await store.put("/etc/passwd", bytes("x"));

    const names = await readdir(directory);

    expect(names.sort()).toEqual(["%2E.", "%_", ".argosy.tmp"]);
    await close();
  });

  test("forgets half-written uploads of a killed process", async () => {
    const { directory, close } = await directoryHome();
    await writeFile(path.join(directory, ".argosy.tmp", "left"), "half");

    const store = await openDirectoryBlobs({ directory, random: seededRandom(2) });

    expect(await readdir(path.join(directory, ".argosy.tmp"))).toEqual([]);
    expect((await store.list()).blobs).toEqual([]);
    await close();
  });

  unless(process.getuid?.() === 0 ? "root may write everywhere" : undefined)(
    "says so when the directory cannot be written",
    async () => {
      const { store, directory, close } = await directoryHome();
      await chmod(path.join(directory, ".argosy.tmp"), 0o500);

      await expect(store.put("x", bytes("x"))).rejects.toMatchObject({ code: "Unavailable" });
      await chmod(path.join(directory, ".argosy.tmp"), 0o700);
      await close();
    },
  );
});

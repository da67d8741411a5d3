import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { systemClock, systemRandom, virtualClock } from "../../../kernel/clock/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { ContentCache, keysOf } from "./cache.js";
import type { RemoteFile } from "./types.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function begin(maxBytes?: number, clock = systemClock) {
  const place = await mkdtemp(join(tmpdir(), "argosy-cache-"));
  closers.push(() => rm(place, { recursive: true, force: true }));
  const folder = join(place, "cache");
  const limit = maxBytes === undefined ? {} : { maxBytes };
  const cache = new ContentCache({ folder, clock, random: systemRandom, log: silentLogger, ...limit });
  await cache.open();
  return { place, folder, cache };
}

const sha256Of = (text: string): string => createHash("sha256").update(text).digest("hex");

const fileOf = (text: string, name = "model.onnx"): RemoteFile => ({
  ...{ name, address: `s3://bucket/${name}`, size: text.length, version: sha256Of(text), hasRanges: false },
  checksum: { algorithm: "md5", hex: createHash("md5").update(text).digest("hex") },
  read: () => Promise.reject(new TypeError("not read here")),
});

async function keep(cache: ContentCache, text: string, target: string, isOpaque = false): Promise<RemoteFile> {
  const file = fileOf(text);
  const partial = cache.partialOf(sha256Of(text));
  await writeFile(partial, text);
  await cache.keep(file, { keys: keysOf(file), partial, sha256: sha256Of(text), isOpaque }, target);
  return file;
}

test("what is kept is found under its place and, for other models, under its checksum", async () => {
  const { place, cache, folder } = await begin();
  const file = await keep(cache, "weights", join(place, "first"));
  const elsewhere = { ...fileOf("weights", "other.onnx"), version: "another" };

  expect(await cache.lay(file, keysOf(file), join(place, "again"))).toBe(true);
  expect(await cache.lay(elsewhere, keysOf(elsewhere), join(place, "elsewhere"))).toBe(true);
  expect(await cache.lay(fileOf("others"), keysOf(fileOf("others")), join(place, "no"))).toBe(false);
  expect(await readFile(join(place, "elsewhere"), "utf8")).toBe("weights");
  expect(await readdir(join(folder, "blobs"))).toEqual([sha256Of("weights")]);
});

test("a file that somebody put there under a false name is not believed, and goes", async () => {
  const { place, cache, folder } = await begin();
  const file = await keep(cache, "honest", join(place, "first"));
  await writeFile(join(folder, "blobs", sha256Of("honest")), "forged");

  expect(await cache.lay(file, keysOf(file), join(place, "second"))).toBe(false);
  expect(await readdir(join(folder, "blobs"))).toEqual([]);
  expect(await readdir(place)).toEqual(["cache", "first"]);
});

test("a key that leads to other content than the store's is not believed; what the store encrypts is known by its version", async () => {
  const { place, cache, folder } = await begin();
  const file = await keep(cache, "honest", join(place, "first"));
  await keep(cache, "forged", join(place, "second"));
  for (const key of keysOf(file)) await writeFile(join(folder, "known", key), sha256Of("forged"));
  const secret = { ...fileOf("secret"), checksum: { algorithm: "md5", hex: "0".repeat(32) } } as const;
  const partial = cache.partialOf("secret");
  await writeFile(partial, "secret");
  const checked = { keys: keysOf(secret), partial, sha256: sha256Of("secret"), isOpaque: true };
  await cache.keep(secret, checked, join(place, "third"));

  expect(await cache.lay(file, keysOf(file), join(place, "again"))).toBe(false);
  expect(await cache.lay(secret, keysOf(secret), join(place, "again"))).toBe(true);
  expect(await cache.lay({ ...secret, version: "2" }, keysOf({ ...secret, version: "2" }), join(place, "no"))).toBe(
    false,
  );
});

test("what was used longest ago goes when there is more than the budget, with its keys", async () => {
  const { place, cache, folder } = await begin(2500);
  const texts = ["a", "b", "c"].map((letter) => letter.repeat(1000));
  for (const [index, text] of texts.slice(0, 2).entries()) {
    await keep(cache, text, join(place, "model"));
    await utimes(join(folder, "blobs", sha256Of(text)), 1000 + index, 1000 + index);
  }
  const first = fileOf(texts[0] ?? "");
  await cache.lay(first, keysOf(first), join(place, "used"));
  await keep(cache, texts[2] ?? "", join(place, "model"));

  const expected = [texts[0], texts[2]].map((text = "") => sha256Of(text));
  expect((await readdir(join(folder, "blobs"))).sort()).toEqual(expected.sort());
  expect(await readdir(join(folder, "known"))).toHaveLength(4);
});

test("what is larger than the budget is laid out all the same, and what no disk holds is refused by name", async () => {
  const { place, cache, folder } = await begin(10);

  await keep(cache, "x".repeat(100), join(place, "large"));

  expect(await readFile(join(place, "large"), "utf8")).toHaveLength(100);
  expect(await readdir(join(folder, "blobs"))).toEqual([]);
  await expect(cache.makeRoom(2 ** 60, "s3://bucket/huge")).rejects.toMatchObject({
    download: "NoSpace",
    transient: false,
  });
});

test("nothing that is kept goes for what would not fit without it either, nor for what is larger than the budget", async () => {
  const { place, cache, folder } = await begin(50);
  await keep(cache, "small", join(place, "small"));

  await expect(cache.makeRoom(2 ** 60, "s3://bucket/huge")).rejects.toMatchObject({ download: "NoSpace" });
  await cache.makeRoom(100, "s3://bucket/large");
  await keep(cache, "x".repeat(100), join(place, "large"));

  expect(await readdir(join(folder, "blobs"))).toEqual([sha256Of("small")]);
  expect(await readFile(join(place, "large"), "utf8")).toHaveLength(100);
});

test("of those that want the same one works, and whoever follows one that died takes over", async () => {
  const clock = virtualClock(Date.now());
  const { cache, folder } = await begin(undefined, clock);
  const order: string[] = [];
  const work = (name: string) => async () => {
    order.push(name);
    await Promise.resolve();
    return name;
  };
  const both = await Promise.all([cache.alone("key", work("a")), cache.alone("other", work("b"))]);
  await mkdir(join(folder, "locks"), { recursive: true });
  await writeFile(join(folder, "locks", "key"), "");
  const waiting = cache.alone("key", work("late"));
  let isOver = false;
  const over = waiting.then(() => {
    isOver = true;
  });
  // As far as it takes: files are looked at in the machine's time.
  for (let turns = 0; !isOver && turns < 20_000; turns += 1) {
    await clock.advance(1000);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  await over;

  expect(both).toEqual(["a", "b"]);
  expect(await waiting).toBeUndefined();
  expect(await cache.alone("key", work("next"))).toBe("next");
  expect([...order.slice(0, 2).sort(), ...order.slice(2)]).toEqual(["a", "b", "next"]);
});

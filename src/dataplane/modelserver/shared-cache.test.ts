import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { SharedCache } from "./shared-cache.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function begin(maxBytes?: number) {
  const place = await mkdtemp(join(tmpdir(), "argosy-shared-"));
  closers.push(() => rm(place, { recursive: true, force: true }));
  const folder = join(place, "cache");
  const limit = maxBytes === undefined ? {} : { maxBytes };
  const pod = () => new SharedCache({ folder, clock: systemClock, random: systemRandom, log: silentLogger, ...limit });
  return { place, folder, pod };
}

const keyOf = (text: string) => ({ md5: createHash("md5").update(text).digest("hex"), size: Buffer.byteLength(text) });

test("what one pod gives another takes, also when several give at once", async () => {
  const { place, folder, pod } = await begin();
  const text = "model".repeat(10_000);
  const source = join(place, "source");
  await writeFile(source, text);
  const missed = await pod().take(keyOf(text), join(place, "early"));

  await Promise.all(Array.from({ length: 5 }, () => pod().give(keyOf(text), source)));
  const taken = await Promise.all(
    Array.from({ length: 5 }, (_, index) => pod().take(keyOf(text), join(place, `pod-${index}`))),
  );

  expect(missed).toBe(false);
  expect(taken).toEqual([true, true, true, true, true]);
  expect(await readFile(join(place, "pod-4"), "utf8")).toBe(text);
  expect(await readdir(folder)).toHaveLength(1);
});

test("a file that somebody put there under a false name is not believed, and goes", async () => {
  const { place, folder, pod } = await begin();
  const key = keyOf("honest");
  await mkdir(folder);
  await writeFile(join(folder, `md5-${key.md5}-${key.size}`), "forged");
  const target = join(place, "target");

  expect(await pod().take(key, target)).toBe(false);
  expect(await readdir(folder)).toEqual([]);
  await expect(stat(target)).rejects.toThrow("ENOENT");
});

test("what was used longest ago goes when there is no room, and so does what was left half written", async () => {
  const { place, folder, pod } = await begin(2500);
  const source = join(place, "source");
  const texts = ["a", "b", "c"].map((letter) => letter.repeat(1000));
  for (const [index, text] of texts.slice(0, 2).entries()) {
    await writeFile(source, text);
    await pod().give(keyOf(text), source);
    await utimes(join(folder, `md5-${keyOf(text).md5}-1000`), 1000 + index, 1000 + index);
  }
  await writeFile(join(folder, ".new-left"), "half");
  await utimes(join(folder, ".new-left"), 1000, 1000);
  await pod().take(keyOf(texts[0] ?? ""), join(place, "used"));
  await writeFile(source, texts[2] ?? "");
  await pod().give(keyOf(texts[2] ?? ""), source);

  const expected = [texts[0], texts[2]].map((text = "") => `md5-${keyOf(text).md5}-1000`);
  expect((await readdir(folder)).sort()).toEqual(expected.sort());
});

test("a cache that cannot be read or written is as if there were none", async () => {
  const { place, folder, pod } = await begin();
  const source = join(place, "source");
  await writeFile(source, "x");
  await writeFile(folder, "a file in its place");
  await pod().give(keyOf("x"), source);

  expect(await pod().take(keyOf("x"), join(place, "target"))).toBe(false);
});

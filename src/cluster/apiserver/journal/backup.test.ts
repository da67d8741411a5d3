import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { openStore } from "../store/index.js";
import { copyJournal } from "./backup.js";
import { logJournal } from "./log.js";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

test("copies of a journal under load hold everything that was acknowledged before", { timeout: 60_000 }, async () => {
  const root = mkdtempSync(join(tmpdir(), "argosy-backup-"));
  folders.push(root);
  const directory = join(root, "journal");
  // Small segments, so that old ones are given up while they are copied.
  const journal = logJournal(directory, { segmentBytes: 20_000, slackBytes: 30_000 });
  const store = openStore({ journal, clock: systemClock, retention: { ageMs: 60_000, revisions: 20, bytes: 1 << 20 } });
  const acknowledged = new Map<string, number>();
  let isRunning = true;
  const writer = async (name: string): Promise<void> => {
    const key = `//configmaps/ns/${name}`;
    while (isRunning) {
      const now = store.get(key);
      const value = { kind: "ConfigMap", metadata: { name }, data: { filler: "x".repeat(700) } };
      const { revision } =
        now === undefined ? await store.create(key, value) : await store.update(key, now.revision, value);
      acknowledged.set(key, revision);
    }
  };
  const writers = "abcdefghij".split("").map(writer);

  const copies: { readonly at: Map<string, number>; readonly target: string; readonly revision: number }[] = [];
  for (let round = 0; round < 25; round++) {
    const next = store.revision + 20;
    while (store.revision < next) await new Promise((resolve) => setImmediate(resolve));
    const at = new Map(acknowledged);
    const target = join(root, `copy-${round}`);
    copies.push({ at, target, revision: copyJournal(directory, target) });
  }
  isRunning = false;
  await Promise.all(writers);
  await store.close();

  expect(store.revision).toBeGreaterThan(400);
  for (const { at, target, revision } of copies) {
    const copy = openStore({ journal: logJournal(target), clock: systemClock });
    expect(copy.revision).toBe(revision);
    for (const [key, known] of at) expect(copy.get(key)?.revision).toBeGreaterThanOrEqual(known);
    await copy.close();
  }
});

test("what is damaged is not copied as if it were whole", () => {
  const root = mkdtempSync(join(tmpdir(), "argosy-backup-"));
  folders.push(root);
  const directory = join(root, "journal");
  void logJournal(directory).close();
  writeFileSync(join(directory, "000000000001.log"), "something else entirely");

  expect(() => copyJournal(directory, join(root, "copy"))).toThrow(/not a journal of this program/);
});

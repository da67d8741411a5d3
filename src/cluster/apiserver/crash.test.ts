import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { packageRoot } from "../../kernel/assets/index.js";
import { systemClock } from "../../kernel/clock/index.js";
import { availableSqliteDrivers, type SqliteDriverName } from "../../stores/sqlite/index.js";
import { sqliteJournal } from "./journal/sqlite.js";
import { openStore } from "./store/index.js";

/** The child runs the built program: Node cannot run this source. `npm test` builds first. */
const built = join(packageRoot(), "dist", "src", "cluster", "apiserver");
const writers = 12;
const rounds = 6;

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
const newFile = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-crash-"));
  folders.push(folder);
  return join(folder, "journal.db");
};

/** Each writer counts its own object up, deletes it at every tenth step, and says so after each acknowledgement. */
function startWriters(file: string, driver: SqliteDriverName): ChildProcess {
  const url = (path: string): string => JSON.stringify(pathToFileURL(join(built, path)).href);
  const source = `
    import { writeSync } from "node:fs";
    import { sqliteJournal } from ${url("journal/sqlite.js")};
    import { openStore } from ${url("store/index.js")};
    const store = openStore({ journal: sqliteJournal(${JSON.stringify(file)}, ${JSON.stringify(driver)}), clock: { now: () => Date.now() } });
    async function run(writer) {
      const key = "//configmaps/ns/w" + writer;
      let count = Number(store.get(key)?.value.data.count ?? 0);
      for (;;) {
        count++;
        const now = store.get(key);
        const value = { kind: "ConfigMap", metadata: { name: "w" + writer }, data: { count, filler: "x".repeat(900) } };
        if (count % 10 === 0 && now !== undefined) await store.delete(key, now.revision);
        else if (now === undefined) await store.create(key, value);
        else await store.update(key, now.revision, value);
        writeSync(1, writer + " " + count + "\\n");
      }
    }
    for (let writer = 0; writer < ${writers}; writer++) run(writer);
  `;
  return spawn(process.execPath, ["--input-type=module", "-e", source], { stdio: ["ignore", "pipe", "inherit"] });
}

/** The last acknowledged count of each writer, when the process is killed after `acknowledgements` of them. */
function killAfter(child: ChildProcess, acknowledgements: number): Promise<Map<number, number>> {
  const last = new Map<number, number>();
  return new Promise((resolve) => {
    let text = "";
    let seen = 0;
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const [writer = 0, count = 0] = line.split(" ").map(Number);
        last.set(writer, count);
        seen++;
      }
      if (seen >= acknowledgements) child.kill("SIGKILL");
    });
    child.once("close", () => resolve(last));
  });
}

describe.skipIf(!existsSync(join(built, "journal", "sqlite.js"))).each(availableSqliteDrivers())(
  "kill -9 with %s",
  (driver) => {
    test("loses no acknowledged write", { timeout: 120_000 }, async () => {
      const file = newFile();
      let acknowledged = 0;
      for (let round = 1; round <= rounds; round++) {
        const last = await killAfter(startWriters(file, driver), 40 + ((round * 97) % 200));
        const store = openStore({ journal: sqliteJournal(file, driver), clock: systemClock });
        for (const [writer, count] of last) {
          acknowledged += count;
          const data = store.get(`//configmaps/ns/w${writer}`)?.value["data"] as { count: number } | undefined;
          // The write after the last acknowledged one may or may not have reached the disk.
          const possible = [count, count + 1].map((each) => (each % 10 === 0 ? undefined : each));
          expect(possible).toContain(data?.count);
        }
        await store.close();
      }
      expect(acknowledged).toBeGreaterThan(rounds * 40);
    });
  },
);

describe("a damaged file", () => {
  async function fill(file: string): Promise<void> {
    const store = openStore({ journal: sqliteJournal(file), clock: systemClock });
    for (let index = 0; index < 50; index++) {
      await store.create(`//configmaps/ns/c${index}`, {
        metadata: { name: `c${index}` },
        data: { filler: "x".repeat(2000) },
      });
    }
    await store.close();
  }

  test("a torn tail of the log is cut off; everything before it is there", async () => {
    const file = newFile();
    const journal = sqliteJournal(file);
    journal.load();
    const entry = (revision: number) => ({
      revision,
      time: 0,
      key: `//configmaps/ns/c${revision}`,
      bytes: Buffer.from('{"metadata":{}}'),
    });
    for (let revision = 1; revision <= 20; revision++) await journal.append([entry(revision)]);
    const copy = `${file}.copy`;
    // As after a power failure in the middle of a write: the log's last pages are not whole.
    copyFileSync(file, copy);
    copyFileSync(`${file}-wal`, `${copy}-wal`);
    truncateSync(`${copy}-wal`, statSync(`${copy}-wal`).size - 10_000);

    const reopened = sqliteJournal(copy);
    const revisions = [...reopened.load().entries].map((each) => each.revision);
    await reopened.close();
    await journal.close();

    expect(revisions.length).toBeGreaterThan(15);
    expect(revisions.length).toBeLessThan(20);
    expect(revisions).toEqual(revisions.map((_, index) => index + 1));
  });

  test("a broken page is a clear error, not a crash", async () => {
    const file = newFile();
    await fill(file);
    const size = statSync(file).size;
    const handle = openSync(file, "r+");
    writeSync(handle, Buffer.alloc(size - 8192, 0x5a), 0, size - 8192, 8192);
    closeSync(handle);

    expect(() => openStore({ journal: sqliteJournal(file), clock: systemClock })).toThrow(
      /journal\.db: .*malformed|cannot be read/,
    );
  });

  test("a file of something else is a clear error", () => {
    const file = newFile();
    writeFileSync(file, "no database at all, but quite long. ".repeat(100));

    expect(() => sqliteJournal(file)).toThrow(/journal\.db: .*not a database.*restore it/);
  });
});

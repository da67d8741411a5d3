import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { packageRoot } from "../../../kernel/assets/index.js";
import { systemClock } from "../../../kernel/clock/index.js";
import { unless } from "../../../testing/unless.js";
import { openStore } from "../store/index.js";
import { JournalError } from "./errors.js";
import { logJournal } from "./log.js";
import type { JournalEntry, Retained } from "./types.js";

/** The child runs the built program: Node cannot run this source. `npm test` builds first. */
const built = join(packageRoot(), "dist", "src", "cluster", "apiserver");
const writers = 12;
const rounds = 8;
/** So that a round fills several segments, and old ones are cleaned up under way. */
const small = { segmentBytes: 20_000, slackBytes: 30_000 };
const retention = { ageMs: 60_000, revisions: 10, bytes: 1 << 20 };

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-crash-"));
  folders.push(folder);
  return join(folder, "journal");
};

/** Each writer counts its own object up, deletes it at every tenth step, and says so after each acknowledgement. */
function startWriters(folder: string): ChildProcess {
  const url = (path: string): string => JSON.stringify(pathToFileURL(join(built, path)).href);
  const source = `
    import { writeSync } from "node:fs";
    import { logJournal } from ${url("journal/log.js")};
    import { openStore } from ${url("store/index.js")};
    const store = openStore({ journal: logJournal(${JSON.stringify(folder)}, ${JSON.stringify(small)}), clock: { now: () => Date.now() }, retention: ${JSON.stringify(retention)} });
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

unless(existsSync(join(built, "journal", "log.js")) ? undefined : "nothing is built (npm run build)")(
  "kill -9 loses no acknowledged write",
  async () => {
    const folder = newFolder();
    let acknowledged = 0;
    for (let round = 1; round <= rounds; round++) {
      const last = await killAfter(startWriters(folder), 40 + ((round * 97) % 200));
      const store = openStore({ journal: logJournal(folder, small), clock: systemClock, retention });
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
    expect(readdirSync(folder)).not.toContain("000000000001.log");
  },
  120_000,
);

const entry = (revision: number): JournalEntry => ({
  revision,
  time: 0,
  key: `//configmaps/ns/c${revision}`,
  bytes: Buffer.from(JSON.stringify({ metadata: { name: `c${revision}` }, data: { filler: "x".repeat(300) } })),
});
const all: Retained = { compacted: 0, liveBytes: 0, isLive: () => true, isPast: () => true };

/** A folder as a killed process leaves it: twenty commits, none of them followed by an orderly end. */
async function killedAfterTwenty(): Promise<{ folder: string; file: string; end: number }> {
  const folder = newFolder();
  const journal = logJournal(folder, { segmentBytes: 1 << 20 });
  for (let revision = 1; revision <= 20; revision++) await journal.append([entry(revision)], all);
  const copy = `${folder}-copy`;
  cpSync(folder, copy, { recursive: true });
  await journal.close();
  const file = join(copy, "000000000001.log");
  return { folder: copy, file, end: readFileSync(file).findLastIndex((byte) => byte !== 0) + 1 };
}

async function revisionsIn(folder: string): Promise<number[]> {
  const journal = logJournal(folder);
  const revisions = [...journal.load().entries].map((each) => each.revision);
  await journal.close();
  return revisions;
}

const firstNumbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

function failureOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return String(error);
  }
  return "";
}

function garble(file: string, offset: number): void {
  const bytes = readFileSync(file);
  bytes.fill(0xa5, offset, offset + 16);
  writeFileSync(file, bytes);
}

describe("a damaged journal", () => {
  test("a torn tail is cut off; everything before it is there, and writing goes on", async () => {
    const { folder, file, end } = await killedAfterTwenty();
    truncateSync(file, end - 100);

    expect(await revisionsIn(folder)).toEqual(firstNumbers(19));
    const journal = logJournal(folder);
    await journal.append([entry(20)], all);
    await journal.close();
    expect(await revisionsIn(folder)).toEqual(firstNumbers(20));
  });

  test("a last write that is garbled was never acknowledged", async () => {
    const { folder, file, end } = await killedAfterTwenty();
    garble(file, end - 100);

    expect(await revisionsIn(folder)).toEqual(firstNumbers(19));
  });

  test("damage before finished writes is refused, with what can be done", async () => {
    const { folder, file, end } = await killedAfterTwenty();
    garble(file, Math.floor(end / 2));

    expect(() => logJournal(folder)).toThrow(
      /000000000001\.log: damaged at byte \d+, and at least \d+ finished writes.*truncate -s \d+ /,
    );
    const offered = /truncate -s (\d+)/.exec(failureOf(() => logJournal(folder)))?.[1];
    truncateSync(file, Number(offered));
    const left = await revisionsIn(folder);
    expect(left.length).toBeGreaterThan(5);
    expect(left).toEqual(firstNumbers(left.length));
  });

  test("after an orderly end, a garbled last write is noticed too", async () => {
    const folder = newFolder();
    const journal = logJournal(folder);
    for (let revision = 1; revision <= 3; revision++) await journal.append([entry(revision)], all);
    await journal.close();
    const file = join(folder, "000000000001.log");
    garble(file, statSync(file).size - 200);

    expect(() => logJournal(folder)).toThrow(/damaged at byte \d+, and at least 1 finished write /);
  });

  test("a missing segment is refused", async () => {
    const folder = newFolder();
    const journal = logJournal(folder, { segmentBytes: 1000 });
    for (let revision = 1; revision <= 20; revision++) await journal.append([entry(revision)], all);
    await journal.close();
    rmSync(join(folder, "000000000002.log"));

    expect(() => logJournal(folder)).toThrow(/000000000002\.log: missing, and later writes build on it/);
  });

  test("a file of something else is a clear error", async () => {
    const { folder, file } = await killedAfterTwenty();
    writeFileSync(file, "no journal at all, but quite long. ".repeat(100));

    expect(() => logJournal(folder)).toThrow(/not a journal of this program; restore it/);
  });

  test("a second writer is refused", async () => {
    const folder = newFolder();
    const journal = logJournal(folder);

    expect(() => logJournal(folder)).toThrow(/in use by process \d+; stop it first/);
    await journal.close();
    await logJournal(folder).close();
  });
});

test.for([
  ["one", 1],
  ["many", 10],
] as const)(
  "a disk that fills up costs nothing of what was acknowledged, %s at a time, and writes go on when there is room",
  async ([, size], { skip }) => {
    const root = mkdtempSync(join(tmpdir(), "argosy-full-"));
    folders.push(root);
    const isMounted =
      process.getuid?.() === 0 && spawnSync("mount", ["-t", "tmpfs", "-o", "size=1500k", "tmpfs", root]).status === 0;
    skip(!isMounted, "skipped, because only root can mount a small disk");
    try {
      const folder = join(root, "journal");
      const journal = logJournal(folder);
      const acknowledged: number[] = [];
      // Room for the first megabyte that is made ahead, and then for single writes only.
      for (let revision = 1; revision <= 6000; revision += size) {
        const batch = Array.from({ length: size }, (_, index) => entry(revision + index));
        const isWritten = await journal.append(batch, all).then(
          () => true,
          (error: unknown) =>
            error instanceof JournalError && error.code === "DiskFull" ? false : Promise.reject(error),
        );
        if (isWritten) acknowledged.push(...batch.map((each) => each.revision));
        else if (acknowledged.length > 0 && revision % 50 < size)
          spawnSync("mount", ["-o", `remount,size=${1500 + revision}k`, root]);
      }
      await journal.close().catch(() => undefined);
      spawnSync("mount", ["-o", "remount,size=32m", root]);

      expect(acknowledged.length).toBeGreaterThan(3000);
      expect(acknowledged.length).toBeLessThan(6000);
      expect(await revisionsIn(folder)).toEqual(acknowledged);
    } finally {
      spawnSync("umount", ["--lazy", root]);
    }
  },
);

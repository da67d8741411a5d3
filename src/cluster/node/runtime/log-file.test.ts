import { appendFileSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock, type VirtualClock, virtualClock } from "../../../kernel/clock/index.js";
import { LogFile } from "./log-file.js";

let folder = "";
let path = "";
let clock: VirtualClock;
const second = Date.UTC(2026, 0, 1);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "argosy-log-"));
  path = join(folder, "log");
  clock = virtualClock(second);
  writeFileSync(path, "");
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function read(log: LogFile, options: Parameters<LogFile["read"]>[0] = {}): Promise<string> {
  let text = "";
  for await (const chunk of log.read(options, () => true)) text += Buffer.from(chunk).toString();
  return text;
}

test("lines have the time at which they came, also after a restart of the agent", async () => {
  const log = new LogFile(path, clock);
  appendFileSync(path, "one\n");
  log.sample();
  await clock.advance(5_000);
  appendFileSync(path, "two\nthree\n");
  log.sample();

  const again = new LogFile(path, clock);

  expect(await read(again, { timestamps: true })).toBe(
    "2026-01-01T00:00:00.000000000Z one\n2026-01-01T00:00:05.000000000Z two\n2026-01-01T00:00:05.000000000Z three\n",
  );
  expect(await read(again, { sinceMs: second + 1 })).toBe("two\nthree\n");
  expect(await read(again, { tailLines: 2 })).toBe("two\nthree\n");
  expect(await read(again, { tailLines: 0 })).toBe("");
  expect(await read(again, { tailLines: 99 })).toBe("one\ntwo\nthree\n");
});

test("what was written while nobody watched is dated by the file", async () => {
  new LogFile(path, clock).sample();
  appendFileSync(path, "alone\n");

  const text = await read(new LogFile(path, clock), { timestamps: true });

  expect(text.slice(0, 19)).toBe(new Date(statSync(path).mtimeMs).toISOString().slice(0, 19));
});

test("a program that empties its log begins anew", async () => {
  const log = new LogFile(path, clock);
  appendFileSync(path, "a long first line\n");
  log.sample();
  truncateSync(path);
  appendFileSync(path, "b\n");

  expect(await read(log)).toBe("b\n");
});

test("a last line without an end is shown", async () => {
  appendFileSync(path, "one\ntwo");

  expect(await read(new LogFile(path, clock))).toBe("one\ntwo");
  expect(await read(new LogFile(path, clock), { tailLines: 1 })).toBe("two");
});

test("following gives lines as they come and ends with the container", async () => {
  const log = new LogFile(path, systemClock);
  let over = false;
  let text = "";
  appendFileSync(path, "one\n");

  for await (const chunk of log.read({ follow: true }, () => over)) {
    text += Buffer.from(chunk).toString();
    if (text === "one\n") {
      appendFileSync(path, "two\n");
      setImmediate(() => log.sample());
    } else {
      over = true;
      setImmediate(() => log.wake());
    }
  }

  expect(text).toBe("one\ntwo\n");
});

test("too long a log loses its oldest lines in place, and only whole ones", async () => {
  const log = new LogFile(path, clock);
  const line = `${"x".repeat(1023)}\n`;
  const block = line.repeat(1024);
  for (let index = 0; index < 62; index += 1) appendFileSync(path, block);
  appendFileSync(path, "last\n");
  log.sample();
  await log.settled();

  const text = await read(new LogFile(path, clock));

  expect(text.length).toBeGreaterThan(49 * 1024 * 1024);
  expect(text.length).toBeLessThan(52 * 1024 * 1024);
  expect(text.startsWith("xxx")).toBe(true);
  expect(text.indexOf("\n")).toBe(1023);
  expect(text.endsWith("x\nlast\n")).toBe(true);
  expect(statSync(path).blocks * 512).toBeLessThan(53 * 1024 * 1024);
});

test("a talkative program's index stays small, and its last times exact", async () => {
  const log = new LogFile(path, clock);
  for (let index = 0; index < 17_000; index += 1) {
    appendFileSync(path, `${index}\n`);
    log.sample();
    await clock.advance(1);
  }

  const text = await read(new LogFile(path, clock), { timestamps: true });

  expect(statSync(`${path}.index`).size).toBeLessThan(600_000);
  expect(text).toContain("2026-01-01T00:00:16.990000000Z 16990\n");
  expect(text.split("\n")).toHaveLength(17_001);
});

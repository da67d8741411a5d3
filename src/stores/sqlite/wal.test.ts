import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { availableSqliteDrivers, openSqlite } from "./index.js";
import { findWalDamage } from "./wal.js";

/** A database as a killed process leaves it: five commits of some pages each, all in the log; and where the last one begins there. */
function killedDatabase(driver: (typeof drivers)[number]): { file: string; last: number } {
  const folder = mkdtempSync(join(tmpdir(), "argosy-wal-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const database = openSqlite({ file: join(folder, "live.db"), driver });
  database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, note TEXT)");
  const insert = database.prepare("INSERT INTO t VALUES (?, ?)");
  let last = 0;
  for (let id = 1; id <= 5; id += 1) {
    last = statSync(join(folder, "live.db-wal")).size;
    database.transaction(() => insert.run([id, "x".repeat(5000)]));
  }
  const copy = join(folder, "copy.db");
  copyFileSync(join(folder, "live.db"), copy);
  copyFileSync(join(folder, "live.db-wal"), `${copy}-wal`);
  database.close();
  return { file: copy, last };
}

const drivers = availableSqliteDrivers();
const frameBytes = 4096 + 24;

function count(file: string, driver: (typeof drivers)[number]): number {
  const database = openSqlite({ file, driver });
  const rows = database.prepare("SELECT id FROM t").all().length;
  database.close();
  return rows;
}

function garble(file: string, offset: number): void {
  const bytes = readFileSync(file);
  bytes.writeUInt8((bytes.readUInt8(offset) + 1) % 256, offset);
  writeFileSync(file, bytes);
}

test.each(drivers)("%s: a whole log holds everything, a log cut inside the last commit all before it", (driver) => {
  const { file, last } = killedDatabase(driver);
  expect(findWalDamage(file)).toBeUndefined();

  truncateSync(`${file}-wal`, last + frameBytes + 100);
  expect(findWalDamage(file)).toBeUndefined();
  expect(count(file, driver)).toBe(4);
});

test.each(drivers)("%s: a garbled last commit is as good as torn", (driver) => {
  const { file, last } = killedDatabase(driver);
  garble(`${file}-wal`, last + 2000);
  expect(findWalDamage(file)).toEqual({ offset: last, lostCommits: 0 });
  expect(count(file, driver)).toBe(4);
});

test.each(drivers)("%s: damage before finished commits is refused, with the way to give them up", (driver) => {
  const { file, last } = killedDatabase(driver);
  const whole = readFileSync(`${file}-wal`);
  for (let offset = 32; offset < last; offset += 1031) {
    writeFileSync(`${file}-wal`, whole);
    garble(`${file}-wal`, offset);
    const damage = findWalDamage(file);
    expect(damage?.lostCommits).toBeGreaterThan(0);
    expect(() => openSqlite({ file, driver })).toThrow(/-wal: damaged at byte \d+.*truncate -s/);
  }
  truncateSync(`${file}-wal`, findWalDamage(file)?.offset ?? 0);
  expect(() => openSqlite({ file, driver }).close()).not.toThrow();
});

test.each(drivers)("%s: a garbled head of the log is refused; frames of an earlier round are no damage", (driver) => {
  const { file } = killedDatabase(driver);
  const whole = readFileSync(`${file}-wal`);
  garble(`${file}-wal`, 5);
  expect(findWalDamage(file)).toMatchObject({ offset: 0 });
  expect(() => openSqlite({ file, driver })).toThrow(/damaged at byte 0/);

  const old = Buffer.from(whole.subarray(32, 32 + 3 * frameBytes));
  for (let frame = 0; frame < 3; frame += 1) {
    old.writeUInt32BE(1, frame * frameBytes + 8);
  }
  writeFileSync(`${file}-wal`, Buffer.concat([whole, old]));
  expect(findWalDamage(file)).toBeUndefined();
  expect(count(file, driver)).toBe(5);
});

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { availableSqliteDrivers, copySqlite, openSqlite } from "./index.js";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

test.each(availableSqliteDrivers())("%s: a copy of an open database holds every commit so far", (driver) => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-sqlite-copy-"));
  folders.push(folder);
  const file = join(folder, "records.db");
  const database = openSqlite({ file, driver });
  database.exec("CREATE TABLE runs (id INTEGER PRIMARY KEY, filler TEXT)");
  const insert = database.prepare("INSERT INTO runs (filler) VALUES (?)");
  const counts: number[] = [];
  for (let round = 1; round <= 8; round++) {
    // Past the size at which the log is moved into the file, and begun anew.
    for (let row = 0; row < 60; row++) insert.run(["x".repeat(1000)]);
    const target = join(folder, `copy-${round}.db`);
    copySqlite(file, target);
    const copy = openSqlite({ file: target, driver });
    counts.push(Number(copy.prepare("SELECT count(*) AS rows FROM runs").get()?.["rows"]));
    copy.close();
  }
  database.close();

  expect(counts).toEqual([60, 120, 180, 240, 300, 360, 420, 480]);
});

test("no database, no copy", () => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-sqlite-copy-"));
  folders.push(folder);

  expect(() => copySqlite(join(folder, "none.db"), join(folder, "copy.db"))).toThrow(/none\.db/);
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { availableSqliteDrivers, openSqlite, SqliteError } from "./index.js";

const folders: string[] = [];
const newFile = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-sqlite-"));
  folders.push(folder);
  return join(folder, "test.db");
};
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return error instanceof SqliteError ? error.code : `other: ${String(error)}`;
  }
  return "none";
};

describe.each(availableSqliteDrivers())("%s", (driver) => {
  test("keeps what was committed and nothing of what was rolled back", () => {
    const file = newFile();
    const first = openSqlite({ file, driver });
    first.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB, note TEXT)");
    const insert = first.prepare("INSERT INTO t VALUES (?, ?, ?)");
    first.transaction(() => insert.run([1, new Uint8Array([1, 2, 255]), "é"]));
    expect(() =>
      first.transaction(() => {
        insert.run([2, null, "gone"]);
        throw new RangeError("stop");
      }),
    ).toThrow("stop");
    first.close();

    const second = openSqlite({ file, driver });
    const rows = second.prepare("SELECT id, body, note FROM t").all();
    second.close();

    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ id: 1, note: "é" });
    expect(rows[0]?.["body"]).toEqual(new Uint8Array([1, 2, 255]));
  });

  test("refuses a second writer, and takes over from a dead one", () => {
    const file = newFile();
    const first = openSqlite({ file, driver });
    expect(codeOf(() => openSqlite({ file, driver }))).toBe("DatabaseInUse");
    first.close();

    writeFileSync(`${file}.owner`, "999999999 1\n");
    mkdirSync(`${file}.lock`);
    const heir = openSqlite({ file, driver });
    heir.exec("CREATE TABLE t(id INTEGER)");
    heir.close();
  });

  test("says what is wrong with a file that is no database", () => {
    const file = newFile();
    writeFileSync(file, "this is certainly not a database file, but long enough to be looked at".repeat(20));

    expect(codeOf(() => openSqlite({ file, driver }))).toBe("CorruptDatabase");
    expect(codeOf(() => openSqlite({ file: join(file, "x", "y.db"), driver }))).toBe("DiskError");
  });

  test("names a violated constraint", () => {
    const database = openSqlite({ file: newFile(), driver });
    database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY)");
    const insert = database.prepare("INSERT INTO t VALUES (?)");
    insert.run([1]);

    expect(codeOf(() => insert.run([1]))).toBe("ConstraintViolated");
    expect(codeOf(() => database.exec("SELEC 1"))).toBe("SqlError");
    expect(database.prepare("SELECT count(*) AS n FROM t").get()).toEqual({ n: 1 });
    database.close();
  });
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { sql } from "kysely";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { type Migration, openSqliteRecords, type Records } from "./index.js";

interface Tables {
  notes: { id: number; text: string; score: number | null };
}
const migrations: Migration[] = [
  {
    name: "notes",
    statements: ["CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT NOT NULL, score DOUBLE PRECISION)"],
  },
];

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function home(): Promise<{ file: string; open: () => Records }> {
  const directory = await mkdtemp(path.join(tmpdir(), "argosy-records-"));
  cleanups.push(() => rm(directory, { recursive: true }));
  const file = path.join(directory, "records.db");
  const open = (): Records => {
    const records = openSqliteRecords({ file, clock: systemClock });
    cleanups.push(() => records.close());
    return records;
  };
  return { file, open };
}

test("keeps what was written after closing and opening again, and migrates once", async () => {
  const { open } = await home();
  const first = open();
  const notes = await first.tables<Tables>("notes", migrations);
  await notes.write((db) => db.insertInto("notes").values({ id: 1, text: "a", score: 0.5 }).execute());
  await first.close();

  const more: Migration[] = [...migrations, { name: "index", statements: ["CREATE INDEX notes_text ON notes (text)"] }];
  const second = await open().tables<Tables>("notes", more);

  expect(await second.read.selectFrom("notes").selectAll().execute()).toEqual([{ id: 1, text: "a", score: 0.5 }]);
});

test("refuses a file whose schema is newer than the program", async () => {
  const { open } = await home();
  const first = open();
  await first.tables("notes", [...migrations, { name: "later", statements: [] }]);
  await first.close();

  await expect(open().tables("notes", migrations)).rejects.toThrow(/another version/);
});

test("undoes only the write that failed, also when several share a commit", async () => {
  const { open } = await home();
  const notes = await open().tables<Tables>("notes", migrations);
  const insert = (id: number, text: string) =>
    notes.write((db) => db.insertInto("notes").values({ id, text, score: null }).execute());

  const outcomes = await Promise.allSettled([
    insert(1, "a"),
    insert(1, "double"),
    insert(2, "b"),
    notes.write(() => Promise.reject(new Error("mine"))),
  ]);

  expect(outcomes.map((o) => o.status)).toEqual(["fulfilled", "rejected", "fulfilled", "rejected"]);
  expect((outcomes[3] as PromiseRejectedResult).reason).toMatchObject({ message: "mine" });
  expect(await notes.read.selectFrom("notes").select("text").orderBy("id").execute()).toEqual([
    { text: "a" },
    { text: "b" },
  ]);
});

test("reads wait for a write under way and never see half of it", async () => {
  const { open } = await home();
  const notes = await open().tables<Tables>("notes", migrations);
  const count = async () =>
    (
      await notes.read
        .selectFrom("notes")
        .select((e) => e.fn.countAll<number>().as("n"))
        .executeTakeFirstOrThrow()
    ).n;

  const writing = notes.write(async (db) => {
    for (let id = 0; id < 20; id++) await db.insertInto("notes").values({ id, text: "x", score: null }).execute();
  });
  const seen = await Promise.all([count(), count()]);
  await writing;

  expect(seen.every((n) => n === 0 || n === 20)).toBe(true);
  expect(await count()).toBe(20);
});

test("LIKE minds case, and upsert counts its rows", async () => {
  const { open } = await home();
  const notes = await open().tables<Tables>("notes", migrations);
  await notes.write((db) =>
    db
      .insertInto("notes")
      .values([
        { id: 1, text: "Alpha", score: 1 },
        { id: 2, text: "alpha", score: 2 },
      ])
      .execute(),
  );

  const found = await notes.read.selectFrom("notes").select("id").where("text", "like", "a%").execute();
  const [changed] = await notes.write((db) =>
    db
      .insertInto("notes")
      .values({ id: 2, text: "beta", score: 3 })
      .onConflict((c) => c.column("id").doUpdateSet({ text: sql`excluded.text` }))
      .execute(),
  );

  expect(found).toEqual([{ id: 2 }]);
  expect(changed?.numInsertedOrUpdatedRows).toBe(1n);
});

test("a closed store refuses writes and finishes the ones it took", async () => {
  const { open } = await home();
  const records = open();
  const notes = await records.tables<Tables>("notes", migrations);
  const pending = notes.write((db) => db.insertInto("notes").values({ id: 1, text: "a", score: null }).execute());

  const closed = records.close();

  await expect(pending).resolves.toHaveLength(1);
  await closed;
  await expect(notes.write(async () => 1)).rejects.toMatchObject({ code: "Closed" });
});

test("a full disk refuses writes, keeps what there is, and takes writes again when there is room", async () => {
  const { open } = await home();
  const notes = await open().tables<Tables>("notes", migrations);
  const insert = (id: number, text: string) =>
    notes.write((db) => db.insertInto("notes").values({ id, text, score: null }).execute());
  await insert(1, "kept");
  await sql`PRAGMA max_page_count = 12`.execute(notes.read);

  await expect(insert(2, "x".repeat(100_000))).rejects.toMatchObject({
    code: "NoSpace",
    message: expect.stringContaining("free some space"),
  });
  expect(await notes.read.selectFrom("notes").select("text").execute()).toEqual([{ text: "kept" }]);
  await sql`PRAGMA max_page_count = 100000`.execute(notes.read);
  await insert(2, "x".repeat(100_000));

  expect(await notes.read.selectFrom("notes").select("id").execute()).toHaveLength(2);
});

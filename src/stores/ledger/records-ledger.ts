import type { Kysely } from "kysely";
import type { Clock, Timer } from "../../kernel/clock/index.js";
import type { Logger } from "../../kernel/log/index.js";
import type { Migration, Records, RecordTables } from "../records/index.js";
import { parseDecision } from "./decode.js";
import { createDedupe } from "./dedupe.js";
import { limitOf } from "./memory.js";
import type { Decision, DecisionQuery, Ledger, RecordedDecision } from "./types.js";

export interface RecordsLedgerOptions {
  readonly records: Records;
  readonly clock: Clock;
  readonly log: Logger;
  /** Decisions older than this go; default 30 days. */
  readonly retentionMs?: number;
  /** Beyond this many the oldest go; default 100,000. */
  readonly maxDecisions?: number;
  /** Decisions that may wait to be written; more are counted as lost. Default 10,000. */
  readonly bufferSize?: number;
  /** How long a decision may wait to be written; default 100. Where many come, the next ones wait five times as long and are written together. */
  readonly flushMs?: number;
}

/** A ledger in SQL, with a count of what it had to drop. */
export interface RecordsLedger extends Ledger {
  /** Decisions lost because the buffer was full or the store failed. */
  readonly lost: number;
}

interface LedgerTables {
  ledger_decisions: DecisionRow;
}

interface DecisionRow {
  id: number;
  time_ms: number;
  cluster: string;
  kind: string;
  namespace: string;
  name: string;
  topic: string;
  decision: string;
}

const migrations: readonly Migration[] = [
  {
    name: "decisions",
    statements: [
      `CREATE TABLE ledger_decisions (id BIGINT PRIMARY KEY, time_ms BIGINT NOT NULL, cluster TEXT NOT NULL, kind TEXT NOT NULL,
        namespace TEXT NOT NULL, name TEXT NOT NULL, topic TEXT NOT NULL, decision TEXT NOT NULL)`,
      "CREATE INDEX ledger_by_object ON ledger_decisions (kind, name, namespace, id)",
      "CREATE INDEX ledger_by_time ON ledger_decisions (time_ms)",
    ],
  },
];

const DAY_MS = 86_400_000;
/** One in so many flushes also clears away what is too old. */
const CLEAN_EVERY = 100;
/** With so many rows in one flush there are many decisions: each flush is a commit that reaches the disk, and costs the same for more. */
const MANY_ROWS = 16;
const PATIENCE = 5;
/** Rows whose content is known after a restart, so that unchanged decisions are not written again. */
const REMEMBERED_ROWS = 2000;

/** The ledger over the record store: decisions wait in a bounded buffer and are written in batches. */
export async function openLedger(options: RecordsLedgerOptions): Promise<RecordsLedger> {
  const tables = await options.records.tables<LedgerTables>("ledger", migrations);
  const writer = await ledgerWriter(options, tables);
  return {
    get lost() {
      return writer.lost;
    },
    record: (decision) => writer.add(decision),
    query: async (query) => {
      await writer.flush();
      return findDecisions(tables.read, query);
    },
    flush: () => writer.flush(),
    close: () => writer.close(),
  };
}

function newestRows(db: Kysely<LedgerTables>): Promise<DecisionRow[]> {
  return db.selectFrom("ledger_decisions").selectAll().orderBy("id", "desc").limit(REMEMBERED_ROWS).execute();
}

interface LedgerWriter {
  readonly lost: number;
  add(decision: Decision): void;
  flush(): Promise<void>;
  close(): Promise<void>;
}

async function ledgerWriter(options: RecordsLedgerOptions, tables: RecordTables<LedgerTables>): Promise<LedgerWriter> {
  const { clock, log, bufferSize = 10_000, flushMs = 100 } = options;
  const dedupe = createDedupe();
  const newest = await newestRows(tables.read);
  let nextId = Number(newest[0]?.id ?? 0) + 1;
  for (const row of newest.reverse()) dedupe.remember(parseDecision(row));

  let buffer: DecisionRow[] = [];
  let lost = 0;
  let flushes = 0;
  let closed = false;
  let isBusy = false;
  let timer: Timer | undefined;
  let writing = Promise.resolve();

  const write = async (): Promise<void> => {
    const rows = buffer;
    buffer = [];
    isBusy = rows.length >= MANY_ROWS;
    if (rows.length === 0) return;
    try {
      await tables.write(async (db) => {
        await insertRows(db, rows);
        if (flushes++ % CLEAN_EVERY === 0) await clean(db, options, clock.now());
      });
    } catch (error) {
      lost += rows.length;
      log.warn("decisions could not be recorded", { err: error, count: rows.length });
    }
  };
  const flush = (): Promise<void> => {
    timer?.cancel();
    timer = undefined;
    writing = writing.then(write);
    return writing;
  };
  return {
    get lost() {
      return lost;
    },
    add: (decision) => {
      try {
        if (closed || buffer.length >= bufferSize) {
          lost += 1;
          return;
        }
        if (!dedupe.isNew(decision)) return;
        buffer.push(toRow(decision, nextId++, clock.now()));
        timer ??= clock.setTimer(isBusy ? PATIENCE * flushMs : flushMs, () => void flush());
      } catch (error) {
        // Inputs that are no JSON (a cycle, say) are the caller's mistake, but no reason to fail what it decided.
        lost += 1;
        log.warn("a decision could not be recorded", { err: error, topic: decision.topic });
      }
    },
    flush,
    close: async () => {
      closed = true;
      await flush();
    },
  };
}

async function insertRows(db: Kysely<LedgerTables>, rows: readonly DecisionRow[]): Promise<void> {
  for (let start = 0; start < rows.length; start += 100) {
    await db
      .insertInto("ledger_decisions")
      .values(rows.slice(start, start + 100))
      .execute();
  }
}

function toRow(decision: Decision, id: number, now: number): DecisionRow {
  const { cluster, about, topic } = decision;
  return {
    id,
    time_ms: now,
    cluster,
    kind: about.kind,
    namespace: about.namespace ?? "",
    name: about.name,
    topic,
    decision: JSON.stringify(decision),
  };
}

async function clean(db: Kysely<LedgerTables>, options: RecordsLedgerOptions, now: number): Promise<void> {
  const { retentionMs = 30 * DAY_MS, maxDecisions = 100_000 } = options;
  await db
    .deleteFrom("ledger_decisions")
    .where("time_ms", "<", now - retentionMs)
    .execute();
  const { last } = await db
    .selectFrom("ledger_decisions")
    .select((e) => e.fn.max("id").as("last"))
    .executeTakeFirstOrThrow();
  if (last !== null) {
    await db
      .deleteFrom("ledger_decisions")
      .where("id", "<=", Number(last) - maxDecisions)
      .execute();
  }
}

async function findDecisions(db: Kysely<LedgerTables>, query: DecisionQuery): Promise<readonly RecordedDecision[]> {
  let select = db.selectFrom("ledger_decisions").selectAll().orderBy("id", "desc").limit(limitOf(query));
  for (const column of ["cluster", "kind", "namespace", "name", "topic"] as const) {
    const value = query[column];
    if (value !== undefined) select = select.where(column, "=", value);
  }
  const rows = await select.execute();
  return rows.map((row) => ({
    ...parseDecision(row),
    id: Number(row.id),
    time: new Date(Number(row.time_ms)).toISOString(),
  }));
}

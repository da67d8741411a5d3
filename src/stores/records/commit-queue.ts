import { type Kysely, sql } from "kysely";
import { RecordsError } from "./types.js";

/** Writes that share a commit at most; bounds how long a read waits behind them. */
const MAX_BATCH = 64;

type Work<T> = (transaction: Kysely<unknown>) => Promise<T>;

interface QueuedWrite {
  /** Runs the work; on failure remembers the error and reports false. Never rejects. */
  run(transaction: Kysely<unknown>): Promise<boolean>;
  /** Tells the caller how it ended; an error here is that of the commit. */
  settle(commitError?: unknown): void;
}

export interface CommitQueue {
  write<T>(work: Work<T>): Promise<T>;
  /** Refuses new writes, resolves when the queued ones are done. */
  close(): Promise<void>;
}

/**
 * Group commit: what arrived while the last commit ran is written in one transaction, each part under a savepoint of its own,
 * so that one that fails undoes only itself.
 */
export function commitQueue(database: Kysely<unknown>): CommitQueue {
  const queue: QueuedWrite[] = [];
  let closed = false;
  let pump: Promise<void> | undefined;

  const drain = async (): Promise<void> => {
    while (queue.length > 0) await commitBatch(database, queue.splice(0, MAX_BATCH));
    pump = undefined;
  };
  return {
    write: (work) =>
      new Promise((resolve, reject) => {
        if (closed) {
          reject(new RecordsError("Closed", "the record store is closed"));
          return;
        }
        queue.push(queuedWrite(work, resolve, reject));
        pump ??= drain();
      }),
    close: async () => {
      closed = true;
      await pump;
    },
  };
}

function queuedWrite<T>(work: Work<T>, resolve: (value: T) => void, reject: (error: unknown) => void): QueuedWrite {
  let outcome: { readonly value: T } | { readonly error: unknown } | undefined;
  return {
    run: async (transaction) => {
      try {
        outcome = { value: await work(transaction) };
        return true;
      } catch (error) {
        outcome = { error };
        return false;
      }
    },
    settle: (commitError) => {
      if (outcome !== undefined && "error" in outcome) reject(outcome.error);
      else if (commitError !== undefined || outcome === undefined) reject(commitError);
      else resolve(outcome.value);
    },
  };
}

async function commitBatch(database: Kysely<unknown>, batch: readonly QueuedWrite[]): Promise<void> {
  let failure: unknown;
  try {
    await database.connection().execute(async (connection) => {
      await sql`BEGIN IMMEDIATE`.execute(connection);
      try {
        for (const write of batch) await runInSavepoint(connection, write);
        await sql`COMMIT`.execute(connection);
      } catch (error) {
        // SQLite rolls back by itself after some failures (full disk); then there is nothing left to undo.
        await sql`ROLLBACK`.execute(connection).catch(() => undefined);
        throw error;
      }
    });
  } catch (error) {
    failure = error;
  }
  for (const write of batch) write.settle(failure);
}

async function runInSavepoint(connection: Kysely<unknown>, write: QueuedWrite): Promise<void> {
  await sql`SAVEPOINT one_write`.execute(connection);
  if (!(await write.run(connection))) await sql`ROLLBACK TO one_write`.execute(connection);
  await sql`RELEASE one_write`.execute(connection);
}

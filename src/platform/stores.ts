import { type BlobStore, openDirectoryBlobs } from "../stores/blobs/index.js";
import { type Ledger, openLedger } from "../stores/ledger/index.js";
import { openSqliteRecords, type Records } from "../stores/records/index.js";
import type { Surroundings } from "./access.js";
import type { Closers } from "./closers.js";
import type { Layout } from "./layout.js";

/** State that is no resource: records, decisions, artifacts. */
export interface Stores {
  readonly records: Records;
  readonly ledger: Ledger;
  readonly blobs: BlobStore;
}

/** Opens the embedded home of each store. */
export async function openStores(layout: Layout, surroundings: Surroundings, closers: Closers): Promise<Stores> {
  const { clock, random, log } = surroundings;
  const records = openSqliteRecords({ file: layout.records, clock });
  closers.add(() => records.close());
  const ledger = await openLedger({ records, clock, log });
  closers.add(() => ledger.close());
  const blobs = await openDirectoryBlobs({ directory: layout.artifacts, random });
  return { records, ledger, blobs };
}

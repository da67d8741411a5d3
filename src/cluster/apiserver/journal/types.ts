/** One write: the object's bytes after it, or none when it was deleted. */
export interface JournalEntry {
  readonly revision: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly key: string;
  readonly bytes: Uint8Array | undefined;
}

/** What a journal holds when it is opened. */
export interface JournalContent {
  /** Entries after this revision are complete; before it only the live ones are left. */
  readonly compacted: number;
  /** In order of revision. */
  readonly entries: Iterable<JournalEntry>;
}

/** What a compaction gives up, together with the next append. */
export interface Compaction {
  readonly compacted: number;
  /** Revisions whose entries nobody can ask for any more. */
  readonly garbage: readonly number[];
}

/** The durable home of a store: an append-only sequence of writes. One caller, one append at a time. */
export interface Journal {
  /** Called once, first. Throws `JournalError` when what is on the disk cannot be read. */
  load(): JournalContent;
  /** Resolves when all entries are on the disk; on a failure none is. */
  append(entries: readonly JournalEntry[], compaction?: Compaction): Promise<void>;
  close(): Promise<void>;
}

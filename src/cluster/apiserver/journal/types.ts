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
  /** Writes after this revision are complete and in order of revision. */
  readonly compacted: number;
  /**
   * To be read once. The writes of one key are in order of revision, so the last one tells what it holds; up to `compacted`
   * superseded writes may be missing, and writes of different keys may be in any order.
   */
  readonly entries: Iterable<JournalEntry>;
}

/** What of the past is still asked for; a journal may forget the rest. */
export interface Retained {
  /** Nobody asks for writes up to this revision any more, unless they are live. Never falls. */
  readonly compacted: number;
  /** Encoded size of all live objects. */
  readonly liveBytes: number;
  /** Whether the write of `revision` is what `key` still holds. */
  isLive(key: string, revision: number): boolean;
  /** Whether the write of `revision`, though superseded, is part of a past state that a list or watch may still ask for. */
  isPast(revision: number): boolean;
}

/** The durable home of a store: an append-only sequence of writes. One caller, one append at a time. */
export interface Journal {
  /** Called once, first. Throws `JournalError` when what is on the disk cannot be read. */
  load(): JournalContent;
  /** Resolves when all entries are on the disk; on a failure (`JournalError`) none is. */
  append(entries: readonly JournalEntry[], retained: Retained): Promise<void>;
  close(): Promise<void>;
}

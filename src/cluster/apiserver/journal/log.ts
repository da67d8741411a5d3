import { mkdirSync, rmSync } from "node:fs";
import { type FileLock, lockFile } from "../../../kernel/files/index.js";
import { JournalError, toJournalError } from "./errors.js";
import { encodeFrame, entriesOf, entryBytes, type Frame, type FrameHead, frameAt } from "./frame.js";
import { type Recovered, recover, type SealedSegment } from "./recovery.js";
import { firstFrameAt, OpenSegment, readSegment, segmentFile } from "./segment.js";
import type { Journal, JournalContent, JournalEntry, Retained } from "./types.js";

/** How large files grow. Defaults hold for a laptop; tests take smaller ones. */
export interface LogJournalOptions {
  /** A segment is closed when it has reached this size. */
  readonly segmentBytes?: number;
  /** Besides twice the live objects, this much of the past may lie on the disk before it is cleaned up. */
  readonly slackBytes?: number;
}

/** So many writers at once have others behind them: the event loop serves those while the disk is at work, and their writes share the next sync. */
const manyEntries = 3;

/** What one commit copies at most while an old segment is cleaned up: bounds the pause. */
const copyBytesPerCommit = 256 * 1024;

/**
 * A journal in a folder of its own: commits are appended to numbered segments and synced (`frame.ts` has the layout). When
 * the past outgrows the live objects, the oldest segment is cleaned up: what is live in it is copied to the end, a piece with
 * each commit, and then the file goes. So the oldest segment always goes first, and a deletion outlives what it deletes.
 * Throws `JournalError` when the folder is in use or not writable.
 */
export function logJournal(directory: string, options: LogJournalOptions = {}): Journal {
  let lock: FileLock | undefined;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    lock = lockFile(directory);
    const recovered = recover(directory);
    for (const number of recovered.leftOver) rmSync(segmentFile(directory, number), { force: true });
    return new LogJournal({ directory, lock, options, recovered });
  } catch (error) {
    lock?.release();
    throw toJournalError(directory, error);
  }
}

interface Opened {
  readonly directory: string;
  readonly lock: FileLock;
  readonly options: LogJournalOptions;
  readonly recovered: Recovered;
}

/** Where the copying of the oldest segment stands. */
interface Cleaning {
  readonly content: Buffer;
  frame: Frame | undefined;
  /** Entries of `frame` that are already dealt with. */
  done: number;
}

/** What a commit copies, and where the copying then stands. */
interface Copy {
  readonly entries: readonly JournalEntry[];
  readonly next: Pick<Cleaning, "frame" | "done">;
  /** States of the past were left out: after a restart they cannot be asked for. */
  readonly forgetsPast: boolean;
}

/** What goes to the disk as one frame, and what then holds. */
interface Commit {
  readonly head: FrameHead;
  readonly frame: Buffer;
  readonly copy: Copy;
  /** The segment that nobody needs any more when the frame is there. */
  readonly cleaned: SealedSegment | undefined;
}

const noCopy: Copy = { entries: [], next: { frame: undefined, done: 0 }, forgetsPast: false };

class LogJournal implements Journal {
  readonly #directory: string;
  readonly #lock: FileLock;
  readonly #segmentBytes: number;
  readonly #slackBytes: number;
  #sealed: SealedSegment[];
  #open: OpenSegment;
  #revision: number;
  #totalBytes: number;
  #sequence: number;
  #compacted: number;
  #content: JournalContent | undefined;
  #cleaning: Cleaning | undefined;
  #hasWritten = false;
  #isClosed = false;

  constructor({ directory, lock, options, recovered }: Opened) {
    this.#directory = directory;
    this.#lock = lock;
    this.#segmentBytes = options.segmentBytes ?? 8 * 1024 * 1024;
    this.#slackBytes = options.slackBytes ?? 32 * 1024 * 1024;
    const last = recovered.segments.at(-1);
    this.#sealed = recovered.segments.slice(0, -1);
    this.#open =
      last === undefined ? OpenSegment.create(directory, 1) : OpenSegment.resume(directory, last.number, last.bytes);
    this.#revision = Math.max(0, ...recovered.segments.map(({ revision }) => revision));
    this.#totalBytes = this.#sealed.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#sequence = recovered.sequence;
    this.#compacted = recovered.compacted;
    this.#content = { compacted: recovered.compacted, entries: recovered.entries };
  }

  load(): JournalContent {
    const content = this.#content;
    if (content === undefined) throw new JournalError("JournalUnreadable", `${this.#directory}: already read`);
    this.#content = undefined;
    return content;
  }

  async append(entries: readonly JournalEntry[], retained: Retained): Promise<void> {
    try {
      if (this.#open.end >= this.#segmentBytes) this.#roll();
      this.#cleaning ??= this.#startCleaning(retained);
      const copy = this.#cleaning === undefined ? noCopy : nextCopy(this.#cleaning, retained);
      const past = copy.forgetsPast ? this.#revision : 0;
      const commit = this.#prepare(entries, Math.max(this.#compacted, retained.compacted, past), copy);
      if (entries.length < manyEntries) this.#open.append(commit.frame);
      else await this.#open.appendSoon(commit.frame);
      this.#finish(commit);
    } catch (error) {
      throw toJournalError(this.#open.file, error);
    }
  }

  #prepare(entries: readonly JournalEntry[], compacted: number, copy: Copy): Commit {
    const isLastCopy = copy !== noCopy && copy.next.frame === undefined;
    const cleaned = this.#cleaning !== undefined && isLastCopy ? this.#sealed[0] : undefined;
    const firstSegment = this.#sealed[cleaned === undefined ? 0 : 1]?.number ?? this.#open.number;
    // Copies first: what the entries themselves supersede is still live now.
    const all = copy.entries.length === 0 ? entries : [...copy.entries, ...entries];
    const sequence = this.#sequence + 1;
    const revision = entries.reduce((max, entry) => Math.max(max, entry.revision), this.#revision);
    const head = { sequence, compacted, firstSegment, revision };
    return { head, frame: encodeFrame(head, all), copy, cleaned };
  }

  /** The frame is on the disk. */
  #finish({ head, copy, cleaned }: Commit): void {
    this.#sequence = head.sequence;
    this.#revision = head.revision;
    this.#compacted = head.compacted;
    this.#hasWritten = true;
    if (this.#cleaning !== undefined && copy !== noCopy) Object.assign(this.#cleaning, copy.next);
    if (cleaned !== undefined) this.#drop(cleaned);
  }

  /** Goes on in a new segment. A failure leaves the current one open. */
  #roll(): void {
    const next = OpenSegment.create(this.#directory, this.#open.number + 1);
    const { number, end } = this.#open;
    try {
      this.#open.seal();
    } finally {
      // Its frames are on the disk in any case.
      this.#sealed.push({ number, bytes: end, revision: this.#revision });
      this.#totalBytes += end;
      this.#open = next;
    }
  }

  #startCleaning({ compacted, liveBytes }: Retained): Cleaning | undefined {
    const [oldest] = this.#sealed;
    if (oldest === undefined || oldest.revision > compacted) return undefined;
    if (this.#totalBytes + this.#open.end <= 2 * liveBytes + this.#slackBytes) return undefined;
    const content = readSegment(segmentFile(this.#directory, oldest.number));
    return { content, frame: frameAt(content, firstFrameAt), done: 0 };
  }

  /** A file that cannot be removed is left to the next start. */
  #drop(oldest: SealedSegment): void {
    this.#cleaning = undefined;
    this.#sealed.shift();
    this.#totalBytes -= oldest.bytes;
    try {
      rmSync(segmentFile(this.#directory, oldest.number), { force: true });
    } catch {
      // Nothing reads it any more: later commits name a later first segment.
    }
  }

  /** A last, empty commit tells a later start that everything before it was whole. */
  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    try {
      if (this.#hasWritten) this.#open.append(this.#prepare([], this.#compacted, noCopy).frame);
      this.#open.seal();
      return Promise.resolve();
    } catch (error) {
      this.#open.abandon();
      return Promise.reject(toJournalError(this.#open.file, error));
    } finally {
      this.#lock.release();
    }
  }
}

/** Takes the next live entries of a segment, up to the bound and at least one. */
function nextCopy(cleaning: Cleaning, retained: Retained): Copy {
  const entries: JournalEntry[] = [];
  let { frame, done } = cleaning;
  let size = 0;
  let forgetsPast = false;
  while (frame !== undefined) {
    let index = 0;
    for (const entry of entriesOf(cleaning.content, frame)) {
      if (index++ < done) continue;
      if (size >= copyBytesPerCommit) return { entries, next: { frame, done }, forgetsPast };
      done = index;
      if (entry.bytes !== undefined && retained.isLive(entry.key, entry.revision)) {
        entries.push(entry);
        size += entryBytes(entry);
      } else forgetsPast ||= retained.isPast(entry.revision);
    }
    frame = frameAt(cleaning.content, frame.end);
    done = 0;
  }
  return { entries, next: { frame: undefined, done: 0 }, forgetsPast };
}

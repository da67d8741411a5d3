import { JournalError } from "./errors.js";
import { entriesOf, type Frame, frameAt, nextFrame } from "./frame.js";
import { firstFrameAt, listSegments, readSegment, segmentFile } from "./segment.js";
import type { JournalEntry } from "./types.js";

/** One segment as it was found. */
interface Scanned {
  readonly number: number;
  readonly file: string;
  readonly content: Buffer;
  readonly frames: readonly Frame[];
  /** Behind the last whole frame. */
  readonly end: number;
}

/** A segment that is only read from now on. */
export interface SealedSegment {
  readonly number: number;
  readonly bytes: number;
  /** The highest revision when it was closed. */
  readonly revision: number;
}

/** What is on the disk. */
export interface Recovered {
  /** The segments that are needed, oldest first; the last one is written to next, at its `bytes`. */
  readonly segments: readonly SealedSegment[];
  /** Segments that a crash left behind though their content had been copied. */
  readonly leftOver: readonly number[];
  readonly sequence: number;
  readonly compacted: number;
  /** In the order in which they were written. */
  readonly entries: Iterable<JournalEntry>;
}

/**
 * Reads all segments. A last frame that is not whole is the write during which the power went: it was never acknowledged and
 * is left out. Damage before whole frames is another matter: those were acknowledged. Throws `JournalError` then.
 */
export function recover(directory: string): Recovered {
  const scanned = listSegments(directory).map((number) => scan(directory, number));
  const last = scanned.flatMap(({ frames }) => frames.at(-1) ?? []).at(-1);
  const firstSegment = last?.firstSegment ?? 0;
  const needed = scanned.filter(({ number }) => number >= firstSegment);
  refuseGaps(directory, needed, firstSegment);
  refuseDamage(needed);
  return {
    segments: needed.map(({ number, end, frames }) => ({
      number,
      bytes: end,
      revision: frames.at(-1)?.revision ?? 0,
    })),
    leftOver: scanned.filter(({ number }) => number < firstSegment).map(({ number }) => number),
    sequence: last?.sequence ?? 0,
    compacted: last?.compacted ?? 0,
    entries: entriesIn(needed),
  };
}

function* entriesIn(segments: readonly Scanned[]): Generator<JournalEntry> {
  for (const { content, frames } of segments) for (const frame of frames) yield* entriesOf(content, frame);
}

function scan(directory: string, number: number): Scanned {
  const file = segmentFile(directory, number);
  const content = readSegment(file);
  const frames: Frame[] = [];
  let end = Math.min(firstFrameAt, content.length);
  for (let frame = frameAt(content, end); frame !== undefined; frame = frameAt(content, end)) {
    frames.push(frame);
    end = frame.end;
  }
  return { number, file, content, frames, end: Math.max(end, firstFrameAt) };
}

/** Where reading stopped, nothing whole may follow: neither in the segment itself nor in a later one. */
function refuseDamage(segments: readonly Scanned[]): void {
  for (const [index, segment] of segments.entries()) {
    const later = segments.slice(index + 1).filter(({ frames }) => frames.length > 0);
    const here = framesBehind(segment);
    const isBroken = here > 0 || (later.length > 0 && !isClean(segment));
    if (!isBroken) continue;
    const lost = here + later.reduce((sum, { frames }) => sum + frames.length, 0);
    const files = later.map(({ file }) => file).join(" ");
    const giveUp = `truncate -s ${segment.end} ${segment.file}${files === "" ? "" : ` && rm ${files}`}`;
    throw new JournalError(
      "JournalDamaged",
      `${segment.file}: damaged at byte ${segment.end}, and at least ${lost} finished ${lost === 1 ? "write" : "writes"} can no longer be read; restore the folder from a backup, or give up what follows the damage with \`${giveUp}\``,
    );
  }
}

function framesBehind({ content, end }: Scanned): number {
  let count = 0;
  for (let frame = nextFrame(content, end); frame !== undefined; frame = nextFrame(content, frame.end)) count++;
  return count;
}

/** Behind the last frame of a sealed segment is nothing, or the room that a crash kept from being cut off. */
function isClean({ content, end }: Scanned): boolean {
  return content.subarray(end).every((byte) => byte === 0);
}

function refuseGaps(directory: string, segments: readonly Scanned[], first: number): void {
  const missing = (number: number): never => {
    throw new JournalError(
      "JournalDamaged",
      `${segmentFile(directory, number)}: missing, and later writes build on it; restore the folder from a backup`,
    );
  };
  if (segments.length > 0 && first > 0 && segments[0]?.number !== first) missing(first);
  for (const [index, { number }] of segments.entries()) {
    const before = segments[index - 1];
    if (before !== undefined && before.number !== number - 1) missing(before.number + 1);
  }
  let sequence: number | undefined;
  for (const { frames, file } of segments) {
    for (const frame of frames) {
      if (sequence !== undefined && frame.sequence !== sequence + 1) {
        throw new JournalError(
          "JournalDamaged",
          `${file}: at byte ${frame.offset} a write follows that is not the next one (${frame.sequence} after ${sequence}); restore the folder from a backup`,
        );
      }
      sequence = frame.sequence;
    }
  }
}

import { crc32 } from "node:zlib";
import type { JournalEntry } from "./types.js";

/**
 * One commit on the disk, all of it or nothing. Little endian; padded with zeros to 8 bytes, so that every frame begins at a
 * multiple of 8:
 *
 *     u32 mark · u32 length of what follows the checksum, without padding · u32 crc32 of length and content · content:
 *     u32 number of entries · f64 sequence · f64 compacted · f64 first segment that is still needed ·
 *     f64 highest revision · entries:
 *     f64 revision · f64 time · u32 key bytes · u32 value bytes (all ones: deleted) · key · value
 *
 * The mark holds bytes that no UTF-8 text has: values cannot look like frames.
 */
const mark = 0xf7_4a_01_ff;
const headBytes = 12;
const contentHeadBytes = 36;
const entryHeadBytes = 24;
const deleted = 0xffff_ffff;

/** What a commit says besides its entries. */
export interface FrameHead {
  /** One more than that of the frame before. */
  readonly sequence: number;
  readonly compacted: number;
  readonly firstSegment: number;
  /** Highest revision so far. */
  readonly revision: number;
}

/** A whole and undamaged frame inside a buffer. */
export interface Frame extends FrameHead {
  readonly offset: number;
  /** Where the next one begins. */
  readonly end: number;
  readonly count: number;
}

/** Size of an entry within a frame. */
export function entryBytes(entry: JournalEntry): number {
  return entryHeadBytes + Buffer.byteLength(entry.key) + (entry.bytes?.byteLength ?? 0);
}

/** Writes a commit as one frame. */
export function encodeFrame(head: FrameHead, entries: readonly JournalEntry[]): Buffer {
  let length = contentHeadBytes;
  for (const entry of entries) length += entryBytes(entry);
  const frame = Buffer.allocUnsafe(padded(headBytes + length));
  frame.writeUInt32LE(mark, 0);
  frame.writeUInt32LE(length, 4);
  frame.writeUInt32LE(entries.length, headBytes);
  frame.writeDoubleLE(head.sequence, headBytes + 4);
  frame.writeDoubleLE(head.compacted, headBytes + 12);
  frame.writeDoubleLE(head.firstSegment, headBytes + 20);
  frame.writeDoubleLE(head.revision, headBytes + 28);
  let at = headBytes + contentHeadBytes;
  for (const entry of entries) at = encodeEntry(frame, at, entry);
  frame.fill(0, at);
  frame.writeUInt32LE(checksum(frame, 0, length), 8);
  return frame;
}

function encodeEntry(frame: Buffer, at: number, entry: JournalEntry): number {
  const { revision, time, key, bytes } = entry;
  frame.writeDoubleLE(revision, at);
  frame.writeDoubleLE(time, at + 8);
  const keyBytes = frame.write(key, at + entryHeadBytes, "utf8");
  frame.writeUInt32LE(keyBytes, at + 16);
  frame.writeUInt32LE(bytes?.byteLength ?? deleted, at + 20);
  const valueAt = at + entryHeadBytes + keyBytes;
  if (bytes === undefined) return valueAt;
  frame.set(bytes, valueAt);
  return valueAt + bytes.byteLength;
}

/** The frame at `offset`; `undefined` when there is none, or one that is torn or damaged. */
export function frameAt(buffer: Buffer, offset: number): Frame | undefined {
  if (offset + headBytes + contentHeadBytes > buffer.length || buffer.readUInt32LE(offset) !== mark) return undefined;
  const length = buffer.readUInt32LE(offset + 4);
  const end = offset + padded(headBytes + length);
  if (length < contentHeadBytes || offset + headBytes + length > buffer.length) return undefined;
  if (checksum(buffer, offset, length) !== buffer.readUInt32LE(offset + 8)) return undefined;
  const at = offset + headBytes;
  return {
    offset,
    end,
    count: buffer.readUInt32LE(at),
    sequence: buffer.readDoubleLE(at + 4),
    compacted: buffer.readDoubleLE(at + 12),
    firstSegment: buffer.readDoubleLE(at + 20),
    revision: buffer.readDoubleLE(at + 28),
  };
}

/** The first whole frame at or after `offset`; for the search behind a damage. */
export function nextFrame(buffer: Buffer, offset: number): Frame | undefined {
  const pattern = Buffer.alloc(4);
  pattern.writeUInt32LE(mark);
  for (let at = buffer.indexOf(pattern, offset); at >= 0; at = buffer.indexOf(pattern, at + 1)) {
    const frame = frameAt(buffer, at);
    if (frame !== undefined) return frame;
  }
  return undefined;
}

/** The entries of a frame that `frameAt` found; their bytes are views of the buffer. */
export function* entriesOf(buffer: Buffer, frame: Frame): Generator<JournalEntry> {
  let at = frame.offset + headBytes + contentHeadBytes;
  for (let index = 0; index < frame.count; index++) {
    const keyAt = at + entryHeadBytes;
    const valueAt = keyAt + buffer.readUInt32LE(at + 16);
    const size = buffer.readUInt32LE(at + 20);
    const end = size === deleted ? valueAt : valueAt + size;
    yield {
      revision: buffer.readDoubleLE(at),
      time: buffer.readDoubleLE(at + 8),
      key: buffer.toString("utf8", keyAt, valueAt),
      bytes: size === deleted ? undefined : buffer.subarray(valueAt, end),
    };
    at = end;
  }
}

function padded(length: number): number {
  return (length + 7) & ~7;
}

/** Over the length and everything behind the checksum itself. */
function checksum(buffer: Buffer, offset: number, length: number): number {
  const ofLength = crc32(buffer.subarray(offset + 4, offset + 8));
  return crc32(buffer.subarray(offset + headBytes, offset + headBytes + length), ofLength);
}

import { readFileSync } from "node:fs";

/** Where a write-ahead log is damaged. SQLite itself reads up to there and says nothing of the rest. */
export interface WalDamage {
  /** Byte at which the first unreadable frame begins. */
  readonly offset: number;
  /**
   * Commits that are lost and were surely finished: a commit is on disk before the next one is written. 0: the damage is in the last
   * commit only, as a power cut in the middle of it leaves it.
   */
  readonly lostCommits: number;
}

const headerBytes = 32;
const frameHeaderBytes = 24;

interface Sums {
  readonly first: number;
  readonly second: number;
}

/**
 * Looks for damage in the write-ahead log of a database (sqlite.org/fileformat2.html, section 4) before SQLite opens it. `undefined`: there is no log, or
 * all of it is readable.
 */
export function findWalDamage(file: string): WalDamage | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(`${file}-wal`);
  } catch {
    return undefined;
  }
  return bytes.length <= headerBytes ? undefined : damageIn(bytes);
}

function damageIn(bytes: Buffer): WalDamage | undefined {
  const magic = bytes.readUInt32BE(0);
  const size = bytes.readUInt32BE(8);
  const pageBytes = size >= 512 && size <= 65_536 && (size & (size - 1)) === 0 ? size : 4096;
  const isBigEndian = magic === 0x377f0683;
  const headerSums = sum(bytes.subarray(0, 24), { first: 0, second: 0 }, isBigEndian);
  const isHeaderWhole = (isBigEndian || magic === 0x377f0682) && isSum(bytes, 24, headerSums);
  const frames = framesOf(bytes, frameHeaderBytes + pageBytes);
  if (!isHeaderWhole) return { offset: 0, lostCommits: countCommits(frames) };
  let sums = headerSums;
  for (const [index, frame] of frames.entries()) {
    const pageStart = frame.offset + frameHeaderBytes;
    const head = sum(bytes.subarray(frame.offset, frame.offset + 8), sums, isBigEndian);
    sums = sum(bytes.subarray(pageStart, pageStart + pageBytes), head, isBigEndian);
    if (!frame.isCurrent || !isSum(bytes, frame.offset + 16, sums)) return damageFrom(frames.slice(index));
  }
  return undefined;
}

interface Frame {
  readonly offset: number;
  /** Written since the log was last begun anew. */
  readonly isCurrent: boolean;
  readonly isCommit: boolean;
  readonly bytes: Buffer;
}

function framesOf(bytes: Buffer, frameBytes: number): Frame[] {
  const salts = bytes.subarray(16, 24);
  const frames: Frame[] = [];
  for (let offset = headerBytes; offset + frameBytes <= bytes.length; offset += frameBytes) {
    const isCurrent = salts.equals(bytes.subarray(offset + 8, offset + 16));
    const isCommit = isCurrent && bytes.readUInt32BE(offset + 4) > 0;
    frames.push({ offset, isCurrent, isCommit, bytes: bytes.subarray(offset, offset + frameBytes) });
  }
  return frames;
}

/** `rest` begins with the first unreadable frame. */
function damageFrom(rest: readonly Frame[]): WalDamage | undefined {
  // Frames of an earlier round are what a log ends with when it is written over.
  if (!rest.some(({ isCurrent }) => isCurrent)) return undefined;
  return { offset: rest[0]?.offset ?? 0, lostCommits: Math.max(0, countCommits(rest) - 1) };
}

function countCommits(frames: readonly Frame[]): number {
  return frames.filter((frame, index) => frame.isCommit && !isFilling(frame, index, frames)).length;
}

/** On some file systems SQLite repeats a commit's last frame up to the end of a sector. The frame at 0 is damaged, so only its head is compared. */
function isFilling(frame: Frame, index: number, frames: readonly Frame[]): boolean {
  const before = frames[index - 1];
  if (before?.isCommit !== true || !sameBytes(frame, before, 0, 8)) return false;
  return index === 1 || sameBytes(frame, before, frameHeaderBytes, frame.bytes.length);
}

function sameBytes(one: Frame, other: Frame, start: number, end: number): boolean {
  return one.bytes.subarray(start, end).equals(other.bytes.subarray(start, end));
}

function isSum(bytes: Buffer, offset: number, { first, second }: Sums): boolean {
  return bytes.readUInt32BE(offset) === first && bytes.readUInt32BE(offset + 4) === second;
}

function sum(bytes: Buffer, start: Sums, isBigEndian: boolean): Sums {
  let { first, second } = start;
  for (let offset = 0; offset + 8 <= bytes.length; offset += 8) {
    first = (first + word(bytes, offset, isBigEndian) + second) >>> 0;
    second = (second + word(bytes, offset + 4, isBigEndian) + first) >>> 0;
  }
  return { first, second };
}

function word(bytes: Buffer, offset: number, isBigEndian: boolean): number {
  return isBigEndian ? bytes.readUInt32BE(offset) : bytes.readUInt32LE(offset);
}

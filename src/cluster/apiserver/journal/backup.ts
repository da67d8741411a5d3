import { copyFileSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { isMissing } from "../../../kernel/files/index.js";
import { toJournalError } from "./errors.js";
import { recover } from "./recovery.js";
import { listSegments, segmentFile } from "./segment.js";

/** A folder changes while its files are linked only when an old segment goes at that moment. */
const maxAttempts = 100;
const maxCopies = 5;

/**
 * Copies a journal, which may be written to meanwhile, into a new folder; the copy holds every write that was acknowledged
 * before the call. Needs nothing of the process that writes: segments only ever grow at their end. Returns the last revision
 * in the copy. Throws `JournalError` when the journal is damaged or the copy cannot be made.
 */
export function copyJournal(directory: string, target: string): number {
  // Links keep segments that the writer gives up; they are made beside the journal, for they cannot cross file systems.
  const links = mkdtempSync(join(dirname(directory), `.${basename(directory)}-backup-`));
  try {
    linkSegments(directory, links);
    mkdirSync(target, { recursive: true, mode: 0o700 });
    for (let attempt = 1; ; attempt++) {
      for (const number of listSegments(links)) copyFileSync(segmentFile(links, number), segmentFile(target, number));
      try {
        const { segments } = recover(target);
        return Math.max(0, ...segments.map(({ revision }) => revision));
      } catch (error) {
        // A commit was read half written, and the next one whole; real damage is there the next time too.
        if (attempt >= maxCopies) throw error;
      }
    }
  } catch (error) {
    throw toJournalError(directory, error);
  } finally {
    rmSync(links, { recursive: true, force: true });
  }
}

/** Links all segments of one moment. */
function linkSegments(directory: string, links: string): void {
  for (let attempt = 1; ; attempt++) {
    const before = listSegments(directory);
    try {
      for (const number of before) linkSync(segmentFile(directory, number), segmentFile(links, number));
      // What was there at the first look is still there: nothing in it had been given up.
      if (listSegments(directory)[0] === before[0]) return;
    } catch (error) {
      if (!isMissing(error) || attempt >= maxAttempts) throw error;
    }
    for (const name of readdirSync(links)) rmSync(join(links, name));
  }
}

import { createHmac } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "../../../kernel/log/index.js";
import { logJournal } from "../journal/log.js";
import type { JournalEntry } from "../journal/types.js";
import type { EncryptionConfig } from "./config.js";
import { encryptedJournal } from "./journal.js";
import type { Transformer } from "./transformer.js";

/** Says, in the journal's folder, by which rules everything in it was written. */
const markFile = "encryption";
const batchSize = 500;

/**
 * Makes a journal be on the disk as the configuration says, also what was written before under another one: turned on late, encryption
 * holds for all; a key that is no longer first is needed no more. A copy is written beside it and takes its place when it is whole. Does
 * nothing where the rules are those of the last time. Throws `EncryptionError` and leaves everything as it is when a key is missing.
 */
export async function rewriteJournal(
  directory: string,
  transformer: Transformer,
  { config, log }: { readonly config: EncryptionConfig; readonly log: Logger },
): Promise<void> {
  const { copy, old } = settleRewrite(directory);
  const wanted = markOf(config);
  if (!existsSync(directory) || readMark(directory) === wanted) return;
  const count = await copyAll(directory, copy, transformer);
  writeFileSync(join(copy, markFile), wanted, { mode: 0o600, flush: true });
  renameSync(directory, old);
  renameSync(copy, directory);
  rmSync(old, { recursive: true, force: true });
  log.info("the journal was written anew, as the encryption configuration says", { directory, entries: count });
}

/**
 * Ends what a power cut interrupted: the old journal comes back where the new one had not taken its place yet, and else goes, with
 * what is in it. Also for starts without a configuration, which would else find no journal and begin an empty one.
 */
export function settleRewrite(directory: string): { readonly copy: string; readonly old: string } {
  const [copy, old] = [`${directory}.new`, `${directory}.old`];
  if (!existsSync(directory) && existsSync(old)) renameSync(old, directory);
  for (const remains of [copy, old]) rmSync(remains, { recursive: true, force: true });
  return { copy, old };
}

/** Notes that a new journal is written by these rules from its beginning. */
export function markJournal(directory: string, config: EncryptionConfig): void {
  if (readMark(directory) === undefined) writeFileSync(join(directory, markFile), markOf(config), { mode: 0o600 });
}

async function copyAll(directory: string, copy: string, transformer: Transformer): Promise<number> {
  const from = encryptedJournal(logJournal(directory), transformer);
  try {
    const to = encryptedJournal(logJournal(copy), transformer);
    try {
      to.load();
      const { compacted, entries } = from.load();
      // Everything is still asked for: nothing is to be cleaned up now.
      const all = { compacted, liveBytes: Number.MAX_SAFE_INTEGER, isLive: () => true, isPast: () => true };
      let count = 0;
      let batch: JournalEntry[] = [];
      for (const entry of entries) {
        count++;
        batch.push(entry);
        if (batch.length < batchSize) continue;
        await to.append(batch, all);
        batch = [];
      }
      await to.append(batch, all);
      return count;
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

function readMark(directory: string): string | undefined {
  try {
    return readFileSync(join(directory, markFile), "utf8");
  } catch {
    return undefined;
  }
}

/** Names what is written with which key; a key is told from another of its name without being said. */
function markOf({ entries }: EncryptionConfig): string {
  const rules = entries.map(({ resources, writeWith }) => ({
    resources,
    ...(writeWith === undefined
      ? {}
      : {
          provider: writeWith.provider,
          key: writeWith.name,
          check: createHmac("sha256", writeWith.secret).update("argosy journal").digest("base64url").slice(0, 16),
        }),
  }));
  return `${JSON.stringify(rules)}\n`;
}

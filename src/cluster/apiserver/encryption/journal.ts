import type { Journal, JournalEntry } from "../journal/types.js";
import type { Transformer } from "./transformer.js";

/** A journal whose entries are transformed on their way to the disk and back. `load` throws `EncryptionError` for what cannot be read. */
export function encryptedJournal(journal: Journal, transformer: Transformer): Journal {
  const encoded = (entry: JournalEntry): JournalEntry =>
    entry.bytes === undefined ? entry : { ...entry, bytes: transformer.encode(entry.key, entry.bytes) };
  return {
    load() {
      const { compacted, entries } = journal.load();
      return { compacted, entries: decoded(entries, transformer) };
    },
    append: (entries, retained) => journal.append(entries.map(encoded), retained),
    close: () => journal.close(),
  };
}

function* decoded(entries: Iterable<JournalEntry>, transformer: Transformer): Iterable<JournalEntry> {
  for (const entry of entries)
    yield entry.bytes === undefined ? entry : { ...entry, bytes: transformer.decode(entry.key, entry.bytes) };
}

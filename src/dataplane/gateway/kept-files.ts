import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../kernel/clock/index.js";
import { replaceFile } from "../../kernel/files/index.js";

/** How long a text that the table does not name stays: it may be about to be named, or still be dialled with. */
const KEPT_MS = 60_000;
/** How often is looked at what is not named any more. */
const TIDY_MS = 10_000;
const NAME = /[0-9a-f]{32}\.pem/g;

/** Certificates and keys that a gateway's table names, each in a file that has its name from its content. */
export class KeptFiles {
  readonly #folder: string;
  readonly #nowMs: () => number;
  /** By name, of those that the table does not name: since when, or when it was kept last. */
  readonly #idleMs = new Map<string, number>();
  #tidiedMs = Number.NEGATIVE_INFINITY;

  constructor(folder: string, clock: Pick<Clock, "monotonicMs">) {
    this.#folder = folder;
    this.#nowMs = () => clock.monotonicMs();
  }

  /** Writes a text under the name of its content; resolves with its path. */
  async keep(text: string): Promise<string> {
    const name = `${createHash("sha256").update(text).digest("hex").slice(0, 32)}.pem`;
    // Before it is looked whether it is there: from now on it is not removed.
    this.#idleMs.set(name, this.#nowMs());
    const file = join(this.#folder, name);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const isThere = await stat(file).then(
      () => true,
      () => false,
    );
    if (!isThere) await replaceFile(file, text);
    return file;
  }

  /** Removes what no table has named for a minute. To be called while the gateway goes by the table whose texts are given. */
  async tidy(texts: () => readonly string[]): Promise<void> {
    const nowMs = this.#nowMs();
    if (nowMs - this.#tidiedMs < TIDY_MS) return;
    this.#tidiedMs = nowMs;
    const files = (await readdir(this.#folder).catch(() => [])).filter((name) => name.endsWith(".pem"));
    if (files.length === 0) return;
    const named = new Set(texts().flatMap((text) => text.match(NAME) ?? []));
    for (const name of files) {
      const idleMs = this.#idleMs.get(name) ?? nowMs;
      if (!named.has(name) && nowMs - idleMs >= KEPT_MS) {
        // At one go: whoever keeps it anew meanwhile finds it there, or not.
        rmSync(join(this.#folder, name), { force: true });
        this.#idleMs.delete(name);
      } else this.#idleMs.set(name, named.has(name) ? nowMs : idleMs);
    }
  }
}

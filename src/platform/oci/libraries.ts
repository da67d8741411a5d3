import { execFile } from "node:child_process";
import { open, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { InputError } from "../../kernel/errors/index.js";

const run = promisify(execFile);
/** What glibc loads by itself for names of hosts, where it is a file of its own. */
const BY_NAME = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/**
 * The shared libraries, with their loader, that programs and libraries of this machine are linked to: absolute paths, as the loader looks for them.
 * Throws `InputError` where the machine's `ldd` cannot tell.
 */
export async function librariesOf(files: readonly string[]): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const file of files) for (const path of await linkedTo(file)) found.add(path);
  const beside = [...found].find((path) => basename(path).startsWith("libc.so"));
  for (const name of beside === undefined ? [] : BY_NAME) {
    const path = join(dirname(beside ?? ""), name);
    const isThere = await realpath(path).then(
      () => true,
      () => false,
    );
    if (isThere) found.add(path);
  }
  return [...found].sort();
}

async function linkedTo(file: string): Promise<readonly string[]> {
  try {
    const { stdout } = await run("ldd", [file], { timeout: 20_000, maxBuffer: 2 ** 20 });
    const missing = /^\s*(\S+) => not found/m.exec(stdout)?.[1];
    if (missing !== undefined) throw new InputError(`${file} needs ${missing}, which this machine does not have`);
    return [...stdout.matchAll(/(?:=>|^)\s*(\/\S+) \(0x/gm)].map((match) => match[1] ?? "");
  } catch (error) {
    if (error instanceof InputError) throw error;
    // Linked to nothing: the program brings everything itself.
    if (error instanceof Error && /not a dynamic executable|statically linked/.test(error.message)) return [];
    throw new InputError(`ldd cannot tell what ${file} is linked to: ${error instanceof Error ? error.message : "?"}`);
  }
}

/** Whether a file is a program or library of Linux. */
export async function isElf(file: string): Promise<boolean> {
  const handle = await open(file, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.toString("latin1") === "\x7fELF";
  } finally {
    await handle.close();
  }
}

import { chmod, mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { isMissing, replaceFile } from "../files/index.js";

/** Writes a file that only its owner may read: whole or not at all, durable when it resolves. Makes its folder. */
export async function writeSecretFile(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await replaceFile(path, content, { isDurable: true });
}

/** Text of a file that holds a secret, `undefined` when there is none. Rights that others have on it are taken away. */
export async function readSecretFile(path: string): Promise<string | undefined> {
  try {
    const text = await readFile(path, "utf8");
    await chmod(path, 0o600);
    return text;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

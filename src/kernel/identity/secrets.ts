import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { IdentityError } from "./errors.js";
import { readSecretFile, writeSecretFile } from "./files.js";

/** 256 random bits as text that is safe in headers, URLs and YAML. */
export function randomToken(): string {
  return randomBytes(32).toString("base64url");
}

/** SHA-256 of a secret, to look it up or remember it without holding it; lookups by it leak no prefix of the secret. */
export function fingerprintOf(secret: string): string {
  return createHash("sha256").update(secret, "utf8").digest("base64url");
}

/** Compares two secrets in a time that depends on neither. */
export function constantTimeEqual(left: string, right: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text, "utf8").digest();
  return timingSafeEqual(digest(left), digest(right));
}

/** The token kept in `file` (mode 0600); made at the first call. Throws `IdentityError` when the file holds something else. */
export async function keepToken(file: string): Promise<string> {
  const kept = (await readSecretFile(file))?.trim();
  if (kept === undefined) {
    const token = randomToken();
    await writeSecretFile(file, `${token}\n`);
    return token;
  }
  if (!/^[\w.~+/=-]{20,}$/.test(kept))
    throw new IdentityError(`${file} holds no token; remove the file to have a new one made`);
  return kept;
}

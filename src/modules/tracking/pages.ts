import type { Json } from "../../kernel/kinds/object.js";
import { invalid } from "./errors.js";
import { toPythonBytes, toPythonJson } from "./python-text.js";

/** The token of the page that begins at `offset`. */
export function pageToken(offset: number): string {
  return Buffer.from(`{"offset": ${offset}}`).toString("base64");
}

/** The offset in a token; 0 without one. Throws for tokens that this server did not make. */
export function pageOffset(token: string | undefined): number {
  if (token === undefined || token === "") return 0;
  const alphabet = token.replace(/[^A-Za-z0-9+/=]/g, "");
  if (alphabet.length % 4 !== 0) throw invalid("Invalid page token, could not base64-decode");
  const decoded = Buffer.from(alphabet, "base64");
  const parsed = parse(decoded);
  if (parsed === undefined) throw invalid(`Invalid page token, decoded value=${toPythonBytes(decoded)}`);
  const offset = typeof parsed === "object" && parsed !== null && !Array.isArray(parsed) ? parsed["offset"] : undefined;
  if (offset === undefined) throw invalid(`Invalid page token, parsed value=${toPythonJson(parsed)}`);
  const number = Number(offset);
  if (!Number.isSafeInteger(number) || number < 0)
    throw invalid(`Invalid page token, not stringable ${toPythonJson(offset)}`);
  return number;
}

function parse(bytes: Uint8Array): Json | undefined {
  try {
    const value: Json = JSON.parse(Buffer.from(bytes).toString());
    return value;
  } catch {
    return undefined;
  }
}

/** One page out of `limit + 1` rows that were read: what to show, and the token of the next page if there is one. */
export function cutPage<T>(
  rows: readonly T[],
  offset: number,
  limit: number,
): { rows: T[]; next: { next_page_token?: string } } {
  const more = rows.length > limit;
  return { rows: rows.slice(0, limit), next: more ? { next_page_token: pageToken(offset + limit) } : {} };
}

import { createHash } from "node:crypto";
import type { AffinityTable, RouteTable } from "./table.js";

/** What a request says of the backend it belongs to. */
export interface Session {
  readonly by: "header" | "cookie" | "pin";
  /** Of the header, or of the gateway's cookie; the name of the backend that it is pinned to. */
  readonly value: string;
}

/** The session of a request whose header lines are `lines`; undefined when it has none yet. One that names a backend of the route's pin is that one's. */
export function sessionIn(lines: string, { affinity, pin }: Pick<RouteTable, "affinity" | "pin">): Session | undefined {
  if (pin !== undefined) {
    const value = valueIn(lines, pin);
    const backend = value !== undefined && Object.hasOwn(pin.backends, value) ? pin.backends[value] : undefined;
    if (backend !== undefined) return { by: "pin", value: backend };
  }
  if (affinity === undefined) return undefined;
  const value = valueIn(lines, affinity);
  return value === undefined ? undefined : { by: affinity.by, value };
}

/** The value of a header, or of a cookie. */
function valueIn(lines: string, { by, name }: Pick<AffinityTable, "by" | "name">): string | undefined {
  if (by === "header") return fieldIn(lines, name);
  for (const part of (fieldIn(lines, "cookie") ?? "").split(";")) {
    const equals = part.indexOf("=");
    if (equals > 0 && part.slice(0, equals).trim() === name) return part.slice(equals + 1).trim();
  }
  return undefined;
}

/** Header lines for the client: the backend's name, if it is to be told, and a cookie if the client has none for this address. */
export function addedLines(
  affinity: AffinityTable | undefined,
  session: Session | undefined,
  answering: { readonly name: string; readonly token: string; readonly isSecure: boolean },
): string {
  const { name, token, isSecure } = answering;
  if (affinity?.by !== "cookie" || session?.value === token) return name;
  return name + cookieLine(affinity, token, isSecure);
}

/** The header line that makes a client come back to the same address. */
export function cookieLine(affinity: AffinityTable, token: string, isSecure: boolean): string {
  const age = affinity.ttlSeconds > 0 ? `; Max-Age=${affinity.ttlSeconds}` : "";
  return `Set-Cookie: ${affinity.name}=${token}; Path=/${age}; HttpOnly; SameSite=Lax${isSecure ? "; Secure" : ""}\r\n`;
}

/** Values of all fields of a name, joined as RFC 9110 5.3 has it (`; ` for cookies, RFC 9113 8.2.3). */
export function fieldIn(lines: string, name: string): string | undefined {
  const wanted = `${name.toLowerCase()}:`;
  const values: string[] = [];
  let position = 0;
  while (position < lines.length) {
    const end = lines.indexOf("\r\n", position);
    if (end < 0) break;
    if (lines.slice(position, position + wanted.length).toLowerCase() === wanted)
      values.push(lines.slice(position + wanted.length, end).trim());
    position = end + 2;
  }
  return values.length === 0 ? undefined : values.join(name.toLowerCase() === "cookie" ? "; " : ", ");
}

/** Names an address in a cookie without saying which it is. */
export function tokenOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, 16);
}

/** A number from 0 to 1 that is the same for the same text, in every gateway. */
export function hashOf(text: string): number {
  // FNV-1a, then the finish of MurmurHash3: short texts that differ in one letter come out far apart.
  let hash = 0x81_1c_9d_c5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01_00_01_93);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_00_00_00_00;
}

/**
 * Weighted rendezvous hashing: of many values each candidate gets its share, and a candidate that comes or goes moves only its
 * own. `of` gives the hash of value and candidate, and the candidate's weight.
 */
export function pickByHash<T>(
  candidates: readonly T[],
  of: (candidate: T) => { readonly key: number; readonly weight: number },
): T | undefined {
  let best: T | undefined;
  let highest = Number.NEGATIVE_INFINITY;
  for (const candidate of candidates) {
    const { key, weight } = of(candidate);
    const score = Math.log(key + Number.EPSILON) / weight;
    if (score <= highest) continue;
    highest = score;
    best = candidate;
  }
  return best;
}

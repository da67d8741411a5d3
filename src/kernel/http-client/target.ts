import type { ConnectionOptions } from "node:tls";

/** Where connections go; times in milliseconds. */
export interface ClientTarget {
  readonly url: URL;
  /** For `https:`. */
  readonly tls?: ConnectionOptions;
  readonly connectMs: number;
  /** A connection that nobody has used for so long is closed; earlier where its server says so. */
  readonly idleMs: number;
  /** Longest silence of an exchange; absent: whoever waits for it watches over that. */
  readonly silenceMs?: number;
}

/** After so long without a word the other side's system is asked whether it is there; milliseconds. */
export const PROBE_MS = 60_000;

/** The host to connect to. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

/** The port to connect to. */
export function portOf(url: URL): number {
  return url.port === "" ? (url.protocol === "http:" ? 80 : 443) : Number(url.port);
}

/** The name that a server is told; none that is an address (RFC 6066). */
export function servernameOf(url: URL, tls: ConnectionOptions): string {
  const host = hostOf(url);
  return tls.servername ?? (/^[\d.]+$|:/.test(host) ? "" : host);
}

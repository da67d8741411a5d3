import type { Field } from "./hpack.js";

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]|^[\t ]|[\t ]$/;
/** What belongs to one connection has no place here (RFC 9113 8.2.2). */
const OF_CONNECTIONS = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]);
const PSEUDO = new Set([":method", ":scheme", ":path", ":authority"]);
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const TARGET = /^[\x21-\x7e\x80-\xff]+$/;
const DIGITS = /^\d{1,15}$/;

/** Whether fields are the header of a request that has one meaning (RFC 9113 8.1 to 8.3). */
export function checkRequest(fields: readonly Field[]): boolean {
  const pseudo = new Map<string, string>();
  let isRegular = false;
  let lengths = 0;
  for (const [name, value] of fields) {
    if (NOT_A_VALUE.test(value)) return false;
    if (name.startsWith(":")) {
      if (isRegular || pseudo.has(name) || !PSEUDO.has(name)) return false;
      pseudo.set(name, value);
      continue;
    }
    isRegular = true;
    if (name === "content-length") lengths++;
    if (!isRegularField(name, value) || lengths > 1) return false;
  }
  return isRequestLine(pseudo);
}

function isRequestLine(pseudo: ReadonlyMap<string, string>): boolean {
  const method = pseudo.get(":method") ?? "";
  const path = pseudo.get(":path") ?? "";
  if (!METHOD.test(method) || method === "CONNECT" || !pseudo.has(":scheme")) return false;
  return TARGET.test(path) && (path.startsWith("/") || (path === "*" && method === "OPTIONS"));
}

function isRegularField(name: string, value: string): boolean {
  if (!NAME.test(name) || OF_CONNECTIONS.has(name)) return false;
  return (name !== "te" || value === "trailers") && (name !== "content-length" || DIGITS.test(value));
}

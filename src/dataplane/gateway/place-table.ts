import type { Reader } from "./table-reader.js";

/** TLS towards a backend; the certificate files are the gateway's own identity there. */
interface BackendTls {
  readonly serverName?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly insecure: boolean;
}

/** A place that requests are sent to. */
export interface PlaceTable {
  /** `Host` header for it; absent: the client's is passed on. */
  readonly host?: string;
  /** `host:port`. */
  readonly addresses: readonly string[];
  readonly tls?: BackendTls;
}

const HEADER_VALUE_PATTERN = /^[\x21-\x7e]+$/;

/** `host:port`, with IPv6 hosts in brackets. `undefined` when it is not that. */
export function splitAddress(address: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

/** The place in a backend or shadow. Throws `InputError`. */
export function parsePlace(reader: Reader): PlaceTable {
  const host = reader.optionalText("host");
  if (host !== undefined && !HEADER_VALUE_PATTERN.test(host))
    reader.fail("host", "must be a host, with a port if needed");
  const addresses = reader.texts("addresses");
  for (const address of addresses) {
    if (splitAddress(address) === undefined) reader.fail("addresses", `"${address}" is not host:port`);
  }
  const tls = reader.child("tls");
  return {
    addresses: [...new Set(addresses)],
    ...(host === undefined ? {} : { host }),
    ...(tls === undefined ? {} : { tls: parseTls(tls) }),
  };
}

function parseTls(reader: Reader): BackendTls {
  reader.only(["serverName", "caFile", "certFile", "keyFile", "insecure"]);
  const texts = ["serverName", "caFile", "certFile", "keyFile"].flatMap((name) => {
    const value = reader.optionalText(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  return { insecure: reader.flag("insecure"), ...Object.fromEntries(texts) };
}

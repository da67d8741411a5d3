import { isIPv6 } from "node:net";
import type { Faults } from "../../../kernel/kinds/index.js";
import type { Json } from "../../../kernel/kinds/object.js";
import { asString } from "../registry/read.js";

/** An address as upstream reads it: with zeros before numbers, as older releases did. */
export interface Address {
  readonly family: 4 | 6;
  /** As it is written without liberties. */
  readonly canonical: string;
  /** Whether it is written without the liberties that will be refused one day. */
  readonly isStandard: boolean;
  /** 4 or 16 bytes. */
  readonly bytes: readonly number[];
}

/** Reads an address; `undefined`: it is none. */
export function readAddress(text: string): Address | undefined {
  const plain = readIPv4(text);
  if (plain !== undefined) {
    const canonical = plain.join(".");
    return { family: 4, canonical, isStandard: canonical === text, bytes: plain };
  }
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const bytes = bytesOf(text);
  const isMapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  if (isMapped) return { family: 4, canonical: bytes.slice(12).join("."), isStandard: false, bytes: bytes.slice(12) };
  return { family: 6, canonical: new URL(`http://[${text}]`).hostname.slice(1, -1), isStandard: true, bytes };
}

function readIPv4(text: string): number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,20}$/.test(part) && Number(part) <= 255)) return undefined;
  return parts.map(Number);
}

function bytesOf(text: string): number[] {
  const plain = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [head = "", tail] = plain.split("::");
  const groups = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((one) => Number.parseInt(one, 16));
  const [before, after] = [groups(head), tail === undefined ? [] : groups(tail)];
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
  return all.flatMap((group) => [group >> 8, group & 255]);
}

/** A network in CIDR notation as upstream reads it. */
export interface Network {
  readonly address: Address;
  readonly bits: number;
  /** Of the network itself, `10.0.0.0/8`. */
  readonly canonical: string;
}

/** Reads a network; `undefined`: it is none. */
export function readNetwork(text: string): Network | undefined {
  const [, host = "", length = ""] = /^([^/]*)\/(\d{1,6})$/.exec(text) ?? [];
  const address = readAddress(host);
  const bits = Number(length);
  if (address === undefined || length === "") return undefined;
  // What is mapped is read with the length of what it is mapped into.
  const [width, used] =
    host.includes(":") && address.family === 4 ? [128, bits - 96] : [address.bytes.length * 8, bits];
  if (bits > width) return undefined;
  return { address, bits: used, canonical: `${maskedText(address, used)}/${used}` };
}

/** The network of an address, of so many bits, as text. */
export function maskedText(address: Address, bits: number): string {
  const masked = address.bytes.map((byte, index) => {
    const kept = Math.max(0, Math.min(8, bits - index * 8));
    return byte & ((0xff << (8 - kept)) & 0xff);
  });
  if (address.family === 4) return masked.join(".");
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((masked[index * 2] ?? 0) << 8) | (masked[index * 2 + 1] ?? 0)).toString(16),
  );
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

const addressWords = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const networkWords = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/** An address in a field that has been there for long; those that were there before (`old`) stay. Returns whether it is one. */
export function checkAddress(value: string, path: string, faults: Faults, old: readonly Json[] = []): boolean {
  if (old.includes(value) || readAddress(value) !== undefined) return true;
  faults.invalid(path, value, addressWords);
  return false;
}

/** A network in a field that has been there for long. */
export function checkNetwork(value: string, path: string, faults: Faults, old: readonly Json[] = []): boolean {
  if (old.includes(value) || readNetwork(value) !== undefined) return true;
  faults.invalid(path, value, networkWords);
  return false;
}

/** Addresses that no endpoint can have; a machine's own address, where it may have that. */
export function checkEndpointAddress(value: string, path: string, faults: Faults, mayBeOwn = false): void {
  const address = readAddress(value);
  if (address === undefined) {
    faults.invalid(path, value, "must be a valid IP address");
    return;
  }
  const { family, bytes } = address;
  const [first = 0, second = 0, third = 0] = bytes;
  const starts = (...list: readonly number[]): boolean => list.every((byte, index) => bytes[index] === byte);
  if (bytes.every((byte) => byte === 0)) faults.invalid(path, value, `may not be unspecified (${value})`);
  const isOwn = family === 4 ? first === 127 : bytes.slice(0, 15).every((byte) => byte === 0) && bytes[15] === 1;
  if (isOwn && !mayBeOwn) faults.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
  if (family === 4 ? starts(169, 254) : first === 0xfe && (second & 0xc0) === 0x80)
    faults.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  if (family === 4 ? starts(224, 0) && third === 0 : first === 0xff && (second & 0x0f) === 2)
    faults.invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

/** Warns of an address that will be refused one day, or that is written in another way than all others write it. */
export function warnOfAddress(value: Json | undefined, path: string, faults: Faults): void {
  const text = asString(value);
  const address = readAddress(text);
  if (address === undefined) return;
  if (!address.isStandard)
    faults.warn(
      `${path}: non-standard IP address ${JSON.stringify(text)} will be considered invalid in a future Kubernetes release: use ${JSON.stringify(address.canonical)}`,
    );
  else if (address.canonical !== text)
    faults.warn(
      `${path}: IPv6 address ${JSON.stringify(text)} should be in RFC 5952 canonical format (${JSON.stringify(address.canonical)})`,
    );
}

/** Warns of a network that says more than a network, or that is written in another way than all others write it. */
export function warnOfNetwork(value: Json | undefined, path: string, faults: Faults): void {
  const text = asString(value);
  const network = readNetwork(text);
  if (network === undefined) return;
  const { address, canonical } = network;
  const quoted = JSON.stringify(text);
  const isAmbiguous = canonical.split("/")[0] !== address.canonical;
  if (isAmbiguous)
    faults.warn(
      `${path}: CIDR value ${quoted} is ambiguous in this context (should be ${JSON.stringify(canonical)} or ${JSON.stringify(`${address.canonical}/${address.bytes.length * 8}`)}?)`,
    );
  const isStandard = address.isStandard && !/\/0\d/.test(text);
  if (!isStandard)
    faults.warn(
      `${path}: non-standard CIDR value ${quoted} will be considered invalid in a future Kubernetes release: use ${JSON.stringify(canonical)}`,
    );
  if (!isAmbiguous && isStandard && address.family === 6 && canonical !== text)
    faults.warn(
      `${path}: IPv6 CIDR value ${quoted} should be in RFC 5952 canonical format (${JSON.stringify(canonical)})`,
    );
}

/** Whether addresses are of both families. */
export function isDualStack(addresses: readonly Json[]): boolean {
  const families = new Set(addresses.map((one) => readAddress(asString(one))?.family));
  return families.has(4) && families.has(6);
}

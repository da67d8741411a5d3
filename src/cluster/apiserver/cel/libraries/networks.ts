import { isIP } from "node:net";
import { CelEvaluationError } from "../errors.js";
import { type Engine, Opaque } from "../language/index.js";

class Address extends Opaque {
  readonly typeName = "net.IP";
  readonly family: 4 | 6;
  readonly value: bigint;

  constructor(family: 4 | 6 = 4, value = 0n) {
    super();
    this.family = family;
    this.value = value;
  }

  isEqual(other: Opaque): boolean {
    return other instanceof Address && other.family === this.family && other.value === this.value;
  }
}

class Range extends Opaque {
  readonly typeName = "net.CIDR";
  readonly address: Address;
  readonly bits: number;

  constructor(address: Address = new Address(), bits = 0) {
    super();
    this.address = address;
    this.bits = bits;
  }

  isEqual(other: Opaque): boolean {
    return other instanceof Range && other.bits === this.bits && other.address.isEqual(this.address);
  }
}

const widthOf = (family: 4 | 6): number => (family === 4 ? 32 : 128);

/** Strict: no leading zeros, no zone, no IPv4 in IPv6. */
function readAddress(text: string): Address | undefined {
  const family = isIP(text);
  if (text.includes("%")) return undefined;
  if (family === 4)
    return new Address(
      4,
      text.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n),
    );
  if (family !== 6 || text.includes(".")) return undefined;
  const [head = "", tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const words = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => "0"), ...right];
  return new Address(
    6,
    words.reduce((sum, word) => sum * 65536n + BigInt(`0x${word}`), 0n),
  );
}

/** The canonical form (RFC 5952 for IPv6). */
function showAddress({ family, value }: Address): string {
  const parts = Array.from(
    { length: family === 4 ? 4 : 8 },
    (_, index, size = family === 4 ? 8n : 16n) =>
      (value >> (size * BigInt((family === 4 ? 3 : 7) - index))) & ((1n << size) - 1n),
  );
  if (family === 4) return parts.join(".");
  const words = parts.map((part) => part.toString(16));
  const zeros = words.join(":").match(/\b0(?::0)+\b/g) ?? [];
  const longest = zeros.reduce((so, run) => (run.length > so.length ? run : so), "");
  if (longest === "") return words.join(":");
  return words.join(":").replace(new RegExp(`(^|:)${longest}(:|$)`), "::");
}

function readRange(text: string): Range | undefined {
  const [, host = "", bits = ""] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const address = readAddress(host);
  if (address === undefined || Number(bits) > widthOf(address.family)) return undefined;
  return new Range(address, Number(bits));
}

function network({ address, bits }: Range): Address {
  const shift = BigInt(widthOf(address.family) - bits);
  return new Address(address.family, (address.value >> shift) << shift);
}

function containsAddress(range: Range, address: Address): boolean {
  return (
    range.address.family === address.family && network(new Range(address, range.bits)).value === network(range).value
  );
}

/** What Go says of the commonest texts that are no address. */
function addressFault(text: string): string {
  const shown = JSON.stringify(text);
  const within = `IP Address ${shown} parse error during conversion from string: ParseAddr(${shown}): `;
  if (isIP(text) === 6)
    return text.includes("%")
      ? `IP address ${shown} with zone value is not allowed`
      : `IPv4-mapped IPv6 address ${shown} is not allowed`;
  return `${within}unable to parse IP`;
}

function addressOf(text: string): Address {
  const address = readAddress(text);
  if (address === undefined) throw new CelEvaluationError(addressFault(text));
  return address;
}

function rangeOf(text: string): Range {
  const range = readRange(text);
  if (range === undefined)
    throw new CelEvaluationError(`network address parse error during conversion from string: ${text}`);
  return range;
}

const inRange = (text: string): ((address: Address) => boolean) => {
  const range = rangeOf(text);
  return (address) => containsAddress(range, address);
};

const kinds: Readonly<Record<string, readonly ((address: Address) => boolean)[]>> = {
  isUnspecified: [inRange("0.0.0.0/32"), inRange("::/128")],
  isLoopback: [inRange("127.0.0.0/8"), inRange("::1/128")],
  isLinkLocalMulticast: [inRange("224.0.0.0/24"), inRange("ff02::/16")],
  isLinkLocalUnicast: [inRange("169.254.0.0/16"), inRange("fe80::/10")],
};
const notGlobal = [
  ...Object.values(kinds).flat(),
  inRange("224.0.0.0/4"),
  inRange("ff00::/8"),
  inRange("255.255.255.255/32"),
];

/** IP addresses and ranges: ip, cidr and what they can be asked. */
export function defineNetworks(engine: Engine): void {
  const ip = "net.IP";
  engine.define(`ip(string): ${ip}`, addressOf);
  engine.define("isIP(string): bool", (text: string) => readAddress(text) !== undefined);
  engine.define("ip.isCanonical(string): bool", (text: string) => showAddress(addressOf(text)) === text);
  engine.define(`${ip}.family(): int`, ({ family }: Address) => BigInt(family));
  engine.define(`string(${ip}): string`, showAddress);
  for (const [name, ranges] of Object.entries(kinds))
    engine.define(`${ip}.${name}(): bool`, (address: Address) => ranges.some((isIn) => isIn(address)));
  engine.define(`${ip}.isGlobalUnicast(): bool`, (address: Address) => !notGlobal.some((isIn) => isIn(address)));
  defineRanges(engine, ip);
}

function defineRanges(engine: Engine, ip: string): void {
  const cidr = "net.CIDR";
  engine.define(`cidr(string): ${cidr}`, rangeOf);
  engine.define("isCIDR(string): bool", (text: string) => readRange(text) !== undefined);
  engine.define(`string(${cidr}): string`, ({ address, bits }: Range) => `${showAddress(address)}/${bits}`);
  engine.define(`${cidr}.ip(): ${ip}`, ({ address }: Range) => address);
  engine.define(`${cidr}.masked(): ${cidr}`, (range: Range) => new Range(network(range), range.bits));
  engine.define(`${cidr}.prefixLength(): int`, ({ bits }: Range) => BigInt(bits));
  engine.define(`${cidr}.containsIP(${ip}): bool`, containsAddress);
  engine.define(`${cidr}.containsIP(string): bool`, (range: Range, text: string) =>
    containsAddress(range, addressOf(text)),
  );
  const containsRange = (range: Range, other: Range): boolean =>
    other.bits >= range.bits && containsAddress(range, other.address);
  engine.define(`${cidr}.containsCIDR(${cidr}): bool`, containsRange);
  engine.define(`${cidr}.containsCIDR(string): bool`, (range: Range, text: string) =>
    containsRange(range, rangeOf(text)),
  );
}

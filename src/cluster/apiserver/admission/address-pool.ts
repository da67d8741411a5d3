import { isIPv4 } from "node:net";
import type { Clock, Random } from "../../../kernel/clock/index.js";
import { InputError } from "../../../kernel/errors/index.js";

/** A range of IPv4 addresses. */
export interface AddressRange {
  readonly cidr: string;
  /** The first address that may be given away. */
  readonly first: number;
  /** How many may be given away. */
  readonly size: number;
}

/** Parses `198.19.0.0/24`. Throws `InputError` for anything that is no IPv4 range of at least two usable addresses. */
export function parseRange(cidr: string): AddressRange {
  const [address = "", bits = ""] = cidr.split("/");
  const prefix = Number(bits);
  if (!isIPv4(address) || !/^\d+$/.test(bits) || prefix < 8 || prefix > 29)
    throw new InputError(`service range "${cidr}" must be an IPv4 range like 198.19.0.0/24, between /8 and /29`);
  const total = 2 ** (32 - prefix);
  const base = Math.floor(toNumber(address) / total) * total;
  // Neither the network's own address nor its broadcast address.
  return { cidr, first: base + 1, size: total - 2 };
}

/** Whether a number may be given away of a range. */
export const isWithin = ({ first, size }: AddressRange, value: number): boolean =>
  value >= first && value < first + size;

/** `198.19.0.1` as a number. */
export function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** The address behind a number. */
export function toAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

/** How long something promised to a write that never comes is kept from others. */
const promiseMs = 30_000;

/**
 * Numbers that belong to objects. What is taken is learnt from the store; what was promised to a write that is on its way
 * is kept for half a minute.
 */
export class Pool {
  readonly #clock: Clock;
  readonly #owners = new Map<number, string>();
  readonly #promised = new Map<number, { owner: string; until: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The store says so. */
  take(value: number, owner: string): void {
    this.#owners.set(value, owner);
    this.#promised.delete(value);
  }

  release(value: number, owner: string): void {
    if (this.#owners.get(value) === owner) this.#owners.delete(value);
  }

  clear(): void {
    this.#owners.clear();
  }

  isFree(value: number, owner: string): boolean {
    const known = this.#owners.get(value);
    if (known !== undefined) return known === owner;
    const promise = this.#promised.get(value);
    if (promise === undefined || promise.owner === owner) return true;
    return promise.until <= this.#clock.monotonicMs();
  }

  promise(value: number, owner: string): void {
    this.#promised.set(value, { owner, until: this.#clock.monotonicMs() + promiseMs });
  }

  /** A free number of `[first, first + size)`, from the upper band while there is one: people choose low ones by hand. */
  pick(first: number, size: number, random: Random): number | undefined {
    const band = size < 32 ? 0 : Math.min(Math.max(16, Math.floor(size / 16)), 256);
    return this.#pickIn(first + band, size - band, random) ?? this.#pickIn(first, band, random);
  }

  #pickIn(first: number, size: number, random: Random): number | undefined {
    if (size <= 0) return undefined;
    const start = random.int(size);
    for (let step = 0; step < size; step++) {
      const value = first + ((start + step) % size);
      if (this.isFree(value, "")) return value;
    }
    return undefined;
  }
}

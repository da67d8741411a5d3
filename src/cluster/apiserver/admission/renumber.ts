import { isIPv4 } from "node:net";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { objectAt, stringAt } from "../fields.js";
import { listPrefix } from "../store/keys.js";
import type { Store } from "../types.js";
import { type AddressRange, isWithin, toAddress, toNumber } from "./address-pool.js";

/**
 * Gives Services whose address is in none of the service ranges one that is, at the same place if it can be: a cluster that is restored
 * beside another, or whose range somebody else took while it was down, has other ranges than before. Returns their names.
 */
export async function renumberServices(store: Store, ranges: readonly AddressRange[]): Promise<string[]> {
  const { items } = store.list(listPrefix({ group: "", plural: "services" }, ""));
  const taken = new Set(items.map(addressOf));
  const strays = items.filter((service) => {
    const address = addressOf(service);
    return isIPv4(address) && !ranges.some((range) => isWithin(range, toNumber(address)));
  });
  for (const { key, revision, value } of strays) {
    const free = freeLike(toNumber(addressOf({ value })), ranges, (number) => !taken.has(toAddress(number)));
    if (free === undefined) break;
    taken.add(toAddress(free));
    await store.update(key, revision, withAddress(value, toAddress(free)));
  }
  return strays.map(({ key }) => key);
}

function freeLike(
  before: number,
  ranges: readonly AddressRange[],
  isFree: (number: number) => boolean,
): number | undefined {
  for (const range of ranges) {
    const { first, size } = range;
    // A range begins at a multiple of its size, which is a power of two, and its first address is not given away.
    const same = first + ((before - 1) % (size + 2));
    if (isWithin(range, same) && isFree(same)) return same;
    for (let number = first; number < first + size; number += 1) if (isFree(number)) return number;
  }
  return undefined;
}

function addressOf({ value }: { readonly value: JsonObject }): string {
  return stringAt(objectAt(value, "spec"), "clusterIP");
}

function withAddress(service: JsonObject, address: string): JsonObject {
  const metadata = { ...objectAt(service, "metadata") };
  return { ...service, metadata, spec: { ...objectAt(service, "spec"), clusterIP: address, clusterIPs: [address] } };
}

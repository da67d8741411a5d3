import { isIPv4 } from "node:net";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { objectAt, stringAt } from "../fields.js";
import { listPrefix } from "../store/keys.js";
import type { Store } from "../types.js";
import { parseRange, toAddress, toNumber } from "./address-pool.js";

/**
 * Gives Services whose address is not in the service range one that is, at the same place in it: a cluster that is restored
 * beside another, or whose range somebody else took while it was down, has another range than before. Returns their names.
 */
export async function renumberServices(store: Store, serviceCidr: string): Promise<string[]> {
  const { first, size } = parseRange(serviceCidr);
  const { items } = store.list(listPrefix({ group: "", plural: "services" }, ""));
  const taken = new Set(items.map(addressOf));
  const strays = items.filter((service) => {
    const address = addressOf(service);
    const place = isIPv4(address) ? toNumber(address) - first : 0;
    return place < 0 || place >= size;
  });
  for (const { key, revision, value } of strays) {
    // A range begins at a multiple of its size, which is a power of two, and its first address is not given away.
    const offset = (toNumber(addressOf({ value })) - 1) % (size + 2);
    const free = [first + offset, ...Array.from({ length: size }, (_, index) => first + index)].find(
      (number) => number < first + size && !taken.has(toAddress(number)),
    );
    if (free === undefined) break;
    taken.add(toAddress(free));
    await store.update(key, revision, withAddress(value, toAddress(free)));
  }
  return strays.map(({ key }) => key);
}

function addressOf({ value }: { readonly value: JsonObject }): string {
  return stringAt(objectAt(value, "spec"), "clusterIP");
}

function withAddress(service: JsonObject, address: string): JsonObject {
  const metadata = { ...objectAt(service, "metadata") };
  return { ...service, metadata, spec: { ...objectAt(service, "spec"), clusterIP: address, clusterIPs: [address] } };
}

import type { Json } from "../../../kernel/kinds/object.js";
import { equalJson, isObject } from "../../../kernel/schema/index.js";

function indexIn(list: readonly Json[], item: Json, key: string): number {
  if (key === "") return list.findIndex((one) => equalJson(one, item));
  const value = isObject(item) ? item[key] : undefined;
  return list.findIndex((one) => isObject(one) && equalJson(one[key], value));
}

/** Items in the order in which `order` has them; `key` names them (empty: by value). */
export function sortBy<T extends Json>(items: readonly T[], order: readonly Json[], key: string): T[] {
  return items
    .map((item) => ({ item, place: indexIn(order, item, key) }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

/** The order of a merged list: items that the patch names as it names them, the others as the server had them, woven together by the server's order; where that does not say, the patch's come first. */
export function interleave<T extends Json>(
  merged: readonly T[],
  patchOrder: readonly Json[],
  serverOrder: readonly Json[],
  key: string,
): T[] {
  const named = sortBy(
    merged.filter((item) => indexIn(patchOrder, item, key) >= 0),
    patchOrder,
    key,
  );
  const others = sortBy(
    merged.filter((item) => indexIn(patchOrder, item, key) < 0),
    serverOrder,
    key,
  );
  const result: T[] = [];
  let nextNamed = 0;
  let nextOther = 0;
  while (nextNamed < named.length || nextOther < others.length) {
    const one = named[nextNamed];
    const other = others[nextOther];
    if (one === undefined || (other !== undefined && comesFirst(other, one, serverOrder, key))) {
      if (other !== undefined) result.push(other);
      nextOther += 1;
    } else {
      result.push(one);
      nextNamed += 1;
    }
  }
  return result;
}

function comesFirst(item: Json, before: Json, serverOrder: readonly Json[], key: string): boolean {
  const place = indexIn(serverOrder, item, key);
  const other = indexIn(serverOrder, before, key);
  return place >= 0 && other >= 0 && place < other;
}

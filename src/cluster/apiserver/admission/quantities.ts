import {
  addQuantities,
  compareQuantities,
  formatQuantity,
  type Quantity,
  tryParseQuantity,
  zeroQuantity,
} from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, objectAt, stringAt } from "../fields.js";

/** Amounts by resource name. */
export type Amounts = Map<string, Quantity>;

/** A resource list as it stands in an object; what is no quantity is left out (validation speaks of it). */
export function amountsIn(list: JsonObject): Amounts {
  const amounts: Amounts = new Map();
  for (const [name, value] of Object.entries(list)) {
    const quantity = typeof value === "string" || typeof value === "number" ? tryParseQuantity(value) : undefined;
    if (quantity !== undefined) amounts.set(name, quantity);
  }
  return amounts;
}

/** Adds `more` to `total`, in place. */
export function addTo(total: Amounts, more: Amounts): void {
  for (const [name, quantity] of more) total.set(name, addQuantities(total.get(name) ?? zeroQuantity, quantity));
}

/** For each name the larger amount, in place. */
export function raiseTo(total: Amounts, other: Amounts): void {
  for (const [name, quantity] of other) {
    const known = total.get(name);
    if (known === undefined || compareQuantities(quantity, known) > 0) total.set(name, quantity);
  }
}

/** A resource list as text, in the order of names. */
export function toList(amounts: Amounts): JsonObject {
  const names = [...amounts.keys()].toSorted();
  return Object.fromEntries(names.map((name) => [name, formatQuantity(amounts.get(name) ?? zeroQuantity)]));
}

/** Containers of a pod spec. */
export function containersIn(spec: JsonObject, field: "containers" | "initContainers"): JsonObject[] {
  const list = spec[field];
  return Array.isArray(list) ? list.filter(isObject) : [];
}

/** `requests` or `limits` of a container or pod. */
export function resourcesOf(holder: JsonObject, what: "requests" | "limits"): Amounts {
  return amountsIn(objectAt(objectAt(holder, "resources"), what));
}

/**
 * What a pod needs at its peak (KEP-753): all containers and sidecars together, or a single init container with the sidecars
 * before it if that is more; with the overhead of its runtime.
 */
export function podAmounts(spec: JsonObject, what: "requests" | "limits"): Amounts {
  const total: Amounts = new Map();
  for (const container of containersIn(spec, "containers")) addTo(total, resourcesOf(container, what));
  const sidecars: Amounts = new Map();
  const peak: Amounts = new Map();
  for (const container of containersIn(spec, "initContainers")) {
    const own = resourcesOf(container, what);
    if (stringAt(container, "restartPolicy") === "Always") {
      addTo(sidecars, own);
      raiseTo(peak, sidecars);
    } else {
      const now: Amounts = new Map(sidecars);
      addTo(now, own);
      raiseTo(peak, now);
    }
  }
  addTo(total, sidecars);
  raiseTo(total, peak);
  // Resources of the pod as a whole, where set, are what counts.
  for (const [name, quantity] of resourcesOf(spec, what)) total.set(name, quantity);
  const overhead = amountsIn(objectAt(spec, "overhead"));
  for (const [name, quantity] of overhead)
    if (what === "requests" || total.has(name))
      total.set(name, addQuantities(total.get(name) ?? zeroQuantity, quantity));
  return total;
}

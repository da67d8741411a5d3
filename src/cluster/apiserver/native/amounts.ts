import type { Faults } from "../../../kernel/kinds/index.js";
import { formatQuantity, qualifiedNameFaults } from "../../../kernel/kinds/index.js";
import type { Json } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { asObject, at } from "../registry/read.js";
import { quantityOf } from "./rules.js";

/** A quantity above zero. Returns whether it is. */
export function checkQuantityAbove(value: Json | undefined, path: string, faults: Faults): boolean {
  const amount = quantityOf(value);
  if (amount === undefined || amount.nanos > 0n) return true;
  faults.invalid(path, value, "must be greater than zero");
  return false;
}

const thousandth = 1_000_000n;

/** Amounts finer than thousandths are rounded up to these; `fields` name the maps that hold them. */
export function roundAmounts(holder: Json | undefined, fields: readonly string[]): void {
  for (const amounts of fields.map((field) => asObject(at(holder, field))))
    for (const [name, value] of Object.entries(amounts)) {
      const amount = quantityOf(value);
      if (amount === undefined || amount.nanos % thousandth === 0n) continue;
      const { nanos, format } = amount;
      const steps = nanos / thousandth + (nanos > 0n ? 1n : -1n);
      amounts[name] = formatQuantity({ nanos: steps * thousandth, format });
    }
}

/** The name of what claims have: storage, or somebody's own. Returns whether it is. */
export function checkResourceKey(name: string, path: string, faults: Faults): boolean {
  const wrong = qualifiedNameFaults(name);
  for (const fault of wrong) faults.invalid(path, name, fault);
  if (wrong.length > 0) return false;
  const isNative = !name.includes("/") || name.includes("kubernetes.io/");
  if (!isNative || name === "storage") return true;
  faults.unsupported(path, name, ["storage"]);
  return false;
}

/** A value that may not change, at a path that is not its own. */
export function immutableAt(path: string, value: Json | undefined, old: Json | undefined, faults: Faults): void {
  if (!equalJson(value, old))
    faults.invalid(path, value ?? (typeof old === "string" ? null : null), "field is immutable");
}

import type { Faults } from "../../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asNumber } from "../../registry/read.js";

const longest = 2_147_483_647;

/** A pod's deadline may come nearer, not go. Returns whether the rest of the change is worth looking at. */
export function nonNegativeDeadline(spec: JsonObject, old: JsonObject, faults: Faults): boolean {
  const path = "spec.activeDeadlineSeconds";
  const [now, before] = [asNumber(spec["activeDeadlineSeconds"]), asNumber(old["activeDeadlineSeconds"])];
  if (now === undefined) {
    if (before !== undefined) faults.invalid(path, null, "must not update from a positive integer to nil value");
    return true;
  }
  if (now < 0 || now > longest) {
    faults.invalid(path, now, `must be between 0 and ${longest}, inclusive`);
    return false;
  }
  if (before !== undefined && before < now) {
    faults.invalid(path, now, "must be less than or equal to previous value");
    return false;
  }
  return true;
}

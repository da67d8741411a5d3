import type { Faults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asNumber, asObject, asString } from "../registry/read.js";

const percentWords =
  "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/** A number that is not negative, or a percentage. */
export function checkCountOrPercent(value: Json | undefined, path: string, faults: Faults): void {
  if (typeof value === "string") {
    if (!/^\d+%$/.test(value)) faults.invalid(path, value, percentWords);
  } else if ((asNumber(value) ?? 0) < 0) faults.invalid(path, value, "must be greater than or equal to 0");
}

/** A percentage of at most all. */
export function checkAtMostAll(value: Json | undefined, path: string, faults: Faults): void {
  if (typeof value === "string" && /^\d+%$/.test(value) && Number(value.slice(0, -1)) > 100)
    faults.invalid(path, value, "must not be greater than 100%");
}

/** A count or percentage as a number; a text that is neither counts as none. */
function amountOf(value: Json | undefined): number {
  if (typeof value !== "string") return asNumber(value) ?? 0;
  const [, digits = "0"] = /^(\d+)%?$/.exec(value) ?? [];
  return Number(digits);
}

function shown(strategy: JsonObject): JsonObject {
  return { Type: asString(strategy["type"]), RollingUpdate: strategy["rollingUpdate"] ?? null };
}

function ofDeployment(strategy: JsonObject, faults: Faults): void {
  const path = "spec.strategy";
  const type = asString(strategy["type"]);
  const rolling = strategy["rollingUpdate"];
  if (type === "Recreate") {
    if (rolling !== undefined)
      faults.forbidden(`${path}.rollingUpdate`, "may not be specified when strategy `type` is 'Recreate'");
  } else if (type !== "RollingUpdate") faults.unsupported(path, shown(strategy), ["Recreate", "RollingUpdate"]);
  else {
    const { maxUnavailable, maxSurge } = asObject(rolling);
    const place = `${path}.rollingUpdate.maxUnavailable`;
    checkCountOrPercent(maxUnavailable, place, faults);
    checkCountOrPercent(maxSurge, `${path}.rollingUpdate.maxSurge`, faults);
    if (amountOf(maxUnavailable) === 0 && amountOf(maxSurge) === 0)
      faults.invalid(place, maxUnavailable, "may not be 0 when `maxSurge` is 0");
    checkAtMostAll(maxUnavailable, place, faults);
  }
}

function ofDaemonSet(strategy: JsonObject, faults: Faults): void {
  const path = "spec.updateStrategy";
  const type = asString(strategy["type"]);
  if (type === "OnDelete") return;
  if (type !== "RollingUpdate") {
    faults.unsupported(path, shown(strategy), ["RollingUpdate", "OnDelete"]);
    return;
  }
  const { maxUnavailable, maxSurge } = asObject(strategy["rollingUpdate"]);
  const [unavailable, surge] = [`${path}.rollingUpdate.maxUnavailable`, `${path}.rollingUpdate.maxSurge`];
  checkCountOrPercent(maxUnavailable, unavailable, faults);
  checkCountOrPercent(maxSurge, surge, faults);
  checkAtMostAll(maxUnavailable, unavailable, faults);
  checkAtMostAll(maxSurge, surge, faults);
  if (amountOf(maxUnavailable) !== 0 && amountOf(maxSurge) !== 0)
    faults.invalid(surge, maxSurge, "may not be set when maxUnavailable is non-zero");
  else if (amountOf(maxUnavailable) === 0 && amountOf(maxSurge) === 0)
    faults.required(unavailable, "cannot be 0 when maxSurge is 0");
}

function ofStatefulSet(strategy: JsonObject, faults: Faults): void {
  const path = "spec.updateStrategy";
  const type = asString(strategy["type"]);
  const rolling = strategy["rollingUpdate"];
  if (type === "OnDelete") {
    if (rolling !== undefined)
      faults.invalid(`${path}.rollingUpdate`, rolling, "only allowed for updateStrategy 'RollingUpdate'");
  } else if (type !== "RollingUpdate") faults.invalid(path, shown(strategy), "must be 'RollingUpdate' or 'OnDelete'");
  else if (rolling !== undefined) {
    const { partition, maxUnavailable } = asObject(rolling);
    const first = asNumber(partition);
    if (first !== undefined && first < 0)
      faults.invalid(`${path}.rollingUpdate.partition`, first, "must be greater than or equal to 0");
    if (maxUnavailable === undefined) return;
    const place = `${path}.rollingUpdate.maxUnavailable`;
    checkCountOrPercent(maxUnavailable, place, faults);
    if (amountOf(maxUnavailable) === 0) faults.invalid(place, maxUnavailable, "cannot be 0");
    checkAtMostAll(maxUnavailable, place, faults);
  }
}

const rollouts = { Deployment: ofDeployment, DaemonSet: ofDaemonSet, StatefulSet: ofStatefulSet };

/** Checks how a workload goes from one template to the next. */
export function validateRollout(kind: keyof typeof rollouts, strategy: Json | undefined, faults: Faults): void {
  rollouts[kind](asObject(strategy), faults);
}

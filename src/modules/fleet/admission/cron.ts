import { Faults, type JsonObject } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { CronFederatedHPAKind } from "../unserved/kinds.js";
import { referenceFaults } from "./autoscalers.js";
import { ACCEPTED, deniedFor, isUntouched, numberIn, objectIn, objectsIn, textIn } from "./denial.js";
import { isSchedule } from "./schedule.js";

const MOST = 2 ** 31 - 1;

/** Checks autoscalers by the clock. */
export function cronFederatedHpaAdmission(): ModuleAdmission {
  return {
    kind: CronFederatedHPAKind,
    level: "continuum",
    review: async (object, old) =>
      isUntouched(object, old)
        ? ACCEPTED
        : deniedFor("cronfederatedhpa.karmada.io", cronFaults(objectIn(object, "spec"))),
  };
}

function cronFaults(spec: JsonObject): Faults {
  const faults = new Faults();
  const reference = objectIn(spec, "scaleTargetRef");
  const kind = textIn(reference, "kind");
  const isFederated = textIn(reference, "apiVersion") === "autoscaling.karmada.io/v1alpha1";
  if (isFederated && kind !== "FederatedHPA") {
    faults.invalid("spec.scaleTargetRef.kind", kind, `invalid scaleTargetRef kind: ${kind}, only support FederatedHPA`);
    return faults;
  }
  referenceFaults(reference, "spec.scaleTargetRef", faults);
  const names = new Set<string>();
  for (const [index, rule] of objectsIn(spec, "rules").entries()) {
    const path = `spec.rules[${index}]`;
    const name = textIn(rule, "name");
    if (names.has(name)) faults.duplicate(`${path}.name`, name);
    names.add(name);
    const schedule = textIn(rule, "schedule");
    if (!isSchedule(schedule)) faults.invalid(`${path}.schedule`, schedule, "invalid cron format");
    zoneFaults(rule, path, faults);
    if (isFederated) boundsFaults(rule, path, faults);
    else replicasFaults(rule, kind, path, faults);
  }
  return faults;
}

function zoneFaults(rule: JsonObject, path: string, faults: Faults): void {
  const zone = rule["timeZone"];
  if (typeof zone !== "string" || zone === "" || zone === "UTC" || zone === "Local") return;
  try {
    // Throws for a name that there is not.
    new Intl.DateTimeFormat("en", { timeZone: zone }).format(0);
  } catch {
    faults.invalid(`${path}.timeZone`, zone, `unknown time zone ${zone}`);
  }
}

function boundsFaults(rule: JsonObject, path: string, faults: Faults): void {
  const [least, most] = [numberIn(rule, "targetMinReplicas"), numberIn(rule, "targetMaxReplicas")];
  if (least === undefined && most === undefined)
    faults.invalid(
      `${path}.targetMaxReplicas`,
      "",
      "targetMinReplicas and targetMaxReplicas cannot be nil at the same time if you want to scale FederatedHPA",
    );
  if ((least ?? 1) <= 0) faults.invalid(`${path}.targetMinReplicas`, "", "targetMinReplicas should be larger than 0");
  if ((most ?? MOST) <= 0) faults.invalid(`${path}.targetMaxReplicas`, "", "targetMaxReplicas should be larger than 0");
  if ((least ?? 1) > (most ?? MOST))
    faults.invalid(
      `${path}.targetMinReplicas`,
      "",
      "targetMaxReplicas should be larger than or equal to targetMinReplicas",
    );
}

function replicasFaults(rule: JsonObject, kind: string, path: string, faults: Faults): void {
  const replicas = numberIn(rule, "targetReplicas");
  if (replicas === undefined)
    faults.invalid(`${path}.targetReplicas`, "", `targetReplicas cannot be nil if you want to scale ${kind}`);
  if ((replicas ?? 0) < 0)
    faults.invalid(`${path}.targetReplicas`, "", "targetReplicas should be larger than or equal to 0");
}

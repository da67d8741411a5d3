import type { Faults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asNumber, asString } from "../registry/read.js";
import { oneOf, optional, qualifiedName } from "./rules.js";

const longestReason = 1024;
const longestMessage = 32 * 1024;

const reasonWords =
  "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

const reasonFaults = (reason: string): readonly string[] =>
  /^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/.test(reason) ? [] : [reasonWords];

/** Checks conditions of the form that all kinds share. */
export function checkConditions(conditions: readonly JsonObject[], path: string, faults: Faults): void {
  const types = new Set<string>();
  for (const [index, condition] of conditions.entries()) {
    const place = `${path}[${index}]`;
    const type = asString(condition["type"]);
    if (types.has(type)) faults.duplicate(`${place}.type`, type);
    types.add(type);
    qualifiedName(type, `${place}.type`, faults);
    oneOf(condition["status"], ["False", "True", "Unknown"], `${place}.status`, faults);
    const generation = asNumber(condition["observedGeneration"]) ?? 0;
    if (generation < 0)
      faults.invalid(`${place}.observedGeneration`, generation, "must be greater than or equal to zero");
    if (asString(condition["lastTransitionTime"]) === "") faults.required(`${place}.lastTransitionTime`);
    const reason = asString(condition["reason"]);
    if (reason === "") faults.required(`${place}.reason`);
    optional(reasonFaults, reason, `${place}.reason`, faults);
    if (reason.length > longestReason) faults.tooLong(`${place}.reason`, longestReason);
    if (asString(condition["message"]).length > longestMessage) faults.tooLong(`${place}.message`, longestMessage);
  }
}

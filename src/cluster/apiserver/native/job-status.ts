import type { Faults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObject, asObjects, at } from "../registry/read.js";

/** Whether a job has a condition. */
export function hasCondition(job: JsonObject, type: string): boolean {
  return asObjects(at(job, "status", "conditions")).some((one) => one["type"] === type && one["status"] === "True");
}

/** The condition that announces each end. */
const announcements: readonly (readonly [end: string, announcement: string])[] = [
  ["Complete", "SuccessCriteriaMet"],
  ["Failed", "FailureTarget"],
];

/** Checks what is reported of a job: an end is announced, dated and final (KEP-3998). */
export function validateJobStatus(job: JsonObject, old: JsonObject, faults: Faults): void {
  const status = asObject(job["status"]);
  for (const [end, announcement] of announcements) {
    if (hasCondition(old, end) && !hasCondition(job, end))
      faults.plain("status.conditions", `cannot disable the terminal ${end}=True condition`);
    if (hasCondition(job, end) && !hasCondition(old, end) && !hasCondition(job, announcement))
      faults.plain("status.conditions", `cannot set ${end}=True condition without the ${announcement}=true condition`);
  }
  const [isComplete, isFailed] = [hasCondition(job, "Complete"), hasCondition(job, "Failed")];
  if (isComplete && isFailed) faults.plain("status.conditions", "cannot set Complete=True and Failed=true conditions");
  if ((isComplete || isFailed) && status["startTime"] === undefined)
    faults.required("status.startTime", "startTime is required for finished job");
  if (isComplete && status["completionTime"] === undefined)
    faults.required("status.completionTime", "completionTime is required for Complete jobs");
  if (!isComplete && status["completionTime"] !== undefined)
    faults.invalid(
      "status.completionTime",
      status["completionTime"],
      "cannot set completionTime when there is no Complete=True condition",
    );
}

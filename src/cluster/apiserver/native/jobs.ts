import type { JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { ageOf, humanDuration } from "../registry/ages.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { subdomainFaults } from "../registry/names.js";
import {
  asList,
  asNumber,
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  isEmpty,
  setDefault,
  setDefaultText,
} from "../registry/read.js";
import { countAt, nonNegative, showContainers, showSelector, textAt, validateTemplate } from "./common.js";
import { scheduleFault, timeZoneFault } from "./cron-schedule.js";
import { hasCondition, validateJobStatus } from "./job-status.js";
import { defaultPodSpec } from "./pod-defaults.js";
import { validatePodSpec } from "./pod-validation.js";

const uidLabel = "batch.kubernetes.io/controller-uid";
const nameLabel = "batch.kubernetes.io/job-name";
const maximumCronJobName = 52;

function defaultJobSpec(spec: JsonObject): void {
  if (spec["completions"] === undefined && spec["parallelism"] === undefined) {
    spec["completions"] = 1;
    spec["parallelism"] = 1;
  }
  setDefault(spec, "parallelism", 1);
  setDefault(spec, "backoffLimit", spec["backoffLimitPerIndex"] === undefined ? 6 : 2_147_483_647);
  setDefaultText(spec, "completionMode", "NonIndexed");
  setDefault(spec, "suspend", false);
  setDefault(spec, "manualSelector", false);
  setDefaultText(
    spec,
    "podReplacementPolicy",
    spec["podFailurePolicy"] === undefined ? "TerminatingOrFailed" : "Failed",
  );
}

/** Unless the user took over, the selector and the template's labels come from the job's uid. */
function generateSelector(job: JsonObject, old: JsonObject | undefined): void {
  const spec = asObject(job["spec"]);
  if (old !== undefined || spec["manualSelector"] === true) return;
  const metadata = asObject(job["metadata"]);
  const [uid, name] = [asString(metadata["uid"]), asString(metadata["name"])];
  const template = ensureObject(spec, "template");
  const labels = ensureObject(ensureObject(template, "metadata"), "labels");
  const own = ensureObject(metadata, "labels");
  // A job without labels has those of its pods.
  if (Object.keys(own).length === 0) Object.assign(own, labels);
  for (const target of [labels, own])
    Object.assign(target, { "controller-uid": uid, "job-name": name, [uidLabel]: uid, [nameLabel]: name });
  const selector = ensureObject(spec, "selector");
  ensureObject(selector, "matchLabels")[uidLabel] = uid;
}

function validateJobSpec(spec: JsonObject, path: string, faults: Faults): void {
  for (const field of [
    "parallelism",
    "completions",
    "backoffLimit",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "maxFailedIndexes",
    "backoffLimitPerIndex",
  ])
    nonNegative(spec, field, path, faults);
  const policy = asString(at(spec, "template", "spec", "restartPolicy"));
  if (policy === "Always" || policy === "")
    faults.required(`${path}.template.spec.restartPolicy`, 'valid values: "OnFailure", "Never"');
  else if (policy === "OnFailure" && spec["podFailurePolicy"] !== undefined)
    faults.invalid(
      `${path}.template.spec.restartPolicy`,
      policy,
      'only "Never" is supported when podFailurePolicy is specified',
    );
  if (spec["completionMode"] === "Indexed" && spec["completions"] === undefined)
    faults.required(`${path}.completions`, "when completion mode is Indexed");
  const mode = asString(spec["completionMode"]);
  if (mode !== "" && mode !== "NonIndexed" && mode !== "Indexed")
    faults.unsupported(`${path}.completionMode`, mode, ["NonIndexed", "Indexed"]);
  validateExitCodes(spec, path, faults);
  const managedBy = asString(spec["managedBy"]);
  if (managedBy !== "" && !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/.+$/.test(managedBy))
    faults.invalid(`${path}.managedBy`, managedBy, 'must be a domain-prefixed path (such as "acme.io/foo")');
}

/** Success is no failure that a policy could match. */
function validateExitCodes(spec: JsonObject, path: string, faults: Faults): void {
  for (const [index, rule] of asObjects(at(spec, "podFailurePolicy", "rules")).entries()) {
    const place = `${path}.podFailurePolicy.rules[${index}].onExitCodes.values`;
    if (at(rule, "onExitCodes", "operator") !== "In") continue;
    for (const [at0, value] of asList(at(rule, "onExitCodes", "values")).entries())
      if (value === 0) faults.invalid(`${place}[${at0}]`, 0, "must not be 0 for the In operator");
  }
}

const job: Behaviour = {
  checkedTwice: "spec",
  ownChecks: ["spec.template.spec.restartPolicy", "spec.completionMode"],
  generation: true,
  defaults(object) {
    const spec = ensureObject(object, "spec");
    defaultJobSpec(spec);
    const podSpec = at(spec, "template", "spec");
    if (podSpec !== undefined) {
      // A job has no use for pods that restart for ever; what the user did not choose is refused by validation.
      defaultPodSpec(asObject(podSpec));
    }
  },
  prepare: (object, old, context) => {
    if (context.subresource === "") generateSelector(object, old);
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    if (asString(asObject(object["metadata"])["name"]).length > 63 && asString(spec["completionMode"]) === "Indexed")
      faults.invalid("metadata.name", asObject(object["metadata"])["name"], "must be no more than 63 characters");
    validateSelectorIsGenerated(spec, asString(at(object, "metadata", "uid")), faults);
    validateTemplate(spec, "job", faults);
    validateJobSpec(spec, "spec", faults);
  },
  validateUpdate(object, old, faults, context) {
    if (context.subresource === "status") validateJobStatus(object, old, faults);
    else validateJobUpdate(object, old, faults);
  },
  selectable: { "status.successful": (object) => String(countAt(object, "status", "succeeded")) },
  columns: [
    column("Status", jobStatus),
    column("Completions", completions),
    column("Duration", duration),
    column("Containers", (object) => showContainers(object, ["spec", "template", "spec", "containers"]).names, {
      wide: true,
    }),
    column("Images", (object) => showContainers(object, ["spec", "template", "spec", "containers"]).images, {
      wide: true,
    }),
    column("Selector", (object) => showSelector(at(object, "spec", "selector")), { wide: true }),
  ],
};

function validateSelectorIsGenerated(spec: JsonObject, uid: string, faults: Faults): void {
  if (spec["manualSelector"] === true || spec["selector"] === undefined) return;
  const expected = { matchLabels: { [uidLabel]: uid } };
  const older = { matchLabels: { "controller-uid": uid } };
  if (!equalJson(spec["selector"], expected) && !equalJson(spec["selector"], older))
    faults.invalid("spec.selector", spec["selector"], "`selector` not auto-generated");
}

function validateJobUpdate(object: JsonObject, old: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const oldSpec = asObject(old["spec"]);
  const fixed = [
    "selector",
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "managedBy",
    "successPolicy",
  ];
  if (oldSpec["completionMode"] !== "Indexed") fixed.push("completions");
  for (const field of fixed)
    if (!equalJson(spec[field], oldSpec[field]))
      faults.invalid(`spec.${field}`, spec[field] ?? null, "field is immutable");
  const waiting = oldSpec["suspend"] === true && at(old, "status", "startTime") === undefined;
  const [template, oldTemplate] = [spec["template"], oldSpec["template"]].map((one) =>
    waiting ? withoutScheduling(asObject(one)) : one,
  );
  if (!equalJson(template, oldTemplate))
    faults.invalid("spec.template", spec["template"] ?? null, "field is immutable");
}

/** What may still change in the template of a suspended job that never started. */
function withoutScheduling(template: JsonObject): JsonObject {
  const {
    nodeSelector: _,
    tolerations: __,
    affinity: ___,
    schedulingGates: ____,
    ...spec
  } = asObject(template["spec"]);
  return { spec };
}

function jobStatus(object: JsonObject): string {
  if (hasCondition(object, "Complete")) return "Complete";
  if (hasCondition(object, "Failed")) return "Failed";
  if (at(object, "metadata", "deletionTimestamp") !== undefined) return "Terminating";
  if (at(object, "spec", "suspend") === true) return "Suspended";
  if (hasCondition(object, "FailureTarget")) return "FailureTarget";
  if (hasCondition(object, "SuccessCriteriaMet")) return "SuccessCriteriaMet";
  return "Running";
}

function completions(object: JsonObject): string {
  const succeeded = countAt(object, "status", "succeeded");
  const wanted = asNumber(at(object, "spec", "completions"));
  if (wanted !== undefined) return `${succeeded}/${wanted}`;
  const parallelism = countAt(object, "spec", "parallelism");
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function duration(object: JsonObject, now: number): string {
  const start = Date.parse(textAt(object, "status", "startTime"));
  if (Number.isNaN(start)) return "";
  const end = Date.parse(textAt(object, "status", "completionTime"));
  return humanDuration((Number.isNaN(end) ? now : end) - start);
}

const cronJob: Behaviour = {
  generation: true,
  nameFaults: (name) => [
    ...subdomainFaults(name),
    ...(name.length > maximumCronJobName ? [`must be no more than ${maximumCronJobName} characters`] : []),
  ],
  defaults(object) {
    const spec = ensureObject(object, "spec");
    setDefaultText(spec, "concurrencyPolicy", "Allow");
    setDefault(spec, "suspend", false);
    setDefault(spec, "successfulJobsHistoryLimit", 3);
    setDefault(spec, "failedJobsHistoryLimit", 1);
    const podSpec = at(spec, "jobTemplate", "spec", "template", "spec");
    if (podSpec !== undefined) defaultPodSpec(asObject(podSpec));
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    const schedule = asString(spec["schedule"]);
    const fault = schedule === "" ? undefined : scheduleFault(schedule);
    if (fault !== undefined) faults.invalid("spec.schedule", schedule, fault);
    const zone = spec["timeZone"];
    const zoneFault = zone === undefined ? undefined : timeZoneFault(asString(zone));
    if (zoneFault !== undefined) faults.invalid("spec.timeZone", zone, zoneFault);
    for (const field of ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"])
      nonNegative(spec, field, "spec", faults);
    const jobSpec = asObject(at(spec, "jobTemplate", "spec"));
    if (!isEmpty(jobSpec["selector"]))
      faults.forbidden("spec.jobTemplate.spec.selector", "`selector` will be auto-generated");
    validateJobSpec(jobSpec, "spec.jobTemplate.spec", faults);
    validatePodSpec(asObject(at(jobSpec, "template", "spec")), "spec.jobTemplate.spec.template.spec", faults);
  },
  columns: [
    column("Schedule", (object) => textAt(object, "spec", "schedule")),
    column("Timezone", (object) => textAt(object, "spec", "timeZone") || "<none>"),
    column("Suspend", (object) => (at(object, "spec", "suspend") === true ? "True" : "False"), { type: "boolean" }),
    column("Active", (object) => asObjects(at(object, "status", "active")).length, { type: "integer" }),
    column("Last Schedule", (object, now) => {
      const last = at(object, "status", "lastScheduleTime");
      return last === undefined ? "<none>" : ageOf(last, now);
    }),
    column(
      "Containers",
      (object) => showContainers(object, ["spec", "jobTemplate", "spec", "template", "spec", "containers"]).names,
      { wide: true },
    ),
    column(
      "Images",
      (object) => showContainers(object, ["spec", "jobTemplate", "spec", "template", "spec", "containers"]).images,
      { wide: true },
    ),
    column("Selector", () => "<none>", { wide: true }),
  ],
};

/** Jobs and CronJobs. */
export const jobBehaviours: BehaviourTable = { "batch/Job": job, "batch/CronJob": cronJob };

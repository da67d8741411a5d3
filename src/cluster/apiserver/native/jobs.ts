import type { Faults } from "../../../kernel/kinds/index.js";
import { labelFaults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { ageOf, humanDuration } from "../registry/ages.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { column } from "../registry/columns.js";
import {
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
import { countAt, nonNegative, showContainers, showSelector, textAt } from "./common.js";
import { scheduleFault, timeZoneFaults } from "./cron-schedule.js";
import { hasCondition, validateJobStatus } from "./job-status.js";
import { validateJobSpec } from "./job-validation.js";
import { defaultPodSpec } from "./pod-defaults.js";
import { warnOfPod } from "./pods/warnings.js";
import { follows, needed, neededOneOf } from "./rules.js";
import { isSelector, selects, validateSelector } from "./selectors.js";
import { validateMatch } from "./templates.js";

const uidLabel = "batch.kubernetes.io/controller-uid";
const nameLabel = "batch.kubernetes.io/job-name";
const legacyUidLabel = "controller-uid";
const legacyNameLabel = "job-name";
const maximumCronJobName = 52;

function defaultJobSpec(spec: JsonObject): void {
  if (spec["completions"] === undefined && spec["parallelism"] === undefined) {
    spec["completions"] = 1;
    spec["parallelism"] = 1;
  }
  setDefault(spec, "parallelism", 1);
  setDefault(spec, "backoffLimit", spec["backoffLimitPerIndex"] === undefined ? 6 : 2_147_483_647);
  setDefault(spec, "completionMode", "NonIndexed");
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
  // Labels that it has from its pods go with theirs.
  for (const target of equalJson(own, labels) ? [labels, own] : [labels])
    Object.assign(target, { "controller-uid": uid, "job-name": name, [uidLabel]: uid, [nameLabel]: name });
  const selector = ensureObject(spec, "selector");
  ensureObject(selector, "matchLabels")[uidLabel] = uid;
}

/** A job without labels has those of its pods. */
function takeLabels(job: JsonObject): void {
  const [labels, own] = [at(job, "spec", "template", "metadata", "labels"), at(job, "metadata", "labels")];
  if (!isEmpty(labels) && isEmpty(own)) ensureObject(job, "metadata")["labels"] = { ...asObject(labels) };
}

/** What is looked at once, however often the spec is. */
function validateOnce(object: JsonObject, faults: Faults): void {
  validateSelectorIsGenerated(object, faults);
  validateHostnames(object, faults);
}

const job: Behaviour = {
  checkedTwice: "spec",
  complete: true,
  statusOnly: true,
  generation: true,
  defaults(object) {
    const spec = ensureObject(object, "spec");
    defaultJobSpec(spec);
    takeLabels(object);
    const podSpec = at(spec, "template", "spec");
    if (podSpec !== undefined) {
      // A job has no use for pods that restart for ever; what the user did not choose is refused by validation.
      defaultPodSpec(asObject(podSpec));
    }
  },
  prepare: (object, old, context) => {
    if (context.subresource === "") generateSelector(object, old);
    takeLabels(object);
  },
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    const { selector } = spec;
    validateJobSpec(spec, "spec", faults);
    if (selector === undefined) faults.required("spec.selector");
    else validateSelector(selector, "spec.selector", faults);
    if (isSelector(selector)) validateMatch(selector, asObject(spec["template"]), "spec.template", faults);
  },
  validateCreate(object, faults) {
    validateOnce(object, faults);
    warnOfTemplate(object, ["spec", "template"], faults);
  },
  validateUpdate(object, old, faults, context) {
    if (context.subresource === "status") validateJobStatus(object, old, faults);
    else {
      validateOnce(object, faults);
      validateJobUpdate(object, old, faults);
      if (isNew(object, old)) warnOfTemplate(object, ["spec", "template"], faults);
    }
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

function warnOfTemplate(object: JsonObject, path: readonly string[], faults: Faults): void {
  warnOfPod(asObject(at(object, ...path)), path.join("."), faults);
}

/** Only changes that make a new generation are worth a warning. */
function isNew(object: JsonObject, old: JsonObject): boolean {
  return at(object, "metadata", "generation") !== at(old, "metadata", "generation");
}

/** Pods of an indexed job are called by its name and their index. */
function validateHostnames(object: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const completions = asNumber(spec["completions"]) ?? 0;
  if (spec["completionMode"] !== "Indexed" || completions <= 0) return;
  const name = textAt(object, "metadata", "name");
  const longest = `${name}-${completions - 1}`;
  if (labelFaults(longest).length > 0)
    faults.invalid("metadata.name", name, `will not able to create pod with invalid DNS label: ${longest}`);
}

function validateSelectorIsGenerated(job: JsonObject, faults: Faults): void {
  const spec = asObject(job["spec"]);
  const { selector } = spec;
  if (spec["manualSelector"] === true || selector === undefined) return;
  const expected: Record<string, string> = {
    [legacyUidLabel]: textAt(job, "metadata", "uid"),
    [legacyNameLabel]: textAt(job, "metadata", "name"),
  };
  expected[uidLabel] = expected[legacyUidLabel] ?? "";
  expected[nameLabel] = expected[legacyNameLabel] ?? "";
  const labels = asObject(at(spec, "template", "metadata", "labels"));
  for (const [label, value] of Object.entries(expected)) {
    const place = `spec.template.metadata.labels[${label}]`;
    if (labels[label] === undefined) faults.required(place, `must be '${value}'`);
    else if (labels[label] !== value) faults.invalid(place, labels, `must be '${value}'`);
  }
  if (isSelector(selector) && !selects(selector, expected))
    faults.invalid("spec.selector", selector, "`selector` not auto-generated");
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
  if (spec["completionMode"] !== "Indexed") fixed.push("completions");
  else if (spec["completions"] !== undefined && spec["completions"] !== oldSpec["completions"])
    if (spec["completions"] !== spec["parallelism"])
      faults.invalid("spec.completions", spec["completions"], "can only be modified in tandem with spec.parallelism");
  for (const field of fixed)
    if (!equalJson(spec[field], oldSpec[field]))
      faults.invalid(`spec.${field}`, spec[field] ?? null, "field is immutable");
  const waiting = oldSpec["suspend"] === true && at(old, "status", "startTime") === undefined;
  const template = asObject(spec["template"]);
  const before = waiting ? withScheduling(template, asObject(oldSpec["template"])) : oldSpec["template"];
  if (!equalJson(template, before)) faults.invalid("spec.template", template, "field is immutable");
}

/** The old template with what may still change in a suspended job that never started. */
function withScheduling(template: JsonObject, old: JsonObject): JsonObject {
  const [spec, metadata] = [asObject(template["spec"]), asObject(template["metadata"])];
  const [oldSpec, oldMetadata] = [{ ...asObject(old["spec"]) }, { ...asObject(old["metadata"]) }];
  const take = (to: JsonObject, from: JsonObject, field: string): void => {
    const value = from[field];
    if (value === undefined) delete to[field];
    else to[field] = value;
  };
  for (const field of ["nodeSelector", "tolerations", "schedulingGates"]) take(oldSpec, spec, field);
  for (const field of ["annotations", "labels"]) take(oldMetadata, metadata, field);
  if (spec["affinity"] !== undefined || oldSpec["affinity"] !== undefined) {
    const affinity = { ...asObject(oldSpec["affinity"]) };
    take(affinity, asObject(spec["affinity"]), "nodeAffinity");
    if (spec["affinity"] === undefined && Object.keys(affinity).length === 0) delete oldSpec["affinity"];
    else oldSpec["affinity"] = affinity;
  }
  return { ...old, metadata: oldMetadata, spec: oldSpec };
}

function jobStatus(object: JsonObject): string {
  if (hasCondition(object, "Complete")) return "Complete";
  if (hasCondition(object, "Failed")) return "Failed";
  if (at(object, "metadata", "deletionTimestamp") !== undefined) return "Terminating";
  if (hasCondition(object, "Suspended")) return "Suspended";
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

function validateCronJob(object: JsonObject, faults: Faults): void {
  const spec = asObject(object["spec"]);
  const schedule = needed(spec, "schedule", "spec", faults);
  const fault = schedule === "" ? undefined : scheduleFault(schedule);
  if (fault !== undefined) faults.invalid("spec.schedule", schedule, fault);
  nonNegative(spec, "startingDeadlineSeconds", "spec", faults);
  neededOneOf(spec["concurrencyPolicy"], ["Allow", "Forbid", "Replace"], "spec.concurrencyPolicy", faults);
  const jobSpec = asObject(at(spec, "jobTemplate", "spec"));
  validateJobSpec(jobSpec, "spec.jobTemplate.spec", faults);
  if (jobSpec["selector"] !== undefined)
    faults.invalid("spec.jobTemplate.spec.selector", jobSpec["selector"], "`selector` will be auto-generated");
  if (jobSpec["manualSelector"] === true)
    faults.unsupported("spec.jobTemplate.spec.manualSelector", true, ["nil", "false"]);
  for (const field of ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"])
    nonNegative(spec, field, "spec", faults);
}

function validateTimeZone(object: JsonObject, faults: Faults): void {
  const zone = at(object, "spec", "timeZone");
  if (zone !== undefined) follows(timeZoneFaults, asString(zone), "spec.timeZone", faults);
}

function warnOfCronJob(object: JsonObject, faults: Faults): void {
  warnOfTemplate(object, ["spec", "jobTemplate", "spec", "template"], faults);
}

const cronJob: Behaviour = {
  generation: true,
  complete: true,
  statusOnly: true,
  updateChecks: { "": [0, 1], status: [0, 0] },
  defaults(object) {
    const spec = ensureObject(object, "spec");
    setDefaultText(spec, "concurrencyPolicy", "Allow");
    setDefault(spec, "suspend", false);
    setDefault(spec, "successfulJobsHistoryLimit", 3);
    setDefault(spec, "failedJobsHistoryLimit", 1);
    const podSpec = at(spec, "jobTemplate", "spec", "template", "spec");
    if (podSpec !== undefined) defaultPodSpec(asObject(podSpec));
  },
  validate: validateCronJob,
  validateCreate(object, faults) {
    validateTimeZone(object, faults);
    const schedule = textAt(object, "spec", "schedule");
    if (schedule.includes("TZ"))
      faults.invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    const name = textAt(object, "metadata", "name");
    if (name.length > maximumCronJobName)
      faults.invalid("metadata.name", name, `must be no more than ${maximumCronJobName} characters`);
    warnOfCronJob(object, faults);
  },
  validateUpdate(object, old, faults, { subresource }) {
    if (subresource === "status") return;
    const [schedule, before] = [textAt(object, "spec", "schedule"), textAt(old, "spec", "schedule")];
    const zone = at(object, "spec", "timeZone");
    if (schedule.includes("TZ"))
      if (!before.includes("TZ"))
        faults.invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
      else if (zone !== undefined)
        faults.invalid("spec.schedule", schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    if (zone !== at(old, "spec", "timeZone")) validateTimeZone(object, faults);
    if (isNew(object, old)) warnOfCronJob(object, faults);
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

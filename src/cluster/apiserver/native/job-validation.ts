import type { Faults } from "../../../kernel/kinds/index.js";
import { subdomainFaults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asList, asNumber, asObject, asObjects, asString, at } from "../registry/read.js";
import { validatePodTemplate } from "./pods/spec.js";
import { follows, nonNegative, oneOf, qualifiedName } from "./rules.js";

const mostPods = 100_000;
const manyCompletions = 100_000;
const mostWithMany = 10_000;
const mostRules = 20;
const mostValues = 255;
const longestManager = 63;

const counts = [
  "parallelism",
  "completions",
  "activeDeadlineSeconds",
  "backoffLimit",
  "ttlSecondsAfterFinished",
  "backoffLimitPerIndex",
  "maxFailedIndexes",
];

/** Checks the spec of a job, or of the jobs that a CronJob makes. */
export function validateJobSpec(spec: JsonObject, path: string, faults: Faults): void {
  for (const field of counts) nonNegative(spec, field, path, faults);
  const isPerIndex = spec["backoffLimitPerIndex"] !== undefined;
  if (spec["maxFailedIndexes"] !== undefined && !isPerIndex)
    faults.required(`${path}.backoffLimitPerIndex`, "when maxFailedIndexes is specified");
  if (spec["managedBy"] !== undefined) validateManager(asString(spec["managedBy"]), `${path}.managedBy`, faults);
  const mode = spec["completionMode"];
  if (mode !== undefined) oneOf(mode, ["NonIndexed", "Indexed"], `${path}.completionMode`, faults);
  if (mode === "Indexed") validateIndexed(spec, path, faults);
  if (mode === undefined || mode === "NonIndexed")
    for (const field of ["backoffLimitPerIndex", "maxFailedIndexes"])
      if (spec[field] !== undefined)
        faults.invalid(`${path}.${field}`, spec[field], "requires indexed completion mode");
  if (spec["podFailurePolicy"] !== undefined) validateFailurePolicy(spec, `${path}.podFailurePolicy`, faults);
  if (spec["successPolicy"] !== undefined) {
    const place = `${path}.successPolicy`;
    if (mode !== "Indexed") faults.invalid(place, spec["successPolicy"], "requires indexed completion mode");
    else validateSuccessPolicy(spec, place, faults);
  }
  const replacement = spec["podReplacementPolicy"];
  const replacements = spec["podFailurePolicy"] === undefined ? ["Failed", "TerminatingOrFailed"] : ["Failed"];
  if (replacement !== undefined) oneOf(replacement, replacements, `${path}.podReplacementPolicy`, faults);
  validatePodTemplate(asObject(spec["template"]), `${path}.template`, faults);
  validateRestart(spec, `${path}.template.spec.restartPolicy`, faults);
}

function validateRestart(spec: JsonObject, path: string, faults: Faults): void {
  const policy = asString(at(spec, "template", "spec", "restartPolicy"));
  if (policy === "Always" || policy === "") faults.required(path, 'valid values: "OnFailure", "Never"');
  else if (policy !== "OnFailure" && policy !== "Never") faults.unsupported(path, policy, ["OnFailure", "Never"]);
  else if (spec["podFailurePolicy"] !== undefined && policy !== "Never")
    faults.invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified');
}

const pathFormat = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
const pathPattern = new RegExp(`^${pathFormat}$`);

function validateManager(name: string, path: string, faults: Faults): void {
  const slash = name.indexOf("/");
  const [domain, rest] = [name.slice(0, Math.max(slash, 0)), name.slice(slash + 1)];
  if (name === "") faults.required(path);
  else if (domain === "" || rest === "")
    faults.invalid(path, name, 'must be a domain-prefixed path (such as "acme.io/foo")');
  else {
    follows(subdomainFaults, domain, path, faults);
    if (!pathPattern.test(rest))
      faults.invalid(path, rest, `Invalid path (regex used for validation is '${pathFormat}')`);
  }
  if (name.length > longestManager) faults.tooLong(path, longestManager);
}

function validateIndexed(spec: JsonObject, path: string, faults: Faults): void {
  const [completions, parallelism, failed] = ["completions", "parallelism", "maxFailedIndexes"].map((field) =>
    asNumber(spec[field]),
  );
  if (completions === undefined) faults.required(`${path}.completions`, "when completion mode is Indexed");
  const atMost = (field: string, value: number | undefined, most: number, words = ""): void => {
    if (value !== undefined && value > most)
      faults.invalid(`${path}.${field}`, value, `must be less than or equal to ${most}${words}`);
  };
  atMost("parallelism", parallelism, mostPods, " when completion mode is Indexed");
  if (completions !== undefined && failed !== undefined && failed > completions)
    faults.invalid(`${path}.maxFailedIndexes`, failed, "must be less than or equal to completions");
  atMost("maxFailedIndexes", failed, mostPods);
  if (completions === undefined || completions <= manyCompletions || spec["backoffLimitPerIndex"] === undefined) return;
  const words = ` when completions are above ${manyCompletions} and used with backoff limit per index`;
  if (failed === undefined)
    faults.required(`${path}.maxFailedIndexes`, `must be specified when completions is above ${manyCompletions}`);
  atMost("parallelism", parallelism, mostWithMany, words);
  atMost("maxFailedIndexes", failed, mostWithMany, words);
}

const quotedList = (list: readonly string[]): string => `[${list.map((one) => JSON.stringify(one)).join(" ")}]`;

function listed(value: Json | undefined, known: readonly string[], path: string, faults: Faults): void {
  if (asString(value) === "") faults.required(path, `valid values: ${quotedList(known)}`);
  else oneOf(value, known, path, faults);
}

function validateFailurePolicy(spec: JsonObject, path: string, faults: Faults): void {
  const rules = asObjects(at(spec, "podFailurePolicy", "rules"));
  if (rules.length > mostRules) faults.tooMany(`${path}.rules`, rules.length, mostRules);
  const names = ["containers", "initContainers"].flatMap((field) =>
    asObjects(at(spec, "template", "spec", field)).map((one) => asString(one["name"])),
  );
  for (const [index, rule] of rules.entries()) {
    const place = `${path}.rules[${index}]`;
    const action = asString(rule["action"]);
    if (action !== "FailIndex") listed(action, ["Count", "FailIndex", "FailJob", "Ignore"], `${place}.action`, faults);
    else if (spec["backoffLimitPerIndex"] === undefined)
      faults.invalid(`${place}.action`, action, "requires the backoffLimitPerIndex to be set");
    const [codes, conditions] = [rule["onExitCodes"], asObjects(rule["onPodConditions"])];
    if (codes !== undefined) validateExitCodes(asObject(codes), names, `${place}.onExitCodes`, faults);
    validatePodConditions(conditions, `${place}.onPodConditions`, faults);
    if (codes !== undefined && conditions.length > 0)
      faults.plain(place, "specifying both OnExitCodes and OnPodConditions is not supported");
    if (codes === undefined && conditions.length === 0)
      faults.plain(place, "specifying one of OnExitCodes and OnPodConditions is required");
  }
}

function validatePodConditions(conditions: readonly JsonObject[], path: string, faults: Faults): void {
  if (conditions.length > mostRules) faults.tooMany(path, conditions.length, mostRules);
  for (const [index, pattern] of conditions.entries()) {
    qualifiedName(pattern["type"], `${path}[${index}].type`, faults);
    listed(pattern["status"], ["False", "True", "Unknown"], `${path}[${index}].status`, faults);
  }
}

function validateExitCodes(rule: JsonObject, names: readonly string[], path: string, faults: Faults): void {
  const values = asList(rule["values"]).map((value) => asNumber(value) ?? 0);
  listed(rule["operator"], ["In", "NotIn"], `${path}.operator`, faults);
  const container = rule["containerName"];
  if (container !== undefined && !names.includes(asString(container)))
    faults.invalid(
      `${path}.containerName`,
      container,
      "must be one of the container or initContainer names in the pod template",
    );
  const place = `${path}.values`;
  if (values.length === 0) faults.invalid(place, rule["values"] ?? null, "at least one value is required");
  else if (values.length > mostValues) faults.tooMany(place, values.length, mostValues);
  for (const [index, value] of values.entries()) {
    if (rule["operator"] === "In" && value === 0)
      faults.invalid(`${place}[${index}]`, value, "must not be 0 for the In operator");
    if (values.indexOf(value) < index) faults.duplicate(`${place}[${index}]`, value);
  }
  if (values.some((value, index) => index > 0 && (values[index - 1] ?? 0) > value))
    faults.invalid(place, values, "must be ordered");
}

function validateSuccessPolicy(spec: JsonObject, path: string, faults: Faults): void {
  const rules = asObjects(at(spec, "successPolicy", "rules"));
  if (rules.length === 0)
    faults.required(`${path}.rules`, "at least one rules must be specified when the successPolicy is specified");
  if (rules.length > mostRules) faults.tooMany(`${path}.rules`, rules.length, mostRules);
  const completions = asNumber(spec["completions"]) ?? 0;
  for (const [index, rule] of rules.entries()) {
    const place = `${path}.rules[${index}]`;
    const [count, indexes] = [asNumber(rule["succeededCount"]), rule["succeededIndexes"]];
    if (count === undefined && indexes === undefined)
      faults.required(place, "at least one of succeededCount or succeededIndexes must be specified");
    const read = readIndexes(asString(indexes), completions);
    if (read.fault !== undefined)
      faults.invalid(`${place}.succeededIndexes`, indexes, `error parsing succeededIndexes: ${read.fault}`);
    if (count === undefined) continue;
    const words = (most: number, what: string): string =>
      `must be less than or equal to ${most} (the number of ${what})`;
    nonNegative(rule, "succeededCount", place, faults);
    if (count > completions)
      faults.invalid(`${place}.succeededCount`, count, words(completions, "specified completions"));
    if (indexes !== undefined && count > read.total)
      faults.invalid(
        `${place}.succeededCount`,
        count,
        words(read.total, "indexes in the specified succeededIndexes field"),
      );
  }
}

/** Reads `1,3-5`: how many indexes there are, or what is wrong. */
export function readIndexes(text: string, completions: number): { total: number; fault?: string } {
  if (text === "") return { total: 0 };
  let total = 0;
  let last: number | undefined;
  for (const interval of text.split(",")) {
    const limits = interval.split("-");
    if (limits.length > 2)
      return {
        total: 0,
        fault: `the fragment ${JSON.stringify(interval)} violates the requirement that an index interval can have at most two parts separated by '-'`,
      };
    for (const limit of limits) {
      if (!/^[+-]?\d+$/.test(limit))
        return { total: 0, fault: `cannot convert string to integer for index: ${JSON.stringify(limit)}` };
      if (Number(limit) >= completions) return { total: 0, fault: `too large index: ${JSON.stringify(limit)}` };
    }
    const [from = 0, to = from] = limits.map(Number);
    const disorder = (before: number): string => `non-increasing order, previous: ${before}, current: `;
    if (limits.length === 2 && from >= to) return { total: 0, fault: `${disorder(from)}${to}` };
    if (last !== undefined && last >= from) return { total: 0, fault: `${disorder(last)}${from}` };
    total += to - from + 1;
    last = to;
  }
  return { total };
}

/** How a new revision comes to its share: what the annotations of an InferenceService say of it. Pure. */
import type { StatusCause } from "../../../kernel/errors/index.js";
import { durationMs, type Gate } from "../../../kernel/gates/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { isObject, parseJson } from "../../../kernel/schema/index.js";
import { parseDurationMs } from "../autoscaling/index.js";
import { OWN, ROLLOUT_DURATION, rawAnnotation } from "./annotations.js";

/** A gate on the requests that a new revision answered, or on a number that Prometheus knows. */
export interface RolloutGate extends Gate {
  /** PromQL; absent: the gateway's counts. */
  readonly query?: string;
}

/** How a new revision comes to its share. */
export interface PromotionSettings {
  /** Shares on the way, rising, each from 1 to 99. */
  readonly steps: readonly number[];
  /** How long each is watched. */
  readonly bakeMs: number;
  /** How much longer a gate may see too little. */
  readonly deadlineMs: number;
  readonly gates: readonly RolloutGate[];
  readonly onFailure: "Rollback" | "Pause";
  /** Bit by bit over this long, instead of steps; 0: not so. */
  readonly durationMs: number;
}

const DURATION = /^(\d+(ms|s|m|h))+$/;
const DEFAULT_STEPS = [10, 50];
const DEFAULT_BAKE_MS = 30_000;
const DEFAULT_DEADLINE_MS = 600_000;
const METRICS = ["SuccessRate", "P99", "P50"] as const;
const MAX_GATES = 32;

/** What the annotations say; `undefined`: nothing, so that a new revision has its share at once. Faults name the annotation. */
export function promotionSettings(object: JsonObject): {
  readonly settings: PromotionSettings | undefined;
  readonly faults: readonly StatusCause[];
} {
  const faults: StatusCause[] = [];
  const read = <T>(name: string, parse: (text: string) => T | string): T | undefined => {
    const text = rawAnnotation(object, name);
    const value = text === undefined ? undefined : parse(text);
    if (typeof value !== "string") return value;
    faults.push({ reason: "FieldValueInvalid", field: `metadata.annotations[${name}]`, message: value });
    return undefined;
  };
  const steps = read(OWN.steps, stepsIn);
  const gates = read(OWN.gates, gatesIn);
  const bake = read(OWN.bake, (text) => ({ ms: durationIn(text) ?? -1 }));
  const deadline = read(OWN.deadline, (text) => ({ ms: durationIn(text) ?? -1 }));
  const gradual = read(ROLLOUT_DURATION, (text) => ({ ms: parseDurationMs(text) ?? -1 }));
  const onFailure = read(OWN.onFailure, onFailureIn);
  const wrong = (name: string, found: { readonly ms: number } | undefined, form: string): void => {
    if (found?.ms === -1 || (found !== undefined && found.ms < 0))
      faults.push({
        reason: "FieldValueInvalid",
        field: `metadata.annotations[${name}]`,
        message: `must be a duration like ${form}`,
      });
  };
  wrong(OWN.bake, bake, "30s or 1h30m");
  wrong(OWN.deadline, deadline, "10m");
  wrong(ROLLOUT_DURATION, gradual, "10m");
  const durationMsWanted = Math.max(0, gradual?.ms ?? 0);
  if (steps === undefined && gates === undefined && durationMsWanted === 0) return { settings: undefined, faults };
  return {
    faults,
    settings: {
      steps: steps ?? (durationMsWanted > 0 ? [] : DEFAULT_STEPS),
      bakeMs: bake?.ms ?? DEFAULT_BAKE_MS,
      deadlineMs: deadline?.ms ?? DEFAULT_DEADLINE_MS,
      gates: gates ?? [],
      onFailure: onFailure?.is ?? "Rollback",
      durationMs: steps === undefined ? durationMsWanted : 0,
    },
  };
}

function stepsIn(text: string): number[] | string {
  const steps = text.split(",").map((step) => Number(step.trim().replace(/%$/, "")));
  const isRising = steps.every((step, index) => index === 0 || step > (steps[index - 1] ?? 0));
  return isRising && steps.length <= 16 && steps.every((step) => Number.isInteger(step) && step >= 1 && step <= 99)
    ? steps
    : "must be rising percents from 1 to 99, at most 16, like 10,50";
}

function onFailureIn(text: string): { readonly is: PromotionSettings["onFailure"] } | string {
  return text === "Rollback" || text === "Pause" ? { is: text } : `${text} is neither Rollback nor Pause`;
}

const durationIn = (text: string): number | undefined => (DURATION.test(text) ? durationMs(text, 0) : undefined);

function gatesIn(text: string): RolloutGate[] | string {
  const value = parseJson(text);
  const form = 'must be JSON like [{"metric":"SuccessRate","min":0.99},{"metric":"P99","max":200}]';
  if (!Array.isArray(value) || value.length > MAX_GATES) return form;
  const gates: RolloutGate[] = [];
  for (const [index, each] of value.entries()) {
    const gate = isObject(each) ? gateIn(each) : form;
    if (typeof gate === "string") return `[${index}] ${gate}`;
    gates.push(gate);
  }
  return new Set(gates.map(({ name }) => name)).size === gates.length ? gates : "two gates have the same name";
}

const FIELDS = new Set(["name", "metric", "query", "min", "max", "minRequests"]);

function gateIn(value: JsonObject): RolloutGate | string {
  const unknown = Object.keys(value).find((field) => !FIELDS.has(field));
  if (unknown !== undefined) return `has ${unknown}; there are ${[...FIELDS].join(", ")}`;
  const { query, min, max, minRequests } = value;
  const metric = METRICS.find((one) => one === value["metric"]);
  const isQuery = typeof query === "string" && query !== "";
  if (isQuery === (value["metric"] !== undefined) || (!isQuery && metric === undefined))
    return `needs either metric (${METRICS.join(", ")}) or query (PromQL)`;
  const bounds = [min, max, minRequests].filter((bound) => bound !== undefined);
  if (!bounds.every((bound) => typeof bound === "number" && Number.isFinite(bound)))
    return "has a min, max or minRequests that is no number";
  if (min === undefined && max === undefined) return "has neither min nor max";
  const name = value["name"] ?? metric ?? "query";
  if (typeof name !== "string" || !/^[A-Za-z0-9][-A-Za-z0-9_.]{0,62}$/.test(name)) return "has a name that is none";
  return {
    name,
    ...(isQuery ? { query } : { metric }),
    ...(typeof min === "number" ? { min } : {}),
    ...(typeof max === "number" ? { max } : {}),
    ...(typeof minRequests === "number" ? { minRequests } : {}),
  };
}

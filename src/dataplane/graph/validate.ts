/** What no schema can say about a graph. Pure. */
import { InputError } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asNumber, asObject, asObjects, asString, didYouMean, isObject } from "../../kernel/schema/index.js";
import { compileCondition, compileWhen } from "./conditions.js";
import { isRisky } from "./patterns.js";

/** What is wrong, and with which field. */
export interface GraphFault {
  readonly field: string;
  readonly message: string;
}

/** The node that requests come to. */
export const ROOT = "root";
const TARGETS = ["nodeName", "serviceName", "serviceUrl"] as const;
const DATA = ["$request", "$response"];
/** Of one request; nodes that are led to from several places multiply. */
const MAX_STEPS = 1000;
/** Of those that are told. */
const MOST_FAULTS = 50;
const MOST_NAMES = 20;
/** It travels as an argument of a process. */
const MAX_BYTES = 96 * 1024;

/** Faults of an InferenceGraph's spec: the first of them, where there are very many. */
export function graphFaults(spec: JsonObject): GraphFault[] {
  const bytes = Buffer.byteLength(JSON.stringify(spec));
  // Before anything that goes from node to node.
  if (bytes > MAX_BYTES) return [{ field: "spec", message: `is ${bytes} bytes long; at most ${MAX_BYTES} are taken` }];
  const nodes = asObject(spec["nodes"]);
  const names = Object.keys(nodes);
  const faults: GraphFault[] = [];
  if (!names.includes(ROOT)) {
    const meant = didYouMean(ROOT, names);
    const hint = meant === undefined ? "" : `; did you mean it with ${meant}?`;
    faults.push({ field: "spec.nodes", message: `needs a node named ${ROOT}: requests come to it${hint}` });
  }
  for (const name of names) {
    // Looking for what was meant costs more than the rest, and nobody reads that many.
    if (faults.length >= MOST_FAULTS) return faults.slice(0, MOST_FAULTS);
    faults.push(...nodeFaults(asObject(nodes[name]), `spec.nodes[${name}]`, names));
  }
  const cycle = findCycle(nodes);
  if (cycle !== undefined)
    faults.push({ field: `spec.nodes[${cycle[0] ?? ""}]`, message: `leads back to itself: ${cycle.join(" → ")}` });
  const most = cycle === undefined && names.includes(ROOT) ? mostSteps(nodes) : 0;
  if (most > MAX_STEPS)
    faults.push({
      field: "spec.nodes",
      message: `a request could ask ${most} steps, each node as often as it is led to; at most ${MAX_STEPS} are allowed`,
    });
  return faults;
}

/** Faults of header patterns; `field` is where they were given. */
export function patternFaults(patterns: readonly string[], field: string): GraphFault[] {
  return patterns.flatMap((pattern) => {
    const fault = isRisky(pattern);
    return fault === undefined ? [] : [{ field, message: `${JSON.stringify(pattern)} ${fault}` }];
  });
}

function nodeFaults(node: JsonObject, field: string, names: readonly string[]): GraphFault[] {
  const steps = asObjects(node["steps"]);
  const type = asString(node["routerType"]);
  if (steps.length === 0) return [{ field: `${field}.steps`, message: "needs at least one step" }];
  const faults: GraphFault[] = [];
  for (const [index, step] of steps.entries()) {
    if (faults.length >= MOST_FAULTS) break;
    faults.push(...stepFaults(step, { field: `${field}.steps[${index}]`, index, type, names }));
  }
  faults.push(...nameFaults(steps, field));
  if (type === "Splitter") faults.push(...weightFaults(steps, field));
  return faults;
}

function nameFaults(steps: readonly JsonObject[], field: string): GraphFault[] {
  const faults: GraphFault[] = [];
  const seen = new Map<string, number>();
  for (const [index, step] of steps.entries()) {
    // Without a name, a step goes by its place.
    const name = asString(step["name"]) || String(index);
    const before = seen.get(name);
    if (before !== undefined)
      faults.push({
        field: `${field}.steps[${index}].name`,
        message: `${name} is what steps[${before}] goes by in this node already`,
      });
    else seen.set(name, index);
  }
  return faults;
}

function weightFaults(steps: readonly JsonObject[], field: string): GraphFault[] {
  const faults: GraphFault[] = [];
  let sum = 0;
  for (const [index, step] of steps.entries()) {
    const weight = asNumber(step["weight"]);
    if (weight === undefined)
      faults.push({
        field: `${field}.steps[${index}].weight`,
        message: "is needed in a Splitter: percent of the requests",
      });
    else if (weight < 0 || weight > 100)
      faults.push({ field: `${field}.steps[${index}].weight`, message: `must be 0 to 100, not ${weight}` });
    sum += weight ?? 0;
  }
  if (faults.length === 0 && sum !== 100)
    faults.push({
      field: `${field}.steps`,
      message: `weights of a Splitter add up to ${sum}; they must add up to 100`,
    });
  return faults;
}

interface Place {
  readonly field: string;
  readonly index: number;
  readonly type: string;
  readonly names: readonly string[];
}

function stepFaults(step: JsonObject, place: Place): GraphFault[] {
  const { field } = place;
  const faults = [...targetFaults(step, place), ...conditionFaults(step, place), ...retryFaults(step, field)];
  const data = asString(step["data"]);
  if (data !== "" && !DATA.includes(data)) {
    const meant = didYouMean(data, DATA);
    const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
    faults.push({ field: `${field}.data`, message: `${data} is neither $request nor $response${hint}` });
  }
  const timeout = asNumber(step["timeoutMs"]);
  if (timeout !== undefined && timeout < 1) faults.push({ field: `${field}.timeoutMs`, message: "must be at least 1" });
  return faults;
}

function targetFaults(step: JsonObject, { field, names }: Place): GraphFault[] {
  const given = TARGETS.filter((target) => asString(step[target]) !== "");
  if (given.length !== 1) {
    const what = given.length === 0 ? "has none" : `has ${given.join(" and ")}`;
    return [{ field, message: `needs exactly one of ${TARGETS.join(", ")}; it ${what}` }];
  }
  const node = asString(step["nodeName"]);
  if (node === "" || names.includes(node)) return [];
  const meant = didYouMean(node, names);
  const hint = meant === undefined ? `; there are ${listed(names)}` : `; did you mean ${meant}?`;
  return [{ field: `${field}.nodeName`, message: `there is no node ${node}${hint}` }];
}

const listed = (names: readonly string[]): string =>
  names.length <= MOST_NAMES
    ? names.join(", ")
    : `${names.slice(0, MOST_NAMES).join(", ")} and ${names.length - MOST_NAMES} others`;

function conditionFaults(step: JsonObject, { field, index, type }: Place): GraphFault[] {
  const condition = asString(step["condition"]);
  const { when } = step;
  const faults: GraphFault[] = [];
  const attempt = (at: string, compile: () => unknown): void => {
    try {
      compile();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      faults.push({ field: at, message: error.message });
    }
  };
  if (condition !== "") attempt(`${field}.condition`, () => compileCondition(condition));
  if (isObject(when)) attempt(`${field}.when`, () => compileWhen(when));
  const isGiven = condition !== "" || isObject(when);
  const name = condition === "" ? "when" : "condition";
  if (type === "Switch" && !isGiven)
    faults.push({ field: `${field}.condition`, message: "is needed in a Switch: without one the step is never taken" });
  if (type === "Sequence" && index === 0 && isGiven)
    faults.push({ field: `${field}.${name}`, message: "is asked of the response before; the first step has none" });
  return faults;
}

function retryFaults({ retry }: JsonObject, field: string): GraphFault[] {
  if (!isObject(retry)) return [];
  const attempts = asNumber(retry["attempts"]) ?? 1;
  const backoff = asNumber(retry["backoffMs"]) ?? 0;
  const faults: GraphFault[] = [];
  if (attempts < 1 || attempts > 10)
    faults.push({ field: `${field}.retry.attempts`, message: `must be 1 to 10, not ${attempts}` });
  if (backoff < 0 || backoff > 60_000)
    faults.push({ field: `${field}.retry.backoffMs`, message: `must be 0 to 60000, not ${backoff}` });
  const statuses = Array.isArray(retry["onStatus"]) ? retry["onStatus"] : [];
  for (const [index, status] of statuses.entries())
    if (typeof status !== "number" || status < 400 || status > 599)
      faults.push({
        field: `${field}.retry.onStatus[${index}]`,
        message: `must be 400 to 599, not ${JSON.stringify(status)}`,
      });
  return faults;
}

/** Nodes that lead in a circle, the first one again at the end. */
function findCycle(nodes: JsonObject): string[] | undefined {
  const done = new Set<string>();
  const visit = (name: string, way: readonly string[]): string[] | undefined => {
    const at = way.indexOf(name);
    if (at >= 0) return [...way.slice(at), name];
    if (done.has(name)) return undefined;
    for (const step of asObjects(asObject(nodes[name])["steps"])) {
      const next = asString(step["nodeName"]);
      const found = next === "" || !Object.hasOwn(nodes, next) ? undefined : visit(next, [...way, name]);
      if (found !== undefined) return found;
    }
    done.add(name);
    return undefined;
  };
  for (const name of Object.keys(nodes)) {
    const found = visit(name, []);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** How many services a request may ask at most; of a graph without circles. */
function mostSteps(nodes: JsonObject): number {
  const known = new Map<string, number>();
  const count = (name: string): number => {
    const before = known.get(name);
    if (before !== undefined) return before;
    const node = asObject(nodes[name]);
    const each = asObjects(node["steps"]).map((step) => {
      const next = asString(step["nodeName"]);
      return next === "" ? 1 : count(next);
    });
    const isOne = node["routerType"] === "Switch" || node["routerType"] === "Splitter";
    const most = isOne ? Math.max(0, ...each) : each.reduce((sum, more) => sum + more, 0);
    known.set(name, most);
    return most;
  };
  return count(ROOT);
}

/** What is set and has no effect, each with why. */
export function ineffectiveFields(spec: JsonObject): string[] {
  const nodes = asObject(spec["nodes"]);
  const reached = new Set<string>();
  const reach = (name: string): void => {
    if (reached.has(name)) return;
    reached.add(name);
    for (const step of asObjects(asObject(nodes[name])["steps"])) {
      const next = asString(step["nodeName"]);
      if (next !== "") reach(next);
    }
  };
  reach(ROOT);
  return Object.keys(nodes).flatMap((name) => {
    const node = asObject(nodes[name]);
    const type = asString(node["routerType"]);
    const unreached = reached.has(name) ? [] : [`spec.nodes[${name}] (no step leads to it)`];
    const steps = asObjects(node["steps"]);
    return [
      ...unreached,
      ...steps.flatMap((step, index) =>
        ineffectiveIn(step, { field: `spec.nodes[${name}].steps[${index}]`, index, type }),
      ),
    ];
  });
}

function ineffectiveIn(step: JsonObject, { field, index, type }: Omit<Place, "names">): string[] {
  const isSequence = type === "Sequence";
  const found: string[] = [];
  if (step["weight"] !== undefined && type !== "Splitter") found.push(`${field}.weight (its node is no Splitter)`);
  const isAsked = isSequence || type === "Switch";
  for (const name of ["condition", "when"])
    if (step[name] !== undefined && step[name] !== "" && !isAsked)
      found.push(`${field}.${name} (every step of a node of type ${type} is taken without)`);
  const isResponse = step["data"] === "$response";
  if (isResponse && (!isSequence || index === 0)) found.push(`${field}.data (there is no response before it)`);
  if (step["mapPredictionsToInstances"] === true && !(isResponse && isSequence && index > 0))
    found.push(`${field}.mapPredictionsToInstances (it is about data: $response)`);
  if (step["dependency"] === "Hard" && (type === "Switch" || type === "Splitter"))
    found.push(`${field}.dependency (the one step that is taken decides anyway)`);
  if (asString(step["nodeName"]) !== "" && step["retry"] !== undefined)
    found.push(`${field}.retry (give it to the steps of the node)`);
  return found;
}

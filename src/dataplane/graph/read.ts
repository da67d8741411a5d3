/** A graph as the router runs it, from an InferenceGraph's spec of which every service is an address. */
import { InputError } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asNumber, asObject, asObjects, asString, isObject } from "../../kernel/schema/index.js";
import { type Condition, compileCondition, compileWhen } from "./conditions.js";
import { graphFaults } from "./validate.js";

/** How requests go through a node. */
export type RouterType = "Sequence" | "Splitter" | "Ensemble" | "Switch";

/** How often, and after what, a step is asked again. */
export interface Retry {
  /** After the first time. */
  readonly attempts: number;
  /** Before the second time; doubled for each further one. */
  readonly backoffMs: number;
  readonly onStatus: ReadonlySet<number>;
}

/** One step of a node. */
export interface GraphStep {
  /** Its name, or its place. */
  readonly label: string;
  /** Another node. */
  readonly node: string | undefined;
  readonly url: URL | undefined;
  /** It is sent the response before instead of the request. */
  readonly takesResponse: boolean;
  /** `predictions` of that response are called `instances`. */
  readonly renames: boolean;
  readonly weight: number;
  readonly isHard: boolean;
  readonly condition: Condition | undefined;
  readonly timeoutMs: number | undefined;
  readonly retry: Retry | undefined;
}

/** A node of a graph. */
export interface GraphNode {
  readonly name: string;
  readonly type: RouterType;
  readonly steps: readonly GraphStep[];
}

/** Limits of a router, milliseconds. */
export interface GraphTimes {
  /** For a whole request; `undefined`: as long as it takes. */
  readonly requestMs: number | undefined;
  /** For a step that says nothing itself. */
  readonly stepMs: number | undefined;
  readonly readMs: number;
  readonly writeMs: number;
  readonly idleMs: number;
}

/** A graph that can be run. */
export interface Graph {
  readonly nodes: ReadonlyMap<string, GraphNode>;
  readonly times: GraphTimes;
}

const SCHEMES = /^(https?|grpcs?):$/;
const TYPES: ReadonlyMap<string, RouterType> = new Map([
  ["Sequence", "Sequence"],
  ["Splitter", "Splitter"],
  ["Ensemble", "Ensemble"],
  ["Switch", "Switch"],
]);
/** What may be over the next time. */
const PASSING = [429, 502, 503, 504];
const DEFAULT_BACKOFF_MS = 25;
const SECOND = 1000;

/** Reads the spec. Throws `InputError` naming every fault. */
export function readGraph(spec: JsonObject): Graph {
  const faults = graphFaults(spec).map(({ field, message }) => `${field}: ${message}`);
  if (faults.length > 0) throw new InputError(faults.join("; "));
  const nodes = new Map<string, GraphNode>();
  for (const [name, written] of Object.entries(asObject(spec["nodes"]))) {
    const node = asObject(written);
    const field = `spec.nodes[${name}]`;
    const type = TYPES.get(asString(node["routerType"]));
    if (type === undefined) throw new InputError(`${field}.routerType: must be one of ${[...TYPES.keys()].join(", ")}`);
    const steps = asObjects(node["steps"]).map((step, index) => readStep(step, index, `${field}.steps[${index}]`));
    nodes.set(name, { name, type, steps });
  }
  return { nodes, times: timesOf(spec) };
}

function readStep(step: JsonObject, index: number, field: string): GraphStep {
  const node = asString(step["nodeName"]);
  const condition = asString(step["condition"]);
  const { when, retry } = step;
  const conditions = [
    ...(condition === "" ? [] : [compileCondition(condition)]),
    ...(isObject(when) ? [compileWhen(when)] : []),
  ];
  return {
    label: asString(step["name"]) || String(index),
    node: node === "" ? undefined : node,
    url: node === "" ? readUrl(step, field) : undefined,
    takesResponse: step["data"] === "$response" && index > 0,
    renames: step["mapPredictionsToInstances"] === true,
    weight: asNumber(step["weight"]) ?? 0,
    isHard: step["dependency"] === "Hard",
    condition: conditions.length === 0 ? undefined : (document) => conditions.every((holds) => holds(document)),
    timeoutMs: asNumber(step["timeoutMs"]),
    retry: isObject(retry) ? readRetry(retry) : undefined,
  };
}

function readRetry(retry: JsonObject): Retry {
  const statuses = Array.isArray(retry["onStatus"])
    ? retry["onStatus"].filter((each) => typeof each === "number")
    : PASSING;
  return {
    attempts: asNumber(retry["attempts"]) ?? 1,
    backoffMs: asNumber(retry["backoffMs"]) ?? DEFAULT_BACKOFF_MS,
    onStatus: new Set(statuses),
  };
}

function readUrl(step: JsonObject, field: string): URL {
  const text = asString(step["serviceUrl"]);
  if (text === "") throw new InputError(`${field}.serviceName: is no address; a router is given serviceUrl`);
  const url = stepUrl(text);
  if (url === undefined) throw new InputError(`${field}.serviceUrl: ${text} is no address: ${STEP_URLS}`);
  return url;
}

/** How addresses of steps are written. */
export const STEP_URLS = "http://HOST/PATH, https://HOST/PATH, grpc://HOST:PORT/v2/models/NAME/infer or grpcs:// are";

/** The address of a step; `undefined` for what is none, or has credentials in it, which nobody would send. */
export function stepUrl(text: string): URL | undefined {
  try {
    const url = new URL(text);
    const isPlain = url.username === "" && url.password === "" && /^[\w.:[\]-]+$/.test(url.host);
    const isWhole = url.protocol.startsWith("http") || (url.port !== "" && stepModel(url) !== undefined);
    return isPlain && SCHEMES.test(url.protocol) && isWhole ? url : undefined;
  } catch {
    return undefined;
  }
}

/** A model that a service of gRPC is asked for. */
export interface StepModel {
  readonly name: string;
  readonly version: string;
}

/** The model that an address names, by the path that it has over HTTP; `undefined`: none. */
export function stepModel(url: URL): StepModel | undefined {
  const match = /^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?\/infer$/.exec(url.pathname);
  if (match?.[1] === undefined) return undefined;
  try {
    return { name: decodeURIComponent(match[1]), version: decodeURIComponent(match[2] ?? "") };
  } catch {
    return undefined;
  }
}

function timesOf(spec: JsonObject): GraphTimes {
  const timeouts = asObject(spec["routerTimeouts"]);
  const ms = (value: unknown): number | undefined =>
    typeof value === "number" && value > 0 ? value * SECOND : undefined;
  return {
    requestMs: ms(spec["timeout"]),
    stepMs: ms(timeouts["serviceClient"]),
    readMs: ms(timeouts["serverRead"]) ?? 60 * SECOND,
    writeMs: ms(timeouts["serverWrite"]) ?? 60 * SECOND,
    idleMs: ms(timeouts["serverIdle"]) ?? 180 * SECOND,
  };
}

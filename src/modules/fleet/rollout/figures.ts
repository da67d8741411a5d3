import type { Counts } from "../../../kernel/gates/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { asList, asNumber, asObject, asObjects, asString, parseJson } from "../../../kernel/schema/index.js";
import type { PodCounts, WatchedService } from "./model-servers.js";

/**
 * What gates want to know of a member that the hub cannot enter: in its execution space a ConfigMap, in which the hub asks and the member's agent
 * tells.
 */
export const FIGURES = "argosy-figures";
/** Keys of its data. */
export const ASKED = "asked";
export const TOLD = "told";

/** More than any rollout watches in one cluster. */
const MAX_SERVICES = 200;

/** Which services' figures are wanted. */
export interface Question {
  /** Of the asking; what is told names it. */
  readonly mark: string;
  readonly services: readonly WatchedService[];
}

/** The figures of one service, or why there are none. */
export interface ServiceFigures {
  readonly service: WatchedService;
  readonly pods: readonly PodCounts[];
  readonly fault?: string;
}

/** What an agent told. */
export interface Answer {
  /** Of the question. */
  readonly mark: string;
  /** Another one each time. */
  readonly serial: string;
  readonly figures: readonly ServiceFigures[];
}

/** Whether two name the same. */
export function isSameService(one: WatchedService, other: WatchedService): boolean {
  return one.namespace === other.namespace && one.name === other.name && one.release === other.release;
}

/** A question as text. */
export function writeQuestion({ mark, services }: Question): string {
  return JSON.stringify({ mark, services });
}

/** Reads one; `undefined`: nothing is asked. */
export function readQuestion(text: string | undefined): Question | undefined {
  const value = asObject(parseJson(text ?? ""));
  const mark = asString(value["mark"]);
  const services = asObjects(value["services"]).slice(0, MAX_SERVICES).map(serviceIn);
  return mark === "" || services.length === 0 ? undefined : { mark, services };
}

/** An answer as text. */
export function writeAnswer(answer: Answer): string {
  return JSON.stringify(answer);
}

/** Reads one; what is no number counts for nothing. `undefined`: nothing was told. */
export function readAnswer(text: string | undefined): Answer | undefined {
  const value = asObject(parseJson(text ?? ""));
  const [mark, serial] = [asString(value["mark"]), asString(value["serial"])];
  if (mark === "" || serial === "") return undefined;
  const figures = asObjects(value["figures"]).map((each): ServiceFigures => {
    const fault = asString(each["fault"]);
    const pods = asObjects(each["pods"]).map(({ uid, counts }) => ({ uid: asString(uid), counts: countsIn(counts) }));
    return { service: serviceIn(asObject(each["service"])), pods, ...(fault === "" ? {} : { fault }) };
  });
  return { mark, serial, figures };
}

function serviceIn({ namespace, name, release }: JsonObject): WatchedService {
  return {
    namespace: asString(namespace),
    name: asString(name),
    release: typeof release === "string" ? release : undefined,
  };
}

function countsIn(value: Json | undefined): Counts {
  const { requests, good, within } = asObject(value);
  return {
    requests: asNumber(requests) ?? 0,
    good: asNumber(good) ?? 0,
    within: asObjects(asList(within)).map(({ boundMs, count }) => ({
      boundMs: asNumber(boundMs) ?? 0,
      count: asNumber(count) ?? 0,
    })),
  };
}

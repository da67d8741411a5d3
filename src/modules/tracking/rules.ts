import { posix } from "node:path";
import { badValue, invalid, missing } from "./errors.js";

/** Limits of the protocol, in characters unless said otherwise. */
export const LIMITS = {
  experimentName: 500,
  key: 250,
  experimentTagValue: 20_000,
  runTagValue: 8000,
  paramValue: 6000,
  registryTagValue: 100_000,
  alias: 255,
  batchBytes: 1_000_000,
  batchEntities: 1000,
  batchMetrics: 1000,
  batchParamsOrTags: 100,
} as const;

const KEY_PATTERN = /^[/\p{L}\p{N}_.\- :]*$/u;
const KEY_RULE =
  "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).";

/** Refuses a name of a metric, parameter or tag that could be taken for another one where names are files. */
export function checkKey(key: string, parameter: string): void {
  if (!KEY_PATTERN.test(key)) throw badValue(parameter, key, KEY_RULE);
  checkNotPath(key, parameter);
}

function checkNotPath(name: string, parameter: string): void {
  const normal = name === "" ? "." : posix.normalize(name);
  const unique = normal === name && name !== "." && !name.startsWith("..") && !name.startsWith("/");
  if (unique) return;
  const why =
    "Names may be treated as files in certain cases, and must not resolve to other names when treated as such.";
  throw badValue(parameter, name, `${why} This name would resolve to '${normal}'`);
}

/** Refuses text beyond a limit. */
export function checkLength(parameter: string, text: string, limit: number): void {
  if (lengthOf(text) > limit) throw invalid(`'${parameter}' exceeds the maximum length of ${limit} characters`);
}

/** Cuts text at a limit, counted in characters, not code units. */
export function truncate(text: string, limit: number): string {
  return text.length <= limit ? text : Array.from(text).slice(0, limit).join("");
}

function lengthOf(text: string): number {
  return text.length <= 250 ? text.length : Array.from(text).length;
}

export function checkModelName(name: string): void {
  if (name === "") throw missing("name");
  if (/[/:]/.test(name)) throw invalid(`Invalid model name '${name}'. Names cannot contain '/' or ':'.`);
  checkNotPath(name, "name");
}

export function checkAlias(alias: string): void {
  if (!/^[\p{L}\p{N}_-]*$/u.test(alias)) {
    throw invalid(
      `Invalid alias name: '${alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-).`,
    );
  }
  checkLength("Registered model alias name", alias, LIMITS.alias);
  if (alias.toLowerCase() === "latest") throw invalid("'latest' alias name (case insensitive) is reserved.");
  if (/^v\d+$/i.test(alias)) throw invalid(`Version alias name '${alias}' is reserved.`);
}

/** A run id as clients may send it; whether there is such a run is another question. */
export function checkRunId(id: string, parameter = "run_id"): void {
  if (!/^[a-zA-Z0-9][\w-]{0,255}$/.test(id))
    throw invalid(`Invalid value "${id}" for parameter '${parameter}' supplied.`);
}

/** The number of an experiment id; throws for one that is none. */
export function experimentNumber(id: string): number {
  if (!/^\s*[+-]?\d+\s*$/.test(id)) {
    throw invalid(`Invalid experiment ID '${id}'. Experiment ID must be a valid integer.`);
  }
  return Number(id);
}

/** Refuses a tag of an experiment, a model or a version: its key and the length of key and value. */
export function checkTag(key: string, value: string, valueLimit: number): void {
  checkKey(key, "key");
  checkLength("key", key, LIMITS.key);
  checkLength("value", value, valueLimit);
}

/**
 * Refuses places that artifacts cannot be at. Artifacts lie in a store with a scheme of its own; pages (http) are none, and a path
 * may not climb.
 */
export function checkArtifactUri(parameter: string, uri: string): void {
  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):/.exec(uri)?.[1]?.toLowerCase() ?? "";
  if (scheme === "http" || scheme === "https" || scheme === "ftp") {
    throw invalid(`Invalid ${parameter}: '${uri}'. The '${scheme}' scheme is not a place for artifacts.`);
  }
  const decoded = decodeRepeatedly(uri);
  if (/[?#]/.test(decoded) || decoded.split(/[/\\]/).includes("..")) {
    throw invalid(`Invalid ${parameter}: '${uri}'. It must have no query, no fragment and no '..'.`);
  }
}

/** Undoes percent-encoding until nothing changes, so that no encoding hides what is checked. */
export function decodeRepeatedly(text: string): string {
  let current = text;
  for (let round = 0; round < 10; round++) {
    const next = decodeOnce(current);
    if (next === current) return current;
    current = next;
  }
  return current;
}

function decodeOnce(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Reads `max_results`: positive and at most `most`. */
export function pageSize(given: number | undefined, { standard, most }: { standard: number; most: number }): number {
  if (given === undefined) return standard;
  const why = given < 1 ? "It must be a positive integer." : `It must be at most ${most}.`;
  if (given < 1 || given > most) throw invalid(`Invalid value ${given} for parameter 'max_results' supplied. ${why}`);
  return given;
}

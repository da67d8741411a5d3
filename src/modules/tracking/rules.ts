import { posix } from "node:path";
import { badValue, invalid } from "./errors.js";

/** Limits of the protocol, in characters unless said otherwise. */
export const LIMITS = {
  experimentName: 500,
  key: 250,
  experimentTagValue: 20_000,
  runTagValue: 8000,
  paramValue: 6000,
  registryTagValue: 100_000,
  alias: 255,
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
  if (name.trim() === "") throw invalid("Missing value for required parameter 'name'.");
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

/** Schemes that name a host which this server would have to ask: whoever could set them could make it ask anybody. */
const HOST_SCHEMES = new Set(["http", "https", "ftp", "sftp", "hdfs", "viewfs", "mlflow-artifacts+host"]);

/**
 * Refuses places that artifacts cannot be at: with a scheme that is no store's, or with a path that climbs, however it is encoded.
 */
export function checkArtifactUri(parameter: string, uri: string): void {
  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):/.exec(uri)?.[1]?.toLowerCase() ?? "";
  const shown = /^mlflow-artifacts:\/\/[^/]/i.test(uri) ? "mlflow-artifacts+host" : scheme;
  if (HOST_SCHEMES.has(shown)) {
    throw invalid(
      `'${parameter}' cannot use the '${scheme}' scheme: it addresses a host other than this server's artifact store.`,
    );
  }
  const decoded = decodeRepeatedly(uri);
  if (decoded.split(/[/\\?#]/).includes("..")) {
    throw invalid(`Invalid ${parameter}: '${uri}'. It must be an absolute place, without relative references ('..').`);
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

/** Bounds of `max_results`. */
export interface PageBounds {
  /** Without `max_results`. */
  readonly standard: number;
  readonly most: number;
  /** What happens beyond `most`; default: it is refused. */
  readonly beyond?: "clamp" | "refuse";
}

/** Reads `max_results`, which must be positive. */
export function pageSize(given: number | undefined, { standard, most, beyond = "refuse" }: PageBounds): number {
  if (given === undefined) return standard;
  if (given < 1)
    throw invalid(`Invalid value ${given} for parameter 'max_results' supplied. It must be a positive integer`);
  if (given <= most) return given;
  if (beyond === "clamp") return most;
  throw invalid(`Invalid value ${given} for parameter 'max_results' supplied. It must be at most ${most}`);
}

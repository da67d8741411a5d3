/** An InferenceService's `logger`, as settings of a payload log. */
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asList, asNumber, asObject, asString, isObject } from "../../../kernel/schema/index.js";
import { parseDurationMs } from "../autoscaling/index.js";
import type { Fault } from "../diagnosis.js";
import type { PayloadLogWish } from "../payload-log.js";
import { trustOf } from "../store-trust.js";
import { credentialsFor } from "./credentials.js";
import type { InferenceService } from "./inference-service-kind.js";
import type { Tools } from "./tools.js";

const FORMATS = ["json", "csv"];

/** What a logger comes down to, without credentials. */
export interface ReadLogger {
  /** Absent: nothing can be logged. */
  readonly settings?: JsonObject;
  /** Parts without effect, each with what happens instead. */
  readonly ignored: readonly string[];
}

/** Reads the logger of a component; `undefined` where there is none. */
export function readLogger(service: InferenceService, component: string, spec: JsonObject): ReadLogger | undefined {
  const { logger } = spec;
  if (!isObject(logger)) return undefined;
  const url = urlOf(logger);
  if (url === "") return { ignored: ["logger (it names no url, and there is no default one here)"] };
  const scheme = /^[a-z][a-z0-9+.-]*(?=:\/\/)/i.exec(url)?.[0].toLowerCase() ?? "";
  const common = { ...eventSettings(service, component, spec), urls: [url] };
  if (scheme === "http" || scheme === "https")
    return {
      settings: common,
      ignored: FILE_FIELDS.filter((name) => logger[name] !== undefined && logger[name] !== 1).map(
        (name) => `logger.${name} (it is for files; an address gets each event by itself)`,
      ),
    };
  if (scheme !== "s3" && scheme !== "file")
    return { ignored: [`logger.url ${scheme}:// (there are http, https, s3 and file; nothing is logged)`] };
  const { settings, ignored } = fileSettings(logger);
  return { settings: { ...common, ...settings }, ignored };
}

const FILE_FIELDS = ["storage", "marshallerUrl", "batchSize", "batchInterval"];

function urlOf(logger: JsonObject): string {
  const bucket = asString(asObject(asObject(logger["storage"])["parameters"])["bucket"]);
  const url = asString(logger["url"]) || (bucket === "" ? "" : `s3://${bucket}`);
  return url.replace(/^s3a:/i, "s3:");
}

/** What events are called, and what goes along. */
function eventSettings({ metadata }: InferenceService, component: string, spec: JsonObject): JsonObject {
  const logger = asObject(spec["logger"]);
  const wanted = asList(logger["metadataAnnotations"]).map(asString);
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([name]) => wanted.includes(name));
  return {
    mode: asString(logger["mode"]) || "all",
    ...{ service: metadata.name, namespace: metadata.namespace ?? "", component },
    source: `${metadata.name}-${component}`,
    endpoint: asString(spec["name"]) || "default",
    headers: asList(logger["metadataHeaders"]).map(asString),
    annotations: Object.fromEntries(annotations),
  };
}

function fileSettings(logger: JsonObject): { readonly settings: JsonObject; readonly ignored: readonly string[] } {
  const storage = asObject(logger["storage"]);
  const format = asString(asObject(storage["parameters"])["format"]) || "json";
  const marshallerUrl = asString(logger["marshallerUrl"]);
  const isKnown = FORMATS.includes(format);
  const intervalMs = parseDurationMs(asString(logger["batchInterval"]) || "0");
  const ignored: string[] = [];
  if (!isKnown && marshallerUrl === "")
    ignored.push(
      `logger.storage.parameters.format ${format} (files are JSON: json and csv are known, others need a marshallerUrl)`,
    );
  if (intervalMs === undefined)
    ignored.push("logger.batchInterval (it is no duration; files wait until they are full)");
  return {
    settings: {
      path: asString(storage["path"]),
      format: isKnown ? format : "json",
      ...(marshallerUrl === "" ? {} : { marshallerUrl }),
      batchSize: Math.max(1, asNumber(logger["batchSize"]) ?? 1),
      batchIntervalMs: Math.max(0, Math.round(intervalMs ?? 0)),
    },
    ignored,
  };
}

/** The payload log of a component with what its store is written with; a fault where that is not known. */
export async function loggerFor(
  service: InferenceService,
  { component, spec }: { readonly component: string; readonly spec: JsonObject },
  tools: Tools,
): Promise<{ readonly log: PayloadLogWish | undefined } | Fault> {
  const settings = readLogger(service, component, spec)?.settings;
  if (settings === undefined) return { log: undefined };
  const [url = ""] = asList(settings["urls"]).map(asString);
  const isSecure = [url, asString(settings["marshallerUrl"])].some((one) => /^https:/i.test(one));
  const isStore = url.startsWith("s3://");
  if (!isSecure && !isStore) return { log: { settings } };
  const trust = await trustOf(service, tools.context.cluster);
  if (trust !== undefined && "reason" in trust) return { ...trust, message: `${component}.logger: ${trust.message}` };
  if (!isStore) return { log: { settings, trust } };
  const { storage } = asObject(spec["logger"]);
  const account = asString(asObject(storage)["serviceAccountName"]) || asString(spec["serviceAccountName"]);
  const model = { storageUri: url, ...(isObject(storage) ? { storage } : {}) };
  const found = await credentialsFor(service, { model, serviceAccountName: account }, tools);
  if ("reason" in found) return { reason: found.reason, message: `${component}.logger: ${found.message}` };
  return { log: { settings, credentials: found.credentials["s3"], trust } };
}

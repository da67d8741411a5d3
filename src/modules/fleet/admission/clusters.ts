import type { ClusterAccess } from "../../../kernel/control/index.js";
import {
  compareQuantities,
  Faults,
  type Json,
  type JsonObject,
  labelFaults,
  labelValueFaults,
  parseQuantity,
  qualifiedNameFaults,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { isObject } from "../../../kernel/schema/index.js";
import { ClusterKind } from "../kinds.js";
import { ACCEPTED, isUntouched, metadataOf, objectIn, objectsIn, textIn } from "./denial.js";
import { DEFAULT_MODELS, MOST } from "./models.js";

const LONGEST_NAME = 48;
const URL_FORM = "; desired format: hostname, hostname:port, IP or IP:port";

/** Completes and checks member clusters. Karmada serves them by an API server of its own: what it refuses is invalid, not denied. */
export function clusterAdmission(): ModuleAdmission {
  return {
    kind: ClusterKind,
    level: "continuum",
    complete: (object, old, { now }) => {
      const spec = objectIn(object, "spec");
      object["spec"] = spec;
      const models = objectsIn(spec, "resourceModels");
      if (models.length > 0) standardize(models, spec);
      else if (old === undefined) spec["resourceModels"] = structuredClone(DEFAULT_MODELS);
      for (const taint of objectsIn(spec, "taints")) if (taint["effect"] === "NoExecute") taint["timeAdded"] ??= now;
      const zone = textIn(spec, "zone");
      if (zone !== "" && !hasZones(spec) && labelValueFaults(zone).length === 0) {
        spec["zones"] = [zone];
        delete spec["zone"];
      }
    },
    review: async (object, old, hub) => {
      if (isUntouched(object, old)) return ACCEPTED;
      const faults = clusterFaults(object);
      await twinFaults(object, old, { hub, faults });
      return { faults: faults.causes, warnings: [] };
    },
  };
}

/** What is wrong with the identity of a member that is in the fleet under another name. */
export function twinFault(twin: string): string {
  return `this cluster is in the fleet already, as ${twin}: \`argosy clusters leave ${twin}\` first`;
}

/** Whoever registers a member that fetches may not look at others: the hub looks whether it is there already. Who joins by push looks himself. */
async function twinFaults(
  object: JsonObject,
  old: JsonObject | undefined,
  { hub, faults }: { readonly hub: ClusterAccess; readonly faults: Faults },
): Promise<void> {
  const spec = objectIn(object, "spec");
  const id = textIn(spec, "id");
  if (textIn(spec, "syncMode") !== "Pull" || id === "" || id === textIn(objectIn(old ?? {}, "spec"), "id")) return;
  const name = textIn(metadataOf(object), "name");
  const { items } = await hub.client.resource(ClusterKind).list();
  const twin = items.find((other) => other.spec?.id === id && other.metadata.name !== name);
  if (twin !== undefined) faults.invalid("spec.id", id, twinFault(twin.metadata.name));
}

/** What is wrong with the name of a member, in upstream's words. */
export function clusterNameFaults(name: string): string[] {
  if (name === "") return ["must be not empty"];
  return name.length > LONGEST_NAME ? [`must be no more than ${LONGEST_NAME} characters`] : labelFaults(name);
}

function hasZones(spec: JsonObject): boolean {
  return Array.isArray(spec["zones"]) && spec["zones"].length > 0;
}

/** By grade; the first begins with nothing, the last has no end. */
function standardize(models: JsonObject[], spec: JsonObject): void {
  models.sort((a, b) => Number(a["grade"] ?? 0) - Number(b["grade"] ?? 0));
  for (const range of objectsIn(models[0] ?? {}, "ranges")) range["min"] = "0";
  for (const range of objectsIn(models.at(-1) ?? {}, "ranges")) range["max"] = MOST;
  spec["resourceModels"] = models;
}

function clusterFaults(object: JsonObject): Faults {
  const faults = new Faults();
  const name = textIn(metadataOf(object), "name");
  for (const fault of clusterNameFaults(name)) faults.invalid("metadata.name", name, fault);
  const spec = objectIn(object, "spec");
  if (textIn(spec, "syncMode") === "") {
    faults.required("spec.syncMode");
    faults.unsupported("spec.syncMode", "", ["Pull", "Push"]);
  }
  endpointFaults(textIn(spec, "apiEndpoint"), faults);
  for (const field of ["secretRef", "impersonatorSecretRef"]) {
    const reference = spec[field];
    if (!isObject(reference)) continue;
    for (const part of ["namespace", "name"])
      if (textIn(reference, part) === "") faults.required(`spec.${field}.${part}`);
  }
  proxyFaults(textIn(spec, "proxyURL"), faults);
  placeFaults(spec, faults);
  taintFaults(objectsIn(spec, "taints"), faults);
  const models = objectsIn(spec, "resourceModels");
  const wrong = modelFault(models);
  if (wrong !== "") faults.invalid("spec.resourceModels", shownModels(models), wrong);
  return faults;
}

function endpointFaults(endpoint: string, faults: Faults): void {
  if (endpoint === "") return;
  const path = "spec.apiEndpoint";
  // Without a scheme Go reads a path.
  const url = /^[a-z][a-z0-9+.-]*:/i.test(endpoint) && URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || url.host === "") {
    faults.invalid(path, "", `host must be provided${URL_FORM}`);
    return;
  }
  if (url.username !== "") faults.invalid(path, url.username, "user information is not permitted in the URL");
  if (url.hash !== "") faults.invalid(path, url.hash.slice(1), "fragments are not permitted in the URL");
  if (url.search !== "") faults.invalid(path, url.search.slice(1), "query parameters are not permitted in the URL");
}

function proxyFaults(proxy: string, faults: Faults): void {
  if (proxy === "") return;
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(proxy)?.[1] ?? "";
  if (!["http", "https", "socks5"].includes(scheme.toLowerCase()))
    faults.invalid(
      "spec.proxyURL",
      proxy,
      `unsupported scheme ${JSON.stringify(scheme)}, must be http, https, or socks5`,
    );
}

function placeFaults(spec: JsonObject, faults: Faults): void {
  const check = (field: string, value: string): void => {
    const found = labelValueFaults(value);
    if (found.length > 0) faults.invalid(`spec.${field}`, value, found.join("; "));
  };
  check("provider", textIn(spec, "provider"));
  check("region", textIn(spec, "region"));
  const zone = textIn(spec, "zone");
  if (zone !== "" && hasZones(spec)) {
    faults.plain("spec.spec", `${JSON.stringify(shownSpec(spec))}: Zone and Zones cannot co-exist`);
    return;
  }
  if (zone !== "") check("Zone", zone);
  else if (Array.isArray(spec["zones"]))
    for (const value of spec["zones"]) check("Zones", typeof value === "string" ? value : "");
}

function taintFaults(taints: readonly JsonObject[], faults: Faults): void {
  const seen = new Set<string>();
  for (const [index, taint] of taints.entries()) {
    const path = `spec.taints[${index}]`;
    const [key, value, effect] = [textIn(taint, "key"), textIn(taint, "value"), textIn(taint, "effect")];
    for (const fault of qualifiedNameFaults(key)) faults.invalid(`${path}.key`, key, fault);
    const found = labelValueFaults(value);
    if (found.length > 0) faults.invalid(`${path}.value`, value, found.join(";"));
    const mark = JSON.stringify([key, effect]);
    if (seen.has(mark)) faults.duplicate(path, shownTaint(taint), "taints must be unique by key and effect pair");
    seen.add(mark);
  }
}

function shownTaint(taint: JsonObject): JsonObject {
  const { key, value, effect, timeAdded } = taint;
  return {
    key: key ?? "",
    ...(value === undefined || value === "" ? {} : { value }),
    effect: effect ?? "",
    ...(timeAdded === undefined ? {} : { timeAdded }),
  };
}

/** The first thing wrong with the classes of nodes; empty where there is none. */
function modelFault(models: readonly JsonObject[]): string {
  for (const [index, model] of models.entries()) {
    const before = models[index - 1];
    const ranges = objectsIn(model, "ranges");
    if (before !== undefined && before["grade"] === model["grade"])
      return "The grade of each models should not be the same";
    if (before !== undefined && objectsIn(before, "ranges").length !== ranges.length)
      return "The number of resource types should be the same";
    for (const [place, range] of ranges.entries()) {
      const isLast = index === models.length - 1;
      const fault = rangeFault(range, before === undefined ? undefined : objectsIn(before, "ranges")[place], isLast);
      if (fault !== "") return fault;
    }
  }
  return "";
}

function rangeFault(range: JsonObject, before: JsonObject | undefined, isLast: boolean): string {
  const [min, max] = [amount(range["min"]), amount(range["max"])];
  if (compareQuantities(max, min) <= 0) return "The max value of each resource must be greater than the min value";
  if (before === undefined) {
    if (min.nanos !== 0n) return "The min value of each resource in the first model should be 0";
  } else if (before["name"] !== range["name"]) {
    return "The resource types of each models should be the same";
  } else if (compareQuantities(amount(before["max"]), min) !== 0) {
    return "Model intervals for resources must be contiguous and non-overlapping";
  }
  if (isLast && compareQuantities(max, parseQuantity(MOST)) !== 0)
    return "The max value of each resource in the last model should be MaxInt64";
  return "";
}

function amount(value: Json | undefined): ReturnType<typeof parseQuantity> {
  const isAmount = typeof value === "string" || typeof value === "number";
  return (isAmount ? tryParseQuantity(value) : undefined) ?? parseQuantity("0");
}

function shownModels(models: readonly JsonObject[]): Json {
  return models.map((model) => ({
    Grade: model["grade"] ?? 0,
    Ranges: objectsIn(model, "ranges").map(({ name, min, max }) => ({
      Name: name ?? "",
      Min: min ?? "0",
      Max: max ?? "0",
    })),
  }));
}

/** As the internal type of Karmada's API server prints it. */
function shownSpec(spec: JsonObject): JsonObject {
  const reference = (field: string): Json => {
    const found = spec[field];
    return isObject(found) ? { Namespace: textIn(found, "namespace"), Name: textIn(found, "name") } : null;
  };
  const id = textIn(spec, "id");
  const taints = objectsIn(spec, "taints").map(shownTaint);
  const models = objectsIn(spec, "resourceModels");
  return {
    ...(id === "" ? {} : { id }),
    SyncMode: textIn(spec, "syncMode"),
    APIEndpoint: textIn(spec, "apiEndpoint"),
    SecretRef: reference("secretRef"),
    ImpersonatorSecretRef: reference("impersonatorSecretRef"),
    InsecureSkipTLSVerification: spec["insecureSkipTLSVerification"] === true,
    ProxyURL: textIn(spec, "proxyURL"),
    ProxyHeader: spec["proxyHeader"] ?? null,
    Provider: textIn(spec, "provider"),
    Region: textIn(spec, "region"),
    Zone: textIn(spec, "zone"),
    ...(hasZones(spec) ? { zones: spec["zones"] } : {}),
    Taints: taints.length === 0 ? null : taints,
    ResourceModels: models.length === 0 ? null : shownModels(models),
  };
}

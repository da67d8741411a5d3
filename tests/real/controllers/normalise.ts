import type { Json, JsonObject } from "../../../src/kernel/kinds/object.js";

/** Hashes with the numbers that stand for them, in the order in which they were seen. */
export interface Seen {
  readonly hashes: Map<string, string>;
}

interface Found {
  readonly kind: string;
  readonly item: JsonObject;
}

interface Meta {
  readonly name: string;
  readonly uid?: string;
  readonly generateName?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly creationTimestamp?: string;
}

const metaOf = (item: JsonObject): Meta => item["metadata"] as unknown as Meta;
const hashLabels = ["pod-template-hash", "controller-revision-hash"];

/** Fields of which a server or the moment decides. */
const dropped = new Set(["managedFields", "resourceVersion", "selfLink", "uid", "clusterIP", "clusterIPs"]);

function strip(value: Json): Json {
  if (Array.isArray(value)) return value.map(strip);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value)
    .filter(([key, member]) => !dropped.has(key) && member !== undefined && member !== null)
    .map(([key, member]) => [key, strip(member as Json)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries);
}

/** What stands for names that somebody made up. */
function substitutes(found: readonly Found[], seen: Seen): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const byAge = [...found].sort((a, b) =>
    (metaOf(a.item).creationTimestamp ?? "") < (metaOf(b.item).creationTimestamp ?? "") ? -1 : 1,
  );
  for (const { kind, item } of byAge) {
    const { name, generateName, labels = {} } = metaOf(item);
    const isRevision = ["replicasets", "controllerrevisions"].includes(kind);
    const own = kind === "controllerrevisions" ? name.slice(name.lastIndexOf("-") + 1) : "";
    for (const hash of [...hashLabels.map((label) => labels[label] ?? ""), own])
      if (isRevision && hash !== "") {
        const short = hash.slice(hash.lastIndexOf("-") + 1);
        if (!seen.hashes.has(short)) seen.hashes.set(short, `HASH${seen.hashes.size}`);
      }
    if (generateName !== undefined && name.startsWith(generateName) && name.length === generateName.length + 5)
      names.set(name, `${generateName}*`);
  }
  return names;
}

function replaceAll(text: string, names: ReadonlyMap<string, string>, seen: Seen): string {
  let result = text;
  for (const [name, substitute] of names) result = result.replaceAll(name, substitute);
  for (const [hash, substitute] of seen.hashes) result = result.replaceAll(hash, substitute);
  return (
    result
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UID")
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "TIME")
      .replaceAll(/10\.1\.0\.\d+/g, "POD-IP")
      .replaceAll(/10\.96\.\d+\.\d+/g, "CLUSTER-IP")
      // Pods that are gone already.
      .replaceAll(/(HASH\d+|[a-z]+(?:-\d+)?)-[bcdfghjklmnpqrstvwxz2456789]{5}\b/g, "$1-*")
      // Jobs of CronJobs are named after the minute.
      .replaceAll(/-\d{8}\b/g, "-MINUTE")
      .replaceAll(/-----BEGIN[^"]*/g, "PEM")
  );
}

/** What comes in no certain order, or depends on how often a controller looked. */
function settled(kind: string, item: JsonObject): JsonObject {
  const copy = JSON.parse(JSON.stringify(item)) as JsonObject;
  const status = (copy["status"] ?? {}) as { conditions?: { type: string }[] };
  status.conditions?.sort((a, b) => (a.type < b.type ? -1 : 1));
  if (kind === "endpointslices") (copy["metadata"] as JsonObject)["generation"] = 0;
  const subsets = (copy["subsets"] ?? []) as { ports?: { port: number }[] }[];
  // Upstream orders them by a hash of Go's print of them.
  for (const { ports } of subsets) ports?.sort((a, b) => a.port - b.port);
  return copy;
}

/** Which of many events stands for the others depends on which came last. */
const combined = /(\w+): \(combined from similar events\): .*/;
/** How many pods are tried depends on how often a controller looked. */
const tried = /^event .* (FailedCreate|SuccessfulCreate|SuccessfulDelete): .*/;

/** A line for each object and each event, sorted. */
export function normalised(found: readonly Found[], events: readonly JsonObject[], seen: Seen): readonly string[] {
  const names = substitutes(found, seen);
  const lines = found.map(({ kind, item }) => `${kind} ${JSON.stringify(strip(settled(kind, item)))}`);
  const told = events.map((event) => {
    const about = event["involvedObject"] as { kind: string; name: string };
    const { type = "", reason = "", message = "" } = event as { type?: string; reason?: string; message?: string };
    const { component = "" } = (event["source"] ?? {}) as { component?: string };
    return `event ${about.kind}/${about.name} ${component} ${type} ${reason}: ${message}`;
  });
  const texts = [...lines, ...new Set(told)]
    .map((line) => replaceAll(line, names, seen))
    .map((line) =>
      tried.test(line) ? line.replace("(combined from similar events): ", "") : line.replace(combined, "$1: many"),
    );
  const isEvent = (line: string): boolean => line.startsWith("event ");
  // Events of pods with made-up names fall together.
  return [...texts.filter((line) => !isEvent(line)), ...new Set(texts.filter(isEvent))].sort();
}

import { systemClock } from "../../kernel/clock/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { asObject, asObjects } from "../../kernel/schema/index.js";
import { parseJsonObject } from "../manifest/json.js";
import { withoutManagedFields } from "../output/print.js";
import { formatAge, renderTable } from "../output/table.js";
import type { Terminal } from "../output/terminal.js";
import type { Session } from "../session.js";
import { discover } from "./discovery.js";
import { objectsIn } from "./objects.js";
import { resourcePath } from "./path.js";
import { parseTargets, type Target } from "./target.js";

/** `argosy describe`: identity, spec, conditions as a table, status, events. */
export async function describeResources(
  session: Session,
  words: readonly string[],
  options: { namespace?: string },
  terminal: Terminal,
): Promise<void> {
  const namespace = options.namespace ?? session.namespace;
  const targets = parseTargets(words, await discover(session.client));
  let printed = 0;
  for (const target of targets) {
    for (const object of await objectsOf(session, target, namespace)) {
      terminal.out(`${printed > 0 ? "\n\n" : ""}${await describe(session, object)}`);
      printed += 1;
    }
  }
  if (printed === 0) {
    terminal.err(`No resources found in ${namespace} namespace.\n`);
  }
}

async function objectsOf(session: Session, target: Target, namespace: string): Promise<JsonObject[]> {
  const objects: JsonObject[] = [];
  for (const name of target.names.length === 0 ? [undefined] : target.names) {
    const answer = await session.client.json("GET", resourcePath(target.resource, namespace, name));
    objects.push(...objectsIn(asObject(answer), target.resource));
  }
  return objects;
}

async function describe(session: Session, object: JsonObject): Promise<string> {
  const { apiVersion, kind, metadata, status, ...rest } = parseJsonObject(redacted(withoutManagedFields(object))) ?? {};
  const meta = parseJsonObject(metadata) ?? {};
  const { conditions, ...state } = parseJsonObject(status) ?? {};
  const sections = [
    [
      `Name: ${text(meta["name"])}`,
      ...(meta["namespace"] === undefined ? [] : [`Namespace: ${text(meta["namespace"])}`]),
      `Kind: ${text(kind)} (${text(apiVersion)})`,
    ].join("\n"),
    ...map("Labels", meta["labels"]),
    ...map("Annotations", shownAnnotations(meta["annotations"])),
    ...Object.entries(rest).flatMap(([field, value]) =>
      value === undefined ? [] : [`${title(field)}:\n${outline(value, 1)}`],
    ),
    ...(Object.keys(state).length === 0 ? [] : [`Status:\n${outline(state, 1)}`]),
    ...conditionTable(conditions),
    await eventTable(session, kind, meta),
  ];
  return `${sections.join("\n")}\n`;
}

/** The object once more, as kubectl applied it, is no news. */
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

function shownAnnotations(annotations: Json | undefined): JsonObject {
  const { [lastApplied]: _, ...shown } = parseJsonObject(annotations) ?? {};
  return shown;
}

/** The same without the contents of Secrets, at any depth: a HyperMLService carries whole manifests. */
function redacted(value: Json): Json {
  if (Array.isArray(value)) {
    return value.map(redacted);
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  const isSecret = value["kind"] === "Secret";
  return Object.fromEntries(
    Object.entries(value).map(([field, member]) => [
      field,
      isSecret && (field === "data" || field === "stringData")
        ? sizes(member ?? null, field === "data" ? "base64" : "utf8")
        : redacted(member ?? null),
    ]),
  );
}

function sizes(content: Json, encoding: "base64" | "utf8"): Json {
  return Object.fromEntries(
    Object.entries(parseJsonObject(content) ?? {}).map(([key, item]) => [
      key,
      `${Buffer.from(text(item), encoding).length} bytes`,
    ]),
  );
}

function map(head: string, value: Json | undefined): string[] {
  const entries = Object.entries(parseJsonObject(value) ?? {});
  return entries.length === 0
    ? []
    : [`${head}: ${entries.map(([key, item]) => `${key}=${text(item)}`).join("\n        ")}`];
}

/** Nested fields, one a line, indented by two spaces a level. */
function outline(value: Json, depth: number): string {
  const pad = "  ".repeat(depth);
  if (Array.isArray(value)) {
    return value
      .map((item) => (typeof item === "object" ? `${pad}-\n${outline(item, depth + 1)}` : `${pad}- ${text(item)}`))
      .join("\n");
  }
  if (typeof value !== "object" || value === null) {
    return `${pad}${text(value)}`;
  }
  return Object.entries(value)
    .flatMap(([field, member]) => {
      if (member === undefined) {
        return [];
      }
      const empty = typeof member === "object" && member !== null && Object.keys(member).length === 0;
      return [
        typeof member === "object" && member !== null && !empty
          ? `${pad}${field}:\n${outline(member, depth + 1)}`
          : `${pad}${field}: ${empty ? "<none>" : text(member)}`,
      ];
    })
    .join("\n");
}

function conditionTable(conditions: Json | undefined): string[] {
  const rows = asObjects(conditions).map((condition) =>
    ["type", "status", "reason", "message"].map((field) => text(condition[field])),
  );
  return rows.length === 0
    ? []
    : [`Conditions:\n${indent(renderTable(["type", "status", "reason", "message"], rows))}`];
}

async function eventTable(session: Session, kind: Json | undefined, meta: JsonObject): Promise<string> {
  const selector = `involvedObject.kind=${text(kind)},involvedObject.name=${text(meta["name"])}`;
  const root =
    meta["namespace"] === undefined
      ? "/api/v1/events"
      : `/api/v1/namespaces/${encodeURIComponent(text(meta["namespace"]))}/events`;
  const list = parseJsonObject(
    await session.client.json("GET", `${root}?fieldSelector=${encodeURIComponent(selector)}`),
  );
  const events = asObjects(list?.["items"])
    .map((event) => {
      const series = parseJsonObject(event["series"]);
      const last = series?.["lastObservedTime"] ?? event["lastTimestamp"] ?? event["eventTime"];
      return { event, count: series?.["count"] ?? event["count"], last: Date.parse(text(last)) || 0 };
    })
    .sort((a, b) => a.last - b.last);
  const rows = events.map(({ event, count, last }) => {
    const age = last === 0 ? "" : formatAge(systemClock.now() - last);
    const source = parseJsonObject(event["source"])?.["component"] ?? event["reportingComponent"];
    const times = typeof count === "number" && count > 1 ? ` (x${count})` : "";
    return [text(event["type"]), text(event["reason"]), `${age}${times}`, text(source), text(event["message"])];
  });
  return rows.length === 0
    ? "Events: <none>"
    : `Events:\n${indent(renderTable(["type", "reason", "age", "from", "message"], rows))}`;
}

function indent(block: string): string {
  return block.trimEnd().replace(/^/gm, "  ");
}

function title(field: string): string {
  return `${field.charAt(0).toUpperCase()}${field.slice(1)}`;
}

function text(value: Json | undefined): string {
  return value === undefined || value === null
    ? "<none>"
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
}

import { InputError } from "../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../kernel/kinds/object.js";
import { asObjects } from "../../kernel/schema/index.js";
import { parseJsonObject } from "../manifest/json.js";
import { type OutputFormat, renderDocument, withoutManagedFields } from "../output/print.js";
import { renderTable } from "../output/table.js";
import type { Terminal } from "../output/terminal.js";
import type { Session } from "../session.js";
import { discover } from "./discovery.js";
import { objectsIn } from "./objects.js";
import { resourceName, resourcePath } from "./path.js";
import { parseTargets, type Target } from "./target.js";

export interface GetOptions {
  readonly output: OutputFormat;
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  readonly selector?: string;
  readonly fieldSelector?: string;
}

/** `argosy get`: tables as the server makes them, or whole documents. */
export async function getResources(
  session: Session,
  words: readonly string[],
  options: GetOptions,
  terminal: Terminal,
): Promise<void> {
  const targets = parseTargets(words, await discover(session.client));
  if (
    options.allNamespaces === true &&
    targets.some(({ resource, names }) => resource.namespaced && names.length > 0)
  ) {
    throw new InputError("a name does not go with --all-namespaces: say which namespace with -n");
  }
  if (options.output === "table" || options.output === "wide") {
    await printTables(session, targets, options, terminal);
    return;
  }
  const objects: { target: Target; object: JsonObject }[] = [];
  for (const target of targets) {
    for (const answer of await fetchAll(session, target, options, "application/json")) {
      objects.push(...objectsIn(answer, target.resource).map((object) => ({ target, object })));
    }
  }
  if (options.output === "name") {
    terminal.out(objects.map(({ target, object }) => `${resourceName(target.resource, nameOf(object))}\n`).join(""));
    return;
  }
  const single = targets.length === 1 && targets[0]?.names.length === 1 ? objects[0]?.object : undefined;
  const document = single ?? {
    apiVersion: "v1",
    kind: "List",
    items: objects.map(({ object }) => withoutManagedFields(object)),
  };
  terminal.out(renderDocument(withoutManagedFields(document), options.output));
}

async function fetchAll(session: Session, target: Target, options: GetOptions, accept: string): Promise<JsonObject[]> {
  const namespace = options.allNamespaces === true ? undefined : (options.namespace ?? session.namespace);
  const query = new URLSearchParams();
  if (target.names.length === 0) {
    for (const [key, value] of [
      ["labelSelector", options.selector],
      ["fieldSelector", options.fieldSelector],
    ]) {
      if (key !== undefined && value !== undefined) {
        query.set(key, value);
      }
    }
  }
  const names = target.names.length === 0 ? [undefined] : target.names;
  const answers: JsonObject[] = [];
  for (const name of names) {
    const path = resourcePath(target.resource, namespace, name);
    const answer = await session.client.json("GET", query.size > 0 ? `${path}?${query.toString()}` : path, undefined, {
      headers: { accept },
    });
    answers.push(parseJsonObject(answer) ?? {});
  }
  return answers;
}

async function printTables(
  session: Session,
  targets: readonly Target[],
  options: GetOptions,
  terminal: Terminal,
): Promise<void> {
  let printed = 0;
  for (const target of targets) {
    const tables = await fetchAll(
      session,
      target,
      options,
      "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    );
    const wide = options.output === "wide";
    const withNamespace = options.allNamespaces === true && target.resource.namespaced;
    const heads = columns(tables[0]).map((column) => column.name);
    const shown = columns(tables[0]).flatMap((column, index) => (column.priority === 0 || wide ? [index] : []));
    const rows = tables.flatMap((table) => rowsOf(table, shown, withNamespace));
    if (rows.length === 0) {
      continue;
    }
    terminal.out(
      `${printed > 0 ? "\n" : ""}${renderTable([...(withNamespace ? ["namespace"] : []), ...shown.map((index) => heads[index] ?? "")], rows)}`,
    );
    printed += rows.length;
  }
  if (printed === 0) {
    terminal.err(
      options.allNamespaces === true
        ? "No resources found\n"
        : `No resources found in ${options.namespace ?? session.namespace} namespace.\n`,
    );
  }
}

function columns(table: JsonObject | undefined): { name: string; priority: number }[] {
  return asObjects(table?.["columnDefinitions"]).map((column) => ({
    name: cellText(column["name"]),
    priority: typeof column["priority"] === "number" ? column["priority"] : 0,
  }));
}

function rowsOf(table: JsonObject, shown: readonly number[], withNamespace: boolean): string[][] {
  return asObjects(table["rows"]).flatMap((row) => {
    const cells = row["cells"];
    if (!Array.isArray(cells)) {
      return [];
    }
    const namespace = parseJsonObject(parseJsonObject(row["object"])?.["metadata"])?.["namespace"];
    return [[...(withNamespace ? [cellText(namespace)] : []), ...shown.map((index) => cellText(cells[index]))]];
  });
}

function cellText(value: Json | undefined): string {
  return value === null || value === undefined
    ? "<none>"
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
}

function nameOf(object: JsonObject): string {
  return cellText(parseJsonObject(object["metadata"])?.["name"]);
}

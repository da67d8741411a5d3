import { createHash } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { InputError, messageOf } from "../../kernel/errors/index.js";
import { isMissing, replaceFile } from "../../kernel/files/index.js";
import type { Logger } from "../../kernel/log/types.js";
import type { GatewayPart } from "./driver.js";
import { checkRoute, type ListenerInput, parseChange, parseTable, type RouteInput, readRoute } from "./table.js";
import { changesHead, TABLE_FILES } from "./table-files.js";

/** Which source has which listeners; routes say it themselves. */
const SOURCES_FILE = "sources.json";
/** Routes in one line of changes: so many that a line is taken over in a few milliseconds. */
const ROUTES_A_LINE = 16;
/** The table is written anew when the changes are longer than it, but not before they are as long as this. */
const MIN_CHANGES_BYTES = 1_048_576;

interface Kept {
  readonly source: string;
  /** As it was handed in: the same object needs no second look. */
  readonly route: RouteInput;
  /** As it is written. */
  readonly text: string;
  /** It comes from the files, with all defaults filled in. */
  readonly isRead?: boolean;
}

/** The table's files, written by parts: whoever changes one route of a thousand writes one. */
export class TableWriter {
  readonly #directory: string;
  readonly #log: Logger;
  #routes = new Map<string, Kept>();
  #listeners = new Map<string, readonly ListenerInput[]>();
  #listenersText = "";
  /** Of the table with its changes. */
  generation = "";
  #tableBytes = 0;
  #changesBytes = 0;
  #isLoaded = false;

  constructor(directory: string, log: Logger) {
    this.#directory = directory;
    this.#log = log;
  }

  /** What each source wants, as the files say. */
  parts(): ReadonlyMap<string, GatewayPart> {
    const parts = new Map<string, { listeners: readonly ListenerInput[]; routes: RouteInput[] }>();
    for (const [source, listeners] of this.#listeners) parts.set(source, { listeners, routes: [] });
    for (const { source, route } of this.#routes.values()) {
      const part = parts.get(source) ?? { listeners: [], routes: [] };
      parts.set(source, part);
      part.routes.push(route);
    }
    return parts;
  }

  /**
   * Writes what differs when the given sources want the given parts. True when something did. Throws `InputError` when a part
   * is faulty or claims what another source has; nothing is written then.
   */
  async write(parts: ReadonlyMap<string, GatewayPart>): Promise<boolean> {
    const listeners = new Map(this.#listeners);
    for (const [source, part] of parts) {
      if (part.listeners.length === 0) listeners.delete(source);
      else listeners.set(source, part.listeners);
    }
    const listenersText = renderListeners(listeners, [...parts.keys()].at(-1) ?? "");
    const { changed, removed } = this.#differences(parts, namesIn(listeners));
    if (changed.length + removed.length === 0 && listenersText === this.#listenersText) {
      this.#listeners = listeners;
      return false;
    }
    if (listenersText !== this.#listenersText) this.#checkListeners(namesIn(listeners), { changed, removed });
    for (const id of removed) this.#routes.delete(id);
    for (const kept of changed) this.#routes.set(kept.route.id, kept);
    const isWhole = listenersText !== this.#listenersText || this.generation === "";
    this.#listeners = listeners;
    this.#listenersText = listenersText;
    if (isWhole) await this.#writeWhole(true);
    else await this.#append(changed, removed);
    return true;
  }

  #checkListeners(
    names: ReadonlySet<string>,
    { changed, removed }: { readonly changed: readonly Kept[]; readonly removed: readonly string[] },
  ): void {
    const moved = new Set([...removed, ...changed.map(({ route }) => route.id)]);
    for (const { route, source } of this.#routes.values())
      if (!names.has(route.listener) && !moved.has(route.id))
        throw new InputError(
          `gateway source "${source}": route "${route.id}" names listener "${route.listener}", which does not exist`,
        );
  }

  #differences(
    parts: ReadonlyMap<string, GatewayPart>,
    listeners: ReadonlySet<string>,
  ): { readonly changed: readonly Kept[]; readonly removed: readonly string[] } {
    const changed: Kept[] = [];
    const wanted = new Map<string, string>();
    for (const [source, part] of parts) {
      for (const route of part.routes) {
        const kept = this.#routes.get(route.id);
        const isOthers = kept !== undefined && kept.source !== source && !parts.has(kept.source);
        if (isOthers || wanted.has(route.id))
          throw new InputError(
            `gateway source "${source}": route "${route.id}" exists already (also in "${wanted.get(route.id) ?? kept?.source ?? ""}")`,
          );
        wanted.set(route.id, source);
        const change = this.#changeOf(route, source, listeners);
        if (change !== undefined) changed.push(change);
      }
    }
    const removed = [...this.#routes].flatMap(([id, { source }]) => (parts.has(source) && !wanted.has(id) ? [id] : []));
    return { changed, removed };
  }

  /** What is to be written for a route; undefined when that stands there already. */
  #changeOf(route: RouteInput, source: string, listeners: ReadonlySet<string>): Kept | undefined {
    const kept = this.#routes.get(route.id);
    if (kept?.route === route && kept.source === source) return undefined;
    if (!listeners.has(route.listener))
      throw new InputError(
        `gateway source "${source}": route "${route.id}" names listener "${route.listener}", which does not exist`,
      );
    const text = JSON.stringify({ ...route, source });
    if (kept === undefined || (kept.text !== text && (kept.isRead !== true || kept.text !== textOf(route, source))))
      return { source, route, text: checked(route, text) };
    this.#routes.set(route.id, { source, route, text: kept.text });
    return undefined;
  }

  async #append(changed: readonly Kept[], removed: readonly string[]): Promise<void> {
    let lines = "";
    for (let index = 0; index === 0 || index < changed.length; index += ROUTES_A_LINE) {
      const routes = `[${changed
        .slice(index, index + ROUTES_A_LINE)
        .map(({ text }) => text)
        .join(",")}]`;
      const gone = JSON.stringify(index === 0 ? removed : []);
      this.generation = nameOf(`${this.generation}${gone}${routes}`);
      lines += `{"generation":"${this.generation}","removed":${gone},"routes":${routes}}\n`;
    }
    await appendFile(this.#file(TABLE_FILES.changes), lines, { mode: 0o600 });
    this.#changesBytes += lines.length;
    // The gateway sees by the name that it has this table already.
    if (this.#changesBytes > Math.max(MIN_CHANGES_BYTES, this.#tableBytes)) await this.#writeWhole(false);
  }

  async #writeWhole(isNew: boolean): Promise<void> {
    const routes = [...this.#routes.values()].map(({ text }) => text).join(",\n");
    if (isNew) this.generation = nameOf(this.#listenersText + routes);
    const text = `{"version":1,"generation":"${this.generation}","listeners":${this.#listenersText},"routes":[${routes}]}`;
    await replaceFile(this.#file(SOURCES_FILE), JSON.stringify(Object.fromEntries(this.#listeners)));
    await replaceFile(this.#file(TABLE_FILES.table), text);
    await replaceFile(this.#file(TABLE_FILES.changes), changesHead(this.generation));
    this.#tableBytes = text.length;
    this.#changesBytes = 0;
  }

  /** What the table says, piece by piece. */
  texts(): readonly string[] {
    return [this.#listenersText, ...[...this.#routes.values()].map(({ text }) => text)];
  }

  #file(name: string): string {
    return join(this.#directory, name);
  }

  /** Reads what earlier processes wrote: it is kept until each source speaks again, so that a restart removes no route. */
  async load(): Promise<void> {
    if (this.#isLoaded) return;
    this.#isLoaded = true;
    try {
      const text = await readFile(this.#file(TABLE_FILES.table), "utf8");
      const table = parseTable(JSON.parse(text));
      this.#tableBytes = text.length;
      for (const route of table.routes) this.#keep(route);
      this.#listeners = new Map(await this.#readSources());
      this.#listenersText = renderListeners(this.#listeners, "");
      this.generation = table.generation;
      await this.#readChanges();
    } catch (error) {
      this.#log.debug("no earlier gateway table", { reason: messageOf(error) });
      this.generation = "";
    }
  }

  #keep({ source = "", ...route }: RouteInput): void {
    this.#routes.set(route.id, { source, route, text: textOf(route, source), isRead: true });
  }

  async #readChanges(): Promise<void> {
    let text: string;
    try {
      text = await readFile(this.#file(TABLE_FILES.changes), "utf8");
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    const [head, ...lines] = text.split("\n").slice(0, -1);
    // Changes of another table, or an end that was cut off: the table is written anew at the next change.
    if (`${head ?? ""}\n` !== changesHead(this.generation) || !text.endsWith("\n")) {
      this.generation = "";
      return;
    }
    for (const line of lines) {
      const change = parseChange(JSON.parse(line));
      for (const id of change.removed) this.#routes.delete(id);
      for (const route of change.routes) this.#keep(route);
      this.generation = change.generation;
    }
    this.#changesBytes = text.length;
  }

  async #readSources(): Promise<[string, readonly ListenerInput[]][]> {
    const value: unknown = JSON.parse(await readFile(this.#file(SOURCES_FILE), "utf8"));
    const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
    return entries.map(([source, listeners]) => [source, parseTable({ version: 1, listeners, routes: [] }).listeners]);
  }
}

/** With all defaults filled in. */
function textOf(route: RouteInput, source: string): string {
  return JSON.stringify({ ...readRoute(route), source });
}

function checked(route: RouteInput, text: string): string {
  const fault = checkRoute(route);
  if (fault !== "") throw new InputError(`gateway route "${route.id}": ${fault}`);
  return text;
}

function namesIn(listeners: ReadonlyMap<string, readonly ListenerInput[]>): ReadonlySet<string> {
  return new Set([...listeners.values()].flat().map(({ name }) => name));
}

function nameOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** All sources' listeners as the table has them. Faults are blamed on `source`. */
function renderListeners(parts: ReadonlyMap<string, readonly ListenerInput[]>, source: string): string {
  const listeners = new Map<string, ListenerInput>();
  for (const listener of [...parts.values()].flat()) {
    const other = listeners.get(listener.name);
    if (other !== undefined && identityOf(other) !== identityOf(listener))
      throw new InputError(
        `gateway source "${source}": listener "${listener.name}" is described differently by another source`,
      );
    listeners.set(listener.name, listener);
  }
  const sorted = [...listeners].sort((a, b) => (a[0] < b[0] ? -1 : 1)).map((entry) => entry[1]);
  return JSON.stringify(parseTable({ version: 1, listeners: sorted, routes: [] }).listeners);
}

/** The same for the same listener, with its defaults written out or not. */
function identityOf({ host, port, tls, trustForwarded = false }: ListenerInput): string {
  return JSON.stringify([host, port, tls ?? "", trustForwarded]);
}

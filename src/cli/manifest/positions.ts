import { EVENT_ID, type Event, getScalarValue, parseEvents } from "js-yaml";

/** One line of a file, counted from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

interface Frame {
  readonly path: string;
  readonly mapping: boolean;
  /** The key read last, until its value is in. */
  key: string | undefined;
  index: number;
}

/**
 * Where each field of each YAML document in `source` stands: one map per document, from field path (`spec.containers[0].name`) to the
 * position of its key. Empty documents are left out, as in `loadAll`.
 */
export function fieldPositions(source: string): ReadonlyMap<string, Position>[] {
  const documents: Map<string, Position>[] = [];
  const lines = lineStarts(source);
  const walker = new Walker(source, (offset) => positionAt(lines, offset));
  for (const event of parseEvents(source, {})) {
    walker.take(event, documents);
  }
  return documents;
}

class Walker {
  readonly #source: string;
  readonly #position: (offset: number) => Position;
  #frames: Frame[] = [];
  #depth = 0;

  constructor(source: string, position: (offset: number) => Position) {
    this.#source = source;
    this.#position = position;
  }

  take(event: Event, documents: Map<string, Position>[]): void {
    switch (event.type) {
      case EVENT_ID.DOCUMENT:
        documents.push(new Map());
        this.#frames = [];
        this.#depth = 1;
        return;
      case EVENT_ID.POP:
        this.#depth -= 1;
        if (this.#depth > 0) {
          this.#frames.pop();
        }
        return;
      case EVENT_ID.MAPPING:
      case EVENT_ID.SEQUENCE: {
        const path = this.#place(event.start, documents.at(-1));
        this.#frames.push({ path, mapping: event.type === EVENT_ID.MAPPING, key: undefined, index: 0 });
        this.#depth += 1;
        return;
      }
      case EVENT_ID.SCALAR:
        this.#scalar(event, documents.at(-1));
        return;
      case EVENT_ID.ALIAS:
        this.#place(event.anchorStart, documents.at(-1));
    }
  }

  #scalar(event: Extract<Event, { type: typeof EVENT_ID.SCALAR }>, document: Map<string, Position> | undefined): void {
    const frame = this.#frames.at(-1);
    if (frame?.mapping === true && frame.key === undefined) {
      frame.key = getScalarValue(this.#source, event);
      document?.set(join(frame.path, frame.key), this.#position(event.valueStart));
      return;
    }
    this.#place(event.valueStart, document);
  }

  /** Path of the value that starts here; a sequence item gets its own position, a mapping value keeps its key's. */
  #place(offset: number, document: Map<string, Position> | undefined): string {
    const frame = this.#frames.at(-1);
    if (frame === undefined) {
      document?.set("", this.#position(Math.max(0, offset)));
      return "";
    }
    if (frame.mapping) {
      const path = join(frame.path, frame.key ?? "");
      frame.key = undefined;
      return path;
    }
    const path = `${frame.path}[${frame.index}]`;
    frame.index += 1;
    document?.set(path, this.#position(Math.max(0, offset)));
    return path;
  }
}

/** The position of a field, or of the nearest ancestor that is in the document. */
export function findPosition(positions: ReadonlyMap<string, Position>, path: string): Position | undefined {
  for (let candidate = path; ; candidate = parentOf(candidate)) {
    const found = positions.get(candidate);
    if (found !== undefined || candidate === "") {
      return found;
    }
  }
}

function parentOf(path: string): string {
  const cut = Math.max(path.lastIndexOf("."), path.lastIndexOf("["));
  return cut < 0 ? "" : path.slice(0, cut);
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function lineStarts(source: string): number[] {
  const starts = [0];
  for (let at = source.indexOf("\n"); at >= 0; at = source.indexOf("\n", at + 1)) {
    starts.push(at + 1);
  }
  return starts;
}

function positionAt(starts: readonly number[], offset: number): Position {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] ?? 0) <= offset) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
}

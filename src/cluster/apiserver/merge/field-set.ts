import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { isObject } from "../../../kernel/schema/index.js";

/**
 * A set of field paths as a tree. Sets share nodes: only `insert` changes one, and only one that was made empty here. Edges are path elements as FieldsV1 writes them: `f:name`, `k:{"name":"a"}`, `v:"x"`,
 * `i:0`. A node may be in the set itself (`member`) besides what is below it.
 */
export class FieldSet {
  member = false;
  /** Most nodes are leaves. */
  #children: Map<string, FieldSet> | undefined;

  /** The nodes below. */
  get children(): ReadonlyMap<string, FieldSet> {
    return this.#children ?? none;
  }

  /** Puts a node below an element, in the place of any other. Only for a set that was made empty here. */
  put(element: string, node: FieldSet): void {
    this.#children ??= new Map();
    this.#children.set(element, node);
  }

  /** Adds one path; the elements are not kept. Not for results of the operations below: they share nodes. */
  insert(path: readonly string[], from = 0): void {
    const element = path[from];
    if (element === undefined) this.member = true;
    else this.child(element).insert(path, from + 1);
  }

  /** The node under an element, made if missing. */
  child(element: string): FieldSet {
    const present = this.children.get(element);
    if (present !== undefined) return present;
    const made = new FieldSet();
    this.put(element, made);
    return made;
  }

  has(path: readonly string[]): boolean {
    return this.at(path)?.member === true;
  }

  at(path: readonly string[]): FieldSet | undefined {
    const [first, ...rest] = path;
    return first === undefined ? this : this.children.get(first)?.at(rest);
  }

  get isEmpty(): boolean {
    if (this.member) return false;
    for (const child of this.children.values()) if (!child.isEmpty) return false;
    return true;
  }

  union(other: FieldSet): FieldSet {
    const result = new FieldSet();
    result.member = this.member || other.member;
    for (const [element, child] of this.children) {
      const twin = other.children.get(element);
      result.put(element, twin === undefined ? child : child.union(twin));
    }
    for (const [element, child] of other.children) if (!this.children.has(element)) result.put(element, child);
    return result;
  }

  intersection(other: FieldSet): FieldSet {
    const result = new FieldSet();
    result.member = this.member && other.member;
    for (const [element, child] of this.children) {
      const twin = other.children.get(element);
      const both = twin === undefined ? undefined : child.intersection(twin);
      if (both !== undefined && !both.isEmpty) result.put(element, both);
    }
    return result;
  }

  difference(other: FieldSet): FieldSet {
    const result = new FieldSet();
    result.member = this.member && !other.member;
    for (const [element, child] of this.children) {
      const twin = other.children.get(element);
      const rest = twin === undefined ? child : child.difference(twin);
      if (!rest.isEmpty) result.put(element, rest);
    }
    return result;
  }

  /** All but one path and what is below it. */
  without(path: readonly string[]): FieldSet {
    const [first, ...rest] = path;
    const child = first === undefined ? undefined : this.children.get(first);
    if (first === undefined) return new FieldSet();
    if (child === undefined) return this;
    const result = new FieldSet();
    result.member = this.member;
    for (const [element, one] of this.children) if (one !== child) result.put(element, one);
    const left = rest.length === 0 ? undefined : child.without(rest);
    if (left !== undefined && !left.isEmpty) result.put(first, left);
    return result;
  }

  equals(other: FieldSet): boolean {
    return this.difference(other).isEmpty && other.difference(this).isEmpty;
  }

  /** Every path, depth first, elements in order of their text. */
  *paths(prefix: readonly string[] = []): Generator<readonly string[]> {
    if (this.member) yield prefix;
    for (const element of [...this.children.keys()].sort()) {
      const child = this.children.get(element);
      if (child !== undefined) yield* child.paths([...prefix, element]);
    }
  }
}

/** Reads FieldsV1; what is no FieldsV1 is left out. */
export function parseFieldsV1(fields: Json | undefined): FieldSet {
  const set = new FieldSet();
  if (isObject(fields)) readNode(set, fields);
  return set;
}

/** Whether FieldsV1 and a set have a path in common. */
export function overlaps(fields: Json | undefined, set: FieldSet): boolean {
  if (!isObject(fields)) return false;
  for (const [element, child] of set.children) {
    if (element === "." || !Object.hasOwn(fields, element)) continue;
    const below = fields[element];
    if (child.member && isMember(below)) return true;
    if (child.children.size > 0 && overlaps(below, child)) return true;
  }
  return false;
}

/** Whether FieldsV1 has every path of a set. */
export function contains(fields: Json | undefined, set: FieldSet): boolean {
  for (const [element, child] of set.children) {
    if (!isObject(fields) || element === "." || !Object.hasOwn(fields, element)) return false;
    const below = fields[element];
    if (child.member && !isMember(below)) return false;
    if (child.children.size > 0 && !contains(below, child)) return false;
  }
  return true;
}

function isMember(node: Json | undefined): boolean {
  return !isObject(node) || Object.hasOwn(node, ".") || Object.keys(node).length === 0;
}

function readNode(node: FieldSet, fields: JsonObject): void {
  for (const element in fields) {
    const value = fields[element];
    if (element === ".") {
      node.member = true;
      continue;
    }
    const child = node.child(element);
    if (isObject(value) && Object.keys(value).length > 0) readNode(child, value);
    else child.member = true;
  }
}

const none: ReadonlyMap<string, FieldSet> = new Map();

/** Longer lists of elements are sorted by the engine, which makes copies. */
const FEW = 16;

function inOrder(elements: Iterable<string>): string[] {
  const all = [...elements];
  if (all.length > FEW) return all.sort();
  for (let end = 1; end < all.length; end++) {
    const element = all[end] ?? "";
    let place = end;
    for (; place > 0; place--) {
      const before = all[place - 1] ?? "";
      if (before <= element) break;
      all[place] = before;
    }
    all[place] = element;
  }
  return all;
}

/** Writes FieldsV1, elements in order. */
export function toFieldsV1(set: FieldSet): JsonObject {
  const fields: JsonObject = {};
  if (set.member && set.children.size > 0) fields["."] = {};
  for (const element of inOrder(set.children.keys())) {
    const child = set.children.get(element);
    if (child !== undefined && !child.isEmpty) fields[element] = toFieldsV1(child);
  }
  return fields;
}

/** A path as conflicts show it: `.spec.containers[name="main"].image`. */
export function showPath(path: readonly string[]): string {
  return path.map(showElement).join("");
}

function showElement(element: string): string {
  const text = element.slice(2);
  if (element.startsWith("f:")) return `.${text}`;
  if (element.startsWith("v:")) return `[=${text}]`;
  if (element.startsWith("i:")) return `[${text}]`;
  const keys: unknown = JSON.parse(text);
  if (typeof keys !== "object" || keys === null) return `[${text}]`;
  return `[${Object.entries(keys)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(",")}]`;
}

import type { Json, JsonObject } from "../kinds/object.js";
import { isObject } from "./json.js";

/** One step of a path: a member, an index, every item, or the items for which a member equals a value. */
type Step =
  | { readonly type: "member"; readonly name: string }
  | { readonly type: "index"; readonly index: number }
  | { readonly type: "all" }
  | { readonly type: "filter"; readonly path: readonly string[]; readonly equals: boolean; readonly value: string };

/** The part of JSONPath that printer columns and scale paths use: `.a.b`, `['a.b']`, `[0]`, `[*]`, `[?(@.type=="Ready")]`. */
export class JsonPath {
  readonly #steps: readonly Step[];

  private constructor(steps: readonly Step[]) {
    this.#steps = steps;
  }

  /** `undefined` for text that is no such path. */
  static parse(text: string): JsonPath | undefined {
    const steps: Step[] = [];
    let rest = text.replaceAll(/^\{\s*|\s*\}$/g, "").replace(/^\$/, "");
    while (rest !== "") {
      const found = readStep(rest);
      if (found === undefined) return undefined;
      if (found.step !== undefined) steps.push(found.step);
      rest = rest.slice(found.length);
    }
    return new JsonPath(steps);
  }

  /** Every value that the path leads to. */
  read(object: JsonObject): Json[] {
    let values: Json[] = [object];
    for (const step of this.#steps) values = values.flatMap((value) => follow(step, value));
    return values;
  }

  /** Member names, if the path is nothing but members. */
  get members(): readonly string[] | undefined {
    const names = this.#steps.map((step) => (step.type === "member" ? step.name : undefined));
    return names.every((name): name is string => name !== undefined) ? names : undefined;
  }
}

function readStep(text: string): { step?: Step; length: number } | undefined {
  const member = /^\.((?:\\.|[^.[\]\\])+)/.exec(text);
  if (member !== null) {
    const name = (member[1] ?? "").replaceAll(/\\(.)/g, "$1");
    return { step: name === "*" ? { type: "all" } : { type: "member", name }, length: member[0].length };
  }
  const quoted = /^\.?\[(?:'([^']*)'|"([^"]*)")\]/.exec(text);
  if (quoted !== null) {
    const name = (quoted[1] ?? quoted[2] ?? "").replaceAll(/\\(.)/g, "$1");
    return { step: { type: "member", name }, length: quoted[0].length };
  }
  const all = /^\.?\[(?:\*|:)\]/.exec(text);
  if (all !== null) return { step: { type: "all" }, length: all[0].length };
  const index = /^\.?\[(-?\d+)\]/.exec(text);
  if (index !== null) return { step: { type: "index", index: Number(index[1]) }, length: index[0].length };
  const filter = /^\.?\[\?\(\s*@\.([\w.-]+)\s*(==|!=)\s*(?:'([^']*)'|"([^"]*)"|([\w.-]+))\s*\)\]/.exec(text);
  if (filter !== null) {
    const [whole, path = "", operator, single, double, bare] = filter;
    return {
      step: { type: "filter", path: path.split("."), equals: operator === "==", value: single ?? double ?? bare ?? "" },
      length: whole.length,
    };
  }
  return text === "." ? { length: 1 } : undefined;
}

function follow(step: Step, value: Json): Json[] {
  switch (step.type) {
    case "member": {
      const member = isObject(value) && Object.hasOwn(value, step.name) ? value[step.name] : undefined;
      return member === undefined ? [] : [member];
    }
    case "index": {
      const item = Array.isArray(value) ? value.at(step.index) : undefined;
      return item === undefined ? [] : [item];
    }
    case "all":
      if (Array.isArray(value)) return value;
      return isObject(value) ? Object.values(value).filter((item): item is Json => item !== undefined) : [];
    case "filter":
      return Array.isArray(value) ? value.filter((item) => matches(step, item)) : [];
  }
}

function matches(
  step: { readonly path: readonly string[]; readonly equals: boolean; readonly value: string },
  item: Json,
): boolean {
  let current: Json | undefined = item;
  for (const name of step.path) current = isObject(current) ? current[name] : undefined;
  if (current === undefined || current === null) return false;
  return (showJson(current) === step.value) === step.equals;
}

/** A JSON value as text: scalars plain, the rest as JSON. */
export function showJson(value: Json): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

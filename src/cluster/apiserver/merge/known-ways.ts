import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { cloneJson, cloneObject, equalJson, isObject, setMember } from "../../../kernel/schema/index.js";
import type { Shape } from "../registry/shape.js";
import { keepText } from "../store/index.js";
import { differAlike, type Pair, speakAlike } from "./alike.js";
import { type FieldSet, toFieldsV1 } from "./field-set.js";

/** Fields, and as FieldsV1 writes them: shared by all objects that have them, and frozen. */
export interface Written {
  readonly set: FieldSet;
  readonly fieldsV1: JsonObject;
}

/** What a write makes its manager own, and what nobody owns after it. */
export interface Effect {
  readonly taken: FieldSet;
  readonly removed: FieldSet;
}

/** An effect, with what is taken as it is written. */
export interface KnownEffect extends Effect {
  readonly written: Written;
}

/** Writers whose ways are kept, and ways of each: the last ones. */
const maxWriters = 16;
const maxWays = 3;
/** Objects with about more characters than this are not kept. */
const maxWeight = 16 * 1024;

/**
 * The last writes of each writer of a kind. A controller writes objects of the same few forms again and again, and what it owns then is
 * the same each time: to see that a write is such a one costs a fraction of finding out what it changes.
 */
export class KnownWays {
  readonly #shape: Shape;
  readonly #changes = new LastFew<Pair, KnownEffect>();
  readonly #applied = new LastFew<JsonObject, Written>();

  constructor(shape: Shape) {
    this.#shape = shape;
  }

  /** The effect of a write that is no apply; `find` is asked where none of the last ones was like it. */
  ofChange(writer: string, pair: Pair, find: () => Effect): KnownEffect {
    const known = this.#changes.find(writer, (from) => differAlike(this.#shape, from, pair));
    if (known !== undefined) return known;
    const effect = find();
    const result = { ...effect, written: asWritten(effect.taken) };
    if (weightOf(pair.old) + weightOf(pair.now) <= maxWeight)
      this.#changes.add(writer, { old: pair.old, now: copySharing(pair.old, pair.now) }, result);
    return result;
  }

  /** The fields that an applied configuration speaks of; `find` as above. */
  ofApplied(writer: string, config: JsonObject, find: () => FieldSet): Written {
    const known = this.#applied.find(writer, (from) => speakAlike(this.#shape, from, config));
    if (known !== undefined) return known;
    const result = asWritten(find());
    if (weightOf(config) <= maxWeight) this.#applied.add(writer, cloneObject(config), result);
    return result;
  }
}

function asWritten(set: FieldSet): Written {
  const fieldsV1 = frozen(toFieldsV1(set));
  keepText(fieldsV1);
  return { set, fieldsV1 };
}

function frozen(fields: JsonObject): JsonObject {
  for (const below of Object.values(fields)) if (isObject(below)) frozen(below);
  return Object.freeze(fields);
}

class LastFew<From, Result> {
  readonly #byWriter = new Map<string, { readonly from: From; readonly result: Result }[]>();

  find(writer: string, isLike: (from: From) => boolean): Result | undefined {
    return this.#byWriter.get(writer)?.find(({ from }) => isLike(from))?.result;
  }

  add(writer: string, from: From, result: Result): void {
    const kept = this.#byWriter.get(writer) ?? [];
    kept.unshift({ from, result });
    if (kept.length > maxWays) kept.pop();
    // Whoever wrote something new last goes last.
    this.#byWriter.delete(writer);
    this.#byWriter.set(writer, kept);
    const [oldest] = this.#byWriter.keys();
    if (this.#byWriter.size > maxWriters && oldest !== undefined) this.#byWriter.delete(oldest);
  }
}

/** A copy of the new state that has of the old one what is equal: to compare the two again costs little. */
function copySharing(old: Json | undefined, now: Json | undefined): Json | undefined {
  if (now === undefined || equalJson(old, now)) return old === undefined ? undefined : old;
  if (!isObject(old) || !isObject(now)) return cloneJson(now);
  const copy: JsonObject = {};
  for (const name in now) {
    const before = Object.hasOwn(old, name) ? old[name] : undefined;
    setMember(copy, name, copySharing(before, now[name]));
  }
  return copy;
}

/** About how many characters a value has; of a heavy one not more than is too much. */
function weightOf(value: Json | undefined): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 8;
  let weight = 8;
  if (Array.isArray(value)) for (const item of value) weight += weight > maxWeight ? 0 : weightOf(item);
  else for (const name in value) weight += weight > maxWeight ? 0 : name.length + weightOf(value[name]);
  return weight;
}

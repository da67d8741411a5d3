import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObject, asString } from "../../../kernel/schema/index.js";
import { nativeAssets } from "./native-assets.js";

/*
 * The API server answers with objects that went through Go structs: an optional field that is a plain value vanishes when
 * it is zero, one that is a pointer keeps its zero, one that is not optional is always written. The schemas do not say
 * which is which; a table of the structs' tags does (`structs.json`).
 */

/** How Go writes one field. */
export interface GoField {
  /** Vanishes when it is zero or empty. */
  readonly isPlain: boolean;
  /** Written as zero when it is absent. */
  readonly isAlwaysZero: boolean;
  /** Written as null when it is absent. */
  readonly isNull: boolean;
  /** Its type where that has a name of its own: `v1.Protocol`. */
  readonly named: string;
}

const unknown: GoField = { isPlain: false, isAlwaysZero: false, isNull: false, named: "" };

/** Looks a field up by the definition that holds it (`io.k8s.api.core.v1.PodSpec`). */
export function goField(definition: string, field: string): GoField {
  return structOf(definition).get(field) ?? unknown;
}

const structs = new Map<string, ReadonlyMap<string, GoField>>();

function structOf(definition: string): ReadonlyMap<string, GoField> {
  const name = definition.split(".").slice(-3).join(".");
  const known = structs.get(name);
  if (known !== undefined) return known;
  const read = readStruct(asObject(nativeAssets().structs[name]));
  structs.set(name, read);
  return read;
}

function readStruct(entry: JsonObject): ReadonlyMap<string, GoField> {
  const list = (field: string): Set<string> => new Set(asString(entry[field]).split(" "));
  const [plain, zero, nulls, named] = [list("plain"), list("zero"), list("null"), asObject(entry["named"])];
  const names = new Set([...plain, ...zero, ...nulls, ...Object.keys(named)]);
  return new Map(
    [...names].map((name) => [
      name,
      {
        isPlain: plain.has(name),
        isAlwaysZero: zero.has(name),
        isNull: nulls.has(name),
        named: asString(named[name]),
      },
    ]),
  );
}

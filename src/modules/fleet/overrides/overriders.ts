import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { podSpecPaths } from "../interpreters/index.js";
import { changedJson, changedYaml } from "./document.js";
import { OverrideError } from "./errors.js";
import { overriddenImage } from "./image.js";
import { type Change, changed, find } from "./patch.js";
import type { FieldOverrider, ImageOverrider, MapOverrider, Overriders, WordsOverrider } from "./types.js";

/** One rule on one manifest; `note` is told what changed nothing. Throws `OverrideError`. */
export function withOverriders(manifest: JsonObject, overriders: Overriders, note: (text: string) => void): JsonObject {
  let object = manifest;
  for (const one of overriders.imageOverrider ?? []) object = edit(object, imageChanges(object, one, note));
  for (const one of overriders.commandOverrider ?? []) object = edit(object, wordChanges(object, "command", one));
  for (const one of overriders.argsOverrider ?? []) object = edit(object, wordChanges(object, "args", one));
  for (const one of overriders.labelsOverrider ?? []) object = edit(object, mapChanges(object, "labels", one));
  for (const one of overriders.annotationsOverrider ?? [])
    object = edit(object, mapChanges(object, "annotations", one));
  for (const one of overriders.fieldOverrider ?? []) object = edit(object, fieldChanges(object, one));
  return edit(object, overriders.plaintext ?? []);
}

function edit(object: JsonObject, changes: readonly Change[]): JsonObject {
  if (changes.length === 0) return object;
  const result = changed(object, changes);
  if (!isObject(result)) throw new OverrideError("what is left is no object");
  return result;
}

/** Pointer and content of the containers of an object's pods. */
function containersOf(object: JsonObject): { readonly pointer: string; readonly container: JsonObject }[] {
  return podSpecPaths(object).flatMap((path) => {
    const pointer = `/${path.map((step) => step.replaceAll("~", "~0").replaceAll("/", "~1")).join("/")}/containers`;
    return asObjects(find(object, pointer)).map((container, index) => ({ pointer: `${pointer}/${index}`, container }));
  });
}

function imageChanges(object: JsonObject, overrider: ImageOverrider, note: (text: string) => void): Change[] {
  const { predicate } = overrider;
  const places =
    predicate === undefined
      ? containersOf(object).map(({ pointer, container }) => ({ path: `${pointer}/image`, image: container["image"] }))
      : [{ path: predicate.path, image: find(object, predicate.path) }];
  if (places.length === 0) note(`a ${asString(object["kind"])} has no containers whose image could be changed`);
  return places.flatMap(({ path, image }) => {
    if (typeof image !== "string") throw new OverrideError(`${path} holds no image`);
    const result = overriddenImage(image, overrider);
    if ("image" in result) return [{ operator: "replace", path, value: result.image }];
    if (result.fault.endsWith("stays")) note(result.fault);
    else throw new OverrideError(result.fault);
    return [];
  });
}

function wordChanges(object: JsonObject, field: "command" | "args", overrider: WordsOverrider): Change[] {
  const { containerName, operator, value = [] } = overrider;
  return containersOf(object)
    .filter(({ container }) => container["name"] === containerName)
    .flatMap(({ pointer, container }): Change[] => {
      const before = container[field];
      const words = Array.isArray(before) ? before : [];
      const next: Json[] =
        operator === "add" ? [...words, ...value] : words.filter((word) => !value.includes(asString(word)));
      return [{ operator: "add", path: `${pointer}/${field}`, value: next }];
    });
}

function mapChanges(object: JsonObject, field: "labels" | "annotations", { operator, value }: MapOverrider): Change[] {
  const before = asObject(asObject(object["metadata"])[field]);
  const path = `/metadata/${field}`;
  const keys = Object.keys(value).filter((key) => operator === "add" || Object.hasOwn(before, key));
  if (keys.length === 0) return [];
  const next: JsonObject = { ...before };
  for (const key of keys) {
    if (operator === "remove") delete next[key];
    else next[key] = value[key];
  }
  return [{ operator: "add", path, value: next }];
}

function fieldChanges(object: JsonObject, { fieldPath, json = [], yaml = [] }: FieldOverrider): Change[] {
  const text = find(object, fieldPath);
  if (typeof text !== "string") throw new OverrideError(`${fieldPath} holds no text`);
  const change = ({ subPath, operator, value }: (typeof json)[number]): Change => ({ path: subPath, operator, value });
  if (yaml.length === 0 && json.length === 0) return [];
  const value = yaml.length > 0 ? changedYaml(text, yaml.map(change)) : changedJson(text, json.map(change));
  return [{ operator: "replace", path: fieldPath, value }];
}

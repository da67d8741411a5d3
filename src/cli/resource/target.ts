import { InputError } from "../../kernel/errors/index.js";
import { resolveResources, type ServedResource } from "./discovery.js";

/** One resource type with the names wanted of it; no names: all. */
export interface Target {
  readonly resource: ServedResource;
  readonly names: readonly string[];
}

/** Reads `TYPE[,TYPE] [NAME…]` or `TYPE/NAME …`; throws `InputError`. */
export function parseTargets(words: readonly string[], served: readonly ServedResource[]): Target[] {
  const [first, ...names] = words;
  if (first === undefined) {
    throw new InputError("say which resource type, for instance `pods` or `hmls/digits`");
  }
  if (!first.includes("/")) {
    return resolveResources(first, served).map((resource) => ({ resource, names }));
  }
  return words.flatMap((word) => {
    const [type, name, ...rest] = word.split("/");
    if (type === undefined || name === undefined || name === "" || rest.length > 0) {
      throw new InputError(`${JSON.stringify(word)} is not of the form TYPE/NAME`);
    }
    return resolveResources(type, served).map((resource) => ({ resource, names: [name] }));
  });
}

import { InputError } from "../kernel/errors/index.js";
import { didYouMean } from "../kernel/schema/index.js";

/** What a platform can be started without: what then remains is the API of each cluster with the controllers that every object needs. */
export const platformParts = ["scheduler", "nodes", "workloads", "modules"] as const;

export type PlatformPart = (typeof platformParts)[number];

/** Reads a list as of `--without`, `nodes,modules`. Throws `InputError` for a part that there is not. */
export function parseParts(text: string): ReadonlySet<PlatformPart> {
  const parts = new Set<PlatformPart>();
  for (const name of text.split(",").map((item) => item.trim())) {
    const part = platformParts.find((known) => known === name);
    if (part === undefined) {
      const near = didYouMean(name, platformParts);
      const hint = near === undefined ? "" : `; did you mean ${JSON.stringify(near)}?`;
      throw new InputError(
        `there is no part ${JSON.stringify(name)} to leave out; there are ${platformParts.join(", ")}${hint}`,
      );
    }
    parts.add(part);
  }
  return parts;
}

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { packageRoot } from "../../kernel/assets/index.js";
import type { ApiClient } from "../../kernel/client/types.js";
import { InputError } from "../../kernel/errors/index.js";
import { type ManifestObject, parseManifest } from "../manifest/load.js";
import { located, resolveManifest } from "../resource/apply.js";
import { discover } from "../resource/discovery.js";

/** The example's folder in this installation. */
export function exampleFile(...parts: string[]): string {
  return join(packageRoot(), "examples", "digits", ...parts);
}

/** Reads a manifest of the example with its `${NAME}` filled in. Throws `InputError` for a name without a value. */
export async function fillManifest(
  file: string,
  values: Readonly<Record<string, string>>,
): Promise<readonly ManifestObject[]> {
  const text = await readFile(file, "utf8");
  const filled = text.replaceAll(/\$\{([A-Z0-9_]+)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) {
      throw new InputError(`${file} asks for \${${name}}, which has no value here`);
    }
    return value;
  });
  return parseManifest(file, filled).objects;
}

/** Applies objects in order by server-side apply. */
export async function applyObjects(client: ApiClient, objects: readonly ManifestObject[]): Promise<void> {
  const served = await discover(client);
  for (const object of objects) {
    const { path } = resolveManifest(object, served, "default");
    try {
      await client.json("PATCH", `${path}?fieldManager=argosy&force=true&fieldValidation=Strict`, object.object, {
        headers: { "content-type": "application/apply-patch+yaml" },
      });
    } catch (error) {
      throw await located(error, object, client);
    }
  }
}

/**
 * Files that ship with the program. In: a path below `assets/`. Out: where it lies on this machine, whether the code runs
 * from `src` or from `dist`. May use: errors.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError } from "../errors/index.js";

/** The Kubernetes whose API and behaviour the embedded clusters have; the documents below `assets/kubernetes-1.34` are of it. */
export const kubernetesVersion = "v1.34.4";

/** Folder of the package: the nearest one upwards that holds a package.json. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder)
      throw new InputError("the program's package.json was not found above its code; reinstall it");
    folder = parent;
  }
  return folder;
}

/** Absolute path of a file below `assets/`. Does not look whether it exists. */
export function assetPath(...segments: string[]): string {
  return join(packageRoot(), "assets", ...segments);
}

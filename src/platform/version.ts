import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { kubernetesVersion, packageRoot } from "../kernel/assets/index.js";
import { isObject } from "../kernel/schema/index.js";

/** Versions of this program and of what it speaks. */
export interface Versions {
  readonly argosy: string;
  /** The Kubernetes whose API the embedded clusters serve. */
  readonly kubernetes: string;
  readonly node: string;
}

/** Reads them from the package and the schemas that ship with it. */
export async function productVersion(): Promise<Versions> {
  const manifest: unknown = JSON.parse(await readFile(join(packageRoot(), "package.json"), "utf8"));
  const version = isObject(manifest) ? manifest["version"] : undefined;
  return {
    argosy: typeof version === "string" ? version : "unknown",
    kubernetes: kubernetesVersion,
    node: process.version,
  };
}

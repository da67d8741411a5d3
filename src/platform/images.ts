import { dirname, join } from "node:path";
import type { ImageEntry } from "../cluster/node/index.js";
import { packageRoot } from "../kernel/assets/index.js";

/** A file of this installation. */
export function programFile(...parts: string[]): string {
  return join(packageRoot(), ...parts);
}

/** Argosy's own programs as images of pods. */
export function ownImages(): Readonly<Record<string, ImageEntry>> {
  const files = ["package.json", "dist", "node_modules", "assets", "examples"].map((name) => programFile(name));
  const program = (...path: string[]): ImageEntry => ({
    entrypoint: [process.execPath, programFile("dist", ...path)],
    files: [...files, dirname(process.execPath)],
  });
  return {
    "argosy.dev/model-server": program("src", "dataplane", "modelserver", "main.js"),
    "argosy.dev/examples/digits": program("examples", "digits", "train.js"),
  };
}

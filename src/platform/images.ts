import { join } from "node:path";
import { packageRoot } from "../kernel/assets/index.js";

/** A file of this installation. */
export function programFile(...parts: string[]): string {
  return join(packageRoot(), ...parts);
}

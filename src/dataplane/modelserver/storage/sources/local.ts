/** `file:///PATH` and paths: what is on this machine is used where it is. */
import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf } from "../../../../kernel/errors/index.js";
import { ModelError } from "../../failures.js";
import { DownloadError } from "../failures.js";

/** The folder of a model on this machine. Throws `ModelError`. */
export async function localFolder(uri: string): Promise<string> {
  const path = uri.startsWith("file:") ? pathOf(uri) : resolve(uri);
  const found = await stat(path).catch((error: unknown) => {
    throw new ModelError("ModelNotFound", `${uri}: ${messageOf(error)}`, { cause: error });
  });
  return found.isDirectory() ? path : dirname(path);
}

function pathOf(uri: string): string {
  try {
    return fileURLToPath(uri);
  } catch (error) {
    throw new DownloadError("InvalidSource", `${uri}: ${messageOf(error)}; write file:///PATH`, { cause: error });
  }
}

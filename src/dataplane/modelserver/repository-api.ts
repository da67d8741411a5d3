/** Loading and unloading by request, for REST and gRPC. */
import { messageOf } from "../../kernel/errors/index.js";
import { HttpError } from "../../kernel/http1/index.js";
import type { ServerContext } from "./context.js";
import { ModelError } from "./failures.js";
import type { IndexEntry } from "./repository.js";

/** What the repository holds; `ready`: only what answers. */
export function listIndex({ repository }: ServerContext, ready: boolean): readonly IndexEntry[] {
  const entries = repository.index();
  return ready ? entries.filter(({ state }) => state === "READY") : entries;
}

/** Loads or unloads. `parameters` are the request's. Throws 400, 403, 404. */
export async function changeModel(
  { repository, repositoryApi }: ServerContext,
  action: "load" | "unload",
  name: string,
  parameters: Iterable<string>,
): Promise<void> {
  if (!repositoryApi)
    throw new HttpError(403, "this server serves one model; it cannot be loaded or unloaded by request");
  // Triton's way of sending configuration or files with the request must not be swallowed.
  for (const key of parameters)
    if (key === "config" || key.startsWith("file:"))
      throw new HttpError(400, `parameter ${key} is not offered: models are loaded from the repository as they are`);
  try {
    await (action === "load" ? repository.load(name) : repository.unload(name));
  } catch (error) {
    const missing = error instanceof ModelError && error.reason === "ModelNotFound";
    throw new HttpError(missing ? 404 : 400, messageOf(error));
  }
}

/** Loading and unloading by request, for REST and gRPC. */
import { messageOf } from "../../kernel/errors/index.js";
import { HttpError } from "../../kernel/http1/index.js";
import type { ServerContext } from "./context.js";
import { ModelError } from "./failures.js";
import type { IndexEntry } from "./repository.js";
import type { LoadParameters } from "./sent-models.js";

/** What the repository holds; `ready`: only what answers. */
export function listIndex({ repository }: ServerContext, ready: boolean): readonly IndexEntry[] {
  const entries = repository.index();
  return ready ? entries.filter(({ state }) => state === "READY") : entries;
}

/** Loads or unloads. `parameters` are the request's: `config` and `file:…` for loading. Throws 400, 403, 404. */
export async function changeModel(
  { repository, repositoryApi, sent }: ServerContext,
  action: "load" | "unload",
  name: string,
  parameters: LoadParameters,
): Promise<void> {
  if (!repositoryApi)
    throw new HttpError(403, "this server serves one model; it cannot be loaded or unloaded by request");
  if (name === "") throw new HttpError(400, "the model's name is missing");
  if (action === "unload") {
    // Models here have no dependents: whether those are to go too changes nothing.
    await told(repository.unload(name));
    await sent.forget(name);
    return;
  }
  const model = await sent.open(parameters);
  try {
    await told(repository.load(name, model));
  } catch (error) {
    await sent.discard(model.folder);
    throw error;
  }
  await sent.keep(name, model);
}

async function told(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    const missing = error instanceof ModelError && error.reason === "ModelNotFound";
    throw new HttpError(missing ? 404 : 400, messageOf(error));
  }
}

/** Text models as OpenAI's clients see them. */
import type { ServerContext } from "../context.js";
import type { ServedModel } from "../repository.js";
import { textTaskOf } from "../text/models.js";

/** When each server began to serve, for `created`: a model file says nothing of that. */
const began = new WeakMap<ServerContext, number>();

/** `GET /v1/models/{m}`, for a model that answers and has to do with text; else `undefined`. */
export function describeOpenAiModel(context: ServerContext, name: string) {
  let model: ServedModel;
  try {
    model = context.inference.find(name, undefined);
  } catch {
    return undefined;
  }
  if (textTaskOf(model) === undefined) return undefined;
  const created = began.get(context) ?? Math.floor(context.clock.now() / 1000);
  began.set(context, created);
  return { id: name, object: "model", created, owned_by: "argosy" };
}

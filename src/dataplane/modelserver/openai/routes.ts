/** OpenAI's paths, under `/openai/v1` and `/v1`. */
import { HttpError } from "../../../kernel/http1/index.js";
import type { ServerContext } from "../context.js";
import { jsonAnswer } from "../http.js";
import type { Endpoint } from "../paths.js";
import { chat } from "./chat.js";
import { complete } from "./completions.js";
import { embed, rerank } from "./embeddings.js";
import { describeOpenAiModel } from "./models.js";
import { answerOpenAi, openAiFailure } from "./requests.js";

const ACTIONS = { "chat/completions": chat, completions: complete, embeddings: embed, rerank } as const;

/** What is at a path; `segments` follow the prefix. */
export function openAiEndpoint(segments: readonly string[], context: ServerContext): Endpoint | undefined {
  const path = segments.join("/");
  const fail = openAiFailure;
  for (const [name, action] of Object.entries(ACTIONS))
    if (path === name)
      return {
        ...{ pattern: `/openai/v1/${name}`, fail, isInference: true },
        POST: (request) => answerOpenAi(request, context, action),
      };
  const { repository } = context;
  if (path === "models") {
    const list = () => repository.names().flatMap((name) => describeOpenAiModel(context, name) ?? []);
    return { pattern: "/openai/v1/models", fail, GET: () => jsonAnswer({ object: "list", data: list() }) };
  }
  const [first, ...rest] = segments;
  const name = rest.join("/");
  if (first !== "models" || name === "") return undefined;
  return {
    pattern: "/openai/v1/models/{model}",
    fail,
    GET: () => {
      const model = describeOpenAiModel(context, name);
      if (model === undefined) throw new HttpError(404, `there is no text model ${name.slice(0, 200)}`);
      return jsonAnswer(model);
    },
  };
}

/** OpenAI's paths, under `/openai/v1` and `/v1`. */
import { HttpError } from "../../../kernel/http1/index.js";
import type { ServerContext } from "../context.js";
import { jsonAnswer } from "../http.js";
import type { Endpoint } from "../paths.js";
import { openAiFailure } from "./failure.js";

/** Late: a server of other models than of text needs none of this. */
const ACTIONS = {
  "chat/completions": async () => (await import("./chat.js")).chat,
  completions: async () => (await import("./completions.js")).complete,
  embeddings: async () => (await import("./embeddings.js")).embed,
  rerank: async () => (await import("./embeddings.js")).rerank,
} as const;

/** Whether a path is OpenAI's, whatever is there: of `/v1` the models alone are another's. */
export function isOpenAiPath(path: string): boolean {
  return /^\/openai(\/|$)/.test(path) || /^\/v1\/(?!models(\/|:|$))/.test(path);
}

/** Says what there is instead. */
export function noOpenAiPath(): HttpError {
  const names = [...Object.keys(ACTIONS), "models", "models/{model}"].join(", ");
  return new HttpError(404, `there is nothing at this path; below /openai/v1 and /v1 there are ${names}`);
}

/** What is at a path; `segments` follow the prefix. */
export function openAiEndpoint(segments: readonly string[], context: ServerContext): Endpoint | undefined {
  const path = segments.join("/");
  const fail = openAiFailure;
  for (const [name, action] of Object.entries(ACTIONS))
    if (path === name)
      return {
        ...{ pattern: `/openai/v1/${name}`, fail, isInference: true },
        POST: async (request) => {
          const [{ answerOpenAi }, answer] = await Promise.all([import("./requests.js"), action()]);
          return answerOpenAi(request, context, answer);
        },
      };
  const { repository } = context;
  if (path === "models") {
    const GET = async () => {
      const { describeOpenAiModel } = await import("./models.js");
      const list = repository.names().flatMap((name) => describeOpenAiModel(context, name) ?? []);
      return jsonAnswer({ object: "list", data: list });
    };
    return { pattern: "/openai/v1/models", fail, GET };
  }
  const [first, ...rest] = segments;
  const name = rest.join("/");
  if (first !== "models" || name === "") return undefined;
  return {
    pattern: "/openai/v1/models/{model}",
    fail,
    GET: async () => {
      const { describeOpenAiModel } = await import("./models.js");
      const model = describeOpenAiModel(context, name);
      if (model === undefined) throw new HttpError(404, `there is no text model ${name.slice(0, 200)}`);
      return jsonAnswer(model);
    },
  };
}

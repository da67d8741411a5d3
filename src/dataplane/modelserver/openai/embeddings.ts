/** `/embeddings` and `/rerank`: texts as vectors, and documents by how near they are to a question. */
import type { Http1Answer } from "../../../kernel/http1/index.js";
import type { ExactJson } from "../../../kernel/tensors/index.js";
import { checkPrompt, embedTokens } from "../text/generation.js";
import type { TextModel } from "../text/models.js";
import { flagParam, numberParam, ParamError, type Params, refuseUnknown, textParam } from "../text/params.js";
import { isJsonMap } from "../v2.js";
import { isTokens } from "./completions.js";
import { measured, modelOf, type OpenAiRequest } from "./requests.js";

const KNOWN = new Set(["model", "input", "encoding_format", "dimensions", "user"]);
const KNOWN_RERANK = new Set(["model", "query", "documents", "top_n", "return_documents", "user"]);
const MAX_TEXTS = 2048;

/** Answers with a vector for each text. */
export async function embed(asked: OpenAiRequest): Promise<Http1Answer> {
  const { params } = asked;
  const text = await modelOf(asked, "embed");
  refuseUnknown(params, KNOWN);
  const format = textParam(params, "encoding_format") ?? "float";
  if (format !== "float" && format !== "base64")
    throw new ParamError("encoding_format", "encoding_format must be float or base64");
  const size = text.output.shape.at(-1) ?? 0;
  const dimensions = numberParam(params, "dimensions", { low: 1, high: 1_000_000, whole: true });
  if (dimensions !== undefined && dimensions !== size)
    throw new ParamError("dimensions", `the model's vectors have ${size} dimensions and cannot be cut`);
  const inputs = inputsOf(params, text);
  const vectors = await vectorsOf(asked, text, inputs);
  const tokens = inputs.reduce((sum, ids) => sum + ids.length, 0);
  const data = vectors.map((vector, index) => ({
    object: "embedding",
    index,
    embedding: format === "float" ? [...vector] : base64Of(vector),
  }));
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  return { status: 200, body: JSON.stringify({ object: "list", data, model: text.model.name, usage }) };
}

const base64Of = (vector: Float32Array): string =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");

function vectorsOf(
  asked: OpenAiRequest,
  text: TextModel,
  inputs: readonly (readonly number[])[],
): Promise<Float32Array[]> {
  for (const ids of inputs) checkPrompt(text, ids);
  const runner = { ...asked.context, caller: asked.caller };
  return measured(asked, text, async () => {
    // Few at a time: a long list must not fill the model's queue and turn others away.
    const vectors: Float32Array[] = [];
    for (let start = 0; start < inputs.length; start += 64) {
      const part = inputs.slice(start, start + 64).map((ids) => embedTokens(text, ids, runner));
      vectors.push(...(await Promise.all(part)));
    }
    const counters = asked.context.metrics.of(text.model.name, text.model.version);
    counters.promptTokens += inputs.reduce((sum, ids) => sum + ids.length, 0);
    return vectors;
  });
}

function inputsOf({ input }: Params, text: TextModel): (readonly number[])[] {
  const refused = new ParamError("input", "input must be text, a list of texts, or tokens as numbers");
  if (typeof input === "string") return [encode(input, text)];
  if (!Array.isArray(input) || input.length === 0) throw refused;
  if (isTokens(input)) return [input];
  if (input.length > MAX_TEXTS) throw new ParamError("input", `input has more than ${MAX_TEXTS} entries`);
  return input.map((each: ExactJson) => {
    if (typeof each === "string") return encode(each, text);
    if (Array.isArray(each) && isTokens(each)) return each;
    throw refused;
  });
}

function encode(input: string, { tokenizer }: TextModel): number[] {
  if (input === "") throw new ParamError("input", "a text is empty");
  return tokenizer.encode(input);
}

/** Answers with the documents in the order of their nearness to the query (the cosine of their vectors). */
export async function rerank(asked: OpenAiRequest): Promise<Http1Answer> {
  const { params, context } = asked;
  const text = await modelOf(asked, "embed");
  refuseUnknown(params, KNOWN_RERANK);
  const query = textParam(params, "query");
  if (query === undefined || query === "") throw new ParamError("query", "query is missing");
  const documents = documentsOf(params);
  const top = numberParam(params, "top_n", { low: 1, high: MAX_TEXTS, whole: true }) ?? documents.length;
  const inputs = [query, ...documents].map((each) => encode(each, text));
  const [asking = new Float32Array(), ...vectors] = await vectorsOf(asked, text, inputs);
  const shows = flagParam(params, "return_documents") ?? true;
  const results = vectors
    .map((vector, index) => ({ index, relevance_score: cosineOf(asking, vector) }))
    .sort((a, b) => b.relevance_score - a.relevance_score || a.index - b.index)
    .slice(0, top)
    .map((result) => (shows ? { ...result, document: { text: documents[result.index] ?? "" } } : result));
  const usage = { total_tokens: inputs.reduce((sum, ids) => sum + ids.length, 0) };
  const id = `rerank-${context.random.uuid()}`;
  return { status: 200, body: JSON.stringify({ id, model: text.model.name, usage, results }) };
}

function documentsOf({ documents }: Params): string[] {
  if (!Array.isArray(documents) || documents.length === 0 || documents.length > MAX_TEXTS)
    throw new ParamError("documents", `documents must be a list of 1 to ${MAX_TEXTS} texts`);
  return documents.map((each) => {
    const text = isJsonMap(each) ? each["text"] : each;
    if (typeof text !== "string" || text === "")
      throw new ParamError("documents", "a document must be text that is not empty");
    return text;
  });
}

function cosineOf(a: Float32Array, b: Float32Array): number {
  let product = 0;
  for (const [index, value] of a.entries()) product += value * (b[index] ?? 0);
  return product / ((Math.hypot(...a) || 1) * (Math.hypot(...b) || 1));
}

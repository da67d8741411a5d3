import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, eventsOf, serveProtocols } from "../protocols.fixture.js";

let server: Awaited<ReturnType<typeof serveProtocols>>;
beforeAll(async () => {
  server = await serveProtocols();
});
afterAll(() => server.stop());

const ask = (path: string, body: unknown) => call(`${server.url}/openai/v1/${path}`, body);
const completion = { model: "letters", prompt: "abc", max_tokens: 4, temperature: 0 };
const chat = { model: "letters", messages: [{ role: "user", content: "abc" }], max_tokens: 3, temperature: 0 };

test("generate: whole and as a stream, which joins to the whole; stop, details, seeds", async () => {
  const generate = (parameters: object, action = "generate") =>
    call(`${server.url}/v2/models/letters/${action}`, { id: "g", text_input: "abc", parameters });
  const asked = { max_tokens: 6, temperature: 0, stop: ["gh"], details: true };

  const whole = await generate(asked);
  const stream = await generate(asked, "generate_stream");
  const events = eventsOf(stream.text).map((event) => JSON.parse(event));
  const random = await Promise.all([3, 3, 4].map((seed) => generate({ max_tokens: 12, temperature: 3, seed })));

  expect(whole.json).toMatchObject({
    ...{ id: "g", text_output: "def", model_name: "letters", model_version: "1" },
    details: {
      finish_reason: "stop_sequence",
      logprobs: [{ text: "d" }, { text: "e" }, { text: "f" }, { text: "g" }, { text: "h" }],
    },
  });
  expect(stream.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  expect(events.map((event) => event.text_output).join("")).toBe("def");
  expect(events.at(-1).details.finish_reason).toBe("stop_sequence");
  expect(random[0]?.json.text_output).toBe(random[1]?.json.text_output);
  expect(random[0]?.json.text_output).not.toBe(random[2]?.json.text_output);
});

test.each([
  ["no text", {}, "text_input is missing"],
  ["no tokens", { text_input: "" }, "has no tokens"],
  ["too long", { text_input: "a".repeat(3000) }, "3000 tokens"],
  ["temperature", { text_input: "a", parameters: { temperature: -1 } }, "temperature is -1"],
  ["stop", { text_input: "a", parameters: { stop: [1] } }, "stop must be text"],
  [
    "a slip",
    { text_input: "a", parameters: { max_token: 2 } },
    '"max_token" is not known here; did you mean "max_tokens"?',
  ],
  ["a slip beside the text", { text_input: "a", temprature: 0 }, 'did you mean "temperature"?'],
  ["what it does not do", { text_input: "a", parameters: { best_of: 2 } }, 'parameter "best_of" is not known here'],
])("generate refuses %s", async (_, body, words) => {
  for (const action of ["generate", "generate_stream"]) {
    const { status, json } = await call(`${server.url}/v2/models/letters/${action}`, body);
    expect(status).toBe(400);
    expect(json.error).toContain(words);
  }
});

test("generate takes Triton's stream where it says what is done anyway, and null as not given", async () => {
  const at = (action: string, stream: boolean) =>
    call(`${server.url}/v2/models/letters/${action}`, {
      text_input: "abc",
      parameters: { stream, max_tokens: 2, temperature: 0, best_of: null },
    });

  expect((await at("generate", false)).json.text_output).toBe("de");
  expect(eventsOf((await at("generate_stream", true)).text)).toHaveLength(2);
  expect((await at("generate", true)).json.error).toBe("stream is true; generate_stream is for that");
  expect((await at("generate_stream", false)).json.error).toBe("stream is false; generate is for that");
});

test("completions: choices, log probabilities, echo, usage", async () => {
  const { json } = await ask("completions", { ...completion, prompt: ["abc", [120]], n: 2, logprobs: 1, echo: true });

  expect(json).toMatchObject({
    object: "text_completion",
    model: "letters",
    usage: { prompt_tokens: 4, total_tokens: 18 },
  });
  expect(json.choices.map((choice: { text: string }) => choice.text)).toEqual(["abcdefg", "abcdefg", "xyz", "xyz"]);
  expect(json.choices.map((choice: { finish_reason: string }) => choice.finish_reason)).toEqual([
    "length",
    "length",
    "stop",
    "stop",
  ]);
  expect(json.choices[0].logprobs).toMatchObject({
    tokens: ["a", "b", "c", "d", "e", "f", "g"],
    text_offset: [0, 1, 2, 3, 4, 5, 6],
  });
});

test("a text is scored by an echo of no more tokens: what the model gives each of its own, as it gives the ones that it makes", async () => {
  const score = async (prompt: unknown, more: object = {}) =>
    ask("completions", { ...completion, prompt, max_tokens: 0, echo: true, logprobs: 1, ...more });
  const { json } = await score(["abx", "abc"]);
  const made = await ask("completions", { ...completion, prompt: "a", max_tokens: 2, logprobs: 1 });
  const [[first, likely, unlikely]] = json.choices.map(
    ({ logprobs }: { logprobs: { token_logprobs: unknown } }) => logprobs.token_logprobs,
  );

  expect(json.choices).toMatchObject([
    { text: "abx", finish_reason: "length", logprobs: { tokens: ["a", "b", "x"], text_offset: [0, 1, 2] } },
    { text: "abc", finish_reason: "length" },
  ]);
  expect(json.usage).toEqual({ prompt_tokens: 6, completion_tokens: 0, total_tokens: 6 });
  expect(first).toBeNull();
  expect(likely).toBe(made.json.choices[0].logprobs.token_logprobs[0]);
  expect(unlikely).toBeLessThan(likely);
  // The best, and the one that stands there.
  const { top_logprobs: top } = json.choices[0].logprobs;
  expect([top[0], Object.keys(top[2]).sort()]).toEqual([null, ["c", "x"]]);

  const streamed = await score("abx", { stream: true });
  const events = eventsOf(streamed.text);
  expect(JSON.parse(events[0] ?? "").choices).toEqual([json.choices[0]]);
  expect(events.slice(1)).toEqual(["[DONE]"]);
  expect(await ask("completions", { ...completion, max_tokens: 0 })).toMatchObject({
    status: 400,
    json: { error: { param: "max_tokens", message: "max_tokens is 0, which goes with echo: true only" } },
  });
});

test("what tools were asked and answered is in the conversation, by their names; an answer to nothing is refused", async () => {
  const call = { id: "c1", type: "function", function: { name: "sum", arguments: '{"a":1}' } };
  const asked = { role: "assistant", content: null, tool_calls: [call] };
  const messages = [{ role: "user", content: "1?" }, asked, { role: "tool", tool_call_id: "c1", content: "2" }];
  const prompt = [
    'user: 1?\nassistant: <tool_call>\n{"name": "sum", "arguments": {"a":1}}\n</tool_call>\n',
    'tool: <tool_response>\n{"name": "sum", "content": "2"}\n</tool_response>\nassistant: ',
  ].join("");
  const tools = [{ type: "function", function: { name: "sum" } }];
  const answer = await ask("chat/completions", { ...chat, messages, tools, tool_choice: "none" });
  expect(answer).toMatchObject({ status: 200, json: { usage: { prompt_tokens: prompt.length } } });
  for (const [at, words] of [
    [{ role: "tool", tool_call_id: "c2", content: "2" }, 'messages[2].tool_call_id is "c2", which no tool_calls'],
    [{ role: "assistant", tool_calls: [{}] }, "messages[2].tool_calls holds what is no call of a function"],
    [{ role: "assistant", content: null }, "messages[2].content is null"],
  ] as const)
    expect(await ask("chat/completions", { ...chat, messages: [...messages.slice(0, 2), at] })).toMatchObject({
      status: 400,
      json: { error: { param: "messages", message: expect.stringContaining(words) } },
    });
});

test("streams: the same pieces as the whole, usage at the end where it is wanted", async () => {
  const { text } = await ask("completions", {
    ...completion,
    n: 2,
    stream: true,
    stream_options: { include_usage: true },
  });
  const events = eventsOf(text);
  const chunks = events.slice(0, -1).map((event) => JSON.parse(event));
  const piecesOf = (index: number) =>
    chunks.flatMap(({ choices }) =>
      choices
        .filter((choice: { index: number }) => choice.index === index)
        .map((choice: { text: string }) => choice.text),
    );

  expect(events.at(-1)).toBe("[DONE]");
  expect([piecesOf(0).join(""), piecesOf(1).join("")]).toEqual(["defg", "defg"]);
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 8 } });
  expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
});

test("chat: a message, as a stream with the role first", async () => {
  const whole = await ask("chat/completions", chat);
  const { text } = await call(`${server.url}/v1/chat/completions`, { ...chat, stream: true });
  const chunks = eventsOf(text)
    .slice(0, -1)
    .map((event) => JSON.parse(event));

  expect(whole.json.choices[0]).toMatchObject({
    message: { role: "assistant", content: "abc" },
    finish_reason: "length",
  });
  expect(chunks[0].choices[0].delta).toEqual({ role: "assistant", content: "" });
  expect(chunks.map(({ choices }) => choices[0].delta.content ?? "").join("")).toBe("abc");
  expect(chunks.at(-1).choices[0].finish_reason).toBe("length");
});

test("embeddings and rerank", async () => {
  const [both, alone, coded] = await Promise.all([
    ask("embeddings", { model: "vectors", input: ["ab", [98]] }),
    ask("embeddings", { model: "vectors", input: "b" }),
    ask("embeddings", { model: "vectors", input: "b", encoding_format: "base64" }),
  ]);
  const ranked = await ask("rerank", { model: "vectors", query: "abc", documents: ["zzz", "abc", "cab"], top_n: 2 });

  expect(both?.json.data[1].embedding).toEqual(alone?.json.data[0].embedding);
  const bytes = Buffer.from(coded?.json.data[0].embedding, "base64");
  expect(bytes.readFloatLE(0)).toBeCloseTo(alone?.json.data[0].embedding[0], 6);
  expect(both?.json.usage.prompt_tokens).toBe(3);
  expect(ranked.json.results.map(({ index }: { index: number }) => index).sort()).toEqual([1, 2]);
});

test.each([
  ["completions", "{", 400, null],
  ["completions", [], 400, null],
  ["completions", { prompt: "a" }, 400, "model"],
  ["completions", { ...completion, model: "none" }, 404, null],
  ["completions", { ...completion, model: "fp32" }, 400, null],
  ["completions", { ...completion, temperature: "hot" }, 400, "temperature"],
  ["completions", { ...completion, prompt: undefined }, 400, "prompt"],
  ["completions", { ...completion, prompt: [] }, 400, "prompt"],
  ["completions", { ...completion, prompt: [5000] }, 400, null],
  ["completions", { ...completion, n: 1000 }, 400, "n"],
  ["completions", { ...completion, suffix: "x" }, 400, "suffix"],
  ["completions", { ...completion, best_of: 2 }, 400, "best_of"],
  ["completions", { ...completion, colour: "blue" }, 400, "colour"],
  ["completions", { ...completion, logit_bias: { a: 1 } }, 400, "logit_bias"],
  ["completions", { ...completion, stream_options: { include_usage: true } }, 400, "stream_options"],
  ["chat/completions", { ...chat, messages: [] }, 400, "messages"],
  ["chat/completions", { ...chat, messages: [{ role: "tool", content: "x" }] }, 400, "messages"],
  ["chat/completions", { ...chat, messages: [{ role: "user", content: [{ type: "image_url" }] }] }, 400, "messages"],
  ["chat/completions", { ...chat, tools: [{}] }, 400, "tools"],
  ["chat/completions", { ...chat, response_format: { type: "json_object" } }, 400, "response_format"],
  ["chat/completions", { ...chat, top_logprobs: 2 }, 400, "top_logprobs"],
  ["embeddings", { model: "letters", input: "a" }, 400, null],
  ["embeddings", { model: "vectors", input: "" }, 400, "input"],
  ["embeddings", { model: "vectors", input: "a", dimensions: 2 }, 400, "dimensions"],
  ["rerank", { model: "vectors", query: "a", documents: [] }, 400, "documents"],
])("%s refuses %j with %i in OpenAI's form", async (path, body, status, param) => {
  const answer = await ask(path, body);

  expect(answer.status).toBe(status);
  expect(answer.json).toEqual({
    error: {
      message: expect.stringMatching(/./),
      type: expect.any(String),
      param,
      code: status === 404 ? "model_not_found" : null,
    },
  });
});

test("where nothing is, the refusal is OpenAI's as well, and says what there is; V1's and V2's paths keep theirs", async () => {
  const nowhere = [
    call(`${server.url}/openai/v1/chat/completion`, chat),
    call(`${server.url}/openai/chat/completions`, chat),
    call(`${server.url}/v1/responses`, {}),
    call(`${server.url}/openai/v1/engines?limit=2`),
    call(`${server.url}/openai`),
  ];
  const malformed = await call(`${server.url}/openai/v1/models/%zz`);
  const others = await Promise.all([call(`${server.url}/v1/models/none`), call(`${server.url}/v3/openai`)]);

  for (const { status, json } of await Promise.all(nowhere)) {
    expect(status).toBe(404);
    const message = expect.stringMatching(/below \/openai\/v1 and \/v1 there are chat\/completions, completions, /);
    expect(json).toEqual({ error: { message, type: "not_found_error", param: null, code: null } });
  }
  expect(malformed.json.error).toMatchObject({ type: "invalid_request_error", message: "the path is malformed" });
  for (const { status, json } of others) expect([status, typeof json.error]).toEqual([404, "string"]);
});

test("models under both prefixes; V1's answers beside them", async () => {
  const list = await call(`${server.url}/openai/v1/models`);
  const shared = await call(`${server.url}/v1/models`);

  expect(list.json).toMatchObject({ object: "list", data: [{ id: "letters", object: "model" }, { id: "vectors" }] });
  expect(shared.json.models).toContain("fp32");
  expect(shared.json.data).toEqual(list.json.data);
  expect((await call(`${server.url}/v1/models/letters`)).json).toMatchObject({
    ready: true,
    id: "letters",
    owned_by: "argosy",
  });
  expect((await call(`${server.url}/openai/v1/models/fp32`)).status).toBe(404);
});

test("a client that goes away in a stream ends the work", async () => {
  const asked = JSON.stringify({
    ...completion,
    prompt: " ",
    max_tokens: 1_000_000,
    temperature: 2,
    stream: true,
    logit_bias: { "0": -100 },
  });
  const socket = connect(server.port, "127.0.0.1", () =>
    socket.write(`POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: ${asked.length}\r\n\r\n${asked}`),
  );
  await new Promise((resolve) => socket.once("data", resolve));
  socket.destroy();

  const running = async (): Promise<number> => {
    const { text } = await call(`${server.url}/metrics`);
    return Number(
      /argosy_modelserver_completion_tokens_total\{model="letters",version="1"\} (\d+)/.exec(text)?.[1] ?? 0,
    );
  };
  // The tokens are counted when the stream ends.
  const before = await running();
  let now = before;
  while (now === before) now = await running();
  expect(now).toBeGreaterThan(before);
});

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { seededRandom, systemClock } from "../../kernel/clock/index.js";
import { createLogger } from "../../kernel/log/index.js";
import { runModelServerProgram } from "./index.js";
import { scale } from "./models.fixture.js";
import { closers, sendContent, startServer, type TestServer } from "./storage/stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A promise that somebody else settles. */
function later<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

interface Started {
  /** Address, once it listens. */
  readonly url: Promise<string>;
  readonly ended: Promise<number>;
  stop(): void;
}

/** A pod's folder, in which the program may be started more than once. */
async function podOf(store: TestServer, model: string, onFailure: "exit" | "serve" = "exit") {
  const folder = await mkdtemp(join(tmpdir(), "argosy-self-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  const last = join(folder, "last-words");
  const start = (): Started => {
    const { promise: stopped, resolve: stop } = later<void>();
    const { promise: url, resolve: told } = later<string>();
    const ended = runModelServerProgram({
      args: [
        ...["--model-name=m", `--model-dir=${join(folder, "model")}`, "--http=0", `--model-uri=${store.url}/${model}`],
        ...["--cache", join(folder, "cache"), "--allow-code", "elsewhere", "--on-failure", onFailure],
      ],
      env: { ARGOSY_TERMINATION_LOG: last },
      clock: systemClock,
      random: seededRandom(1),
      log: createLogger({
        level: "info",
        write: (line) => {
          const { msg, port } = JSON.parse(line);
          if (msg === "model server listens") told(`http://127.0.0.1:${port}`);
        },
        clock: systemClock,
      }),
      stopped,
    });
    closers.push(async () => {
      stop();
      await ended;
    });
    return { url, ended, stop };
  };
  return { start, words: () => readFile(last, "utf8") };
}

async function ready(url: string): Promise<void> {
  for (;;) if ((await fetch(`${url}/v2/health/ready`)).ok) return;
}

async function answerOf(asking: Promise<Response>): Promise<{ readonly status: number; readonly text: string }> {
  const answer = await asking;
  return { status: answer.status, text: await answer.text() };
}

test("a server fetches its model into its folder once; while it does it lives, and is not ready", async () => {
  const { promise: asked, resolve: beAsked } = later<void>();
  const { promise: answered, resolve: mayAnswer } = later<void>();
  let isAway = false;
  const store = await startServer(async (request, response) => {
    beAsked();
    await answered;
    if (isAway) response.writeHead(404).end();
    else sendContent(request, response, Buffer.from(scale(3)), { etag: '"a"' });
  });
  const { start } = await podOf(store, "model.onnx");
  const first = start();
  const url = await first.url;
  await asked;
  expect((await fetch(`${url}/v2/health/live`)).status).toBe(200);
  expect((await fetch(`${url}/v2/health/ready`)).status).toBe(503);
  mayAnswer();
  await ready(url);
  first.stop();
  expect(await first.ended).toBe(0);

  isAway = true;
  const second = start();
  await ready(await second.url);
  second.stop();
  expect(await second.ended).toBe(0);
});

test("a server that is told to end while it fetches ends", async () => {
  const { promise: asked, resolve: beAsked } = later<void>();
  const store = await startServer(() => beAsked());
  const { start } = await podOf(store, "model.onnx");
  const server = start();
  await asked;
  server.stop();
  expect(await server.ended).toBe(0);
});

test("a server that stays and meets a full disk says so, also to who asks for its model, and serves when there is room", async () => {
  let isLarge = true;
  const store = await startServer((request, response) => {
    const head = { etag: '"large"', "content-length": "1", "content-range": `bytes 0-0/${2 ** 52}` };
    if (isLarge) response.writeHead(206, head).end("x");
    else sendContent(request, response, Buffer.from(scale(3)), { etag: '"a"' });
  });
  const { start } = await podOf(store, "model.onnx", "serve");
  const server = start();
  const url = await server.url;
  let said = "";
  while (!said.includes("NoSpace")) said = await (await fetch(`${url}/v2/health/ready`)).text();
  const asked = [
    await answerOf(fetch(`${url}/v2/models/m/infer`, { method: "POST", body: '{"inputs": []}' })),
    await answerOf(fetch(`${url}/v1/models/m:predict`, { method: "POST", body: '{"instances": [[1]]}' })),
    await answerOf(fetch(`${url}/v2/models/other/ready`)),
  ];
  isLarge = false;
  await ready(url);

  expect(said).toMatch(/ModelDownloadFailed: NoSpace: .* has room for/);
  expect(asked.map(({ status }) => status)).toEqual([503, 503, 404]);
  for (const { text } of asked.slice(0, 2))
    expect(text).toMatch(/model m is still loading: ModelDownloadFailed: NoSpace: /);
});

test.each([
  ["model.js", "ModelIsCode: model.js is code, and this server holds the keys of the store that it came from"],
  ["none.onnx", /^ModelDownloadFailed: NotFound: /],
])("what cannot be served here is told by name: %s", async (model, words) => {
  const store = await startServer((request, response) => {
    if (model === "none.onnx") response.writeHead(404).end();
    else sendContent(request, response, Buffer.from("export const predict = () => ({});"), { etag: '"a"' });
  });
  const { start, words: last } = await podOf(store, model);
  expect(await start().ended).toBe(1);
  expect(await last()).toMatch(words);
});

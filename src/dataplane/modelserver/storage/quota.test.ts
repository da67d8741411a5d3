import { afterEach, expect, test } from "vitest";
import { fetchModel } from "./fetch.js";
import { closers, fetchOptions, sendContent, startServer } from "./stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

test("a store that names no size and sends on and on is broken off at the most that a model may have", async () => {
  let sent = 0;
  const server = await startServer((_asked, response) => {
    response.writeHead(200);
    const more = (): void => {
      if (response.destroyed || sent > 100_000_000) return void response.end();
      sent += 65_536;
      response.write(Buffer.alloc(65_536), more);
    };
    response.on("error", () => undefined);
    more();
  });
  const options = await fetchOptions(`${server.url}/model.onnx`);

  await expect(fetchModel({ ...options, maxBytes: 1_000_000 })).rejects.toMatchObject({ download: "QuotaExceeded" });
  expect(sent).toBeLessThan(100_000_000);
});

test("sizes that stores name are looked at before anything is read", async () => {
  const content = Buffer.alloc(5000);
  const server = await startServer((asked, response) => sendContent(asked, response, content, { etag: '"a"' }));
  const options = await fetchOptions(`${server.url}/model.onnx`);

  await expect(fetchModel({ ...options, maxBytes: 4999 })).rejects.toMatchObject({ download: "QuotaExceeded" });
  expect(server.asked).toHaveLength(1);
  await fetchModel({ ...options, maxBytes: 5000 });
});

/** A model for which no disk has room, until it is told otherwise. */
async function tooLarge(content: Buffer): Promise<{ readonly url: string; shrink(): void }> {
  let isLarge = true;
  const head = { etag: '"large"', "content-length": "1", "content-range": `bytes 0-0/${2 ** 52}` };
  const server = await startServer((asked, response) => {
    if (isLarge) response.writeHead(206, head).end("x");
    else sendContent(asked, response, content, { etag: '"a"' });
  });
  return {
    url: `${server.url}/model.onnx`,
    shrink: () => {
      isLarge = false;
    },
  };
}

test("who stays waits for room on a full disk, ever longer and at most a minute, and says so; others end", async () => {
  const store = await tooLarge(Buffer.alloc(10));
  const options = await fetchOptions(store.url);
  const pauses: number[] = [];
  const told: string[] = [];
  const sleep = (ms: number): Promise<void> => {
    if (pauses.push(ms) === 9) store.shrink();
    return Promise.resolve();
  };

  await expect(fetchModel(options)).rejects.toMatchObject({ download: "NoSpace" });
  await fetchModel({
    ...options,
    retryForMs: Number.POSITIVE_INFINITY,
    clock: { ...options.clock, sleep },
    onRetry: ({ message }) => told.push(message),
  });

  expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  expect(told).toHaveLength(9);
  expect(told[0]).toMatch(/^NoSpace: .*has room for/);
});

test("a download that nobody wants any more is broken off, while its store is silent and before it is tried again", async () => {
  const stop = new AbortController();
  const server = await startServer((asked, response) => {
    if (asked.path === "/silent/model.onnx") {
      response.writeHead(200, { etag: '"a"', "content-length": 10 }).write("x");
      setImmediate(() => stop.abort());
    } else {
      response.writeHead(503, { "retry-after": "60" }).end();
      setImmediate(() => stop.abort());
    }
  });
  for (const path of ["silent", "away"]) {
    const { uri, ...options } = await fetchOptions(`${server.url}/${path}/model.onnx`);
    await expect(fetchModel({ ...options, uri, signal: stop.signal })).rejects.toMatchObject({ name: "AbortError" });
  }
});

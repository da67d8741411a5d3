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

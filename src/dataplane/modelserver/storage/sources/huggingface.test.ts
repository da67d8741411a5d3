import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { fetchModel } from "../fetch.js";
import { closers, contentOf, digestOf, fetchOptions, sendContent, sendJson, startServer } from "../stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const COMMIT = "a".repeat(40);
const gitName = (content: Buffer): string =>
  digestOf("sha1", Buffer.concat([Buffer.from(`blob ${content.length}\0`), content]));

/** As much of a hub as is read from: revisions, trees in pages, small files, and large ones elsewhere. */
async function startHub(files: Record<string, Buffer>, large: readonly string[], token?: string) {
  const cdn = await startServer((asked, response) =>
    sendContent(asked, response, files[decodeURIComponent(asked.url.pathname.slice(1))] ?? Buffer.alloc(0)),
  );
  const lie: Record<string, string> = {};
  const hub = await startServer((asked, response, { url }) => {
    const { pathname, searchParams } = asked.url;
    if (token !== undefined && asked.headers.authorization !== `Bearer ${token}`)
      return sendJson(response, { error: "Invalid credentials in Authorization header" }, 401);
    if (pathname === "/api/models/org/model/revision/v1") return sendJson(response, { id: "org/model", sha: COMMIT });
    if (pathname === `/api/models/org/model/tree/${COMMIT}`) {
      const at = Number(searchParams.get("cursor") ?? 0);
      const names = Object.keys(files);
      const page = names.slice(at, at + 2).map((path) => {
        const content = files[path] ?? Buffer.alloc(0);
        const lfs = { oid: lie[path] ?? digestOf("sha256", content), size: content.length, pointerSize: 130 };
        const oid = large.includes(path) ? "b".repeat(40) : (lie[path] ?? gitName(content));
        return { type: "file", path, size: content.length, oid, ...(large.includes(path) ? { lfs } : {}) };
      });
      const next = `<${url}${pathname}?recursive=true&cursor=${at + 2}>; rel="next"`;
      response.writeHead(200, at + 2 < names.length ? { link: next } : {});
      return void response.end(JSON.stringify([{ type: "directory", path: "onnx", oid: "c".repeat(40) }, ...page]));
    }
    const path = decodeURIComponent(new RegExp(`^/org/model/resolve/${COMMIT}/(.*)$`).exec(pathname)?.[1] ?? "");
    const content = files[path];
    if (content === undefined) return sendJson(response, { error: "Repository not found" }, 404);
    if (large.includes(path)) return void response.writeHead(302, { location: `${cdn.url}/${path}?X-Sig=1` }).end();
    return sendContent(asked, response, content);
  });
  return { hub, cdn, lie };
}

test("a snapshot comes with its large files, whose server never sees the token", async () => {
  const files = { "config.json": contentOf(30), "onnx/model.onnx": contentOf(4200), ".gitattributes": contentOf(5) };
  const { hub, cdn } = await startHub(files, ["onnx/model.onnx"], "hf_secret");
  const options = await fetchOptions("hf://org/model:v1", { HF_ENDPOINT: hub.url, HF_TOKEN: "hf_secret" });

  await fetchModel(options);
  const before = hub.asked.length + cdn.asked.length;
  await fetchModel({ ...options, destination: join(options.folder, "again") });

  expect((await readdir(options.destination, { recursive: true })).sort()).toEqual([
    "config.json",
    "onnx",
    "onnx/model.onnx",
  ]);
  expect(await readFile(join(options.destination, "onnx", "model.onnx"))).toEqual(contentOf(4200));
  expect(cdn.asked).toHaveLength(5);
  expect(cdn.asked.some(({ headers }) => headers.authorization !== undefined)).toBe(false);
  // The commit and two pages of names.
  expect(hub.asked.length + cdn.asked.length - before).toBe(3);
});

test.each(["config.json", "model.onnx"])("content that is not what the hub names is refused: %s", async (path) => {
  const { hub, lie } = await startHub({ "config.json": contentOf(30), "model.onnx": contentOf(1200) }, ["model.onnx"]);
  lie[path] = path === "model.onnx" ? "0".repeat(64) : "0".repeat(40);
  const options = await fetchOptions("hf://org/model:v1", { HF_ENDPOINT: hub.url });

  await expect(fetchModel(options)).rejects.toMatchObject({
    download: "ChecksumMismatch",
    message: expect.stringContaining(`hf://org/model/${path}`),
  });
});

test("a private model says what is missing; one that is not there too", async () => {
  const { hub } = await startHub({}, [], "hf_secret");
  const denied = await fetchOptions("hf://org/model:v1", { HF_ENDPOINT: hub.url });
  const absent = await fetchOptions("hf://org/none", { HF_ENDPOINT: hub.url, HF_TOKEN: "hf_secret" });

  await expect(fetchModel(denied)).rejects.toMatchObject({
    download: "AccessDenied",
    message: expect.stringContaining("HF_TOKEN"),
  });
  await expect(fetchModel(absent)).rejects.toMatchObject({ download: "NotFound" });
  await expect(fetchModel({ ...denied, uri: "hf://model" })).rejects.toThrow("write hf://ORGANIZATION/MODEL");
});

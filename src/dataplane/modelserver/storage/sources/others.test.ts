import { createHmac } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { fetchModel } from "../fetch.js";
import { closers, contentOf, digestOf, fetchOptions, sendContent, sendJson, startServer } from "../stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

test("Azure's blobs are listed in pages and read with the account's key", async () => {
  const content = contentOf(2500);
  const key = Buffer.from("a key").toString("base64");
  const unsigned: string[] = [];
  const server = await startServer((asked, response) => {
    const { url, headers } = asked;
    const [date, version] = [String(headers["x-ms-date"]), String(headers["x-ms-version"])];
    const query = [...url.searchParams]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `\n${name}:${value}`);
    const text = `GET\n\n\n\n\n\n\n\n${headers["if-match"] ?? ""}\n\n\n${headers.range ?? ""}\nx-ms-date:${date}\nx-ms-version:${version}\n/acct${url.pathname}${query.join("")}`;
    const signature = createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64");
    if (headers.authorization !== `SharedKey acct:${signature}`) unsigned.push(asked.path);
    if (url.searchParams.get("comp") !== "list") return sendContent(asked, response, content, { etag: '"0x1"' });
    const page = url.searchParams.get("marker") === "2" ? 2 : 1;
    const md5 = digestOf("md5", content, "base64");
    const name = page === 1 ? "run/model.onnx" : "run/a &amp; b.txt";
    response.end(
      `<?xml version="1.0"?><EnumerationResults><Blobs><Blob><Name>${name}</Name><Properties><Content-Length>2500</Content-Length><Etag>0x1</Etag><Content-MD5>${md5}</Content-MD5></Properties></Blob></Blobs><NextMarker>${page === 1 ? "2" : ""}</NextMarker></EnumerationResults>`,
    );
  });
  const options = await fetchOptions("https://acct.blob.core.windows.net/models/run", {
    AZURE_STORAGE_BLOB_ENDPOINT: server.url,
    AZURE_STORAGE_ACCESS_KEY: key,
  });

  await fetchModel(options);

  expect(await readdir(options.destination)).toEqual(["a & b.txt", "model.onnx"]);
  expect(await readFile(join(options.destination, "model.onnx"))).toEqual(content);
  expect(unsigned).toEqual([]);
  expect(server.asked.filter(({ headers }) => headers["if-match"] === '"0x1"')).toHaveLength(3);
});

test("WebHDFS: folders, redirects to where the data is, files that change", async () => {
  const files: Record<string, { content: Buffer; changed: number }> = {
    "/user/me/model/1/model.onnx": { content: contentOf(1800), changed: 1 },
    "/user/me/model/config.json": { content: contentOf(10), changed: 1 },
  };
  const data = await startServer(({ url }, response) => {
    const { content } = files[url.pathname] ?? { content: Buffer.alloc(0) };
    const from = Number(url.searchParams.get("offset"));
    response.end(content.subarray(from, from + Number(url.searchParams.get("length"))));
  });
  const statusOf = (path: string, suffix: string) => {
    const file = files[path];
    return file === undefined
      ? { pathSuffix: suffix, type: "DIRECTORY", length: 0, modificationTime: 0 }
      : { pathSuffix: suffix, type: "FILE", length: file.content.length, modificationTime: file.changed };
  };
  let opened = 0;
  const names = await startServer(({ url }, response) => {
    const path = url.pathname.replace("/webhdfs/v1", "");
    const op = url.searchParams.get("op");
    if (url.searchParams.get("user.name") !== "me")
      return sendJson(response, { RemoteException: { message: "Permission denied" } }, 403);
    if (op === "OPEN") {
      opened += 1;
      if (opened === 2) files["/user/me/model/1/model.onnx"] = { content: contentOf(1500), changed: 2 };
      return void response.writeHead(307, { location: `${data.url}${path}${url.search}` }).end();
    }
    if (op === "GETFILESTATUS") return sendJson(response, { FileStatus: statusOf(path, "") });
    const children = new Set(
      Object.keys(files).flatMap((name) =>
        name.startsWith(`${path}/`) ? [name.slice(path.length + 1).split("/")[0] ?? ""] : [],
      ),
    );
    return sendJson(response, {
      FileStatuses: { FileStatus: [...children].map((name) => statusOf(`${path}/${name}`, name)) },
    });
  });
  const options = await fetchOptions(`webhdfs://${names.host}/user/me/model`, { HDFS_USER: "me" });

  await fetchModel({ ...options, parallel: 1 });

  expect(await readFile(join(options.destination, "1", "model.onnx"))).toEqual(contentOf(1500));
  await expect(fetchModel({ ...options, env: {} })).rejects.toMatchObject({
    download: "AccessDenied",
    message: expect.stringContaining("Permission denied"),
  });
});

test("a registered model is read through its registry, or in the store where it lies", async () => {
  const content = contentOf(1300);
  const other = await startServer((asked, response) => sendContent(asked, response, content, { etag: '"a"' }));
  const registry = await startServer(({ url, headers }, response) => {
    const path = url.pathname.replace("/api/2.0/", "");
    const field = (name: string): string => url.searchParams.get(name) ?? "";
    if (headers.authorization !== "Bearer reader") return sendJson(response, { message: "no" }, 401);
    if (path === "mlflow/registered-models/alias" && field("alias") === "champion")
      return sendJson(response, { model_version: { name: field("name"), version: "3" } });
    if (path === "mlflow/model-versions/get-download-uri" && field("version") === "3")
      return sendJson(response, { artifact_uri: "mlflow-artifacts:/0/run/artifacts/model" });
    if (path === "mlflow/model-versions/get-download-uri" && field("version") === "4")
      return sendJson(response, { artifact_uri: `${other.url}/model.onnx` });
    if (path === "mlflow-artifacts/artifacts")
      return sendJson(response, {
        files: field("path").endsWith("model")
          ? [
              { path: "sub", is_dir: true },
              { path: "model.onnx", is_dir: false, file_size: 1300 },
            ]
          : [{ path: "labels.txt", is_dir: false, file_size: 1300 }],
      });
    if (path.startsWith("mlflow-artifacts/artifacts/0/run/artifacts/model/")) return void response.end(content);
    return sendJson(response, { error_code: "RESOURCE_DOES_NOT_EXIST", message: "not found" }, 404);
  });
  const env = { MLFLOW_TRACKING_URI: registry.url, MLFLOW_TRACKING_TOKEN: "reader" };
  const byAlias = await fetchOptions("models:/digits@champion", env);
  const elsewhere = await fetchOptions("models:/digits/4", env);
  await fetchModel(byAlias);
  await fetchModel(elsewhere);

  expect((await readdir(byAlias.destination, { recursive: true })).sort()).toEqual([
    "model.onnx",
    "sub",
    "sub/labels.txt",
  ]);
  expect(await readFile(join(elsewhere.destination, "model.onnx"))).toEqual(content);
  await expect(fetchModel({ ...byAlias, uri: "models:/digits@none" })).rejects.toMatchObject({ download: "NotFound" });
  await expect(fetchModel({ ...byAlias, uri: "models:/digits/Production" })).rejects.toThrow("use an alias");
  await expect(fetchModel({ ...byAlias, env: {} })).rejects.toThrow(
    /give MLFLOW_TRACKING_URI; in a cluster a Secret .* storage-config/,
  );
  await expect(fetchModel({ ...byAlias, env: { MLFLOW_TRACKING_URI: registry.url } })).rejects.toMatchObject({
    download: "AccessDenied",
  });
});

test("an entry of storage-config of another type is refused by name", async () => {
  const options = await fetchOptions("hf://org/model");
  const storageConfig = join(options.folder, "entry");
  await writeFile(storageConfig, '{"type": "s3", "secret_access_key": "hunter2"}');

  await expect(fetchModel({ ...options, storageConfig })).rejects.toThrow(/type must be hf, not s3$/);
});

test("a cache that cannot be used is done without", async () => {
  const server = await startServer((asked, response) => sendContent(asked, response, contentOf(10), { etag: '"a"' }));
  const options = await fetchOptions(`${server.url}/model.onnx`);
  await writeFile(options.cache, "a file in its place");

  await fetchModel(options);

  expect(await readdir(options.destination)).toEqual(["model.onnx"]);
});

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { fetchModel } from "../fetch.js";
import {
  closers,
  contentOf,
  digestOf,
  fetchOptions,
  sendContent,
  sendJson,
  startServer,
  tarOf,
} from "../stores.fixture.js";

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const digest = (content: Buffer): string => `sha256:${digestOf("sha256", content)}`;
const IMAGE = "application/vnd.oci.image.manifest.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";

interface Registry {
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, { readonly type: string; readonly body: Buffer }>;
}

const registry = (): Registry => ({ blobs: new Map(), manifests: new Map() });

function addBlob({ blobs }: Registry, content: Buffer, more: object = {}): object {
  blobs.set(digest(content), content);
  return { mediaType: LAYER, digest: digest(content), size: content.length, ...more };
}

function addManifest({ manifests }: Registry, tag: string | undefined, value: object, type = IMAGE): string {
  const body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, ...value }));
  for (const name of [digest(body), ...(tag === undefined ? [] : [tag])]) manifests.set(name, { type, body });
  return digest(body);
}

/** The pulling half of the distribution protocol; with a user and password also its token service. */
function serve({ blobs, manifests }: Registry, password?: string, hasRanges = true) {
  return startServer((asked, response, { url }) => {
    const { pathname, searchParams } = asked.url;
    if (pathname === "/token") {
      const isUser = asked.headers.authorization === `Basic ${Buffer.from(`puller:${password}`).toString("base64")}`;
      if (!isUser || searchParams.get("scope") !== "repository:team/model:pull")
        return sendJson(response, { errors: [{ code: "DENIED", message: "who are you" }] }, 401);
      return sendJson(response, { token: "pull-token" });
    }
    if (password !== undefined && asked.headers.authorization !== "Bearer pull-token") {
      const challenge = `Bearer realm="${url}/token",service="registry",scope="repository:team/model:pull"`;
      return void response.writeHead(401, { "www-authenticate": challenge }).end();
    }
    const [, kind, name = ""] = /^\/v2\/team\/model\/(manifests|blobs)\/(.+)$/.exec(pathname) ?? [];
    const manifest = kind === "manifests" ? manifests.get(name) : undefined;
    if (manifest !== undefined)
      return void response.writeHead(200, { "content-type": manifest.type }).end(manifest.body);
    const blob = kind === "blobs" ? blobs.get(name) : undefined;
    if (blob === undefined)
      return sendJson(response, { errors: [{ code: "MANIFEST_UNKNOWN", message: "unknown" }] }, 404);
    if (hasRanges) return sendContent(asked, response, blob);
    return void response.writeHead(200, { "content-length": blob.length }).end(blob);
  });
}

test.each([true, false])(
  "an image's models are laid out, layer over layer (a registry with ranges: %s)",
  async (hasRanges) => {
    const images = registry();
    const weights = contentOf(3000).toString("base64");
    const layers = [
      addBlob(
        images,
        await tarOf(
          [{ name: "bin/sh" }, "x"],
          [{ name: "models/old" }, "1"],
          [{ name: "models/1/model.onnx" }, weights],
        ),
      ),
      addBlob(images, await tarOf([{ name: "models/.wh.old" }], [{ name: "models/config.json" }, "{}"])),
    ];
    const config = {
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: digest(Buffer.from("{}")),
      size: 2,
    };
    const amd64 = addManifest(images, undefined, { config, layers });
    const other = addManifest(images, undefined, { config, layers: [] });
    const index = "application/vnd.oci.image.index.v1+json";
    addManifest(
      images,
      "v1",
      {
        manifests: [
          { mediaType: IMAGE, digest: other, size: 1, platform: { os: "linux", architecture: "s390x" } },
          { mediaType: IMAGE, digest: amd64, size: 1, platform: { os: "linux", architecture: "amd64" } },
        ],
      },
      index,
    );
    const server = await serve(images, undefined, hasRanges);
    const options = await fetchOptions(`oci://${server.host}/team/model:v1`);

    await fetchModel(options);

    expect((await readdir(options.destination, { recursive: true })).sort()).toEqual([
      "1",
      "1/model.onnx",
      "config.json",
    ]);
    expect(await readFile(join(options.destination, "1", "model.onnx"), "utf8")).toBe(weights);
  },
);

test.each([
  [9000, undefined],
  [8999, "QuotaExceeded"],
])("the layers of an image share what the model may have: %i bytes", async (maxBytes, download) => {
  const images = registry();
  // Small as they come, so that what is listed says nothing.
  const layer = async (name: string) =>
    addBlob(images, await tarOf([{ name: `models/${name}` }, "x".repeat(3000)]), { mediaType: LAYER });
  const layers = [await layer("a"), await layer("b"), await layer("c")];
  const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digest(Buffer.from("{}")), size: 2 };
  addManifest(images, "v1", { config, layers });
  const server = await serve(images);
  const options = await fetchOptions(`oci://${server.host}/team/model:v1`);

  const outcome = await fetchModel({ ...options, maxBytes }).then(
    () => undefined,
    (error: { download: string }) => error.download,
  );
  expect(outcome).toBe(download);
});

test("an artifact's files have the names that they are titled with; its registry wants a token", async () => {
  const images = registry();
  const titled = (content: Buffer, title: string) =>
    addBlob(images, content, {
      mediaType: "application/octet-stream",
      annotations: { "org.opencontainers.image.title": title },
    });
  const manifest = addManifest(images, "latest", {
    config: { mediaType: "application/vnd.oci.empty.v1+json", digest: digest(Buffer.from("{}")), size: 2 },
    layers: [titled(contentOf(2100), "model.onnx"), titled(Buffer.from("0,1"), "labels.txt")],
  });
  const server = await serve(images, "s3cret");
  const options = await fetchOptions(`oci+fetch://${server.host}/team/model@${manifest}`);
  const config = join(options.folder, "config.json");
  const auth = Buffer.from("puller:s3cret").toString("base64");
  await writeFile(config, JSON.stringify({ auths: { [server.host]: { auth } } }));

  const anonymous = await fetchModel(options).catch((error: unknown) => error);
  await fetchModel({ ...options, env: { DOCKER_CONFIG: config } });

  expect(anonymous).toMatchObject({ download: "AccessDenied", message: expect.stringContaining("image pull secret") });
  expect((await readdir(options.destination)).sort()).toEqual(["labels.txt", "model.onnx"]);
  expect(await readFile(join(options.destination, "model.onnx"))).toEqual(contentOf(2100));
});

test("what is not what its digest says is refused: a layer, and a manifest", async () => {
  const images = registry();
  const layer = await tarOf([{ name: "models/model.onnx" }, "weights"]);
  const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digest(layer), size: 2 };
  const named = addManifest(images, "v1", { config, layers: [addBlob(images, layer)] });
  images.blobs.set(digest(layer), Buffer.from(layer.map((byte, index) => (index === 20 ? byte ^ 1 : byte))));
  const server = await serve(images);
  const options = await fetchOptions(`oci://${server.host}/team/model:v1`);

  await expect(fetchModel(options)).rejects.toMatchObject({ download: "ChecksumMismatch" });
  images.manifests.set(named, { type: IMAGE, body: Buffer.from('{"layers": []}') });
  await expect(fetchModel({ ...options, uri: `oci://${server.host}/team/model@${named}` })).rejects.toMatchObject({
    download: "ChecksumMismatch",
  });
  await expect(fetchModel({ ...options, uri: `oci://${server.host}/team/model:none` })).rejects.toMatchObject({
    download: "NotFound",
  });
});

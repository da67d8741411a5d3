import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "../../kernel/assets/index.js";
import { ownImageNames, type WrittenImage, writeOwnImages } from "./own-images.js";
import { placePackages } from "./packages.js";

const folder = mkdtempSync(join(tmpdir(), "argosy-images-"));
const layout = join(folder, "layout");
let written: readonly WrittenImage[] = [];

interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

function blob({ digest, size }: Descriptor): Buffer {
  const content = readFileSync(join(layout, "blobs", digest.replace(":", "/")));
  expect(`sha256:${createHash("sha256").update(content).digest("hex")}`).toBe(digest);
  expect(content.length).toBe(size);
  return content;
}

const json = (content: Buffer) => JSON.parse(content.toString("utf8"));

beforeAll(async () => {
  const output = join(folder, "argosy.tar");
  written = await writeOwnImages({ output, tag: "test", isLatest: true, names: ownImageNames });
  mkdirSync(layout);
  execFileSync("tar", ["-xf", output, "-C", layout]);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the archive is an OCI layout of the images, whose layers are shared, and docker's list of them", () => {
  const index = json(readFileSync(join(layout, "index.json")));
  expect(index.manifests.map((each: Descriptor) => each.annotations?.["io.containerd.image.name"])).toEqual(
    ownImageNames.flatMap((name) => [`${name}:test`, `${name}:latest`]),
  );
  expect(written.map(({ digest }) => digest)).toEqual(index.manifests.map(({ digest }: Descriptor) => digest));
  const layers = new Set<string>();
  for (const descriptor of index.manifests) {
    const manifest = json(blob(descriptor));
    const config = json(blob(manifest.config));
    expect(config.rootfs.diff_ids).toEqual(
      manifest.layers.map((layer: Descriptor) => {
        layers.add(layer.digest);
        return `sha256:${createHash("sha256")
          .update(gunzipSync(blob(layer)))
          .digest("hex")}`;
      }),
    );
    expect(config.config.User).toBe("65532:65532");
  }
  expect(layers.size).toBe(3);
  const known = json(readFileSync(join(layout, "manifest.json")));
  expect(known.map((each: { RepoTags: string[] }) => each.RepoTags)).toEqual(
    ownImageNames.map((name) => [`${name}:test`, `${name}:latest`]),
  );
});

const isRoot = process.getuid?.() === 0;
test.skipIf(!isRoot)(
  `a process in the image finds all it needs${isRoot ? "" : " (skipped, because only root may chroot)"}`,
  () => {
    const root = join(folder, "root");
    mkdirSync(root);
    const index = json(readFileSync(join(layout, "index.json")));
    for (const layer of json(blob(index.manifests[0])).layers)
      execFileSync("tar", ["-xzf", "-", "-C", root], { input: blob(layer) });
    const inside = (...words: string[]) =>
      execFileSync("chroot", ["--userspec=65532:65532", root, ...words], { encoding: "utf8" });
    const config = json(blob(json(blob(index.manifests[0])).config)).config;
    expect(inside(...config.Entrypoint, "version")).toContain("argosy");
    const load = "require('/opt/argosy/node_modules/onnxruntime-node'); console.log('loaded')";
    expect(inside("/usr/local/bin/node", "-e", load)).toBe("loaded\n");
    // The Node that runs is in there, once.
    expect(inside("/usr/local/bin/node", "-v").trim()).toBe(process.version);
    const packages = "console.log(require('fs').readdirSync('/opt/argosy/node_modules').join())";
    expect(inside("/usr/local/bin/node", "-e", packages)).not.toContain("node-linux");
  },
);

test("an archive that cannot be written is named", async () => {
  const output = join(folder, "nowhere", "own.tar");
  await expect(writeOwnImages({ output, tag: "test", names: [] })).rejects.toThrow(`cannot write ${output}: ENOENT`);
});

test("two runs give the same bytes", async () => {
  const output = join(folder, "again.tar");
  const again = await writeOwnImages({ output, tag: "test", names: ["argosy.dev/model-server"] });
  expect(again[0]).toEqual(written.find(({ name }) => name === "argosy.dev/model-server:test"));
}, 120_000);

test("only what runs is packed: no tools of development", async () => {
  const names = (await placePackages(packageRoot())).map(({ name }) => name);
  expect(names).toContain("onnxruntime-node");
  expect(names).toContain("undici");
  expect(names).not.toContain("vitest");
  expect(names).not.toContain("typescript");
});

test("packages are found wherever they lie, and placed so that each finds its own version again", async () => {
  const root = join(folder, "packages", "program");
  const put = (path: string, dependencies: Record<string, string>, more: object = {}) => {
    mkdirSync(join(root, path), { recursive: true });
    writeFileSync(join(root, path, "package.json"), JSON.stringify({ dependencies, ...more }));
  };
  put("", { a: "1", b: "1" }, { optionalDependencies: { absent: "1" } });
  put("../node_modules/a", { c: "2" });
  put("node_modules/b", { c: "1" });
  put("node_modules/c", {});
  put("../node_modules/a/node_modules/c", {}, { version: "2" });
  const placed = await placePackages(root);
  expect(placed.map(({ place, folder: from }) => [place, from.slice(from.indexOf("packages"))])).toEqual([
    ["", "packages/program"],
    ["node_modules/a", "packages/node_modules/a"],
    ["node_modules/b", "packages/program/node_modules/b"],
    ["node_modules/c", "packages/node_modules/a/node_modules/c"],
    ["node_modules/b/node_modules/c", "packages/program/node_modules/c"],
  ]);
  put("../node_modules/a", { gone: "1" });
  await expect(placePackages(root)).rejects.toThrow("the package gone is not installed");
});

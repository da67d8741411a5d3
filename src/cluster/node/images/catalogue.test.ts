import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { unless } from "../../../testing/unless.js";
import { findProgram } from "../commands.js";
import { imageCatalogue, splitImage } from "./catalogue.js";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "argosy-images-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const catalogue = () =>
  imageCatalogue({
    entries: {
      "argosy/trainer": { entrypoint: [process.execPath, "/x.mjs"], files: [folder], env: { A: "1" } },
      dir: { directory: folder, entrypoint: ["./run"] },
      gone: { directory: join(folder, "none") },
      oci: { ociLayout: join(folder, "layout") },
    },
    cacheDir: join(folder, "cache"),
  });

test("own programs are found with and without a tag", async () => {
  const image = await catalogue().resolve("argosy/trainer:v3");

  expect(image).toMatchObject({
    entrypoint: [process.execPath, "/x.mjs"],
    paths: expect.arrayContaining([folder]),
    env: expect.arrayContaining([["A", "1"]]),
  });
});

test("the machine's node stands for node images, and says when its version differs", async () => {
  const same = await catalogue().resolve(`docker.io/library/node:${process.versions.node.split(".")[0]}-slim`);
  const other = await catalogue().resolve("node:12");

  expect(same.warning).toBeUndefined();
  expect(other.warning).toContain(process.versions.node);
});

test("images of node take a script, options or another program as arguments", async () => {
  const { entrypoint, env } = await catalogue().resolve("node");
  const [program = "", ...first] = entrypoint;
  const run = (...args: string[]): string =>
    execFileSync(program, [...first, ...args], { encoding: "utf8", env: Object.fromEntries(env) }).trim();
  const script = join(folder, "script.mjs");
  writeFileSync(script, "console.log('script', ...process.argv.slice(2))");

  expect([run(script, "a b"), run("-p", "1 + 1"), run("node", "-p", "2 + 2"), run("sh", "-c", "echo sh")]).toEqual([
    "script a b",
    "2",
    "4",
    "sh",
  ]);
});

unless(findProgram("python3") === undefined ? "python3 is not on the PATH" : undefined)(
  "images of Python know it by both of its names",
  async () => {
    const image = await catalogue().resolve("python");
    const run = (...args: string[]): string =>
      execFileSync("/usr/bin/env", args, { encoding: "utf8", env: Object.fromEntries(image.env) }).trim();

    expect([image.entrypoint, image.cmd]).toEqual([[], ["python3"]]);
    expect(run("python", "-c", "print(6 * 7)")).toBe("42");
    expect(run("python3", "-c", "import sys; print(sys.argv[1])", "it's")).toBe("it's");
  },
);

test("unknown images and missing files say what to do", async () => {
  await expect(catalogue().resolve("quay.io/a/b:1")).rejects.toMatchObject({
    code: "ErrImagePull",
    message: expect.stringContaining("argosy/trainer"),
  });
  await expect(catalogue().resolve("gone")).rejects.toMatchObject({
    code: "ErrImagePull",
    message: expect.stringContaining(join(folder, "none")),
  });
  await expect(catalogue().resolve("oci")).rejects.toMatchObject({ code: "ErrImagePull" });
});

test("names are split as registries do", () => {
  expect(splitImage("host:5000/a/b")).toEqual({ name: "host:5000/a/b", tag: "latest" });
  expect(splitImage(`a:1@sha256:${"0".repeat(64)}`)).toEqual({ name: "a", tag: "1" });
});

test("an OCI layout is unpacked: layers over each other, whiteouts, configuration", async () => {
  const layout = join(folder, "layout");
  mkdirSync(join(layout, "blobs", "sha256"), { recursive: true });
  const put = (content: Buffer | string): { digest: string; size: number } => {
    const hash = createHash("sha256").update(content).digest("hex");
    writeFileSync(join(layout, "blobs", "sha256", hash), content);
    return { digest: `sha256:${hash}`, size: content.length };
  };
  const layer = (files: Record<string, string>): { digest: string; size: number; mediaType: string } => {
    const from = mkdtempSync(join(folder, "layer-"));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(from, name, ".."), { recursive: true });
      writeFileSync(join(from, name), text);
    }
    execFileSync("tar", ["-czf", `${from}.tgz`, "-C", from, "."]);
    return { ...put(readFileSync(`${from}.tgz`)), mediaType: "application/vnd.oci.image.layer.v1.tar+gzip" };
  };
  const layers = [layer({ "app/a": "old", "app/b": "b" }), layer({ "app/a": "new", "app/.wh.b": "" })];
  const config = put(
    JSON.stringify({ config: { Entrypoint: ["/app/a"], Cmd: ["x"], Env: ["E=1=2"], WorkingDir: "/app", User: "7:8" } }),
  );
  const manifest = put(JSON.stringify({ schemaVersion: 2, config, layers }));
  writeFileSync(join(layout, "index.json"), JSON.stringify({ manifests: [manifest] }));

  const image = await catalogue().resolve("oci");

  expect(image).toMatchObject({
    id: manifest.digest,
    entrypoint: ["/app/a"],
    cmd: ["x"],
    workingDir: "/app",
    uid: 7,
    gid: 8,
    env: expect.arrayContaining([["E", "1=2"]]),
  });
  expect(readFileSync(join(image.root ?? "", "app/a"), "utf8")).toBe("new");
  expect(() => readFileSync(join(image.root ?? "", "app/b"))).toThrow();
});

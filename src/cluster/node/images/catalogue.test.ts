import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { unless } from "../../../testing/unless.js";
import { findProgram } from "../commands.js";
import { imageCatalogue, type ResolvedImage, splitImage } from "./catalogue.js";
import { files, layerOf as layerIn, layoutOf, newLayout as newLayoutIn } from "./layout.fixture.js";

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

const newLayout = () => newLayoutIn(folder);
const layerOf = (fill: (to: string) => void, ...options: string[]): Buffer => layerIn(folder, fill, ...options);

/** Resolves an image of these layers. */
function imageOf(layers: Buffer[], config: object = {}): Promise<ResolvedImage> {
  const ociLayout = layoutOf(folder, layers, config);
  return imageCatalogue({ entries: { x: { ociLayout } }, cacheDir: join(ociLayout, "cache") }).resolve("x");
}

test("an OCI layout is unpacked: layers over each other, whiteouts, configuration", async () => {
  const config = { Entrypoint: ["/app/a"], Cmd: ["x"], Env: ["E=1=2"], WorkingDir: "/app", User: "app:extra" };
  const lower = { "app/a": "old", "app/b": "b", "all/c": "c", "was/d": "d" };
  const users = { "etc/passwd": "app:x:7:9::/:\n", "etc/group": "extra:x:8:\n" };
  const upper = { "app/a": "new", "app/.wh.b": "", "all/.wh..wh..opq": "", "all/e": "e", was: "a file now" };
  const image = await imageOf([layerOf(files(lower)), layerOf(files(users)), layerOf(files(upper))], config);
  const read = (name: string): string => readFileSync(join(image.root ?? "", name), "utf8");

  expect(image).toMatchObject({
    id: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    entrypoint: ["/app/a"],
    cmd: ["x"],
    workingDir: "/app",
    uid: 7,
    gid: 8,
    env: expect.arrayContaining([["E", "1=2"]]),
  });
  expect([read("app/a"), read("all/e"), read("was")]).toEqual(["new", "e", "a file now"]);
  expect([readdirSync(join(image.root ?? "", "app")), readdirSync(join(image.root ?? "", "all"))]).toEqual([
    ["a"],
    ["e"],
  ]);
});

test("of several images in a layout the tag says which; one that is not there is told", async () => {
  const { put, index, layout } = newLayout();
  const manifest = (tag: string) => ({
    ...put(JSON.stringify({ config: put(JSON.stringify({ config: { Cmd: [tag] } })), layers: [] })),
    annotations: { "org.opencontainers.image.ref.name": tag },
  });
  index([manifest("1.0"), manifest("2.0")]);
  const images = imageCatalogue({ entries: { x: { ociLayout: layout } }, cacheDir: join(layout, "cache") });

  expect((await images.resolve("x:2.0")).cmd).toEqual(["2.0"]);
  await expect(images.resolve("x:3.0")).rejects.toThrow('no image of the tag "3.0"; it has 1.0, 2.0');
});

test("a layer reaches nothing outside of the image, whatever links lie below it", async () => {
  const outside = mkdtempSync(join(folder, "outside-"));
  writeFileSync(join(outside, "victim"), "untouched");
  const links = layerOf((to) => {
    symlinkSync(outside, join(to, "absolute"));
    symlinkSync(`../../../../../../../..${outside}`, join(to, "relative"));
  });
  const through = (name: string): Buffer => layerOf(files({ [`${name}/victim`]: "evil", [`${name}/new`]: "evil" }));
  const away = (name: string, mark: string): Buffer => layerOf(files({ [`${name}/${mark}`]: "" }));
  const image = await imageOf([
    links,
    through("absolute"),
    links,
    away("absolute", ".wh.victim"),
    links,
    away("relative", ".wh..wh..opq"),
    links,
    through("relative"),
  ]);

  expect([readdirSync(outside), readFileSync(join(outside, "victim"), "utf8")]).toEqual([["victim"], "untouched"]);
  expect(readFileSync(join(image.root ?? "", "relative/victim"), "utf8")).toBe("evil");
  await expect(imageOf([away(".", ".wh...")])).rejects.toMatchObject({ code: "ErrImagePull" });
  await expect(
    imageOf([layerOf(files({ f: "evil" }), "--absolute-names", "--transform", "s,^,../../,")]),
  ).rejects.toMatchObject({ code: "ErrImagePull" });
  expect((await imageOf([layerOf((to) => symlinkSync("/etc", join(to, "etc")))], { User: "0" })).uid).toBe(0);
  await expect(imageOf([layerOf((to) => symlinkSync("/etc", join(to, "etc")))], { User: "root" })).rejects.toThrow(
    'the image\'s user "root" is not in its',
  );
});

unless(process.getuid?.() === 0 ? undefined : "only root makes devices")(
  "devices of a layer are left out",
  async () => {
    const layer = layerOf((to) => execFileSync("mknod", ["-m", "666", join(to, "disk"), "b", "8", "0"]));

    expect(readdirSync((await imageOf([layer])).root ?? "")).toEqual([]);
  },
);

test("what is not what its digest says is not used", async () => {
  const { put, index, layout } = newLayout();
  const damage = ({ digest }: { readonly digest: string }): void =>
    writeFileSync(join(layout, "blobs", "sha256", digest.slice(7)), "{}");
  const config = put(JSON.stringify({ config: { Cmd: ["x"] } }));
  index([put(JSON.stringify({ config, layers: [] }))]);
  damage(config);
  const images = imageCatalogue({ entries: { x: { ociLayout: layout } }, cacheDir: join(layout, "cache") });

  await expect(images.resolve("x")).rejects.toThrow("damaged: its digest differs");
});

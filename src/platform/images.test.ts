import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { platformImages } from "./images.js";
import { layoutOf } from "./layout.js";

const folder = mkdtempSync(join(tmpdir(), "argosy-images-"));
const file = join(folder, "images.yaml");
const images = platformImages(layoutOf(folder));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("an unknown image is refused with how to add it; added while everything runs, it resolves", async () => {
  await expect(images.resolve("my/app:1")).rejects.toThrow(`write to ${file}`);

  mkdirSync(join(folder, "app"));
  writeFileSync(
    file,
    `my/app:\n  directory: ${join(folder, "app")}\n  entrypoint: [node, server.js]\n  env: {MODE: test}\n`,
  );
  const image = await images.resolve("my/app:1");

  expect(image).toMatchObject({
    entrypoint: ["node", "server.js"],
    workingDir: join(folder, "app"),
    paths: [join(folder, "app")],
  });
  expect(image.env).toContainEqual(["MODE", "test"]);
  expect(images.names()).toContain("my/app");
});

test.each([
  ["my/app: 5\n", /image my\/app: a mapping with `directory`/],
  ["my/app: {directory: app}\n", /absolute path/],
  ["my/app: {directory: /a, ociLayout: /b}\n", /either/],
  ["my/app: {directory: /a, entrypoint: node}\n", /entrypoint must be a list of texts/],
  ["my/app: {dirctory: /a}\n", /unknown field dirctory/],
  ["- a\n", /must be a mapping/],
  ["a: [\n", /not valid YAML/],
])("a mistake in the file (%j) is named", async (text, message) => {
  writeFileSync(file, text);

  await expect(images.resolve("my/app")).rejects.toThrow(message);
});

import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { requireProgram, runCommand } from "../commands.js";
import { NodeError } from "../errors.js";
import { applyLayer } from "./layer.js";

/** What an image's configuration says about running it. */
export interface OciConfig {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly (readonly [string, string])[];
  readonly workingDir: string;
  readonly user: string;
  /** Name or number; empty: none. */
  readonly stopSignal: string;
}

/** An image on disk, layers laid over each other. */
export interface UnpackedImage {
  readonly root: string;
  readonly digest: string;
  readonly config: OciConfig;
}

/** Indexes, manifests and configurations are some kilobytes. */
const maxJsonBytes = 4 * 1024 * 1024;
const unpackTimeoutMs = 600_000;
const unpacking = new Map<string, Promise<UnpackedImage>>();

/**
 * Unpacks an image of an OCI image layout (image-spec 1.0) below `cacheDir`, once for each digest. Everything is checked by SHA-256. Of
 * several images `tag` says which.
 */
export async function unpackOciLayout(layout: string, cacheDir: string, tag?: string): Promise<UnpackedImage> {
  const manifestDigest = await findManifest(layout, tag);
  const key = `${cacheDir}|${manifestDigest}`;
  const running = unpacking.get(key) ?? unpack(layout, manifestDigest, cacheDir);
  unpacking.set(key, running);
  try {
    return await running;
  } finally {
    unpacking.delete(key);
  }
}

async function unpack(layout: string, digest: string, cacheDir: string): Promise<UnpackedImage> {
  const manifest = await readBlobJson(layout, digest);
  const configDigest = textAt(objectAt(manifest["config"]), "digest");
  const config = readConfig(objectAt((await readBlobJson(layout, configDigest))["config"]));
  const folder = join(cacheDir, digest.replace(":", "-"));
  const root = join(folder, "root");
  if (existsSync(join(folder, "complete"))) return { root, digest, config };
  const fresh = `${folder}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(join(fresh, "root"), { recursive: true });
  for (const layer of listAt(manifest["layers"])) await unpackLayer(layout, objectAt(layer), fresh);
  await writeFile(join(fresh, "complete"), "");
  await rm(folder, { recursive: true, force: true });
  await rename(fresh, folder);
  return { root, digest, config };
}

const refName = "org.opencontainers.image.ref.name";

async function findManifest(layout: string, tag: string | undefined): Promise<string> {
  const index = parseObject(await readText(join(layout, "index.json")), "index.json");
  const manifests = listAt(index["manifests"]).map(objectAt);
  const nameOf = (each: JsonObject): string => textAt(objectAt(each["annotations"]), refName);
  const tagged = manifests.filter((each) => nameOf(each) === tag);
  const names = new Set(manifests.map(nameOf));
  if (tag !== undefined && tagged.length === 0 && names.size > 1) {
    const known = [...names].filter((name) => name !== "").join(", ");
    throw new NodeError("ErrImagePull", `the OCI layout ${layout} has no image of the tag "${tag}"; it has ${known}`);
  }
  return pick(layout, tagged.length > 0 ? tagged : manifests);
}

/** The manifest for this machine, through nested indexes. */
async function pick(layout: string, manifests: readonly JsonObject[]): Promise<string> {
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  const fits = (each: JsonObject): boolean => {
    const platform = objectAt(each["platform"]);
    return textAt(platform, "architecture") === architecture && textAt(platform, "os") === "linux";
  };
  const chosen = manifests.find(fits) ?? manifests.find((each) => each["platform"] === undefined);
  if (chosen === undefined) {
    throw new NodeError("ErrImagePull", `the OCI layout ${layout} has no image for linux/${architecture}`);
  }
  const digest = textAt(chosen, "digest");
  if (!textAt(chosen, "mediaType").includes("index")) return digest;
  return pick(layout, listAt((await readBlobJson(layout, digest))["manifests"]).map(objectAt));
}

async function unpackLayer(layout: string, layer: JsonObject, folder: string): Promise<void> {
  const digest = textAt(layer, "digest");
  const path = blobPath(layout, digest);
  await checkDigest(path, digest);
  const compression = textAt(layer, "mediaType").endsWith("zstd") ? ["--zstd"] : [];
  const listed = await tar([...compression, "-t", "-f", path], digest);
  const owner = process.getuid?.() === 0 ? ["--same-owner"] : ["--no-same-owner"];
  // In a folder of its own: over what lower layers left, tar would follow their links.
  const fresh = join(folder, "layer");
  await mkdir(fresh);
  await tar([...compression, "-x", "-p", ...owner, "-C", fresh, "-f", path], digest);
  await applyLayer(
    fresh,
    join(folder, "root"),
    listed.split("\n").filter((name) => name.endsWith("/")),
  );
  await rm(fresh, { recursive: true });
}

async function tar(args: readonly string[], digest: string): Promise<string> {
  const result = await runCommand(requireProgram("tar"), args, "", unpackTimeoutMs);
  if (result.code === 0) return result.stdout;
  throw new NodeError("ErrImagePull", `layer ${digest} cannot be unpacked: ${result.stderr.slice(0, 300)}`);
}

function blobPath(layout: string, digest: string): string {
  const match = /^sha256:([0-9a-f]{64})$/.exec(digest);
  if (match?.[1] === undefined)
    throw new NodeError("ErrImagePull", `the OCI layout ${layout} has a bad digest "${digest}"`);
  return join(layout, "blobs", "sha256", match[1]);
}

async function checkDigest(path: string, digest: string): Promise<void> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk);
  } catch (error) {
    throw new NodeError("ErrImagePull", `the layer ${digest} is missing from the OCI layout`, { cause: error });
  }
  if (`sha256:${hash.digest("hex")}` !== digest)
    throw new NodeError("ErrImagePull", `the layer ${path} is damaged: its digest differs`);
}

/** A manifest, an index or a configuration: what it says counts only where it is what its digest says. */
async function readBlobJson(layout: string, digest: string): Promise<JsonObject> {
  const path = blobPath(layout, digest);
  const text = await readText(path);
  if (`sha256:${createHash("sha256").update(text).digest("hex")}` !== digest)
    throw new NodeError("ErrImagePull", `${path} is damaged: its digest differs`);
  return parseObject(text, digest);
}

async function readText(path: string): Promise<string> {
  let size: number;
  try {
    ({ size } = await stat(path));
    if (size <= maxJsonBytes) return await readFile(path, "utf8");
  } catch (error) {
    throw new NodeError("ErrImagePull", `no OCI layout: ${path} cannot be read`, { cause: error });
  }
  throw new NodeError("ErrImagePull", `${path} has ${size} bytes: no index, manifest or configuration is that long`);
}

function parseObject(text: string, what: string): JsonObject {
  try {
    const value: Json = JSON.parse(text);
    return objectAt(value);
  } catch (error) {
    throw new NodeError("ErrImagePull", `${what} of the OCI layout is no JSON`, { cause: error });
  }
}

function readConfig(config: JsonObject): OciConfig {
  const texts = (value: Json | undefined): string[] => listAt(value).filter((each) => typeof each === "string");
  return {
    entrypoint: texts(config["Entrypoint"]),
    cmd: texts(config["Cmd"]),
    env: texts(config["Env"]).map((line): [string, string] => {
      const equals = line.indexOf("=");
      return [line.slice(0, equals), line.slice(equals + 1)];
    }),
    workingDir: textAt(config, "WorkingDir") || "/",
    user: textAt(config, "User"),
    stopSignal: textAt(config, "StopSignal"),
  };
}

function objectAt(value: Json | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function listAt(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

function textAt(object: JsonObject, name: string): string {
  const value = object[name];
  return typeof value === "string" ? value : "";
}

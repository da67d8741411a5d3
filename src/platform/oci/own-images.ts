import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, posix } from "node:path";
import { pipeline } from "node:stream/promises";
import { pack } from "tar-stream";
import { packageRoot } from "../../kernel/assets/index.js";
import { InputError, messageOf } from "../../kernel/errors/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { type Blob, type Layer, type LayerEntry, writeLayer } from "./layer.js";
import { isElf, librariesOf } from "./libraries.js";
import { filesBelow, type PlacedPackage, placePackages } from "./packages.js";

/** Where the program lies in its images. */
const HOME = "/opt/argosy";
/** Where its processes write unless told otherwise; theirs alone. */
const DATA = "/var/lib/argosy";
const NODE = "/usr/local/bin/node";
/** The user of containers: nobody in particular, so that a pod may say `runAsNonRoot`. */
const USER = 65532;

/** Argosy's own images: what starts in them, below the program's folder. */
const OWN: Readonly<Record<string, readonly string[]>> = {
  "argosy.dev/argosy": ["bin", "argosy.mjs"],
  "argosy.dev/model-server": ["dist", "programs", "model-server.js"],
  "argosy.dev/inference-router": ["dist", "src", "dataplane", "graph", "main.js"],
  "argosy.dev/examples/digits": ["dist", "examples", "digits", "train.js"],
};

/** Names of the images that `writeOwnImages` can write. */
export const ownImageNames: readonly string[] = Object.keys(OWN);

/** What to write, and where. */
export interface OwnImagesOptions {
  /** The archive, `argosy.tar`. */
  readonly output: string;
  readonly tag: string;
  /** Whether they have the tag `latest` too, which images have that are named without one, as the runtimes name them. */
  readonly isLatest?: boolean;
  /** Of `ownImageNames`. */
  readonly names: readonly string[];
}

/** An image that was written. */
export interface WrittenImage {
  /** `argosy.dev/model-server:0.1.0`. */
  readonly name: string;
  /** Of its manifest. */
  readonly digest: string;
}

/**
 * Writes images of this installation into one archive, an OCI image layout in a tar that `docker load` knows too. Needs neither a
 * container engine nor a registry: the layers are this machine's `node` with the libraries it is linked to, the installed packages, and the
 * program; they are the same in all images. The same installation gives the same bytes. For Linux, of this machine's architecture. Throws `InputError`.
 * Source: OCI image specification 1.1, image layout and image configuration.
 */
export async function writeOwnImages(options: OwnImagesOptions): Promise<readonly WrittenImage[]> {
  if (process.platform !== "linux")
    throw new InputError(
      `images are made of this machine's node, which must be one of Linux; this is ${process.platform}`,
    );
  const folder = await mkdtemp(join(dirname(options.output), `.${basename(options.output)}-`)).catch(
    (error: unknown) => {
      throw new InputError(`cannot write ${options.output}: ${messageOf(error)}`, { cause: error });
    },
  );
  try {
    const layers = await writeLayers(folder);
    const images: Image[] = [];
    for (const name of options.names) images.push(await writeImage({ ...options, name, layers, folder }));
    const draft = join(folder, "archive");
    const tags = options.isLatest === true && options.tag !== LATEST ? [options.tag, LATEST] : [options.tag];
    await writeArchive(draft, { images, layers, tags });
    await rename(draft, options.output);
    return images.flatMap(({ name, manifest }) =>
      tags.map((tag) => ({ name: `${name}:${tag}`, digest: manifest.digest })),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function writeLayers(folder: string): Promise<readonly Layer[]> {
  const root = await realpath(packageRoot());
  const packages = await placePackages(root);
  const modules = await Promise.all(
    packages.filter((each) => each.place !== "" && !isNode(each)).map(entriesOfPackage),
  );
  const program = await entriesOfProgram(root);
  const node = await entriesOfNode(modules.flat());
  const layers: Layer[] = [];
  for (const entries of [node, modules.flat(), program]) layers.push(await writeLayer(entries, folder));
  return layers;
}

/** The Node that is installed with the program: images have the one that runs, at a place of its own. */
function isNode({ name }: PlacedPackage): boolean {
  return name.startsWith("node-linux-");
}

/** Packages bring native code for other machines too. */
const OTHERS_NATIVE = /(?:^|\/)bin\/napi-v\d+\/([^/]+)(?:\/([^/]+))?(?:\/|$)/;

async function entriesOfPackage({ folder, place }: PlacedPackage): Promise<LayerEntry[]> {
  const files = await filesBelow(folder, (path) => {
    const [, system, architecture] = OTHERS_NATIVE.exec(path) ?? [];
    const isOthers = system !== undefined && system !== process.platform;
    return basename(path) === "node_modules" || isOthers || (architecture ?? process.arch) !== process.arch;
  });
  return files.map((path) => ({ path: posix.join(HOME, place, path), file: join(folder, path) }));
}

async function entriesOfProgram(root: string): Promise<LayerEntry[]> {
  const entries: LayerEntry[] = [{ path: join(HOME, "package.json"), file: join(root, "package.json") }];
  const skipped = new Set(["dist/tests", "dist/bench"]);
  for (const part of ["bin", "dist", "assets", "examples"]) {
    const files = await filesBelow(root, (path) => skipped.has(path) || path.endsWith(".map"), part);
    entries.push(...files.map((path) => ({ path: posix.join(HOME, path), file: join(root, path) })));
  }
  return entries;
}

async function entriesOfNode(modules: readonly LayerEntry[]): Promise<LayerEntry[]> {
  const native: string[] = [await realpath(process.execPath)];
  for (const entry of modules)
    if ("file" in entry && /\.(?:node|so(?:\.[\d.]+)?)$/.test(entry.file) && (await isElf(entry.file)))
      native.push(entry.file);
  const own = new Set(native);
  const libraries: LayerEntry[] = [];
  for (const path of await librariesOf(native)) {
    const file = await realpath(path);
    if (!own.has(file)) libraries.push({ path, file, mode: 0o755 });
  }
  return [
    { path: NODE, file: native[0] ?? "", mode: 0o755 },
    ...libraries,
    { path: "/tmp", isFolder: true, mode: 0o1777 },
    { path: DATA, isFolder: true, mode: 0o750, owner: USER },
    { path: "/etc/passwd", text: `root:x:0:0::/:/sbin/nologin\nargosy:x:${USER}:${USER}::${DATA}:/sbin/nologin\n` },
    { path: "/etc/group", text: `root:x:0:\nargosy:x:${USER}:\n` },
    { path: "/etc/nsswitch.conf", text: "hosts: files dns\n" },
  ];
}

const LATEST = "latest";

interface Image {
  /** Without a tag. */
  readonly name: string;
  readonly config: Blob;
  readonly manifest: Blob;
}

interface ImageDraft {
  readonly name: string;
  readonly tag: string;
  readonly layers: readonly Layer[];
  readonly folder: string;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };
const architecture = (): string => ARCHITECTURES[process.arch] ?? process.arch;
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

async function writeImage({ name, tag, layers, folder }: ImageDraft): Promise<Image> {
  const config = await writeBlob(folder, {
    created: new Date(0).toISOString(),
    architecture: architecture(),
    os: "linux",
    config: {
      User: `${USER}:${USER}`,
      Env: ["PATH=/usr/local/bin:/usr/bin:/bin", `HOME=${DATA}`],
      Entrypoint: [NODE, join(HOME, ...(OWN[name] ?? []))],
      WorkingDir: DATA,
      Labels: { "org.opencontainers.image.title": name, "org.opencontainers.image.version": tag },
    },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
  });
  const manifest = await writeBlob(folder, {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: config.digest, size: config.size },
    layers: layers.map(({ digest, size }) => ({
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest,
      size,
    })),
  });
  return { name, config, manifest };
}

async function writeBlob(folder: string, content: JsonObject): Promise<Blob> {
  const text = JSON.stringify(content);
  const hash = createHash("sha256").update(text).digest("hex");
  const file = join(folder, hash);
  await writeFile(file, text);
  return { file, digest: `sha256:${hash}`, size: Buffer.byteLength(text) };
}

interface Archive {
  readonly images: readonly Image[];
  readonly layers: readonly Layer[];
  /** Each image has all of them. */
  readonly tags: readonly string[];
}

async function writeArchive(file: string, { images, layers, tags }: Archive): Promise<void> {
  const names = ({ name }: Image): string[] => tags.map((tag) => `${name}:${tag}`);
  const archive = pack();
  const header = (name: string) => ({ name, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) });
  const pathOf = ({ digest }: Blob) => `blobs/sha256/${digest.slice("sha256:".length)}`;
  const add = (name: string, content: unknown) => archive.entry(header(name), JSON.stringify(content));
  const writing = pipeline(archive, createWriteStream(file));
  const filling = (async () => {
    add("oci-layout", { imageLayoutVersion: "1.0.0" });
    add("index.json", {
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: images.flatMap((image) => names(image).map((name) => describe(image, name))),
    });
    add(
      "manifest.json",
      images.map((image) => ({
        Config: pathOf(image.config),
        RepoTags: names(image),
        Layers: layers.map(pathOf),
      })),
    );
    for (const blob of [...images.flatMap(({ config, manifest }) => [config, manifest]), ...layers]) {
      const { size } = await stat(blob.file);
      await pipeline(createReadStream(blob.file), archive.entry({ ...header(pathOf(blob)), size }));
    }
    archive.finalize();
  })().catch((error: unknown) => {
    archive.destroy(error instanceof Error ? error : undefined);
    throw error;
  });
  await Promise.all([filling, writing]);
}

const INDEX = "application/vnd.oci.image.index.v1+json";

/** The name stands as containerd reads it (`io.containerd.image.name`) and as the specification has it. */
function describe({ manifest }: Image, name: string): JsonObject {
  return {
    mediaType: MANIFEST,
    digest: manifest.digest,
    size: manifest.size,
    platform: { architecture: architecture(), os: "linux" },
    annotations: { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name },
  };
}

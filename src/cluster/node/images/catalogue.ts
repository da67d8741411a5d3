import { createHash } from "node:crypto";
import { existsSync, realpathSync, statSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { findProgram, isExecutable, runCommand } from "../commands.js";
import { NodeError } from "../errors.js";
import { groupNamed, userNamed } from "./identity.js";
import { unpackOciLayout } from "./oci-layout.js";

/** One image: exactly one of a program's files, a folder, or an OCI layout. */
export type ImageEntry = ProgramImage | DirectoryImage | OciImage;

interface ImageDefaults {
  /** Program and first arguments; a pod's `command` replaces it. */
  readonly entrypoint?: readonly string[];
  /** Arguments that a pod's `args` replaces. */
  readonly cmd?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly workingDir?: string;
}

/** Argosy's own programs: files of the machine, visible to the pod read-only at their own paths. */
export interface ProgramImage extends ImageDefaults {
  readonly entrypoint: readonly string[];
  readonly files: readonly string[];
}

/** A folder of the machine, visible read-only at its own path; also the working directory unless another is given. */
export interface DirectoryImage extends ImageDefaults {
  readonly directory: string;
}

/** A folder with `oci-layout`, `index.json` and `blobs`: unpacked once, the pod's root is its file system. */
export interface OciImage extends ImageDefaults {
  readonly ociLayout: string;
}

/** What a name resolved to. */
export interface ResolvedImage {
  /** Stable id, shown as `imageID`. */
  readonly id: string;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly (readonly [string, string])[];
  readonly workingDir: string;
  /** Files of the machine that become visible. */
  readonly paths: readonly string[];
  /** The whole root; absent: the machine's userland. */
  readonly root?: string;
  /** Numeric user of the image. */
  readonly uid?: number;
  readonly gid?: number;
  /** Sent for a graceful end; default `SIGTERM`. */
  readonly stopSignal?: string;
  /** Something the user should know: another version than asked for. */
  readonly warning?: string;
}

/** Resolves image names on one machine. */
export interface ImageCatalogue {
  /** Throws a `NodeError` with code `ErrImagePull` that says how to add the image. */
  resolve(image: string): Promise<ResolvedImage>;
  /** For node.status.images. */
  names(): readonly string[];
}

export interface ImageCatalogueOptions {
  readonly entries: Readonly<Record<string, ImageEntry>>;
  /** Where OCI layouts are unpacked. */
  readonly cacheDir: string;
  /** Path of the machine's Python where it lies outside of the usual folders (pyenv, conda). */
  readonly python?: string;
  /** Said at the end of "not found" messages: how a user of this platform adds an image. */
  readonly hint?: string;
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const registries = /^(docker\.io\/library\/|docker\.io\/|registry\.hub\.docker\.com\/library\/|library\/|localhost\/)/;

/**
 * The images of a machine without registries: entries by name (with or without tag), and the machine's own `node` and
 * `python`.
 */
export function imageCatalogue(options: ImageCatalogueOptions): ImageCatalogue {
  const { entries } = options;
  return {
    names: () => Object.keys(entries),
    async resolve(image) {
      const { name, tag } = splitImage(image);
      const entry = entries[image] ?? entries[`${name}:${tag}`] ?? entries[name];
      if (entry !== undefined) return resolveEntry(image, entry, options);
      const short = name.replace(registries, "");
      const ours = entries[`${short}:${tag}`] ?? entries[short];
      if (ours !== undefined) return resolveEntry(image, ours, options);
      if (short === "node") return hostNode(image, tag);
      if (short === "python") return hostPython(image, tag, options);
      throw new NodeError("ErrImagePull", unknownMessage(image, options));
    },
  };
}

/** Name and tag; a digest is left out, no tag is `latest`. */
export function splitImage(image: string): { name: string; tag: string } {
  const plain = image.replace(/@sha256:[0-9a-f]+$/, "");
  const colon = plain.lastIndexOf(":");
  return colon > plain.lastIndexOf("/")
    ? { name: plain.slice(0, colon), tag: plain.slice(colon + 1) }
    : { name: plain, tag: "latest" };
}

function unknownMessage(image: string, options: ImageCatalogueOptions): string {
  const known = [...Object.keys(options.entries), "node", "python"].sort().join(", ");
  const hint =
    options.hint ??
    "add it to the image catalogue as a directory (with an entrypoint) or an OCI layout on this machine";
  return `image "${image}" is not in this machine's image catalogue and no registry is asked. Known: ${known}. ${hint}`;
}

async function resolveEntry(image: string, entry: ImageEntry, options: ImageCatalogueOptions): Promise<ResolvedImage> {
  if ("ociLayout" in entry) return resolveOci(image, entry, options.cacheDir);
  const files = "files" in entry ? entry.files : [entry.directory];
  const missing = files.find((file) => !existsSync(file));
  if (missing !== undefined) {
    throw new NodeError("ErrImagePull", `image "${image}" consists of ${missing}, which is not on this machine`);
  }
  const entrypoint = entry.entrypoint ?? [];
  return {
    id: `argosy://${image}`,
    entrypoint,
    cmd: entry.cmd ?? [],
    env: withPath(Object.entries(entry.env ?? {})),
    workingDir: entry.workingDir ?? ("directory" in entry ? entry.directory : "/"),
    paths: [...new Set([...files, ...interpreterPaths(entrypoint[0])])],
  };
}

/** A program outside of the usual folders (nvm, pyenv, an npm package) needs its installation to be visible. */
function interpreterPaths(program: string | undefined): string[] {
  if (program?.startsWith("/") !== true || !existsSync(program)) return [];
  const real = realpathSync(program);
  // What lies in the machine's own userland is visible anyway.
  return [...new Set([program, real].filter((path) => !/^\/(usr\/(local\/)?)?s?bin\//.test(path)).map(installationOf))];
}

function installationOf(program: string): string {
  const folder = dirname(program);
  return basename(folder) === "bin" ? dirname(folder) : folder;
}

function withPath(env: readonly (readonly [string, string])[], first?: string): [string, string][] {
  const path = first === undefined || defaultPath.split(":").includes(first) ? defaultPath : `${first}:${defaultPath}`;
  const named = new Map<string, string>([["PATH", path], ["HOME", "/root"], ...env]);
  return [...named];
}

/** As images of node start: arguments that are no program of their own go to node. */
const nodeEntry = `case "\${1-}" in
  "" | -*) ;;
  *) if [ -x "$(command -v "$1")" ]; then exec "$@"; fi ;;
esac
exec node "$@"`;

function hostNode(image: string, tag: string): ResolvedImage {
  const program = realpathSync(process.execPath);
  const wanted = /^v?(\d+(?:\.\d+)*)/.exec(tag)?.[1];
  const differs = wanted !== undefined && !isVersion(process.versions.node, wanted);
  return {
    id: `host://${program}@${process.versions.node}`,
    entrypoint: ["/bin/sh", "-c", nodeEntry, "node"],
    cmd: ["node"],
    env: withPath([["NODE_VERSION", process.versions.node]], dirname(program)),
    workingDir: "/",
    paths: interpreterPaths(program),
    ...(differs
      ? {
          warning: `image "${image}": this machine has Node.js ${process.versions.node}; it is used instead of ${wanted}`,
        }
      : {}),
  };
}

async function hostPython(
  image: string,
  tag: string,
  { python, cacheDir }: ImageCatalogueOptions,
): Promise<ResolvedImage> {
  const shim = python ?? findProgram("python3") ?? onPath("python3") ?? findProgram("python");
  if (shim === undefined) {
    throw new NodeError(
      "ErrImagePull",
      `image "${image}" stands for this machine's Python, and there is none: install python3`,
    );
  }
  // Asked itself: what is on the path may be a shim that needs its owner's home.
  const asked = await runCommand(shim, [
    "-c",
    "import sys,platform;print(sys.executable);print(sys.base_prefix);print(sys.prefix);print(platform.python_version())",
  ]);
  const [executable = "", basePrefix = "", prefix = "", version = ""] = asked.stdout.trim().split("\n");
  if (asked.code !== 0 || executable === "") {
    throw new NodeError("ErrImagePull", `image "${image}": ${shim} does not run: ${asked.stderr.trim().slice(0, 200)}`);
  }
  const wanted = /^(\d+(?:\.\d+)*)/.exec(tag)?.[1];
  const differs = wanted !== undefined && !isVersion(version, wanted);
  const names = await pythonNames(executable, cacheDir);
  return {
    id: `host://${executable}@${version}`,
    entrypoint: [],
    cmd: ["python3"],
    env: withPath(
      [
        ["PYTHON_VERSION", version],
        ["PYTHONUNBUFFERED", "1"],
      ],
      names,
    ),
    workingDir: "/",
    paths: [...new Set([names, basePrefix, prefix, ...interpreterPaths(executable)])].filter(
      (path) => path !== "" && path !== "/" && existsSync(path),
    ),
    ...(differs
      ? { warning: `image "${image}": this machine has Python ${version}; it is used instead of ${wanted}` }
      : {}),
  };
}

/** Folder in which this Python is called `python` and `python3`, as in images of Python; many machines know one name only. */
async function pythonNames(executable: string, cacheDir: string): Promise<string> {
  const folder = join(cacheDir, `python-${createHash("sha256").update(executable).digest("hex").slice(0, 12)}`);
  if (existsSync(folder)) return folder;
  await mkdir(cacheDir, { recursive: true });
  const draft = await mkdtemp(`${folder}-`);
  await chmod(draft, 0o755);
  // Scripts, not links: a virtual environment is found by the folder of the program.
  const script = `#!/bin/sh\nexec '${executable.replaceAll("'", "'\\''")}' "$@"\n`;
  for (const name of ["python", "python3"]) await writeFile(join(draft, name), script, { mode: 0o755 });
  try {
    await rename(draft, folder);
  } catch {
    // Another pod was first.
    await rm(draft, { recursive: true, force: true });
  }
  return folder;
}

function onPath(name: string): string | undefined {
  return ["/usr/local/bin", "/opt/python/bin"].map((folder) => join(folder, name)).find(isExecutable);
}

function isVersion(actual: string, wanted: string): boolean {
  return actual === wanted || actual.startsWith(`${wanted}.`);
}

async function resolveOci(image: string, entry: OciImage, cacheDir: string): Promise<ResolvedImage> {
  if (!existsSync(entry.ociLayout) || !statSync(entry.ociLayout).isDirectory()) {
    throw new NodeError("ErrImagePull", `image "${image}": there is no OCI layout at ${entry.ociLayout}`);
  }
  const unpacked = await unpackOciLayout(entry.ociLayout, cacheDir, splitImage(image).tag);
  const config = unpacked.config;
  const env = [...config.env, ...Object.entries(entry.env ?? {})];
  const user = resolveUser(config.user, unpacked.root);
  return {
    id: unpacked.digest,
    entrypoint: entry.entrypoint ?? config.entrypoint,
    cmd: entry.cmd ?? (entry.entrypoint === undefined ? config.cmd : []),
    env: withPath(env),
    workingDir: entry.workingDir ?? config.workingDir,
    paths: [],
    root: unpacked.root,
    ...user,
    ...(config.stopSignal === "" ? {} : { stopSignal: config.stopSignal }),
  };
}

/** `user`, `uid`, or one of them and a group; names are looked up in the image's own passwd and group files. */
function resolveUser(text: string, root: string): { uid?: number; gid?: number } {
  if (text === "") return {};
  const [user = "", group = ""] = text.split(":");
  const found = /^\d+$/.test(user) ? { uid: Number(user) } : userNamed(root, user);
  const gid = /^\d+$/.test(group) ? Number(group) : groupNamed(root, group);
  const missing =
    found === undefined ? `user "${user}"` : group !== "" && gid === undefined ? `group "${group}"` : undefined;
  if (missing !== undefined)
    throw new NodeError("CreateContainerConfigError", `the image's ${missing} is not in its /etc/passwd or /etc/group`);
  return { ...found, ...(gid === undefined ? {} : { gid }) };
}

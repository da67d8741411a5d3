import { lstat, readdir, readFile, realpath, stat } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { InputError } from "../../kernel/errors/index.js";
import { isObject, parseJson } from "../../kernel/schema/index.js";

/** A package with everything that it needs, as it is to lie in an image. */
export interface PlacedPackage {
  readonly name: string;
  /** On this machine, without symbolic links. */
  readonly folder: string;
  /** Below the image's folder of the program; empty for the program itself. */
  readonly place: string;
}

interface Node extends PlacedPackage {
  readonly parent: Node | undefined;
  readonly children: Map<string, Node>;
}

/**
 * What a package needs to run: its dependencies, theirs, and so on; optional ones and peers where they are installed. They are found as
 * Node finds them, however they were installed (beside each other, nested, by links), and placed so that Node finds the same ones again.
 * Throws `InputError` when one is missing.
 */
export async function placePackages(root: string): Promise<readonly PlacedPackage[]> {
  const program: Node = { name: "", folder: await realpath(root), place: "", parent: undefined, children: new Map() };
  const placed = [program];
  for (const node of placed) {
    for (const [name, isOptional] of await needsOf(node.folder)) {
      const folder = await findPackage(node.folder, name);
      if (folder === undefined) {
        if (isOptional) continue;
        throw new InputError(`the package ${name} is not installed beside ${node.folder}; run \`npm ci\` there`);
      }
      const added = place(program, node, { name, folder });
      if (added !== undefined) placed.push(added);
    }
  }
  return placed;
}

/** Nothing when Node would find it already, otherwise at the top, or, where another version is in the way, inside of the package that needs it. */
function place(program: Node, user: Node, { name, folder }: { name: string; folder: string }): Node | undefined {
  let at: Node = program;
  for (let above: Node | undefined = user; above !== undefined; above = above.parent) {
    const found = above.children.get(name);
    if (found === undefined) continue;
    if (found.folder === folder) return undefined;
    at = user;
    break;
  }
  const node: Node = {
    name,
    folder,
    place: posix.join(at.place, "node_modules", name),
    parent: at,
    children: new Map(),
  };
  at.children.set(name, node);
  return node;
}

async function needsOf(folder: string): Promise<ReadonlyMap<string, boolean>> {
  const description = parseJson(await readFile(join(folder, "package.json"), "utf8"));
  const needs = new Map<string, boolean>();
  if (!isObject(description)) return needs;
  for (const [field, isOptional] of [
    ["dependencies", false],
    ["peerDependencies", true],
    ["optionalDependencies", true],
  ] as const) {
    const names = description[field];
    for (const name of isObject(names) ? Object.keys(names) : []) needs.set(name, isOptional);
  }
  return needs;
}

async function findPackage(from: string, name: string): Promise<string | undefined> {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    try {
      await lstat(join(candidate, "package.json"));
      return await realpath(candidate);
    } catch {
      if (dirname(folder) === folder) return undefined;
    }
  }
}

/** The files of a folder, sorted, with paths relative to it and `/` between names; links to files are followed, `skips` names folders and files that are left out. */
export async function filesBelow(folder: string, skips: (path: string) => boolean, inside = ""): Promise<string[]> {
  const entries = await readdir(join(folder, inside), { withFileTypes: true });
  const files: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = posix.join(inside, entry.name);
    if (skips(path)) continue;
    if (entry.isDirectory()) files.push(...(await filesBelow(folder, skips, path)));
    else if ((await stat(join(folder, path))).isFile()) files.push(path);
  }
  return files;
}

import { copyFile, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { copyJournal } from "../cluster/apiserver/index.js";
import { systemClock } from "../kernel/clock/index.js";
import { InputError, messageOf } from "../kernel/errors/index.js";
import { isMissing } from "../kernel/files/index.js";
import { isObject } from "../kernel/schema/index.js";
import { copySqlite } from "../stores/sqlite/index.js";
import { type Layout, layoutOf, readState, runningProcess } from "./layout.js";

/** What a backup holds. */
export interface BackupContent {
  readonly version: 1;
  /** RFC 3339. */
  readonly time: string;
  /** Last revision in the copy of each cluster's journal. */
  readonly clusters: Readonly<Record<string, number>>;
}

const contentFile = "backup.json";

/**
 * Copies what a data directory holds into a new folder, while Argosy runs on it or not: objects, certificates and tokens of
 * each cluster, records and artifacts. What is referred to is copied after what refers to it. Volumes of pods and logs are
 * left out. Throws `InputError`, `JournalError` or `SqliteError`.
 */
export async function backUp(layout: Layout, folder: string): Promise<BackupContent> {
  const state = await readState(layout);
  if (state === undefined) throw new InputError(`${layout.root} holds no data of Argosy; choose another with --data`);
  const target = resolve(folder);
  await makeNew(target, "a backup goes into a folder of its own");
  const clusters: Record<string, number> = {};
  const copied = layoutOf(target);
  for (const name of await readdir(join(layout.root, "clusters"))) {
    await mkdir(copied.cluster(name), { recursive: true, mode: 0o700 });
    clusters[name] = copyJournal(join(layout.cluster(name), "journal"), join(copied.cluster(name), "journal"));
    for (const kept of ["pki", "tokens"])
      await copyTree(join(layout.cluster(name), kept), join(copied.cluster(name), kept));
  }
  await copyTree(layout.pki, copied.pki);
  // Members and ports, which piece of the networks its clusters have, whose tokens count. Keys of encryption are kept apart from what they encrypt.
  const files = ["argosy.json", "addresses.json", "network.json", "authentication.yaml", "audit-policy.yaml"];
  for (const file of files) await ignoreMissing(copyFile(join(layout.root, file), join(target, file)));
  await ignoreMissing(Promise.resolve().then(() => copySqlite(layout.records, copied.records)));
  await copyTree(layout.artifacts, copied.artifacts);
  const content: BackupContent = { version: 1, time: new Date(systemClock.now()).toISOString(), clusters };
  // Written last: a backup without it is not whole.
  await writeFile(join(target, contentFile), `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  return content;
}

/** Makes a data directory of a backup. Throws `InputError` when the folder holds none, or the directory is not empty. */
export async function restore(folder: string, layout: Layout): Promise<BackupContent> {
  const content = await readContent(folder);
  const running = await runningProcess(layout);
  if (running !== undefined)
    throw new InputError(`Argosy runs on ${layout.root}, process ${running.pid}: choose another directory with --data`);
  await makeNew(layout.root, "a backup is restored into a new data directory; choose one with --data");
  try {
    await cp(folder, layout.root, { recursive: true, filter: (path) => relative(folder, path) !== contentFile });
  } catch (error) {
    await rm(layout.root, { recursive: true, force: true });
    throw new InputError(`${folder} cannot be copied to ${layout.root}: ${messageOf(error)}`, { cause: error });
  }
  return content;
}

async function readContent(folder: string): Promise<BackupContent> {
  const file = join(folder, contentFile);
  try {
    const value: unknown = JSON.parse(await readFile(file, "utf8"));
    if (!isObject(value) || value["version"] !== 1 || typeof value["time"] !== "string" || !isObject(value["clusters"]))
      throw new InputError("it was written by another version of Argosy");
    const clusters = Object.entries(value["clusters"]).map(([name, revision]) => [name, Number(revision)] as const);
    return { version: 1, time: value["time"], clusters: Object.fromEntries(clusters) };
  } catch (error) {
    const why = isMissing(error) ? `there is no ${contentFile}, which a finished backup has` : messageOf(error);
    throw new InputError(`${folder} holds no backup: ${why}`, { cause: error });
  }
}

/** Makes a folder that is not there, or is empty. */
async function makeNew(folder: string, advice: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if ((await readdir(folder)).length > 0) throw new InputError(`${folder} is not empty: ${advice}`);
}

/** Files that are being written bear names of their own until they are whole. */
async function copyTree(from: string, to: string): Promise<void> {
  await ignoreMissing(cp(from, to, { recursive: true, filter: (path) => !/\.[0-9a-f]{12}\.new$/.test(path) }));
}

async function ignoreMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

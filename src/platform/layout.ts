import { chmod, mkdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ArgosyError, InputError, messageOf } from "../kernel/errors/index.js";
import {
  formatMark,
  isMissing,
  isRunning,
  markOf,
  type ProcessMark,
  parseMark,
  replaceFile,
} from "../kernel/files/index.js";
import { asObject, isObject } from "../kernel/schema/index.js";
import type { NumberedMember } from "./plan.js";

/** Another process runs on this data directory. */
export class DirectoryInUseError extends ArgosyError {
  readonly pid: number;

  constructor(directory: string, pid: number) {
    super(
      "DirectoryInUse",
      `${directory} is in use by Argosy, process ${pid}: stop it with \`argosy down --data ${directory}\`, or choose another with --data`,
    );
    this.pid = pid;
  }
}

/** Where things are in a data directory. */
export interface Layout {
  readonly root: string;
  readonly state: string;
  readonly pid: string;
  readonly kubeconfig: string;
  readonly gateway: string;
  readonly artifacts: string;
  readonly records: string;
  readonly logs: string;
  readonly pki: string;
  cluster(name: string): string;
  /** A kubeconfig of this cluster alone. */
  clusterKubeconfig(name: string): string;
  node(cluster: string, node: string): string;
  /** Where pods of a cluster share downloaded models, by namespace. */
  models(cluster: string): string;
}

/** The layout of a data directory; nothing is made yet. */
export function layoutOf(directory: string): Layout {
  const root = resolve(directory);
  return {
    root,
    state: join(root, "argosy.json"),
    pid: join(root, "argosy.pid"),
    kubeconfig: join(root, "kubeconfig"),
    gateway: join(root, "gateway"),
    artifacts: join(root, "artifacts"),
    records: join(root, "records.db"),
    logs: join(root, "logs"),
    pki: join(root, "pki"),
    cluster: (name) => join(root, "clusters", name),
    clusterKubeconfig: (name) => join(root, "clusters", name, "kubeconfig"),
    node: (cluster, node) => join(root, "clusters", cluster, "nodes", node),
    models: (cluster) => join(root, "clusters", cluster, "models"),
  };
}

/** The process that runs on this directory, if any. */
export async function runningProcess(layout: Layout): Promise<ProcessMark | undefined> {
  let text: string;
  try {
    text = await readFile(layout.pid, "utf8");
  } catch {
    return undefined;
  }
  const mark = parseMark(text);
  return mark !== undefined && isRunning(mark) ? mark : undefined;
}

/**
 * Makes the directory. Everyone may enter it (pods of other users reach what is theirs), its files are the owner's alone. Throws `InputError`
 * when it cannot be.
 */
export async function makeDirectory(layout: Layout): Promise<void> {
  try {
    for (const folder of [layout.root, layout.logs, layout.gateway, layout.artifacts]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
    }
    await chmod(layout.root, 0o755);
  } catch (error) {
    throw new InputError(
      `cannot use ${layout.root} as data directory: ${messageOf(error)}; choose another with --data`,
      { cause: error },
    );
  }
}

/** Makes the directory and takes it for this process; the returned function gives it back. Throws `DirectoryInUseError` or `InputError`. */
export async function takeDirectory(layout: Layout): Promise<() => Promise<void>> {
  await makeDirectory(layout);
  const running = await runningProcess(layout);
  if (running !== undefined && running.pid !== process.pid) {
    throw new DirectoryInUseError(layout.root, running.pid);
  }
  await replaceFile(layout.pid, formatMark(markOf(process.pid) ?? { pid: process.pid, startTicks: "" }));
  return async () => rm(layout.pid, { force: true });
}

/** What must be the same at the next start. */
export interface State {
  readonly version: 1;
  /** Also members of earlier starts that are not up now: their data keeps its number. */
  readonly members: readonly NumberedMember[];
  /** Chosen ports by name: `hub`, `cloud`, …, `ingress`, `ingress-cloud`, …, `northbound`, `artifacts`. */
  readonly ports: Readonly<Record<string, number>>;
}

/** Reads the state; `undefined` on a new directory. Throws `InputError` when it is not one of ours. */
export async function readState(layout: Layout): Promise<State | undefined> {
  try {
    return parseState(JSON.parse(await readFile(layout.state, "utf8")));
  } catch (error) {
    if (isMissing(error)) {
      return undefined;
    }
    throw new InputError(
      `${layout.state} is damaged: ${messageOf(error)}; restore it, or move it away (the data stay; members get numbers and ports anew, by their order), or start over with --fresh`,
      {
        cause: error,
      },
    );
  }
}

function parseState(value: unknown): State {
  if (!isObject(value) || value["version"] !== 1 || !Array.isArray(value["members"]) || !isObject(value["ports"])) {
    throw new InputError("it is no state of this version of Argosy");
  }
  const members = value["members"].map((member) => {
    const { name, nodes, index, isPull } = asObject(member);
    if (typeof name !== "string" || !isCount(nodes) || !isCount(index) || index === 0) {
      throw new InputError("a member needs a name, its nodes and its number");
    }
    return { name, nodes, index, ...(isPull === true ? { isPull } : {}) };
  });
  const ports: Record<string, number> = {};
  for (const [name, port] of Object.entries(value["ports"])) {
    if (!isCount(port) || port === 0 || port > 65535) {
      throw new InputError(`the port ${name} is ${JSON.stringify(port)}`);
    }
    ports[name] = port;
  }
  return { version: 1, members, ports };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

/** Writes the state; it is durable when the call resolves. */
export async function writeState(layout: Layout, state: State): Promise<void> {
  await replaceFile(layout.state, `${JSON.stringify(state, undefined, 2)}\n`, { isDurable: true });
}

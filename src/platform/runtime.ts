import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  findPodman,
  type Isolation,
  PodmanEngine,
  type PodNetwork,
  type PodRuntime,
  podmanRuntime,
  processRuntime,
} from "../cluster/node/index.js";
import type { Clock } from "../kernel/clock/index.js";
import { InputError } from "../kernel/errors/index.js";
import { replaceFile } from "../kernel/files/index.js";
import type { Logger } from "../kernel/log/index.js";
import type { Layout } from "./layout.js";

/** What runs the containers of this machine's nodes: Argosy itself, as processes in namespaces of their own, or podman. */
export const nodeRuntimes = ["process", "podman"] as const;

export type NodeRuntime = (typeof nodeRuntimes)[number];

/** Reads a name as of `--runtime`. Throws `InputError` for a runtime that there is not. */
export function parseRuntime(text: string): NodeRuntime {
  const runtime = nodeRuntimes.find((known) => known === text);
  if (runtime !== undefined) return runtime;
  throw new InputError(`--runtime: there is no runtime ${JSON.stringify(text)}; there are ${nodeRuntimes.join(", ")}`);
}

/** The runtimes of all nodes of a data directory. */
export interface Runtimes {
  readonly name: NodeRuntime;
  /** The runtime of one node; not started. */
  make(node: {
    readonly dataDir: string;
    readonly log: Logger;
    readonly network: PodNetwork;
    readonly hiddenPaths?: readonly string[];
  }): PodRuntime;
  /** After all of them. */
  close(options: { readonly keepPods: boolean }): Promise<void>;
}

interface RuntimesInput {
  readonly layout: Layout;
  readonly isolation: Isolation;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The runtime of the last start on this data directory; `process` where there was none. */
export async function lastRuntime(layout: Layout): Promise<NodeRuntime> {
  const text = await readFile(fileOf(layout), "utf8").catch(() => "process");
  return parseRuntime(text.trim());
}

/** Says to the next start and to `argosy down` which runtime it is. */
export async function noteRuntime(layout: Layout, name: NodeRuntime): Promise<void> {
  await replaceFile(fileOf(layout), `${name}\n`);
}

/** Where podman keeps what is its own, as long as there may be containers of it. */
export function podmanFolder({ root }: Layout): string {
  return join(root, "podman");
}

function fileOf({ root }: Layout): string {
  return join(root, "runtime");
}

/** Opens what the nodes' runtimes share. Throws `InputError` where the machine lacks what the runtime needs. */
export async function openRuntimes(
  name: NodeRuntime,
  { layout, isolation, clock, log }: RuntimesInput,
): Promise<Runtimes> {
  if (name === "process") {
    return { name, make: (node) => processRuntime({ ...node, clock, isolation }), close: () => Promise.resolve() };
  }
  const programs = findPodman(isolation);
  if (!("podman" in programs)) {
    throw new InputError(
      `--runtime podman: ${programs.reason}: ${programs.remedy}, or start with \`--runtime process\``,
    );
  }
  const engine = new PodmanEngine({ dataDir: layout.root, programs, clock, log });
  await engine.start();
  return {
    name,
    make: (node) => podmanRuntime({ ...node, clock, isolation, engine }),
    close: (options) => engine.close(options),
  };
}

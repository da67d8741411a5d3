import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../kernel/clock/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { detectIsolation, type Isolation } from "../isolation/detect.js";
import type { PodNetwork } from "../network/types.js";
import { PodmanEngine } from "./podman/engine.js";
import { podmanRuntime } from "./podman/podman.js";
import { findPodman } from "./podman/programs.js";
import { processRuntime } from "./process.js";
import { NodeFiles, readContainer, readIdentity } from "./process-files.js";
import type { ContainerRef, PodRuntime } from "./types.js";

/** What a runtime is made of in a test. */
export interface RuntimeParts {
  /** The platform's. */
  readonly folder: string;
  readonly isolation: Isolation;
  readonly network: PodNetwork;
}

/** A runtime that the suites run over. */
export interface RuntimeHome {
  readonly name: "process" | "podman";
  /** Why it cannot be used here. */
  readonly missing: string | undefined;
  /** Makes runtimes over the same node, one after the other, and takes away what they share. */
  readonly open: (parts: RuntimeParts) => Promise<OpenRuntime>;
}

export interface OpenRuntime {
  make(dataDir: string): PodRuntime;
  /** Whether the end of a container is written down where the next runtime finds it. */
  hasEnded(dataDir: string, ref: ContainerRef): boolean;
  /** The process that watches a container and outlives the runtime. */
  keeperOf(dataDir: string, ref: ContainerRef): number;
  close(): Promise<void>;
}

const isolation = detectIsolation();
const noPods = isolation.mode === "none" ? "this machine isolates no pods (argosy doctor says why)" : undefined;
const found = findPodman(isolation);
const noPodman = "podman" in found ? undefined : `podman cannot be used here: ${found.reason}`;

const shared = ({ folder, ...parts }: RuntimeParts) => ({
  ...parts,
  clock: systemClock,
  log: silentLogger,
  hiddenPaths: [folder],
});

function engineIdOf(dataDir: string, ref: ContainerRef): string {
  return readContainer(new NodeFiles(dataDir).record(ref), ref)?.engineId ?? "none";
}

/** The runtimes of real containers. */
export const runtimeHomes: readonly RuntimeHome[] = [
  {
    name: "process",
    missing: noPods,
    open: (parts) =>
      Promise.resolve({
        make: (dataDir) => processRuntime({ ...shared(parts), dataDir }),
        hasEnded: (dataDir, ref) => existsSync(new NodeFiles(dataDir).event(ref, "exit")),
        keeperOf: (dataDir, ref) => readIdentity(new NodeFiles(dataDir).event(ref, "keeper"))?.pid ?? 0,
        close: () => Promise.resolve(),
      }),
  },
  {
    name: "podman",
    missing: noPodman,
    open: async (parts) => {
      if (!("podman" in found)) throw new Error(found.reason);
      const engine = new PodmanEngine({
        dataDir: parts.folder,
        programs: found,
        clock: systemClock,
        log: silentLogger,
      });
      await engine.start();
      return {
        make: (dataDir) => podmanRuntime({ ...shared(parts), dataDir, engine }),
        hasEnded: (dataDir, ref) => existsSync(join(engine.exits, engineIdOf(dataDir, ref))),
        keeperOf: (dataDir, ref) => {
          const own = join(parts.folder, "podman", "run", "overlay-containers", engineIdOf(dataDir, ref));
          return Number(readFileSync(join(own, "userdata", "conmon.pid"), "utf8"));
        },
        close: () => engine.close({ keepPods: false }),
      };
    },
  },
];

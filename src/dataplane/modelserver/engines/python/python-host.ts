/** Python models: each in a Python process of its own, with as little around it as this machine lets us take away. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { assetPath } from "../../../../kernel/assets/index.js";
import { ModelError } from "../../failures.js";
import { limitedCommand, systemProgram } from "../host/limits.js";
import { type ProcessHostOptions, processHosts } from "../host/process-host.js";
import type { OpenHost } from "../host/types.js";

/** How to run a Python model. */
export interface PythonHostOptions extends Omit<ProcessHostOptions, "command" | "env" | "cwd"> {
  readonly python: string;
  /** The model's folder. */
  readonly folder: string;
  readonly threads: number;
  /** The file is a pickle: without namespaces of its own it is not opened unless `unconfined`. */
  readonly isPickle: boolean;
  readonly unconfined: boolean;
}

/** User, network, mount, process, IPC and host name of its own; it ends with us. */
const NAMESPACES = [
  "--user",
  "--map-root-user",
  "--net",
  "--mount",
  "--pid",
  "--ipc",
  "--uts",
  "--fork",
  "--kill-child",
];

let probe: Promise<string | undefined> | undefined;

/** Processes with a Python worker. Throws `ModelError` `ModelRefused` for a pickle where nothing would hold it. */
export async function pythonHosts(options: PythonHostOptions): Promise<OpenHost> {
  const { python, threads, isPickle, unconfined, folder } = options;
  probe ??= findUnshare();
  const unshare = await probe;
  if (unshare === undefined && isPickle && !unconfined)
    throw new ModelError(
      "ModelRefused",
      "this machine gives a process no namespaces of its own (unshare), so a pickle is not opened; --allow-pickles anywhere does it all the same",
    );
  // -I: neither the environment nor the current folder brings code in.
  const worker: [string, ...string[]] = [findProgram(python), "-I", "-B", assetPath("modelserver", "worker.py")];
  const command: [string, ...string[]] = unshare === undefined ? worker : [unshare, ...NAMESPACES, ...worker];
  const one = String(threads);
  return processHosts({
    ...options,
    cwd: folder,
    command: limitedCommand(command, options.memoryBytes),
    env: {
      PATH: "/usr/local/bin:/usr/bin:/bin",
      LANG: "C.UTF-8",
      TMPDIR: unshare === undefined ? "/tmp" : "/dev/shm",
      ...{ OMP_NUM_THREADS: one, OPENBLAS_NUM_THREADS: one, MKL_NUM_THREADS: one },
      ...(unshare === undefined ? {} : { ARGOSY_CONFINED: "1" }),
    },
  });
}

/** The program as this process would find it; the worker has a path of its own. */
function findProgram(name: string): string {
  if (name.includes("/")) return name;
  const folders = (process.env["PATH"] ?? "").split(":").filter((folder) => folder.startsWith("/"));
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? name;
}

/** Where `unshare` is, if the kernel lets us use it. */
function findUnshare(): Promise<string | undefined> {
  const program = systemProgram("unshare");
  if (program === undefined) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    execFile(program, [...NAMESPACES, "/bin/true"], { timeout: 5000, env: {} }, (error) =>
      resolve(error === null ? program : undefined),
    );
  });
}

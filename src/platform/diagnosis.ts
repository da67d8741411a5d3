import { accessSync, constants } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { detectIsolation, findPodman, type Isolation } from "../cluster/node/index.js";
import { messageOf } from "../kernel/errors/index.js";
import { availableSqliteDrivers } from "../stores/sqlite/index.js";

/** One thing looked at, for `argosy doctor`. */
export interface Finding {
  readonly name: string;
  readonly available: boolean;
  /** Argosy cannot run without it. */
  readonly required: boolean;
  /** What was found. */
  readonly reason: string;
  /** What to do; empty where nothing needs to be done. */
  readonly remedy: string;
}

/** Looks at this machine: interpreter, storage binding, inference runtime, isolation of pods, optional programs. */
export async function diagnoseMachine(): Promise<Finding[]> {
  const isolation = detectIsolation();
  return [
    { name: "node.js", available: true, required: true, reason: process.version, remedy: "" },
    sqliteFinding(),
    await inferenceFinding(),
    {
      name: "pods",
      available: isolation.mode !== "none",
      required: true,
      reason: {
        root: "network namespace and address of its own for each pod",
        user: isolation.hasNetworkNamespace
          ? "network namespace and address of its own for each pod, without root"
          : "own mounts and a loopback address for each pod",
        none: "pods cannot be isolated here",
      }[isolation.mode],
      remedy: isolation.mode === "none" ? "see the lines below" : "",
    },
    ...isolation.capabilities.map(({ capability, available, reason, remedy }) => ({
      name: `  ${capability}`,
      available,
      required: false,
      reason,
      remedy,
    })),
    podmanFinding(isolation),
    programFinding("kubectl", "for `kubectl --kubeconfig DIR/kubeconfig`; `argosy get` needs it not"),
    programFinding("python3", "for pods with the image `python`"),
  ];
}

function podmanFinding(isolation: Isolation): Finding {
  const found = findPodman(isolation);
  const finding = { name: "podman", required: false };
  return "podman" in found
    ? { ...finding, available: true, reason: `${found.description}, for \`argosy up --runtime podman\``, remedy: "" }
    : { ...finding, available: false, reason: found.reason, remedy: `optional: ${found.remedy}` };
}

function sqliteFinding(): Finding {
  const drivers = availableSqliteDrivers();
  return {
    name: "sqlite",
    available: drivers.length > 0,
    required: true,
    reason: drivers.length > 0 ? `${drivers[0]} (of ${drivers.join(", ")})` : "no binding loads",
    remedy: drivers.length > 0 ? "" : "run `npm ci` again",
  };
}

async function inferenceFinding(): Promise<Finding> {
  try {
    createRequire(import.meta.url).resolve("onnxruntime-node");
    await import("onnxruntime-node");
    return { name: "onnxruntime", available: true, required: true, reason: "the packaged binary loads", remedy: "" };
  } catch (error) {
    return {
      name: "onnxruntime",
      available: false,
      required: true,
      reason: messageOf(error),
      remedy:
        "it ships binaries for x64 and arm64 Linux with glibc; elsewhere its WebAssembly form serves models, slower: npm install onnxruntime-web",
    };
  }
}

function programFinding(name: string, use: string): Finding {
  const found = (process.env["PATH"] ?? "").split(delimiter).find((folder) => isExecutable(join(folder, name)));
  return {
    name,
    available: found !== undefined,
    required: false,
    reason: found === undefined ? "not on the PATH" : join(found, name),
    remedy: found === undefined ? `optional: ${use}` : "",
  };
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

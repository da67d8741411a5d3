import { existsSync } from "node:fs";
import { findProgram, isExecutable, runCommandSync } from "../../commands.js";
import { type Isolation, isolationRefusal } from "../../isolation/detect.js";

/** The programs that run containers through podman. */
export interface PodmanPrograms {
  readonly podman: string;
  readonly conmon: string;
  /** runc, or crun. */
  readonly runtime: string;
  /** For people: `podman 4.3.1 with runc`. */
  readonly description: string;
}

/** Why there is no podman to be used here, and what to do. */
export interface PodmanMissing {
  readonly reason: string;
  readonly remedy: string;
}

const conmonPlaces = [
  "/usr/bin/conmon",
  "/usr/libexec/podman/conmon",
  "/usr/lib/podman/conmon",
  "/usr/local/bin/conmon",
];

/** Looks for podman and what it needs. crun refuses machines with control groups of both versions, runc does not. */
export function findPodman(isolation: Isolation): PodmanPrograms | PodmanMissing {
  const refusal = isolationRefusal(isolation);
  if (refusal !== undefined) return { reason: refusal, remedy: "see the lines above" };
  if (isolation.mode !== "root") {
    return {
      reason: "containers by podman need Argosy to run as root",
      remedy: "run as root, or use the runtime `process`",
    };
  }
  const podman = findProgram("podman");
  const conmon = conmonPlaces.find(isExecutable);
  const isUnified = existsSync("/sys/fs/cgroup/cgroup.controllers");
  const runc = findProgram("runc");
  const runtime = runc ?? (isUnified ? findProgram("crun") : undefined);
  if (podman === undefined) return { reason: "not found: podman", remedy: "install podman and runc" };
  if (conmon === undefined) return { reason: "not found: conmon", remedy: "install conmon" };
  if (runtime === undefined) {
    const reason = isUnified ? "not found: runc, crun" : "not found: runc, which control groups of version 1 need";
    return { reason, remedy: "install runc" };
  }
  const version = /\d+\.\d+\.\d+/.exec(runCommandSync(podman, ["--version"]).stdout)?.[0] ?? "";
  const description = `podman ${version} with ${runtime === runc ? "runc" : "crun"}`;
  return { podman, conmon, runtime, description };
}

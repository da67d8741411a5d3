import { existsSync, readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { cpus, release, totalmem } from "node:os";

/** What a node offers to pods. */
export interface NodeCapacity {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly pods: number;
}

/** The whole machine, and kubelet's 110 pods. */
export function machineCapacity(): NodeCapacity {
  return { cpuMillis: cpus().length * 1000, memoryBytes: totalmem(), pods: 110 };
}

/** Size and free bytes of the file system that holds a path. */
export async function diskOf(path: string): Promise<{ totalBytes: number; freeBytes: number }> {
  const stat = await statfs(path);
  return { totalBytes: stat.blocks * stat.bsize, freeBytes: stat.bavail * stat.bsize };
}

function readLine(path: string): string {
  try {
    return existsSync(path) ? readFileSync(path, "utf8").trim() : "";
  } catch {
    return "";
  }
}

/** node.status.nodeInfo, without the versions of agent and runtime. */
export function machineInfo(): {
  machineID: string;
  systemUUID: string;
  bootID: string;
  kernelVersion: string;
  osImage: string;
  architecture: string;
} {
  const machineID = readLine("/etc/machine-id");
  const name = /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readLine("/etc/os-release"))?.[1];
  return {
    machineID,
    systemUUID: readLine("/sys/class/dmi/id/product_uuid") || machineID,
    bootID: readLine("/proc/sys/kernel/random/boot_id"),
    kernelVersion: release(),
    osImage: name ?? "Linux",
    architecture: process.arch === "x64" ? "amd64" : process.arch,
  };
}

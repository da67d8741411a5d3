import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** A process of this machine. */
export interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

const readQuietly = (file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

const linkOf = (file: string): string => {
  try {
    return readlinkSync(file);
  } catch {
    return "";
  }
};

function allProcesses(): ProcessFacts[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const stat = readQuietly(`/proc/${name}/stat`);
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const command = readQuietly(`/proc/${name}/cmdline`).replaceAll("\0", " ").trim();
      return stat === "" || fields[0] === "Z" ? [] : [{ pid: Number(name), parent: Number(fields[1]), command }];
    });
}

/** Every process that works for a data directory: those that name it, and all below them; never this one. */
export function processesOf(directory: string): ProcessFacts[] {
  const all = allProcesses();
  const members = new Set(
    all.filter(({ pid, command }) => pid !== process.pid && command.includes(directory)).map(({ pid }) => pid),
  );
  for (let before = -1; before !== members.size; ) {
    before = members.size;
    for (const { pid, parent } of all) {
      if (members.has(parent)) {
        members.add(pid);
      }
    }
  }
  return all.filter(({ pid }) => members.has(pid));
}

/** The model server of the pod with this uid. */
export function modelServerOf(directory: string, podUid: string): number | undefined {
  const all = processesOf(directory);
  const below = new Set(all.filter(({ command }) => command.includes(`${podUid}.`)).map(({ pid }) => pid));
  for (let before = -1; before !== below.size; ) {
    before = below.size;
    for (const { pid, parent } of all) {
      if (below.has(parent)) {
        below.add(pid);
      }
    }
  }
  return all.find(({ pid, command }) => below.has(pid) && /^\S*node\S* \S*programs\/model-server\.js/.test(command))
    ?.pid;
}

/** Resident memory in MiB; 0 when the process is gone. */
export function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readQuietly(`/proc/${pid}/status`))?.[1] ?? 0) / 1024;
}

/** A TCP socket that waits for connections. */
export interface Listener {
  readonly pid: number;
  readonly address: string;
  readonly port: number;
  /** Whether it is in the network namespace of this test. */
  readonly isOnHost: boolean;
}

/** The listening TCP sockets of processes, from /proc. */
export function listenersOf(processes: readonly ProcessFacts[]): Listener[] {
  const host = linkOf("/proc/self/ns/net");
  return processes.flatMap(({ pid }) => {
    const inodes = socketsOf(pid);
    const isOnHost = linkOf(`/proc/${pid}/ns/net`) === host;
    return ["tcp", "tcp6"].flatMap((table) =>
      readQuietly(join("/proc", String(pid), "net", table))
        .split("\n")
        .slice(1)
        .map((line) => line.trim().split(/\s+/))
        .filter((fields) => fields[3] === "0A" && inodes.has(fields[9] ?? ""))
        .map((fields) => ({ pid, isOnHost, ...endpoint(fields[1] ?? "") })),
    );
  });
}

function socketsOf(pid: number): Set<string> {
  try {
    const links = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
    return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  } catch {
    return new Set();
  }
}

/** `0100007F:1F90` → 127.0.0.1, 8080. An IPv6 address stays in hexadecimal. */
function endpoint(text: string): { address: string; port: number } {
  const [hex = "", port = "0"] = text.split(":");
  const bytes = hex.match(/../g) ?? [];
  const address =
    hex.length === 8
      ? bytes
          .reverse()
          .map((byte) => Number.parseInt(byte, 16))
          .join(".")
      : hex;
  return { address, port: Number.parseInt(port, 16) };
}

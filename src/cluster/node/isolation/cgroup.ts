import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { runCommandSync } from "../commands.js";
import type { IsolationCapability } from "./detect.js";

/** Bounds of one container; absent: none. */
export interface ResourceLimits {
  readonly memoryBytes?: number;
  readonly cpuMillis?: number;
  /** Requested share, for fairness only. */
  readonly cpuRequestMillis?: number;
  readonly pids?: number;
}

/** Use of one container so far. */
export interface ResourceUsage {
  readonly memoryBytes: number;
  readonly cpuNanos: number;
}

/** Where groups of this machine live: directories by controller (version 1), or one (version 2). */
export interface CgroupHome {
  readonly version: 1 | 2;
  /** Base directory by controller; all the same in version 2. */
  readonly folders: Readonly<Partial<Record<Controller, string>>>;
}

type Controller = "memory" | "cpu" | "cpuacct" | "pids";
const wanted: readonly Controller[] = ["memory", "cpu", "cpuacct", "pids"];

/** Looks for a group hierarchy in which this process may make groups, and proves it by making one. */
export function detectCgroups(isRoot: boolean): { home: CgroupHome | undefined; capability: IsolationCapability } {
  const home = detectVersion2(isRoot) ?? detectVersion1();
  if (home === undefined) {
    return {
      home,
      capability: {
        capability: "resource-limits",
        available: false,
        reason:
          "no writable cgroup: memory is watched every few seconds instead, CPU and process limits are not enforced",
        remedy: "run as root, or in a delegated group: systemd-run --user --scope -p Delegate=yes argosy up",
      },
    };
  }
  const names = Object.keys(home.folders).join(", ");
  return {
    home,
    capability: {
      capability: "resource-limits",
      available: true,
      reason: `cgroup v${home.version}: ${names}`,
      remedy: "",
    },
  };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function canMakeGroup(folder: string): boolean {
  const probe = join(folder, `argosy-probe-${process.pid}`);
  try {
    mkdirSync(probe);
    rmdirSync(probe);
    return true;
  } catch {
    return false;
  }
}

interface CgroupMount {
  readonly type: string;
  readonly folder: string;
  readonly options: readonly string[];
}

function cgroupMounts(): CgroupMount[] {
  return (readText("/proc/self/mountinfo") ?? "").split("\n").flatMap((line) => {
    const [left = "", right = ""] = line.split(" - ");
    const [type = "", , options = ""] = right.split(" ");
    const folder = left.split(" ")[4] ?? "";
    return type.startsWith("cgroup") ? [{ type, folder, options: options.split(",") }] : [];
  });
}

function detectVersion1(): CgroupHome | undefined {
  const folders: Partial<Record<Controller, string>> = {};
  for (const mount of cgroupMounts().filter((each) => each.type === "cgroup")) {
    for (const controller of wanted) {
      if (mount.options.includes(controller) && canMakeGroup(mount.folder)) folders[controller] = mount.folder;
    }
  }
  return folders.memory === undefined ? undefined : { version: 1, folders };
}

function detectVersion2(isRoot: boolean): CgroupHome | undefined {
  const mount = cgroupMounts().find((each) => each.type === "cgroup2");
  if (mount === undefined) return undefined;
  const own = /^0::(.*)$/m.exec(readText("/proc/self/cgroup") ?? "")?.[1] ?? "/";
  const folder = isRoot ? mount.folder : writableAncestor(mount.folder, join(mount.folder, own));
  if (folder === undefined) return undefined;
  const controllers = enableControllers(folder).filter((name) => name !== "cpuacct");
  if (!controllers.includes("memory") || !canMoveInto(folder)) return undefined;
  return { version: 2, folders: Object.fromEntries(controllers.map((name) => [name, folder])) };
}

function writableAncestor(top: string, from: string): string | undefined {
  for (let folder = dirname(from); folder.startsWith(top); folder = dirname(folder)) {
    try {
      accessSync(folder, constants.W_OK);
      accessSync(join(folder, "cgroup.procs"), constants.W_OK);
      return folder;
    } catch {
      if (folder === top) return undefined;
    }
  }
  return undefined;
}

function enableControllers(folder: string): Controller[] {
  const offered = (readText(join(folder, "cgroup.controllers")) ?? "").trim().split(" ");
  for (const name of wanted.filter((each) => offered.includes(each))) {
    try {
      writeFileSync(join(folder, "cgroup.subtree_control"), `+${name}`);
    } catch {
      // A controller that cannot be handed down is left out below.
    }
  }
  const enabled = (readText(join(folder, "cgroup.subtree_control")) ?? "").trim().split(" ");
  return wanted.filter((name) => enabled.includes(name));
}

/** Moving a process needs more rights than making a group, so it is tried with a process of its own. */
function canMoveInto(folder: string): boolean {
  const probe = join(folder, `argosy-probe-${process.pid}`);
  try {
    mkdirSync(probe);
    const moved = runCommandSync("/bin/sh", ["-c", `echo $$ > '${join(probe, "cgroup.procs")}'`]).code === 0;
    rmdirSync(probe);
    return moved;
  } catch {
    return false;
  }
}

function groupFolders(home: CgroupHome, name: string): [Controller, string][] {
  return wanted.flatMap((controller): [Controller, string][] => {
    const base = home.folders[controller];
    return base === undefined ? [] : [[controller, join(base, name)]];
  });
}

/**
 * Makes the group `name` (`parent/child`) with its limits. Returns the files into which a process writes its id to join.
 * A limit that the kernel refuses is left out: the rest still holds.
 */
export function createCgroup(home: CgroupHome, name: string, limits: ResourceLimits): string[] {
  const parent = name.split("/")[0] ?? name;
  const joins = new Set<string>();
  for (const [controller, folder] of groupFolders(home, name)) {
    if (!isNeeded(home, controller, limits)) continue;
    const base = folder.slice(0, folder.length - name.length);
    mkdirSync(join(base, parent), { recursive: true });
    if (home.version === 2) enableControllers(join(base, parent));
    mkdirSync(folder, { recursive: true });
    joins.add(join(folder, "cgroup.procs"));
  }
  for (const [file, value] of limitFiles(home, limits)) writeLimit(home, name, file, value);
  return [...joins];
}

/** In version 1 each hierarchy costs a start some milliseconds, so only those that do something are joined. */
function isNeeded(home: CgroupHome, controller: Controller, limits: ResourceLimits): boolean {
  if (home.version === 2 || controller === "memory" || controller === "pids") return true;
  if (controller === "cpuacct" && home.folders.cpuacct !== home.folders.cpu) return false;
  return limits.cpuMillis !== undefined || limits.cpuRequestMillis !== undefined;
}

const cpuPeriodUs = 100_000;

function limitFiles(home: CgroupHome, limits: ResourceLimits): [string, string][] {
  const quotaUs = limits.cpuMillis === undefined ? undefined : Math.max(1000, limits.cpuMillis * (cpuPeriodUs / 1000));
  const shares = Math.max(2, Math.round(((limits.cpuRequestMillis ?? 2) * 1024) / 1000));
  const files: [string, string][] = [];
  if (limits.memoryBytes !== undefined) {
    files.push([home.version === 1 ? "memory.limit_in_bytes" : "memory.max", String(limits.memoryBytes)]);
    files.push([
      home.version === 1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max",
      home.version === 1 ? String(limits.memoryBytes) : "0",
    ]);
  }
  if (limits.pids !== undefined) files.push(["pids.max", String(limits.pids)]);
  if (home.version === 1) {
    files.push(["cpu.shares", String(Math.min(262_144, shares))]);
    if (quotaUs !== undefined) files.push(["cpu.cfs_quota_us", String(Math.round(quotaUs))]);
    return files;
  }
  files.push([
    "cpu.weight",
    String(Math.min(10_000, 1 + Math.floor(((Math.min(262_144, shares) - 2) * 9999) / 262_142))),
  ]);
  if (quotaUs !== undefined) files.push(["cpu.max", `${Math.round(quotaUs)} ${cpuPeriodUs}`]);
  return files;
}

function writeLimit(home: CgroupHome, name: string, file: string, value: string): void {
  const controller = wanted.find((each) => file.startsWith(`${each}.`));
  const base = controller === undefined ? undefined : home.folders[controller];
  if (base === undefined || !existsSync(join(base, name, file))) return;
  try {
    writeFileSync(join(base, name, file), value);
  } catch {
    // Older kernels lack some knobs (memsw without swap accounting).
  }
}

/** Whether the kernel has killed a process of the group for want of memory. */
export function wasOutOfMemory(home: CgroupHome, name: string): boolean {
  const base = home.folders.memory;
  if (base === undefined) return false;
  const text = readText(join(base, name, home.version === 1 ? "memory.oom_control" : "memory.events")) ?? "";
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0) > 0;
}

/** Processes of the group, for killing what is left. */
export function cgroupProcesses(home: CgroupHome, name: string): number[] {
  const base = home.folders.memory;
  const text = base === undefined ? "" : (readText(join(base, name, "cgroup.procs")) ?? "");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(Number);
}

/** Memory (without reclaimable file pages) and, where it is counted, CPU time of the group; `undefined` when it is gone. */
export function cgroupUsage(home: CgroupHome, name: string): Partial<ResourceUsage> | undefined {
  const memory = home.folders.memory;
  if (memory === undefined) return undefined;
  const file = home.version === 1 ? "memory.usage_in_bytes" : "memory.current";
  const total = readText(join(memory, name, file));
  if (total === undefined) return undefined;
  const stat = readText(join(memory, name, "memory.stat")) ?? "";
  const inactive = Number(/^(?:total_)?inactive_file (\d+)$/m.exec(stat)?.[1] ?? 0);
  const cpuNanos = cpuNanosOf(home, name);
  return { memoryBytes: Math.max(0, Number(total) - inactive), ...(cpuNanos === undefined ? {} : { cpuNanos }) };
}

function cpuNanosOf(home: CgroupHome, name: string): number | undefined {
  const base = home.version === 1 ? home.folders.cpuacct : home.folders.cpu;
  const text =
    base === undefined ? undefined : readText(join(base, name, home.version === 1 ? "cpuacct.usage" : "cpu.stat"));
  if (text === undefined) return undefined;
  return home.version === 1 ? Number(text) : Number(/^usage_usec (\d+)$/m.exec(text)?.[1] ?? 0) * 1000;
}

/** Removes the group when no process is left in it; returns whether it is gone. */
export function removeCgroup(home: CgroupHome, name: string): boolean {
  return groupFolders(home, name).every(([, folder]) => {
    try {
      rmdirSync(folder);
    } catch {
      return !existsSync(folder);
    }
    return true;
  });
}

/** Names of the groups below a parent group. */
export function listCgroups(home: CgroupHome, parent: string): string[] {
  const base = home.folders.memory;
  if (base === undefined) return [];
  try {
    return readdirSync(join(base, parent), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}

/** Removes a group with those below it, in every hierarchy of the machine; what still has processes stays. */
export function removeGroupTree(name: string): void {
  for (const { folder } of cgroupMounts()) {
    const group = join(folder, name);
    if (!existsSync(group)) continue;
    const below = readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const path of [...below.map((entry) => join(group, entry.name)), group]) {
      try {
        rmdirSync(path);
      } catch {
        // Somebody is in it.
      }
    }
  }
}

import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { NodeError } from "../errors.js";
import { escapeField, isWithin, lockedFlags, mountPoints } from "./mount-table.js";
import type { ContainerMount } from "./types.js";

/** What the file system of a container is made of. */
export interface RootPlan {
  /** An empty folder that becomes the container's root; what the program writes outside of volumes lies here. */
  readonly root: string;
  readonly mode: "root" | "user";
  readonly hasPidNamespace: boolean;
  readonly mounts: readonly ContainerMount[];
  readonly imagePaths: readonly string[];
  readonly imageRoot?: string;
  readonly readOnlyRoot: boolean;
  /** All devices of the machine, nothing of /proc and /sys masked. */
  readonly privileged?: boolean;
  /** Nothing of /proc is masked. */
  readonly unmaskedProc?: boolean;
  /** /dev/shm is the machine's. */
  readonly hostIpc?: boolean;
  /** Folder that `buildEtcTemplate` filled. */
  readonly etcTemplate: string;
  /** Folders of the machine that no pod may see: the data directory. */
  readonly hiddenPaths: readonly string[];
}

/** The machine's userland that is visible read-only where it exists. */
export const hostTrees = [
  "/usr",
  "/bin",
  "/sbin",
  "/lib",
  "/lib32",
  "/lib64",
  "/libx32",
  "/opt",
  "/nix",
  "/gnu",
  "/snap",
];
const plainFolders = [
  "tmp",
  "run",
  "root",
  "home",
  "mnt",
  "media",
  "srv",
  "var",
  "var/tmp",
  "var/log",
  "var/cache",
  "var/lib",
];
const devices = ["null", "zero", "full", "random", "urandom", "tty"];
const ownFolder = ".argosy";
/** What container runtimes hide of the kernel's folders, and what they show read-only. */
const masked = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];
const readOnlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/** Folders and links of /dev that each container has of its own. */
const ownDevices = new Set([
  ...devices,
  "pts",
  "shm",
  "mqueue",
  "fd",
  "stdin",
  "stdout",
  "stderr",
  "ptmx",
  "console",
  "log",
  "core",
]);

/** What the container's first process mounts, in a namespace of its own, so that the machine never sees it. */
export interface RootMounts {
  /** Lines of an fstab; the order counts. */
  readonly fstab: string;
  /** Mounts that come with others and are made read-only after them, with the flags that this needs. */
  readonly sealed: readonly { readonly path: string; readonly flags: string }[];
}

/** One mount of a container's root: as `mount` takes it. */
export interface RootMount {
  /** Folder, file, or what the type calls for. */
  readonly source: string;
  /** Below the folder that becomes the root. */
  readonly target: string;
  /** `none`: a folder or file of the machine. */
  readonly type: "none" | "tmpfs" | "proc" | "sysfs" | "devpts" | "overlay";
  /** As `mount -o` takes them. */
  readonly options: string;
}

/** Prepares the folder that becomes a container's root, and says what to mount. */
export function prepareRoot(plan: RootPlan): RootMounts {
  return new RootBuilder(plan).build();
}

/**
 * The same for a runtime that makes /proc, /sys, /dev and the root itself: the machine's userland where the image has no root of
 * its own, and the volumes.
 */
export function prepareContent(plan: RootPlan): readonly RootMount[] {
  return new RootBuilder(plan).content();
}

class RootBuilder {
  readonly #plan: RootPlan;
  readonly #entries: RootMount[] = [];
  readonly #sealed: { source: string; path: string; flags: string }[] = [];
  readonly #mounts: readonly ContainerMount[];

  constructor(plan: RootPlan) {
    this.#plan = plan;
    this.#mounts = plan.mounts
      .map((mount) => ({ ...mount, containerPath: this.#canonical(mount.containerPath) }))
      .sort((a, b) => depthOf(a.containerPath) - depthOf(b.containerPath));
  }

  build(): RootMounts {
    const { root, mode, imageRoot } = this.#plan;
    mkdirSync(root, { recursive: true });
    // Devices belong to /dev alone; what a program makes elsewhere is a plain file.
    if (imageRoot === undefined) this.#line(root, root, "none", mode === "root" ? "bind,nosuid,nodev" : "bind");
    if (imageRoot === undefined) this.#hostRoot();
    else this.#imageRoot(imageRoot);
    this.#kernelFolders();
    this.#fill();
    const lines = this.#entries.map(
      ({ source, target, type, options }) => `${escapeField(source)} ${escapeField(target)} ${type} ${options} 0 0\n`,
    );
    return { fstab: lines.join(""), sealed: this.#sealed };
  }

  content(): readonly RootMount[] {
    mkdirSync(this.#plan.root, { recursive: true });
    if (this.#plan.imageRoot === undefined) this.#hostRoot();
    this.#fill();
    const sealed = this.#sealed.map(({ source, path }) => ({
      source,
      target: path,
      type: "none" as const,
      options: "bind,ro",
    }));
    return [...this.#entries, ...sealed];
  }

  #fill(): void {
    for (const path of this.#plan.imagePaths) this.#imagePath(path);
    this.#coverHidden();
    for (const mount of this.#mounts) this.#mount(mount);
  }

  #line(source: string, target: string, type: RootMount["type"], options: string): void {
    this.#entries.push({ source, target, type, options });
  }

  #bind(source: string, target: string, options: { readOnly: boolean; recursive: boolean }): void {
    const flags = [options.recursive ? "rbind" : "bind"];
    if (options.readOnly) flags.push("ro", ...lockedFlags(source));
    this.#line(source, target, "none", flags.join(","));
  }

  #hostRoot(): void {
    const { root } = this.#plan;
    for (const folder of plainFolders) mkdirSync(join(root, folder), { recursive: true, mode: folderMode(folder) });
    mkdirSync(join(root, ownFolder, "old"), { recursive: true });
    link("../run", join(root, "var/run"));
    for (const tree of hostTrees) {
      const target = symlinkTarget(tree);
      if (target !== undefined) link(target, join(root, tree));
      else if (existsSync(tree)) this.#placeTree(tree);
    }
    this.#etc();
  }

  /** An image with a root of its own: its folder stays as it is, changes go to the container's. */
  #imageRoot(image: string): void {
    const { root } = this.#plan;
    const upper = `${root}.upper`;
    const work = `${root}.work`;
    for (const folder of [upper, work]) mkdirSync(folder, { recursive: true });
    for (const path of [
      `${ownFolder}/old`,
      "etc",
      "proc",
      "sys",
      "dev",
      "tmp",
      ...this.#mounts.map((mount) => mount.containerPath),
    ]) {
      const mount = this.#mounts.find((each) => each.containerPath === path);
      makeMountPoint(join(upper, path), mount === undefined || isFolder(mount));
    }
    const options = `lowerdir=${image},upperdir=${upper},workdir=${work}`;
    this.#line("overlay", root, "overlay", this.#plan.mode === "user" ? `${options},userxattr` : options);
  }

  #etc(): void {
    const { root, etcTemplate } = this.#plan;
    const shared = join(root, ownFolder, "etc");
    mkdirSync(shared, { recursive: true });
    mkdirSync(join(root, "etc"), { recursive: true });
    this.#bind(etcTemplate, shared, { readOnly: true, recursive: false });
    const points = this.#mounts.map((mount) => mount.containerPath);
    for (const name of readdirSync(etcTemplate)) {
      const path = `/etc/${name}`;
      if (points.includes(path)) continue;
      const isAbove = points.some((point) => point.startsWith(`${path}/`));
      if (!isAbove) link(`../${ownFolder}/etc/${name}`, join(root, "etc", name));
    }
  }

  #kernelFolders(): void {
    const { root, mode, hasPidNamespace } = this.#plan;
    const isHostRoot = this.#plan.imageRoot === undefined;
    if (isHostRoot) for (const folder of ["proc", "sys", "dev"]) mkdirSync(join(root, folder), { recursive: true });
    if (hasPidNamespace) this.#line("proc", join(root, "proc"), "proc", "nosuid,nodev,noexec");
    else this.#line("/proc", join(root, "proc"), "none", "rbind");
    const access = this.#plan.privileged === true ? "rw" : "ro";
    if (mode === "root") this.#line("sysfs", join(root, "sys"), "sysfs", `${access},nosuid,nodev,noexec`);
    else this.#line("/sys", join(root, "sys"), "none", "rbind");
    this.#maskKernel();
    const dev = isHostRoot ? join(root, "dev") : `${root}.dev`;
    this.#fillDev(dev);
    for (const mount of this.#mounts.filter((each) => !isHostRoot && isWithin(each.containerPath, "/dev"))) {
      makeMountPoint(join(dev, relative("/dev", mount.containerPath)), isFolder(mount));
    }
    if (!isHostRoot) this.#line(dev, join(root, "dev"), "none", "bind");
    this.#mountDev(join(root, "dev"));
  }

  #maskKernel(): void {
    const { root, privileged, unmaskedProc } = this.#plan;
    if (privileged === true || unmaskedProc === true) return;
    const flags = "nosuid,nodev,noexec";
    for (const path of readOnlyPaths.filter((each) => existsSync(each)))
      this.#line(join(root, path), join(root, path), "none", `bind,ro,${flags}`);
    for (const path of masked.filter((each) => existsSync(each))) {
      if (statSync(path).isDirectory()) this.#line("tmpfs", join(root, path), "tmpfs", `ro,size=4k,${flags}`);
      else this.#line("/dev/null", join(root, path), "none", "bind");
    }
  }

  #fillDev(folder: string): void {
    for (const name of ["pts", "shm", "mqueue"]) mkdirSync(join(folder, name), { recursive: true });
    for (const name of this.#devices()) makeMountPoint(join(folder, name), statSync(`/dev/${name}`).isDirectory());
    link("/proc/self/fd", join(folder, "fd"));
    link("/proc/self/fd/0", join(folder, "stdin"));
    link("/proc/self/fd/1", join(folder, "stdout"));
    link("/proc/self/fd/2", join(folder, "stderr"));
    link("pts/ptmx", join(folder, "ptmx"));
  }

  #devices(): string[] {
    const all = this.#plan.privileged === true ? readdirSync("/dev").filter((name) => !ownDevices.has(name)) : [];
    return [...devices, ...all].filter((name) => existsSync(`/dev/${name}`));
  }

  #mountDev(folder: string): void {
    for (const name of this.#devices()) this.#line(`/dev/${name}`, join(folder, name), "none", "rbind");
    this.#line("devpts", join(folder, "pts"), "devpts", "newinstance,ptmxmode=0666,mode=620,nosuid,noexec");
    if (this.#plan.hostIpc === true) this.#line("/dev/shm", join(folder, "shm"), "none", "rbind");
    else if (!this.#mounts.some((mount) => mount.containerPath === "/dev/shm")) {
      this.#line("tmpfs", join(folder, "shm"), "tmpfs", "size=64m,mode=1777,nosuid,nodev");
    }
  }

  #imagePath(path: string): void {
    if (this.#isVisible(path)) return;
    if (!existsSync(path))
      throw new NodeError("CreateContainerError", `the image's file ${path} is not on this machine`);
    if (statSync(path).isDirectory() && this.#plan.imageRoot === undefined) {
      this.#placeTree(path);
      return;
    }
    makeMountPoint(join(this.#plan.root, path), statSync(path).isDirectory());
    this.#bind(path, join(this.#plan.root, path), { readOnly: true, recursive: true });
  }

  #isVisible(path: string): boolean {
    return this.#plan.imageRoot === undefined && hostTrees.some((tree) => isWithin(path, tree));
  }

  /** A folder of the machine at its own path; where a mount point is missing in it, links stand in for its neighbours. */
  #placeTree(tree: string): void {
    const target = join(this.#plan.root, tree);
    const inside = this.#mounts.filter((mount) => isWithin(mount.containerPath, tree) && mount.containerPath !== tree);
    const missing = inside.filter((mount) => !existsSync(mount.containerPath));
    mkdirSync(target, { recursive: true });
    if (missing.length === 0) {
      this.#bind(tree, target, { readOnly: true, recursive: true });
      return;
    }
    const aside = join(this.#plan.root, ownFolder, "host", tree);
    mkdirSync(aside, { recursive: true });
    this.#bind(tree, aside, { readOnly: true, recursive: true });
    this.#standIn(
      tree,
      inside.map((mount) => mount.containerPath),
    );
  }

  #standIn(folder: string, points: readonly string[]): void {
    const target = join(this.#plan.root, folder);
    mkdirSync(target, { recursive: true });
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      const path = join(folder, name);
      if (points.includes(path)) continue;
      const below = points.filter((point) => isWithin(point, path));
      if (below.length === 0) link(join("/", ownFolder, "host", path), join(target, name));
      else this.#standIn(path, below);
    }
  }

  #coverHidden(): void {
    for (const hidden of this.#plan.hiddenPaths) {
      if (!existsSync(hidden)) continue;
      const real = realpathSync(hidden);
      const trees = [...hostTrees, ...this.#plan.imagePaths];
      if (!trees.some((tree) => isWithin(real, tree))) continue;
      for (const base of [this.#plan.root, join(this.#plan.root, ownFolder, "host")]) {
        // Only what is bound shows it: the container's own folders are empty.
        if (this.#isBound(base, real)) this.#line("tmpfs", join(base, real), "tmpfs", "size=4k,mode=755,ro");
      }
    }
  }

  #isBound(base: string, path: string): boolean {
    return this.#entries.some(
      ({ target }) => target.startsWith(`${base}/`) && isWithin(join(base, path), target) && target !== base,
    );
  }

  #mount(mount: ContainerMount): void {
    const target = join(this.#plan.root, mount.containerPath);
    const parent = this.#mounts.find(
      (each) =>
        each !== mount &&
        isWithin(mount.containerPath, each.containerPath) &&
        each.containerPath !== mount.containerPath,
    );
    if (parent?.hostPath !== undefined) {
      const inside = join(parent.hostPath, relative(parent.containerPath, mount.containerPath));
      if (!existsSync(inside)) makeMountPoint(inside, isFolder(mount));
    } else if (
      this.#plan.imageRoot === undefined &&
      !existsSync(target) &&
      !this.#liesInBoundTree(mount.containerPath)
    ) {
      makeMountPoint(target, isFolder(mount));
    }
    if (mount.hostPath === undefined) {
      const size = mount.sizeBytes === undefined ? "" : `,size=${mount.sizeBytes}`;
      this.#line("tmpfs", target, "tmpfs", `mode=1777,nosuid,nodev${size}${mount.readOnly ? ",ro" : ""}`);
      return;
    }
    this.#bind(mount.hostPath, target, { readOnly: mount.readOnly, recursive: true });
    if (mount.readOnly && mount.recursiveReadOnly === true) this.#sealBelow(mount.hostPath, target);
    // A hostPath above the data directory shows the rest, not that.
    for (const hidden of this.#plan.hiddenPaths) {
      if (hidden === mount.hostPath || !isWithin(hidden, mount.hostPath) || !existsSync(hidden)) continue;
      this.#line("tmpfs", join(target, relative(mount.hostPath, hidden)), "tmpfs", "size=4k,mode=755,ro");
    }
  }

  /** A read-only bind leaves what is mounted below it writable: each of those is made read-only too. */
  #sealBelow(hostPath: string, target: string): void {
    const real = realpathSync(hostPath);
    for (const point of mountPoints().filter((each) => each !== real && isWithin(each, real))) {
      const flags = ["remount", "bind", "ro", ...lockedFlags(point)].join(",");
      this.#sealed.push({ source: point, path: join(target, relative(real, point)), flags });
    }
  }

  #liesInBoundTree(path: string): boolean {
    return (
      [...hostTrees, ...this.#plan.imagePaths].some((tree) => isWithin(path, tree) && path !== tree) && existsSync(path)
    );
  }

  /** The path without `..` and without the machine's top-level links: `/bin/x` is `/usr/bin/x`. */
  #canonical(path: string): string {
    const clean = normalize(join("/", path)).replace(/(.)\/$/, "$1");
    if (this.#plan.imageRoot !== undefined) return clean;
    if (clean === "/var/run" || clean.startsWith("/var/run/")) return clean.slice("/var".length);
    const [, top = "", rest = ""] = /^(\/[^/]+)(.*)$/.exec(clean) ?? [];
    const target = hostTrees.includes(top) ? symlinkTarget(top) : undefined;
    return target === undefined ? clean : join("/", target, rest);
  }
}

function symlinkTarget(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch {
    return undefined;
  }
}

function folderMode(folder: string): number {
  return folder === "tmp" || folder === "var/tmp" ? 0o1777 : 0o755;
}

function depthOf(path: string): number {
  return path.split("/").length;
}

function isFolder(mount: ContainerMount): boolean {
  return mount.hostPath === undefined || (existsSync(mount.hostPath) && statSync(mount.hostPath).isDirectory());
}

function makeMountPoint(path: string, folder: boolean): void {
  if (folder) {
    mkdirSync(path, { recursive: true });
    return;
  }
  mkdirSync(dirname(path), { recursive: true });
  closeSync(openSync(path, "a"));
}

function link(target: string, path: string): void {
  if (!existsSync(path)) symlinkSync(target, path);
}

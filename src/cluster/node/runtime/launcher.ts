import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, closeSync, constants, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { Clock } from "../../../kernel/clock/index.js";
import { type ProcessMark, replaceFileSync } from "../../../kernel/files/index.js";
import { plainEnvironment, requireProgram, runCommandSync } from "../commands.js";
import { NodeError } from "../errors.js";
import {
  cgroupProcesses,
  cgroupUsage,
  createCgroup,
  listCgroups,
  type ResourceUsage,
  removeCgroup,
} from "../isolation/cgroup.js";
import type { Isolation } from "../isolation/detect.js";
import { begin } from "./begin.js";
import { fifoWriter } from "./fifo.js";
import { isForNetworkOwner } from "./network-sysctls.js";
import { defaultSignals, identityOf, privilegePrefix } from "./privileges.js";
import type { NodeFiles, SavedContainer } from "./process-files.js";
import { processTree, sendSignal, signalProcess } from "./processes.js";
import { prepareRoot } from "./rootfs.js";
import { exportLines, initScript, oddEnvironment } from "./script.js";
import { signalNumber } from "./signals.js";
import { onTerminal } from "./terminal.js";
import {
  type ContainerMount,
  type ContainerSpec,
  containerIdOf,
  type ExecSession,
  type SandboxRecord,
  type TerminalSize,
} from "./types.js";

interface LauncherOptions {
  readonly files: NodeFiles;
  readonly isolation: Isolation;
  readonly hiddenPaths: readonly string[];
  readonly clock: Clock;
}

const hostPrograms = { mount: "mount", umount: "umount", pivotRoot: "pivot_root" };

/** Makes files, groups and processes of containers, and takes them away. Keeps no record of its own. */
export class ContainerLauncher {
  readonly #options: LauncherOptions;
  readonly #groupPrefix: string;
  readonly #killed = new Set<string>();
  readonly #overMemory = new Set<string>();

  constructor(options: LauncherOptions) {
    this.#options = options;
    this.#groupPrefix = `argosy-${createHash("sha256").update(options.files.folder).digest("hex").slice(0, 8)}`;
  }

  /** Writes everything that the container needs to start. */
  async prepare(spec: ContainerSpec, pod: SandboxRecord, nowMs: number): Promise<SavedContainer> {
    const { files, isolation } = this.#options;
    const folder = files.attempt(spec);
    await rm(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true, mode: 0o711 });
    const terminationFile = join(folder, "termination");
    writeFileSync(terminationFile, "");
    chmodSync(terminationFile, 0o666);
    const execPrefix = [...oddEnvironment(spec.env), ...privilegePrefix(spec.user, isolation.mode)];
    const saved: SavedContainer = {
      podUid: spec.podUid,
      name: spec.name,
      attempt: spec.attempt,
      image: spec.image,
      imageId: spec.imageId,
      ...(spec.resources === undefined ? {} : { resources: spec.resources }),
      identity: identityOf(spec.user, isolation.mode),
      state: "starting",
      startedAtMs: nowMs,
      cgroup: isolation.cgroup === undefined ? "" : `${this.#groupPrefix}/${containerIdOf(spec)}`,
      workingDir: spec.workingDir,
      terminationFile,
      execPrefix,
      imagePaths: spec.imagePaths,
      ...(spec.limits.memoryBytes === undefined ? {} : { memoryBytes: spec.limits.memoryBytes }),
      ...(spec.imageRoot === undefined ? {} : { imageRoot: spec.imageRoot }),
      ...(spec.tty === true ? { tty: true } : {}),
      ...(spec.stdin && spec.stdinOnce === true ? { stdinOnce: true } : {}),
      ...(spec.stopSignal === undefined ? {} : { stopSignal: spec.stopSignal }),
      ...(pod.hostPid === true ? { hostPid: true } : {}),
      ...(pod.hostIpc === true ? { hostIpc: true } : {}),
    };
    this.removeEvents(saved);
    this.#writeScripts(spec, saved, pod);
    replaceFileSync(files.record(spec), JSON.stringify(saved));
    return saved;
  }

  #writeScripts(spec: ContainerSpec, saved: SavedContainer, pod: SandboxRecord): void {
    const { files, isolation, hiddenPaths } = this.#options;
    const folder = files.attempt(spec);
    const own: ContainerMount[] = [
      { containerPath: spec.terminationMessagePath, hostPath: saved.terminationFile, readOnly: false },
    ];
    const mounts = [
      ...spec.mounts,
      ...own.filter((each) => spec.mounts.every((mount) => mount.containerPath !== each.containerPath)),
    ];
    const { fstab, sealed } = prepareRoot({
      root: files.root(spec),
      mode: isolation.mode === "user" ? "user" : "root",
      hasPidNamespace: this.#hasPids(saved),
      mounts,
      imagePaths: spec.imagePaths,
      ...(spec.imageRoot === undefined ? {} : { imageRoot: spec.imageRoot }),
      readOnlyRoot: spec.user.readOnlyRoot === true,
      privileged: spec.user.privileged === true,
      unmaskedProc: spec.user.unmaskedProc === true,
      hostIpc: pod.hostIpc === true,
      etcTemplate: files.etc,
      hiddenPaths,
    });
    writeFileSync(join(folder, "fstab"), fstab, { mode: 0o600 });
    const envLines = exportLines(spec.env);
    // For exec, which has to work after an adoption too.
    writeFileSync(join(folder, "env.sh"), envLines, { mode: 0o600 });
    const script = initScript({
      fstab: join(folder, "fstab"),
      root: files.root(spec),
      startedFile: files.event(spec, "started"),
      hostname: pod.hostNetwork ? undefined : pod.hostname,
      workingDir: spec.workingDir,
      envLines,
      command: spec.command,
      prefix: [...defaultSignals(), ...saved.execPrefix],
      readOnlyRoot: spec.user.readOnlyRoot === true,
      sealed,
      sysctls: (pod.sysctls ?? []).filter((each) => isolation.mode === "root" || !isForNetworkOwner(each)),
      onTerminal:
        spec.tty === true
          ? onTerminal(spec.command, { imageRoot: spec.imageRoot, env: new Map(spec.env), size: undefined })
          : undefined,
      stopSignal: signalNumber(spec.stopSignal ?? "SIGTERM"),
      programs: {
        mount: requireProgram(hostPrograms.mount),
        umount: requireProgram(hostPrograms.umount),
        pivotRoot: requireProgram(hostPrograms.pivotRoot),
      },
    });
    writeFileSync(join(folder, "init.sh"), script, { mode: 0o600 });
  }

  /** Whether the container has a process namespace, and all its processes end with its first. */
  #hasPids(saved: SavedContainer): boolean {
    return this.#options.isolation.hasPidNamespace && saved.hostPid !== true;
  }

  /** Starts the keeper, detached; `onExit` is called when it ends. Everything else is seen in the event files. */
  launch(spec: ContainerSpec, saved: SavedContainer, enter: readonly string[], onExit: () => void): void {
    const { files, isolation } = this.#options;
    const unshare = requireProgram("unshare");
    const isUser = isolation.mode === "user";
    const outer = [...(isUser ? ["-U", "-r"] : []), ...(this.#hasPids(saved) ? ["-p"] : [])];
    const [program, ...words] = [
      ...enter,
      ...(outer.length === 0 ? [] : [unshare, ...outer, "--"]),
      "/bin/sh",
      files.keeper,
      files.event(saved, "exit").replace(/\.exit$/, ""),
      ...this.#createGroup(spec, saved),
      "--",
    ];
    const flags = ["-m", "-u", ...(saved.hostIpc === true ? [] : ["-i"])];
    if (spec.mounts.some((mount) => mount.isFollowing === true)) flags.push("--propagation", "slave");
    const inner = [unshare, ...flags, "--", "/bin/sh", join(files.attempt(saved), "init.sh")];
    const log = openSync(files.log(saved), "a", 0o640);
    const input = spec.stdin || spec.tty === true ? this.#openInput(saved) : undefined;
    const child = spawn(program, [...words, ...inner], {
      cwd: "/",
      detached: true,
      env: plainEnvironment,
      stdio: [input?.reader ?? "ignore", log, log, "ignore", input?.holder ?? "ignore"],
    });
    child.on("exit", onExit);
    child.on("error", onExit);
    child.unref();
    closeSync(log);
    for (const fd of new Set([input?.reader, input?.holder])) if (fd !== undefined) closeSync(fd);
  }

  /** The program's input, and what keeps it open: the program itself, unless it is to see the end. */
  #openInput(saved: SavedContainer): { readonly reader: number; readonly holder: number | undefined } {
    const path = this.#inputPath(saved);
    const made = runCommandSync(requireProgram("mkfifo"), ["-m", "600", path]);
    if (made.code !== 0)
      throw new NodeError("CreateContainerError", `no input for container "${saved.name}": ${made.stderr}`);
    const both = openSync(path, constants.O_RDWR);
    return saved.stdinOnce === true
      ? { reader: openSync(path, constants.O_RDONLY), holder: both }
      : { reader: both, holder: undefined };
  }

  #inputPath(saved: SavedContainer): string {
    return join(this.#options.files.attempt(saved), "stdin");
  }

  /** Output from now on, and the program's input where the container has one. */
  attach(
    saved: SavedContainer,
    stdin: boolean,
    source: {
      output(signal: AbortSignal): AsyncIterable<Uint8Array>;
      exited(): Promise<number>;
      resize(size: TerminalSize): void;
      inputEnded(): void;
    },
  ): Promise<ExecSession> {
    const stop = new AbortController();
    const path = this.#inputPath(saved);
    if (stdin && !existsSync(path))
      throw new NodeError("NoInput", `container "${saved.name}" has no stdin (spec.containers[].stdin is not set)`);
    const seen = begin(source.output(stop.signal));
    const input = stdin ? fifoWriter(path, this.#options.clock) : undefined;
    if (saved.stdinOnce === true) input?.once("close", () => source.inputEnded());
    return Promise.resolve({
      stdin: input,
      stdout: Readable.from(seen),
      stderr: undefined,
      exited: source.exited(),
      resize: (size) => source.resize(size),
      kill: () => {
        stop.abort();
        input?.destroy();
      },
    });
  }

  #createGroup(spec: ContainerSpec, saved: SavedContainer): string[] {
    const home = this.#options.isolation.cgroup;
    return home === undefined ? [] : createCgroup(home, saved.cgroup, spec.limits);
  }

  /** Files that put a process into the container's groups. */
  joinFiles(saved: SavedContainer): string[] {
    const home = this.#options.isolation.cgroup;
    if (home === undefined || saved.cgroup === "") return [];
    const folders = new Set(Object.values(home.folders).map((base) => join(base, saved.cgroup, "cgroup.procs")));
    return [...folders].filter((file) => existsSync(file));
  }

  usage(saved: SavedContainer): Partial<ResourceUsage> | undefined {
    const home = this.#options.isolation.cgroup;
    return home === undefined ? undefined : cgroupUsage(home, saved.cgroup);
  }

  /** KILL to everything of the container: its process namespace, its group, its cgroup. */
  kill(saved: SavedContainer, init: ProcessMark | undefined, keeper: ProcessMark | undefined): void {
    this.#killed.add(containerIdOf(saved));
    const home = this.#options.isolation.cgroup;
    const pids = new Set(home === undefined ? [] : cgroupProcesses(home, saved.cgroup));
    if (init !== undefined) {
      if (!this.#hasPids(saved)) for (const pid of processTree(init.pid)) pids.add(pid);
      signalProcess(init, "SIGKILL");
    }
    // The keeper lives on to record the exit.
    if (keeper !== undefined) pids.delete(keeper.pid);
    for (const pid of pids) sendSignal(pid, "SIGKILL");
  }

  isKilled(saved: SavedContainer): boolean {
    return this.#killed.has(containerIdOf(saved));
  }

  /** Where no kernel does it: the container used more memory than it may. */
  killOverMemory(saved: SavedContainer, init: ProcessMark, keeper: ProcessMark | undefined): void {
    this.#overMemory.add(containerIdOf(saved));
    this.kill(saved, init, keeper);
  }

  isOverMemory(saved: SavedContainer): boolean {
    return this.#overMemory.has(containerIdOf(saved));
  }

  /** Gives back what only a running container needs; its log, exit and message stay. */
  release(saved: SavedContainer): void {
    const home = this.#options.isolation.cgroup;
    if (home !== undefined && saved.cgroup !== "") {
      for (const pid of cgroupProcesses(home, saved.cgroup)) sendSignal(pid, "SIGKILL");
      removeCgroup(home, saved.cgroup);
    }
    const folder = this.#options.files.attempt(saved);
    for (const name of ["init.sh", "env.sh", "fstab", "stdin"]) rmSync(join(folder, name), { force: true });
    for (const name of ["root", "root.upper", "root.work", "root.dev"]) {
      // Nothing waits for this: what is left goes with the pod.
      rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined);
    }
  }

  removeEvents(saved: SavedContainer): void {
    const home = this.#options.isolation.cgroup;
    // The last process may not have been gone yet at the first try.
    if (home !== undefined && saved.cgroup !== "") removeCgroup(home, saved.cgroup);
    this.#killed.delete(containerIdOf(saved));
    this.#overMemory.delete(containerIdOf(saved));
    for (const kind of ["keeper", "init", "started", "exit"] as const)
      rmSync(this.#options.files.event(saved, kind), { force: true });
  }

  /** The node's group, when nothing is in it any more. */
  removeBaseCgroup(): void {
    const home = this.#options.isolation.cgroup;
    if (home === undefined) return;
    for (const name of listCgroups(home, this.#groupPrefix)) removeCgroup(home, `${this.#groupPrefix}/${name}`);
    removeCgroup(home, this.#groupPrefix);
  }

  /** Groups of this node that no container has any more. */
  removeStrayCgroups(known: ReadonlySet<string>): void {
    const home = this.#options.isolation.cgroup;
    if (home === undefined) return;
    for (const name of listCgroups(home, this.#groupPrefix)) {
      const path = `${this.#groupPrefix}/${name}`;
      if (known.has(path)) continue;
      for (const pid of cgroupProcesses(home, path)) sendSignal(pid, "SIGKILL");
      removeCgroup(home, path);
    }
  }
}

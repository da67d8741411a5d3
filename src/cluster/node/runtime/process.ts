import { existsSync, type FSWatcher, watch, writeFileSync } from "node:fs";
import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../../../kernel/clock/index.js";
import { isRunning } from "../../../kernel/files/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { StartError } from "../errors.js";
import { type ResourceUsage, wasOutOfMemory } from "../isolation/cgroup.js";
import { type Isolation, isolationRefusal } from "../isolation/detect.js";
import type { PodNetwork } from "../network/types.js";
import type { Attempt } from "./attempt.js";
import { dialPod } from "./dial.js";
import { folderBytes } from "./disk.js";
import { buildEtcTemplate } from "./etc-template.js";
import { readTail, startExec } from "./exec.js";
import { describeExit } from "./exit.js";
import { ContainerLauncher } from "./launcher.js";
import { MemoryWatch, type WatchedContainer } from "./memory-watch.js";
import { setNetworkSysctls } from "./network-sysctls.js";
import { PodBook } from "./pod-book.js";
import { type EventKind, NodeFiles, readEvent, readIdentity, type SavedContainer } from "./process-files.js";
import { processTree, signalGroup, signalProcess, usageOf } from "./processes.js";
import { keeperScript } from "./script.js";
import { signalNumber } from "./signals.js";
import { TerminalResizer } from "./terminal.js";
import {
  type ContainerRecord,
  type ContainerRef,
  type ContainerSpec,
  containerIdOf,
  type ExecOptions,
  type ExecSession,
  type LogOptions,
  type PodRuntime,
  type SandboxRecord,
  type SandboxSpec,
} from "./types.js";

/** What the process runtime needs. */
export interface ProcessRuntimeOptions {
  /** The node's own folder; all state lies here. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly isolation: Isolation;
  readonly network: PodNetwork;
  /** Folders that no pod may see besides the node's own: the platform's data directory. */
  readonly hiddenPaths?: readonly string[];
}

const safetyPollMs = 10_000;
const startTimeoutMs = 60_000;
const killWaitMs = 10_000;
/** How long containers may take to end when the agent goes and takes them along. */
const closeGraceMs = 2_000;

/**
 * Runs containers as processes of this machine that outlive this one: each under a keeper script that records its exit.
 * A new runtime over the same folder adopts them.
 */
export function processRuntime(options: ProcessRuntimeOptions): PodRuntime {
  return new ProcessRuntime(options);
}

class ProcessRuntime implements PodRuntime {
  readonly name = "process";
  readonly #options: ProcessRuntimeOptions;
  readonly #files: NodeFiles;
  readonly #launcher: ContainerLauncher;
  readonly #book: PodBook;
  #watcher: FSWatcher | undefined;
  #poll: Timer | undefined;
  #memoryWatch: MemoryWatch | undefined;
  #closed = false;

  constructor(options: ProcessRuntimeOptions) {
    this.#options = options;
    this.#files = new NodeFiles(options.dataDir);
    this.#book = new PodBook({ ...options, files: this.#files });
    this.#launcher = new ContainerLauncher({
      files: this.#files,
      isolation: options.isolation,
      hiddenPaths: [options.dataDir, ...(options.hiddenPaths ?? [])],
      clock: options.clock,
    });
  }

  async start(): Promise<void> {
    this.#files.make();
    writeFileSync(this.#files.keeper, keeperScript, { mode: 0o755 });
    const { network } = this.#options;
    if (!existsSync(this.#files.etc)) await buildEtcTemplate(this.#files.etc, network.nameserver);
    this.#watcher = watch(this.#files.events, { persistent: false }, (_, file) => this.#onFile(file));
    this.#watcher.on("error", (error) =>
      this.#options.log.warn("watching containers failed, polling instead", { err: error }),
    );
    for (const attempt of this.#book.load()) this.#adopt(attempt);
    await this.#book.reconnect((attempt, cause) => this.#kill(attempt, cause));
    this.#launcher.removeStrayCgroups(new Set(this.#book.attempts().map((each) => each.saved.cgroup)));
    this.#schedulePolls();
    if (this.#options.isolation.cgroup === undefined) this.#memoryWatch = this.#watchMemory();
  }

  pods(): readonly SandboxRecord[] {
    return this.#book.pods();
  }

  get etcFolder(): string {
    return this.#options.network.nameserver === undefined ? "/etc" : this.#files.etc;
  }

  createPod(spec: SandboxSpec): Promise<SandboxRecord> {
    return this.#book.createPod(spec);
  }

  async removePod(uid: string): Promise<void> {
    const attempts = this.#book.attemptsOf(uid);
    await Promise.all(attempts.map((attempt) => this.stopContainer(attempt.saved, 0)));
    for (const { saved } of attempts) this.#launcher.removeEvents(saved);
    await this.#book.removePod(uid);
  }

  async releasePod(uid: string): Promise<void> {
    await this.#options.network.detach(uid);
  }

  podFolder(uid: string): string {
    return this.#files.pod(uid);
  }

  containers(podUid: string): readonly ContainerRecord[] {
    return this.#book.attemptsOf(podUid).map((attempt) => attempt.saved);
  }

  async startContainer(spec: ContainerSpec): Promise<void> {
    const pod = this.#book.pod(spec.podUid);
    const enter = await this.#book.enter(pod);
    if (this.#options.isolation.mode === "user") await setNetworkSysctls(pod, enter);
    const saved = await this.#launcher.prepare(spec, pod, this.#options.clock.now());
    const attempt = this.#book.add(saved);
    this.#launcher.launch(spec, saved, enter, () => this.#look(attempt));
    attempt.log.watch();
    await this.#until(attempt, startTimeoutMs, () => attempt.saved.state !== "starting");
    if (attempt.saved.state === "starting") await this.#kill(attempt, "the container did not start within 60 s");
    if (attempt.saved.reason === "StartError")
      throw new StartError(attempt.saved.message ?? "the container did not start");
  }

  async stopContainer(ref: ContainerRef, graceMs: number): Promise<void> {
    const attempt = this.#book.attempt(ref);
    if (attempt === undefined || attempt.saved.state === "exited") return;
    if (graceMs > 0 && attempt.init !== undefined) {
      signalProcess(attempt.init, signalNumber(attempt.saved.stopSignal ?? "SIGTERM") ?? "SIGTERM");
      await this.#until(attempt, graceMs, () => attempt.saved.state === "exited");
    }
    if (!this.#isOver(attempt)) await this.#kill(attempt);
  }

  async removeContainer(ref: ContainerRef): Promise<void> {
    const attempt = this.#book.attempt(ref);
    if (attempt === undefined) return;
    if (attempt.saved.state !== "exited") await this.stopContainer(ref, 0);
    this.#launcher.removeEvents(attempt.saved);
    await this.#book.remove(attempt);
  }

  terminationMessage(ref: ContainerRef): Promise<string> {
    const attempt = this.#book.attempt(ref);
    return Promise.resolve(attempt === undefined ? "" : readTail(attempt.saved.terminationFile, 4096));
  }

  async exec(ref: ContainerRef, options: ExecOptions): Promise<ExecSession> {
    const attempt = this.#book.running(ref);
    return startExec({
      container: attempt.saved,
      init: attempt.init?.pid ?? 0,
      files: this.#files,
      isolation: this.#options.isolation,
      enter: await this.#book.enter(this.#book.pod(ref.podUid)),
      joinFiles: this.#launcher.joinFiles(attempt.saved),
      options,
      clock: this.#options.clock,
    });
  }

  async attach(ref: ContainerRef, options: { readonly stdin: boolean }): Promise<ExecSession> {
    const attempt = this.#book.running(ref);
    const resizer = new TerminalResizer(this.#options.clock, () => attempt.init?.pid ?? 0);
    return this.#launcher.attach(attempt.saved, options.stdin, {
      output: (signal) =>
        attempt.log.read({ follow: true, tailLines: 0, partial: true, signal }, () => this.#isOver(attempt)),
      resize: (size) => resizer.resize(size),
      inputEnded: () => {
        if (attempt.keeper !== undefined) signalProcess(attempt.keeper, "SIGUSR1");
      },
      exited: async () => {
        await this.#until(attempt, undefined, () => attempt.saved.state === "exited");
        return attempt.saved.exitCode ?? 0;
      },
    });
  }

  logs(ref: ContainerRef, options: LogOptions): AsyncIterable<Uint8Array> {
    return this.#book.lines(this.#book.known(ref), options);
  }

  async dial(podUid: string, port: number): Promise<Duplex> {
    const pod = this.#book.pod(podUid);
    return dialPod(pod, port, { connect: this.#options.network.connect, enter: () => this.#book.enter(pod) });
  }

  connect(host: string, port: number): Promise<Duplex> {
    return this.#options.network.connect(host, port);
  }

  usage(ref: ContainerRef): ResourceUsage | undefined {
    const attempt = this.#book.attempt(ref);
    if (attempt === undefined || attempt.saved.state !== "running") return undefined;
    const counted = this.#launcher.usage(attempt.saved);
    if (counted?.cpuNanos !== undefined && counted.memoryBytes !== undefined) {
      return { memoryBytes: counted.memoryBytes, cpuNanos: counted.cpuNanos };
    }
    return { ...usageOf(processTree(attempt.init?.pid ?? 0)), ...counted };
  }

  diskUse(ref: ContainerRef): Promise<number | undefined> {
    return folderBytes(this.#files.attempt(ref));
  }

  onChange(handler: (podUid: string) => void): () => void {
    return this.#book.onChange(handler);
  }

  refusal(): string | undefined {
    return isolationRefusal(this.#options.isolation) ?? this.#options.network.fault?.();
  }

  async close(options: { readonly keepPods: boolean }): Promise<void> {
    this.#poll?.cancel();
    this.#memoryWatch?.close();
    if (!options.keepPods) {
      // Records and logs stay, as on a machine that was switched off: the next start reports the exits and starts anew.
      const running = this.#book.attempts().filter((attempt) => attempt.saved.state !== "exited");
      await Promise.all(running.map((attempt) => this.stopContainer(attempt.saved, closeGraceMs)));
    }
    this.#closed = true;
    this.#watcher?.close();
    this.#book.close();
    if (!options.keepPods) this.#launcher.removeBaseCgroup();
  }

  #adopt(attempt: Attempt): void {
    const ref = attempt.saved;
    if (attempt.saved.state === "exited") return;
    this.#look(attempt);
    // It never came to a start, or the machine was started anew.
    if (attempt.keeper === undefined && !this.#isOver(attempt)) {
      this.#lostKeeper(attempt, this.#files.event(ref, "exit"), undefined);
    }
    if (!this.#isOver(attempt)) attempt.log.watch();
  }

  #onFile(file: string | null): void {
    const id = file?.replace(/\.(keeper|init|started|exit)$/, "");
    if (file === null || id === undefined) {
      this.#lookAtAll();
      return;
    }
    const attempt = this.#book.byId(id);
    if (attempt !== undefined && attempt.saved.state !== "exited") this.#look(attempt);
  }

  #lookAtAll(): void {
    for (const attempt of this.#book.attempts()) if (attempt.saved.state !== "exited") this.#look(attempt);
  }

  /** Brings an attempt up to date with its files and processes. */
  #look(attempt: Attempt): void {
    // What a closed runtime still hears is the next one's business.
    if (attempt.saved.state === "exited" || this.#closed) return;
    const path = (kind: EventKind): string => this.#files.event(attempt.saved, kind);
    attempt.keeper ??= readIdentity(path("keeper"));
    attempt.init ??= readIdentity(path("init"));
    const started = readEvent(path("started"));
    const exit = readEvent(path("exit"));
    if (exit !== undefined) {
      this.#ended(attempt, Number(exit.text), exit.timeMs, started?.text);
      return;
    }
    if (attempt.keeper !== undefined && !isRunning(attempt.keeper)) {
      this.#lostKeeper(attempt, path("exit"), started?.text);
      return;
    }
    // Without knowing its first process, a container could only be killed, not stopped.
    if (attempt.saved.state === "starting" && started?.text === "ok" && attempt.init !== undefined) {
      this.#update(attempt, { state: "running", startedAtMs: started.timeMs });
    }
  }

  /** The keeper died without a word (someone killed it): the container cannot be waited for any more. */
  #lostKeeper(attempt: Attempt, exitPath: string, started: string | undefined): void {
    const late = readEvent(exitPath);
    if (late !== undefined) {
      this.#ended(attempt, Number(late.text), late.timeMs, started);
      return;
    }
    if (attempt.init !== undefined) signalProcess(attempt.init, "SIGKILL");
    const reason = this.#wasOutOfMemory(attempt) ? "OOMKilled" : "Error";
    this.#cleanUp(attempt);
    const message = "the process that watches the container was killed; the container was stopped with it";
    const isExplained = reason === "OOMKilled" || this.#launcher.isKilled(attempt.saved);
    this.#update(attempt, {
      state: "exited",
      exitCode: 137,
      finishedAtMs: this.#options.clock.now(),
      ...(isExplained ? { reason } : { reason: "ContainerStatusUnknown", message }),
    });
  }

  #ended(attempt: Attempt, code: number, timeMs: number, started: string | undefined): void {
    const outOfMemory = this.#wasOutOfMemory(attempt);
    this.#cleanUp(attempt);
    const startedAtMs = readEvent(this.#files.event(attempt.saved, "started"))?.timeMs ?? attempt.saved.startedAtMs;
    const exit = describeExit({ code, started, outOfMemory, logTail: () => readTail(attempt.log.path, 1024) });
    this.#update(attempt, { ...exit, state: "exited", finishedAtMs: timeMs, startedAtMs });
  }

  #wasOutOfMemory({ saved }: Attempt): boolean {
    const { cgroup } = this.#options.isolation;
    return this.#launcher.isOverMemory(saved) || (cgroup !== undefined && wasOutOfMemory(cgroup, saved.cgroup));
  }

  #cleanUp(attempt: Attempt): void {
    if (attempt.keeper !== undefined) signalGroup(attempt.keeper, "SIGKILL");
    this.#launcher.release(attempt.saved);
    attempt.log.unwatch();
  }

  #update(attempt: Attempt, change: Partial<SavedContainer>): void {
    this.#book.update(attempt, change);
    if (change.state === "exited") this.#launcher.removeEvents(attempt.saved);
  }

  #isOver(attempt: Attempt): boolean {
    return attempt.saved.state === "exited";
  }

  async #kill(attempt: Attempt, startFailure?: string): Promise<void> {
    if (startFailure !== undefined) this.#options.log.warn(startFailure, { container: containerIdOf(attempt.saved) });
    this.#launcher.kill(attempt.saved, attempt.init, attempt.keeper);
    await this.#until(attempt, killWaitMs, () => this.#isOver(attempt));
    if (!this.#isOver(attempt) && attempt.keeper !== undefined) {
      signalGroup(attempt.keeper, "SIGKILL");
      await this.#until(attempt, killWaitMs, () => this.#isOver(attempt));
    }
  }

  #until(attempt: Attempt, limitMs: number | undefined, condition: () => boolean): Promise<void> {
    return attempt.until({ clock: this.#options.clock, limitMs, condition, look: () => this.#look(attempt) });
  }

  #schedulePolls(): void {
    this.#poll = this.#options.clock.setTimer(safetyPollMs, () => {
      this.#lookAtAll();
      this.#schedulePolls();
    });
  }

  #watchMemory(): MemoryWatch {
    const watched = (): WatchedContainer[] =>
      this.#book.attempts().flatMap(({ saved, init, keeper }) => {
        const { state, memoryBytes: limitBytes } = saved;
        if (state !== "running" || limitBytes === undefined || init === undefined) return [];
        return [{ pid: init.pid, limitBytes, kill: () => this.#launcher.killOverMemory(saved, init, keeper) }];
      });
    return new MemoryWatch(this.#options.clock, watched);
  }
}

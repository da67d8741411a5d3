import { existsSync, type FSWatcher, watch, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../../../kernel/clock/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { NodeError, StartError } from "../errors.js";
import { type ResourceUsage, wasOutOfMemory } from "../isolation/cgroup.js";
import type { Isolation } from "../isolation/detect.js";
import type { PodNetwork } from "../network/types.js";
import { dialInNamespace, readTail, startExec } from "./exec.js";
import { ContainerLauncher } from "./launcher.js";
import { LogFile } from "./log-file.js";
import {
  type EventKind,
  NodeFiles,
  readContainer,
  readEvent,
  readIdentity,
  type SavedContainer,
  writeAtomically,
} from "./process-files.js";
import { isAlive, type ProcessIdentity, processTree, sendSignal, signalProcess, usageOf } from "./processes.js";
import { buildEtcTemplate } from "./rootfs.js";
import { keeperScript } from "./script.js";
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

/** One attempt with what watches it. */
interface Attempt {
  saved: SavedContainer;
  keeper: ProcessIdentity | undefined;
  init: ProcessIdentity | undefined;
  readonly log: LogFile;
  /** Called at each event of the attempt. */
  readonly waiting: Set<() => void>;
}

const safetyPollMs = 10_000;
/** Without cgroups, memory is looked at this often, and only for containers with a limit. */
const memoryPollMs = 5_000;
const startTimeoutMs = 60_000;
const killWaitMs = 10_000;

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
  readonly #pods = new Map<string, SandboxRecord>();
  readonly #attempts = new Map<string, Attempt>();
  readonly #handlers = new Set<(podUid: string) => void>();
  #watcher: FSWatcher | undefined;
  #poll: Timer | undefined;
  #memoryPoll: Timer | undefined;

  constructor(options: ProcessRuntimeOptions) {
    this.#options = options;
    this.#files = new NodeFiles(options.dataDir);
    this.#launcher = new ContainerLauncher({
      files: this.#files,
      isolation: options.isolation,
      hiddenPaths: [options.dataDir, ...(options.hiddenPaths ?? [])],
    });
  }

  async start(): Promise<void> {
    this.#files.make();
    writeFileSync(this.#files.keeper, keeperScript, { mode: 0o755 });
    if (!existsSync(this.#files.etc)) await buildEtcTemplate(this.#files.etc);
    this.#watcher = watch(this.#files.events, { persistent: false }, (_, file) => this.#onFile(file));
    this.#watcher.on("error", (error) =>
      this.#options.log.warn("watching containers failed, polling instead", { err: error }),
    );
    const found = this.#files.load();
    for (const pod of found.pods) {
      this.#pods.set(pod.uid, pod);
    }
    for (const ref of found.containers) this.#adopt(ref);
    for (const pod of found.pods.filter((each) => !each.hostNetwork)) {
      if (this.#attemptsOf(pod.uid).some((attempt) => !this.#isOver(attempt))) {
        await this.#options.network.attach(pod.uid, this.#files.pod(pod.uid));
      }
    }
    this.#launcher.removeStrayCgroups(new Set([...this.#attempts.values()].map((each) => each.saved.cgroup)));
    this.#schedulePolls();
  }

  pods(): readonly SandboxRecord[] {
    return [...this.#pods.values()];
  }

  async createPod(spec: SandboxSpec): Promise<SandboxRecord> {
    const known = this.#pods.get(spec.uid);
    if (known !== undefined) return known;
    const folder = this.#files.pod(spec.uid);
    this.#launcher.makePodFolder(spec.uid);
    const { network, clock } = this.#options;
    const ip = spec.hostNetwork ? network.hostAddress : (await network.attach(spec.uid, folder)).ip;
    const record: SandboxRecord = { ...spec, ip, createdAtMs: clock.now() };
    writeAtomically(this.#files.podRecord(spec.uid), JSON.stringify(record));
    this.#pods.set(spec.uid, record);
    return record;
  }

  async removePod(uid: string): Promise<void> {
    const attempts = this.#attemptsOf(uid);
    await Promise.all(attempts.map((attempt) => this.stopContainer(attempt.saved, 0)));
    for (const attempt of attempts) this.#forget(attempt);
    await this.#options.network.detach(uid);
    await rm(this.#files.pod(uid), { recursive: true, force: true });
    this.#pods.delete(uid);
  }

  async releasePod(uid: string): Promise<void> {
    await this.#options.network.detach(uid);
  }

  podFolder(uid: string): string {
    return this.#files.pod(uid);
  }

  containers(podUid: string): readonly ContainerRecord[] {
    return this.#attemptsOf(podUid).map((attempt) => attempt.saved);
  }

  async startContainer(spec: ContainerSpec): Promise<void> {
    const pod = this.#pods.get(spec.podUid);
    if (pod === undefined) throw new NodeError("NoSandbox", `pod ${spec.podUid} has no sandbox`);
    const namespacePath = pod.hostNetwork
      ? undefined
      : (await this.#options.network.attach(pod.uid, this.#files.pod(pod.uid))).namespacePath;
    const saved = await this.#launcher.prepare(spec, pod, this.#options.clock.now());
    const attempt: Attempt = {
      saved,
      keeper: undefined,
      init: undefined,
      log: new LogFile(this.#files.log(saved), this.#options.clock),
      waiting: new Set(),
    };
    this.#attempts.set(containerIdOf(saved), attempt);
    this.#launcher.launch(spec, saved, namespacePath, () => this.#look(attempt));
    attempt.log.watch();
    await this.#until(attempt, startTimeoutMs, () => attempt.saved.state !== "starting");
    if (attempt.saved.state === "starting") await this.#kill(attempt, "the container did not start within 60 s");
    if (attempt.saved.reason === "StartError")
      throw new StartError(attempt.saved.message ?? "the container did not start");
  }

  async stopContainer(ref: ContainerRef, graceMs: number): Promise<void> {
    const attempt = this.#attempts.get(containerIdOf(ref));
    if (attempt === undefined || attempt.saved.state === "exited") return;
    if (graceMs > 0 && attempt.init !== undefined) {
      signalProcess(attempt.init, "SIGTERM");
      await this.#until(attempt, graceMs, () => attempt.saved.state === "exited");
    }
    if (!this.#isOver(attempt)) await this.#kill(attempt);
  }

  async removeContainer(ref: ContainerRef): Promise<void> {
    const attempt = this.#attempts.get(containerIdOf(ref));
    if (attempt === undefined) return;
    if (attempt.saved.state !== "exited") await this.stopContainer(ref, 0);
    this.#forget(attempt);
    await rm(this.#files.attempt(ref), { recursive: true, force: true });
  }

  terminationMessage(ref: ContainerRef): Promise<string> {
    const attempt = this.#attempts.get(containerIdOf(ref));
    return Promise.resolve(attempt === undefined ? "" : readTail(attempt.saved.terminationFile, 4096));
  }

  exec(ref: ContainerRef, options: ExecOptions): Promise<ExecSession> {
    const attempt = this.#running(ref);
    return startExec({
      container: attempt.saved,
      init: attempt.init?.pid ?? 0,
      files: this.#files,
      isolation: this.#options.isolation,
      joinFiles: this.#launcher.joinFiles(attempt.saved),
      options,
    });
  }

  attach(ref: ContainerRef, options: { readonly stdin: boolean }): Promise<ExecSession> {
    const attempt = this.#running(ref);
    return this.#launcher.attach(attempt.saved, options.stdin, {
      output: (signal) =>
        attempt.log.read({ follow: true, tailLines: 0, signal }, () => attempt.saved.state === "exited"),
      exited: async () => {
        await this.#until(attempt, undefined, () => attempt.saved.state === "exited");
        return attempt.saved.exitCode ?? 0;
      },
    });
  }

  logs(ref: ContainerRef, options: LogOptions): AsyncIterable<Uint8Array> {
    const attempt = this.#attempts.get(containerIdOf(ref));
    if (attempt === undefined) throw new NodeError("NotFound", `container "${ref.name}" has no such attempt`);
    return attempt.log.read(options, () => attempt.saved.state === "exited");
  }

  async dial(podUid: string, port: number): Promise<Duplex> {
    const pod = this.#pods.get(podUid);
    if (pod === undefined) throw new NodeError("NotFound", `pod ${podUid} does not run here`);
    const direct = await connectTo(pod.ip, port);
    if (direct !== undefined) return direct;
    const namespacePath = pod.hostNetwork
      ? undefined
      : (await this.#options.network.attach(podUid, this.#files.pod(podUid))).namespacePath;
    if (namespacePath !== undefined) return dialInNamespace(namespacePath, port);
    throw new NodeError(
      "ConnectionRefused",
      `nothing listens on port ${port} of pod ${pod.namespace}/${pod.name} (${pod.ip})`,
    );
  }

  usage(ref: ContainerRef): ResourceUsage | undefined {
    const attempt = this.#attempts.get(containerIdOf(ref));
    if (attempt === undefined || attempt.saved.state !== "running") return undefined;
    return this.#launcher.usage(attempt.saved) ?? usageOf(processTree(attempt.init?.pid ?? 0));
  }

  onChange(handler: (podUid: string) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  refusal(): string | undefined {
    const { isolation } = this.#options;
    if (isolation.mode !== "none") return undefined;
    const missing = isolation.capabilities.filter((each) => !each.available && each.remedy !== "");
    const first = missing[0];
    return `this machine cannot isolate pods: ${first?.reason ?? "no namespaces"}; ${first?.remedy ?? "run as root"}`;
  }

  async close(options: { readonly keepPods: boolean }): Promise<void> {
    this.#poll?.cancel();
    this.#memoryPoll?.cancel();
    if (!options.keepPods) for (const uid of [...this.#pods.keys()]) await this.removePod(uid);
    this.#watcher?.close();
    for (const attempt of this.#attempts.values()) {
      attempt.log.unwatch();
      this.#save(attempt);
    }
    this.#handlers.clear();
  }

  #attemptsOf(podUid: string): Attempt[] {
    return [...this.#attempts.values()].filter((attempt) => attempt.saved.podUid === podUid);
  }

  #running(ref: ContainerRef): Attempt {
    const attempt = this.#attempts.get(containerIdOf(ref));
    if (attempt === undefined || attempt.saved.state !== "running" || attempt.init === undefined) {
      throw new NodeError("NotRunning", `container "${ref.name}" is not running`);
    }
    return attempt;
  }

  #adopt(ref: ContainerRef): void {
    const saved = readContainer(this.#files.record(ref), ref);
    if (saved === undefined) return;
    const attempt: Attempt = {
      saved,
      keeper: undefined,
      init: undefined,
      log: new LogFile(this.#files.log(ref), this.#options.clock),
      waiting: new Set(),
    };
    this.#attempts.set(containerIdOf(ref), attempt);
    if (saved.state === "exited") return;
    this.#look(attempt);
    if (!this.#isOver(attempt)) attempt.log.watch();
  }

  #onFile(file: string | null): void {
    const id = file?.replace(/\.(keeper|init|started|exit)$/, "");
    if (file === null || id === undefined) return this.#lookAtAll();
    const attempt = this.#attempts.get(id);
    if (attempt !== undefined && attempt.saved.state !== "exited") this.#look(attempt);
  }

  #lookAtAll(): void {
    for (const attempt of this.#attempts.values()) if (attempt.saved.state !== "exited") this.#look(attempt);
  }

  /** Brings an attempt up to date with its files and processes. */
  #look(attempt: Attempt): void {
    if (attempt.saved.state === "exited") return;
    const path = (kind: EventKind): string => this.#files.event(attempt.saved, kind);
    attempt.keeper ??= readIdentity(path("keeper"));
    attempt.init ??= readIdentity(path("init"));
    const started = readEvent(path("started"));
    const exit = readEvent(path("exit"));
    if (exit !== undefined) return this.#ended(attempt, Number(exit.text), exit.timeMs, started?.text);
    if (attempt.keeper !== undefined && !isAlive(attempt.keeper))
      return this.#lostKeeper(attempt, path("exit"), started?.text);
    if (attempt.saved.state === "starting" && started?.text === "ok") {
      this.#update(attempt, { state: "running", startedAtMs: started.timeMs });
    }
  }

  /** The keeper died without a word (someone killed it): the container cannot be waited for any more. */
  #lostKeeper(attempt: Attempt, exitPath: string, started: string | undefined): void {
    const late = readEvent(exitPath);
    if (late !== undefined) return this.#ended(attempt, Number(late.text), late.timeMs, started);
    if (attempt.init !== undefined) signalProcess(attempt.init, "SIGKILL");
    this.#cleanUp(attempt);
    const killed = this.#launcher.isKilled(attempt.saved);
    this.#update(attempt, {
      state: "exited",
      exitCode: 137,
      finishedAtMs: this.#options.clock.now(),
      reason: killed ? "Error" : "ContainerStatusUnknown",
      ...(killed
        ? {}
        : { message: "the process that watches the container was killed; the container was stopped with it" }),
    });
  }

  #ended(attempt: Attempt, code: number, timeMs: number, started: string | undefined): void {
    const { cgroup } = this.#options.isolation;
    const outOfMemory =
      this.#launcher.isOverMemory(attempt.saved) ||
      (cgroup !== undefined && code !== 0 && wasOutOfMemory(cgroup, attempt.saved.cgroup));
    this.#cleanUp(attempt);
    if (started !== "ok") {
      const cause = started?.replace(/^error /, "") ?? readTail(attempt.log.path, 1024).trim();
      const message = cause === "" ? `the container's namespaces could not be made (exit code ${code})` : cause;
      return this.#update(attempt, {
        state: "exited",
        exitCode: 128,
        finishedAtMs: timeMs,
        reason: "StartError",
        message,
      });
    }
    const reason = outOfMemory ? "OOMKilled" : code === 0 ? "Completed" : "Error";
    const startedAtMs = readEvent(this.#files.event(attempt.saved, "started"))?.timeMs ?? attempt.saved.startedAtMs;
    this.#update(attempt, {
      state: "exited",
      exitCode: outOfMemory ? 137 : code,
      finishedAtMs: timeMs,
      startedAtMs,
      reason,
    });
  }

  #cleanUp(attempt: Attempt): void {
    if (attempt.keeper !== undefined) sendSignal(-attempt.keeper.pid, "SIGKILL");
    this.#launcher.release(attempt.saved);
    attempt.log.unwatch();
  }

  #update(attempt: Attempt, change: Partial<SavedContainer>): void {
    attempt.saved = { ...attempt.saved, ...change };
    this.#save(attempt);
    if (attempt.saved.state === "exited") this.#launcher.removeEvents(attempt.saved);
    attempt.log.wake();
    for (const notify of [...attempt.waiting]) notify();
    for (const handler of this.#handlers) handler(attempt.saved.podUid);
  }

  #save(attempt: Attempt): void {
    if (!existsSync(this.#files.attempt(attempt.saved))) return;
    try {
      writeAtomically(this.#files.record(attempt.saved), JSON.stringify(attempt.saved));
    } catch (error) {
      this.#options.log.error("the state of a container cannot be written", {
        container: containerIdOf(attempt.saved),
        err: error,
      });
    }
  }

  #isOver(attempt: Attempt): boolean {
    return attempt.saved.state === "exited";
  }

  async #kill(attempt: Attempt, startFailure?: string): Promise<void> {
    if (startFailure !== undefined) this.#options.log.warn(startFailure, { container: containerIdOf(attempt.saved) });
    this.#launcher.kill(attempt.saved, attempt.init, attempt.keeper);
    await this.#until(attempt, killWaitMs, () => this.#isOver(attempt));
    if (!this.#isOver(attempt) && attempt.keeper !== undefined) {
      sendSignal(-attempt.keeper.pid, "SIGKILL");
      await this.#until(attempt, killWaitMs, () => this.#isOver(attempt));
    }
  }

  /** Resolves when the condition holds (looked at after each event) or the time is over. */
  #until(attempt: Attempt, limitMs: number | undefined, condition: () => boolean): Promise<void> {
    this.#look(attempt);
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      let timer: Timer | undefined;
      const check = (): void => {
        if (!condition()) return;
        attempt.waiting.delete(check);
        timer?.cancel();
        resolve();
      };
      attempt.waiting.add(check);
      if (limitMs === undefined) return;
      timer = this.#options.clock.setTimer(limitMs, () => {
        this.#look(attempt);
        attempt.waiting.delete(check);
        resolve();
      });
    });
  }

  #forget(attempt: Attempt): void {
    attempt.log.unwatch();
    this.#attempts.delete(containerIdOf(attempt.saved));
    this.#launcher.removeEvents(attempt.saved);
  }

  #schedulePolls(): void {
    this.#poll = this.#options.clock.setTimer(safetyPollMs, () => {
      this.#lookAtAll();
      this.#schedulePolls();
    });
    if (this.#options.isolation.cgroup === undefined && this.#memoryPoll === undefined) this.#scheduleMemoryPoll();
  }

  #scheduleMemoryPoll(): void {
    this.#memoryPoll = this.#options.clock.setTimer(memoryPollMs, () => {
      this.#watchMemory();
      this.#scheduleMemoryPoll();
    });
  }

  #watchMemory(): void {
    for (const attempt of this.#attempts.values()) {
      const limit = attempt.saved.memoryBytes;
      if (limit === undefined || attempt.saved.state !== "running" || attempt.init === undefined) continue;
      if (usageOf(processTree(attempt.init.pid)).memoryBytes <= limit) continue;
      this.#launcher.markOverMemory(attempt.saved);
      this.#launcher.kill(attempt.saved, attempt.init, attempt.keeper);
    }
  }
}

function connectTo(host: string, port: number): Promise<Duplex | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
    socket.once("error", () => resolve(undefined));
  });
}

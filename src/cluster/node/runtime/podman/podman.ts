import { chmodSync, chownSync, type FSWatcher, readFileSync, rmSync, statSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../../../../kernel/clock/index.js";
import { messageOf } from "../../../../kernel/errors/index.js";
import { isRunning, markOf } from "../../../../kernel/files/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import type { Logger } from "../../../../kernel/log/index.js";
import { isObject } from "../../../../kernel/schema/index.js";
import { runCommand } from "../../commands.js";
import { StartError } from "../../errors.js";
import { cgroupProcesses, cgroupUsage, type ResourceUsage, wasOutOfMemory } from "../../isolation/cgroup.js";
import { type Isolation, isolationRefusal } from "../../isolation/detect.js";
import type { PodNetwork } from "../../network/types.js";
import type { Attempt } from "../attempt.js";
import { dialPod } from "../dial.js";
import { folderBytes } from "../disk.js";
import { readTail } from "../exec.js";
import { describeExit } from "../exit.js";
import { PodBook } from "../pod-book.js";
import { NodeFiles } from "../process-files.js";
import { sendSignal, signalProcess } from "../processes.js";
import { signalNumber } from "../signals.js";
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
} from "../types.js";
import { attachTo } from "./attach.js";
import type { PodmanEngine } from "./engine.js";
import { execIn } from "./exec.js";
import { engineName, makeEtc, nodeLabel, prepareContainer } from "./prepare.js";

/** What the podman runtime needs. */
export interface PodmanRuntimeOptions {
  /** The node's own folder; logs, volumes and what is known of containers lie here. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly isolation: Isolation;
  readonly network: PodNetwork;
  /** Started, and closed after this runtime, by its owner; shared by all nodes of a data directory. */
  readonly engine: PodmanEngine;
  /** Folders that no pod may see besides the node's own. */
  readonly hiddenPaths?: readonly string[];
}

const safetyPollMs = 10_000;
const killWaitMs = 10_000;
/** How long containers may take to end when the agent goes and takes them along. */
const closeGraceMs = 2_000;

/**
 * Runs containers by podman: each under a conmon, which writes its log and its exit code and outlives this process. A new runtime
 * over the same folder adopts them.
 */
export function podmanRuntime(options: PodmanRuntimeOptions): PodRuntime {
  return new PodmanRuntime(options);
}

class PodmanRuntime implements PodRuntime {
  readonly name = "podman";
  readonly #options: PodmanRuntimeOptions;
  readonly #files: NodeFiles;
  readonly #book: PodBook;
  /** Ends that are being written down. */
  readonly #ending = new Map<Attempt, Promise<void>>();
  readonly #killed = new Set<Attempt>();
  /** What podman is still asked about: their ends are written down after that, since they are taken away from podman with it. */
  readonly #starting = new Set<Attempt>();
  #watcher: FSWatcher | undefined;
  #poll: Timer | undefined;
  #closed = false;

  constructor(options: PodmanRuntimeOptions) {
    this.#options = options;
    this.#files = new NodeFiles(options.dataDir);
    this.#book = new PodBook({ ...options, files: this.#files });
  }

  async start(): Promise<void> {
    const { engine, log, network } = this.#options;
    this.#files.make();
    await makeEtc(this.#files, network);
    this.#watcher = watch(engine.exits, { persistent: false }, (_, file) => this.#onExitFile(file));
    this.#watcher.on("error", (error) => log.warn("watching containers failed, polling instead", { err: error }));
    const attempts = this.#book.load();
    for (const attempt of attempts) await this.#adopt(attempt);
    await this.#book.reconnect((attempt) => this.#kill(attempt));
    // Without one that was ever started there is nothing to ask podman for.
    if (attempts.length > 0) await this.#removeStrays();
    this.#schedulePolls();
  }

  get etcFolder(): string {
    return this.#options.network.nameserver === undefined ? "/etc" : this.#files.etc;
  }

  pods(): readonly SandboxRecord[] {
    return this.#book.pods();
  }

  createPod(spec: SandboxSpec): Promise<SandboxRecord> {
    return this.#book.createPod(spec);
  }

  async removePod(uid: string): Promise<void> {
    await Promise.all(this.#book.attemptsOf(uid).map((attempt) => this.stopContainer(attempt.saved, 0)));
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
    const { engine } = this.#options;
    const pod = this.#book.pod(spec.podUid);
    const address = await this.#book.address(pod);
    const { saved, body } = await prepareContainer({
      ...this.#options,
      files: this.#files,
      spec,
      pod,
      namespace: address?.namespace,
    });
    const attempt = this.#book.add(saved);
    this.#book.save(attempt);
    this.#starting.add(attempt);
    try {
      const created = await engine.ask("POST", "/containers/create", body);
      const engineId = textOf(created, "Id");
      this.#book.update(attempt, { engineId, cgroup: `${engine.cgroupParent}/libpod-${engineId}` });
      attempt.log.watch();
      if (spec.imageRoot !== undefined) await this.#giveRoot(engineId, spec.imageRoot);
      await engine.ask("POST", `/containers/${engineId}/start`);
      await this.#learnProcesses(attempt);
    } catch (error) {
      await this.#removeFromEngine(attempt.saved.engineId ?? engineName(spec));
      this.#startFailed(attempt, startMessage(messageOf(error)));
    } finally {
      this.#starting.delete(attempt);
    }
    // One that has ended already is seen by its exit file.
    if (attempt.saved.state === "starting")
      this.#book.update(attempt, { state: "running", startedAtMs: this.#options.clock.now() });
    this.#look(attempt);
  }

  async stopContainer(ref: ContainerRef, graceMs: number): Promise<void> {
    const attempt = this.#book.attempt(ref);
    if (attempt === undefined || isOver(attempt)) return;
    if (graceMs > 0 && attempt.init !== undefined) {
      signalProcess(attempt.init, signalNumber(attempt.saved.stopSignal ?? "SIGTERM") ?? "SIGTERM");
      await this.#until(attempt, graceMs);
    }
    if (!isOver(attempt)) await this.#kill(attempt);
  }

  async removeContainer(ref: ContainerRef): Promise<void> {
    const attempt = this.#book.attempt(ref);
    if (attempt === undefined) return;
    if (!isOver(attempt)) await this.stopContainer(ref, 0);
    await this.#book.remove(attempt);
  }

  terminationMessage(ref: ContainerRef): Promise<string> {
    const attempt = this.#book.attempt(ref);
    return Promise.resolve(attempt === undefined ? "" : readTail(attempt.saved.terminationFile, 4096));
  }

  async exec(ref: ContainerRef, options: ExecOptions): Promise<ExecSession> {
    const { engine, clock } = this.#options;
    return execIn({ attempt: this.#book.running(ref), options, engine, clock, folder: this.#files.attempt(ref) });
  }

  async attach(ref: ContainerRef, options: { readonly stdin: boolean }): Promise<ExecSession> {
    const attempt = this.#book.running(ref);
    return attachTo({
      attempt,
      stdin: options.stdin,
      engine: this.#options.engine,
      output: (signal) => this.#book.lines(attempt, { follow: true, tailLines: 0, partial: true, signal }),
      exited: async () => {
        await this.#until(attempt);
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
    const { cgroup } = this.#options.isolation;
    if (attempt?.saved.state !== "running" || cgroup === undefined) return undefined;
    const { memoryBytes = 0, cpuNanos = 0 } = cgroupUsage(cgroup, attempt.saved.cgroup) ?? {};
    return { memoryBytes, cpuNanos };
  }

  async diskUse(ref: ContainerRef): Promise<number | undefined> {
    const { engineId } = this.#book.attempt(ref)?.saved ?? {};
    const written =
      engineId === undefined ? 0 : ((await folderBytes(this.#options.engine.rootOf(engineId, "upper"))) ?? 0);
    const own = await folderBytes(this.#files.attempt(ref));
    return own === undefined ? undefined : own + written;
  }

  onChange(handler: (podUid: string) => void): () => void {
    return this.#book.onChange(handler);
  }

  refusal(): string | undefined {
    return isolationRefusal(this.#options.isolation) ?? this.#options.network.fault?.();
  }

  async close(options: { readonly keepPods: boolean }): Promise<void> {
    this.#poll?.cancel();
    if (!options.keepPods) {
      const running = this.#book.attempts().filter((attempt) => !isOver(attempt));
      await Promise.all(running.map((attempt) => this.stopContainer(attempt.saved, closeGraceMs)));
    }
    this.#closed = true;
    this.#watcher?.close();
    await Promise.all(this.#ending.values());
    this.#book.close();
  }

  /** podman gives the root itself to the container's user: it is the image's owner's. */
  async #giveRoot(engineId: string, imageRoot: string): Promise<void> {
    const { engine } = this.#options;
    await engine.ask("POST", `/containers/${engineId}/init`);
    const [{ uid, gid, mode }, merged] = [statSync(imageRoot), engine.rootOf(engineId, "merge")];
    chownSync(merged, uid, gid);
    chmodSync(merged, mode);
  }

  #startFailed(attempt: Attempt, message: string): never {
    attempt.log.unwatch();
    const exit = describeExit({ code: 128, started: `error ${message}`, outOfMemory: false, logTail: () => "" });
    this.#book.update(attempt, { ...exit, state: "exited", finishedAtMs: this.#options.clock.now() });
    throw new StartError(message);
  }

  /** Finds the processes of a container; false when podman does not run it, or nobody watches it any more. */
  async #learnProcesses(attempt: Attempt): Promise<boolean> {
    const state = await this.#stateOf(attempt);
    const numberOf = (name: string): number => (typeof state?.[name] === "number" ? state[name] : 0);
    if (numberOf("Pid") === 0) return false;
    attempt.init = markOf(numberOf("Pid"));
    attempt.keeper = markOf(numberOf("ConmonPid"));
    return attempt.init !== undefined && attempt.keeper !== undefined;
  }

  async #stateOf({ saved }: Attempt): Promise<JsonObject | undefined> {
    const found = await this.#options.engine.ask("GET", `/containers/${saved.engineId ?? ""}/json`);
    const state = found?.["State"];
    return isObject(state) ? state : undefined;
  }

  async #adopt(attempt: Attempt): Promise<void> {
    if (isOver(attempt)) return;
    const runs = attempt.saved.engineId !== undefined && (await this.#learnProcesses(attempt));
    if (runs) attempt.log.watch();
    if (runs && attempt.saved.state === "starting") this.#book.update(attempt, { state: "running" });
    this.#look(attempt);
    // It never came to a start, or the machine was started anew.
    if (!runs && !this.#ending.has(attempt)) this.#lost(attempt);
    await this.#ending.get(attempt);
  }

  #onExitFile(file: string | null): void {
    // A file that is written under another name first has more to its name.
    const attempt = this.#book.attempts().find(({ saved }) => saved.engineId === file);
    if (attempt !== undefined) this.#look(attempt);
  }

  /** Brings an attempt up to date with what conmon has written. */
  #look(attempt: Attempt): void {
    // What a closed runtime still hears is the next one's business.
    if (isOver(attempt) || this.#closed || this.#ending.has(attempt) || attempt.saved.engineId === undefined) return;
    if (this.#starting.has(attempt)) return;
    const file = join(this.#options.engine.exits, attempt.saved.engineId);
    const isGone = attempt.keeper !== undefined && !isRunning(attempt.keeper);
    // After that: what conmon writes, it has written when it is gone.
    const exit = readExit(file);
    if (exit !== undefined) this.#ended(attempt, exit);
    else if (isGone) this.#lost(attempt);
  }

  #ended(attempt: Attempt, { code, timeMs }: { readonly code: number; readonly timeMs: number }): void {
    this.#finish(attempt, async () => {
      const { cgroup } = this.#options.isolation;
      const wasSeen = cgroup !== undefined && wasOutOfMemory(cgroup, attempt.saved.cgroup);
      const outOfMemory = wasSeen || (await this.#stateOf(attempt).catch(() => undefined))?.["OOMKilled"] === true;
      const startedAtMs = Math.min(attempt.saved.startedAtMs, timeMs);
      return {
        ...describeExit({ code, started: "ok", outOfMemory, logTail: () => "" }),
        startedAtMs,
        finishedAtMs: timeMs,
      };
    });
  }

  /** conmon is gone without a word (someone killed it, or the machine was started anew): the container cannot be waited for any more. */
  #lost(attempt: Attempt): void {
    this.#finish(attempt, async () => {
      const { engine, clock } = this.#options;
      const { engineId } = attempt.saved;
      this.#killProcesses(attempt);
      if (engineId !== undefined) {
        // What podman leaves to conmon; it would wait long for its word.
        await runCommand(engine.programs.runtime, ["delete", "--force", engineId]);
        writeFileSync(join(engine.exits, engineId), "137");
      }
      const isExplained = this.#killed.has(attempt);
      const message = "the process that watches the container was killed; the container was stopped with it";
      const cause = isExplained ? { reason: "Error" } : { reason: "ContainerStatusUnknown", message };
      return { exitCode: 137, finishedAtMs: clock.now(), ...cause };
    });
  }

  /** Writes an end down, and takes away what only a running container needs; its log and message stay. */
  #finish(attempt: Attempt, exit: () => Promise<Partial<ContainerRecord>>): void {
    const work = async (): Promise<void> => {
      const change = await exit();
      // With the machine's processes around, those of the container do not end with its first.
      this.#killProcesses(attempt);
      attempt.log.unwatch();
      this.#book.update(attempt, { ...change, state: "exited" });
      this.#killed.delete(attempt);
      if (attempt.saved.engineId !== undefined) await this.#removeFromEngine(attempt.saved.engineId);
    };
    const ending = work()
      .catch((error: unknown) =>
        this.#options.log.error("the end of a container cannot be written down", {
          container: containerIdOf(attempt.saved),
          err: error,
        }),
      )
      .finally(() => this.#ending.delete(attempt));
    this.#ending.set(attempt, ending);
  }

  async #removeFromEngine(id: string): Promise<void> {
    const { engine, log } = this.#options;
    await engine
      .ask("DELETE", `/containers/${id}?force=true&timeout=0`)
      .catch((error: unknown) => log.warn("podman keeps a container that has ended", { container: id, err: error }));
    rmSync(join(engine.exits, id), { force: true });
  }

  async #kill(attempt: Attempt): Promise<void> {
    this.#killed.add(attempt);
    if (attempt.init !== undefined) signalProcess(attempt.init, "SIGKILL");
    this.#killProcesses(attempt);
    await this.#until(attempt, killWaitMs);
    if (!isOver(attempt) && !this.#ending.has(attempt)) this.#lost(attempt);
    await this.#ending.get(attempt);
  }

  #killProcesses({ saved }: Attempt): void {
    const { cgroup } = this.#options.isolation;
    if (cgroup === undefined || saved.cgroup === "") return;
    for (const pid of cgroupProcesses(cgroup, saved.cgroup)) sendSignal(pid, "SIGKILL");
  }

  /** Containers of this node that nothing is known of: a run was killed between making one and writing it down. */
  async #removeStrays(): Promise<void> {
    const { engine, dataDir } = this.#options;
    const filters = encodeURIComponent(JSON.stringify({ label: [`${nodeLabel}=${dataDir}`] }));
    const found = await engine.ask("GET", `/containers/json?all=true&filters=${filters}`);
    const known = new Set(this.#book.attempts().map(({ saved }) => (saved.state === "exited" ? "" : saved.engineId)));
    const items = Array.isArray(found?.["items"]) ? found["items"] : [];
    for (const item of items) {
      const id = isObject(item) ? textOf(item, "Id") : "";
      if (id !== "" && !known.has(id)) await this.#removeFromEngine(id);
    }
  }

  #until(attempt: Attempt, limitMs?: number): Promise<void> {
    return attempt.until({
      clock: this.#options.clock,
      limitMs,
      condition: () => isOver(attempt),
      look: () => this.#look(attempt),
    });
  }

  #schedulePolls(): void {
    this.#poll = this.#options.clock.setTimer(safetyPollMs, () => {
      for (const attempt of this.#book.attempts()) {
        this.#look(attempt);
        // It had ended before its processes were known, and nobody wrote down how.
        const isUnknown = attempt.saved.state === "running" && attempt.keeper === undefined;
        if (isUnknown && !this.#ending.has(attempt)) this.#adopt(attempt).catch(() => undefined);
      }
      this.#schedulePolls();
    });
  }
}

function isOver({ saved }: Attempt): boolean {
  return saved.state === "exited";
}

function textOf(object: JsonObject | undefined, name: string): string {
  const value = object?.[name];
  return typeof value === "string" ? value : "";
}

/** Exit code and time, once conmon has written them. */
function readExit(path: string): { code: number; timeMs: number } | undefined {
  try {
    const text = readFileSync(path, "utf8").trim();
    return /^\d+$/.test(text) ? { code: Number(text), timeMs: Math.floor(statSync(path).mtimeMs) } : undefined;
  } catch {
    return undefined;
  }
}

/** What is wrong, without what podman and runc put around it. */
function startMessage(message: string): string {
  const inner = /(?:unable to start container process|runc create failed|container_linux\.go:\d+): (.*)$/s.exec(
    message,
  )?.[1];
  return (inner ?? message)
    .replace(/^unable to start container process: /, "")
    .replace(/: (?:unknown: )?OCI (?:runtime|permission).*$/s, "")
    .replace(/^error during container init: /, "");
}

import { existsSync, mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import type { Clock } from "../../../kernel/clock/index.js";
import { replaceFileSync } from "../../../kernel/files/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { NodeError } from "../errors.js";
import type { PodAddress, PodNetwork } from "../network/types.js";
import { Attempt } from "./attempt.js";
import { LogFile } from "./log-file.js";
import { programLines } from "./podman/log-lines.js";
import { type NodeFiles, readContainer, type SavedContainer } from "./process-files.js";
import { type ContainerRef, containerIdOf, type LogOptions, type SandboxRecord, type SandboxSpec } from "./types.js";

export interface PodBookOptions {
  readonly files: NodeFiles;
  readonly clock: Clock;
  readonly log: Logger;
  readonly network: PodNetwork;
}

/**
 * What the runtimes of real containers have in common: the pods of one node with their addresses, and the attempts to run
 * their containers, in memory and on disk; who listens hears of changes.
 */
export class PodBook {
  readonly #options: PodBookOptions;
  readonly #pods = new Map<string, SandboxRecord>();
  readonly #attempts = new Map<string, Attempt>();
  readonly #handlers = new Set<(podUid: string) => void>();

  constructor(options: PodBookOptions) {
    this.#options = options;
  }

  /** Reads what an earlier runtime wrote down; returns its attempts, ended ones too. */
  load(): Attempt[] {
    const { files } = this.#options;
    files.make();
    files.forgetOtherBoots();
    const found = files.load();
    for (const pod of found.pods) this.#pods.set(pod.uid, pod);
    return found.containers.flatMap((ref) => {
      const saved = readContainer(files.record(ref), ref);
      return saved === undefined ? [] : [this.add(saved)];
    });
  }

  /** Gives adopted pods their network again, and ends the containers of those that lost it. */
  async reconnect(end: (attempt: Attempt, cause: string) => Promise<void>): Promise<void> {
    const { network } = this.#options;
    for (const pod of [...this.#pods.values()].filter((each) => !each.hostNetwork)) {
      const running = this.attemptsOf(pod.uid).filter((attempt) => attempt.saved.state !== "exited");
      if (network.hasLost(pod.uid)) {
        await Promise.all(running.map((each) => end(each, "the pod's network was lost with its holder")));
      } else if (running.length > 0) await this.address(pod);
    }
  }

  pods(): readonly SandboxRecord[] {
    return [...this.#pods.values()];
  }

  /** Throws `NotFound`. */
  pod(uid: string): SandboxRecord {
    const pod = this.#pods.get(uid);
    if (pod === undefined) throw new NodeError("NotFound", `pod ${uid} does not run here`);
    return pod;
  }

  /** See `PodRuntime.createPod`. */
  async createPod(spec: SandboxSpec): Promise<SandboxRecord> {
    const known = this.#pods.get(spec.uid);
    if (known !== undefined) return known;
    const { files, network, clock } = this.#options;
    const folder = files.pod(spec.uid);
    mkdirSync(folder, { recursive: true, mode: 0o711 });
    const ip = spec.hostNetwork ? network.hostAddress : (await network.attach(spec.uid, folder)).ip;
    const record: SandboxRecord = { ...spec, ip, createdAtMs: clock.now() };
    replaceFileSync(files.podRecord(spec.uid), JSON.stringify(record));
    this.#pods.set(spec.uid, record);
    return record;
  }

  /** Forgets a pod whose containers have ended: address, folder, record. */
  async removePod(uid: string): Promise<void> {
    for (const attempt of this.attemptsOf(uid)) this.forget(attempt);
    await this.#options.network.detach(uid);
    await rm(this.#options.files.pod(uid), { recursive: true, force: true });
    this.#pods.delete(uid);
  }

  /** Where a pod is reached; `undefined` where that is the machine. */
  async address(pod: SandboxRecord): Promise<PodAddress | undefined> {
    if (pod.hostNetwork) return undefined;
    return this.#options.network.attach(pod.uid, this.#options.files.pod(pod.uid));
  }

  /** The command that runs another one in a pod's network. */
  async enter(pod: SandboxRecord): Promise<readonly string[]> {
    return (await this.address(pod))?.enter ?? [];
  }

  attempts(): readonly Attempt[] {
    return [...this.#attempts.values()];
  }

  attemptsOf(podUid: string): readonly Attempt[] {
    return this.attempts().filter((attempt) => attempt.saved.podUid === podUid);
  }

  attempt(ref: ContainerRef): Attempt | undefined {
    return this.byId(containerIdOf(ref));
  }

  /** See `containerIdOf`. */
  byId(id: string): Attempt | undefined {
    return this.#attempts.get(id);
  }

  /** Throws `NotFound`. */
  known(ref: ContainerRef): Attempt {
    const attempt = this.attempt(ref);
    if (attempt === undefined) throw new NodeError("NotFound", `container "${ref.name}" has no such attempt`);
    return attempt;
  }

  /** Throws `NotRunning`. */
  running(ref: ContainerRef): Attempt {
    const attempt = this.attempt(ref);
    if (attempt === undefined || attempt.saved.state !== "running" || attempt.init === undefined) {
      throw new NodeError("NotRunning", `container "${ref.name}" is not running`);
    }
    return attempt;
  }

  add(saved: SavedContainer): Attempt {
    const { files, clock } = this.#options;
    const attempt = new Attempt(saved, new LogFile(files.log(saved), clock));
    this.#attempts.set(containerIdOf(saved), attempt);
    return attempt;
  }

  update(attempt: Attempt, change: Partial<SavedContainer>): void {
    attempt.saved = { ...attempt.saved, ...change };
    this.save(attempt);
    attempt.log.wake();
    attempt.notify();
    for (const handler of this.#handlers) handler(attempt.saved.podUid);
  }

  save({ saved }: Attempt): void {
    const { files, log } = this.#options;
    if (!existsSync(files.attempt(saved))) return;
    try {
      replaceFileSync(files.record(saved), JSON.stringify(saved));
    } catch (error) {
      log.error("the state of a container cannot be written", { container: containerIdOf(saved), err: error });
    }
  }

  forget({ saved, log }: Attempt): void {
    log.unwatch();
    this.#attempts.delete(containerIdOf(saved));
  }

  /** What an attempt has said, whichever runtime it ran by. */
  lines(attempt: Attempt, options: LogOptions): AsyncIterable<Uint8Array> {
    const isOver = (): boolean => attempt.saved.state === "exited";
    if (attempt.saved.engineId === undefined) return attempt.log.read(options, isOver);
    const { timestamps: _dated, limitBytes: _limit, ...rest } = options;
    return programLines(attempt.log.read(rest, isOver), options);
  }

  /** Forgets an attempt with its files. */
  async remove(attempt: Attempt): Promise<void> {
    this.forget(attempt);
    await rm(this.#options.files.attempt(attempt.saved), { recursive: true, force: true });
  }

  onChange(handler: (podUid: string) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Writes everything down; nobody hears of changes any more. */
  close(): void {
    for (const attempt of this.#attempts.values()) {
      attempt.log.unwatch();
      this.save(attempt);
    }
    this.#handlers.clear();
  }
}

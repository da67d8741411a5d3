import { type Duplex, PassThrough, Readable } from "node:stream";
import type { Clock, Timer } from "../../../kernel/clock/index.js";
import { NodeError, StartError } from "../errors.js";
import type { ImageCatalogue } from "../images/catalogue.js";
import type { ResourceUsage } from "../isolation/cgroup.js";
import { addressToNumber, numberToAddress } from "../network/leases.js";
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

/** What a simulated container does. */
export interface SimulatedBehaviour {
  /** Default 0. */
  readonly startDelayMs?: number;
  /** Ends by itself after this long; absent: runs until stopped. */
  readonly exitAfterMs?: number;
  /** Default 0. */
  readonly exitCode?: number;
  /** Probes say no before; default 0. */
  readonly readyAfterMs?: number;
  /** Probes never say yes. */
  readonly neverReady?: boolean;
  /** It cannot be started, for this reason. */
  readonly startError?: string;
  /** How long it takes to end after TERM; default 0. */
  readonly stopDelayMs?: number;
  readonly log?: string;
  readonly usage?: ResourceUsage;
}

export interface SimulatedRuntimeOptions {
  readonly clock: Clock;
  /** Called at each start; what a pod's annotations say (`simulation.argosy.dev/exit-after-ms`, …) comes on top. */
  readonly behaviour?: (spec: ContainerSpec) => SimulatedBehaviour;
  /** Addresses of pods are counted up from here; default 10.244.0.1. */
  readonly firstAddress?: string;
  /** Address of pods with hostNetwork; default 10.0.0.1. */
  readonly hostAddress?: string;
}

/** The simulation, with levers for tests. */
export interface SimulatedRuntime extends PodRuntime {
  /** The container ends now. */
  exit(ref: ContainerRef, code: number): void;
  /** From now on probes say this. */
  setHealthy(ref: ContainerRef, healthy: boolean): void;
}

interface Attempt {
  record: ContainerRecord;
  readonly behaviour: SimulatedBehaviour;
  healthy: boolean | undefined;
  timer: Timer | undefined;
  readonly onEnd: (() => void)[];
}

const annotationPrefix = "simulation.argosy.dev/";

/**
 * Pods without processes: containers "run" on the injected clock, as programmed. Nothing is written and nothing survives;
 * thousands of pods cost a few objects each.
 */
export function simulatedRuntime(options: SimulatedRuntimeOptions): SimulatedRuntime {
  return new Simulation(options);
}

/** Resolves every name: simulations need no images. */
export function simulatedImages(): ImageCatalogue {
  return {
    names: () => [],
    resolve: (image) =>
      Promise.resolve({
        id: `simulated://${image}`,
        entrypoint: ["simulated"],
        cmd: [],
        env: [],
        workingDir: "/",
        paths: [],
      }),
  };
}

class Simulation implements SimulatedRuntime {
  readonly name = "simulated";
  readonly #options: SimulatedRuntimeOptions;
  readonly #pods = new Map<string, SandboxRecord>();
  readonly #attempts = new Map<string, Attempt[]>();
  readonly #handlers = new Set<(podUid: string) => void>();
  #nextAddress: number;

  constructor(options: SimulatedRuntimeOptions) {
    this.#options = options;
    this.#nextAddress = addressToNumber(options.firstAddress ?? "10.244.0.1");
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  pods(): readonly SandboxRecord[] {
    return [...this.#pods.values()];
  }

  createPod(spec: SandboxSpec): Promise<SandboxRecord> {
    const known = this.#pods.get(spec.uid);
    if (known !== undefined) return Promise.resolve(known);
    const ip = spec.hostNetwork ? (this.#options.hostAddress ?? "10.0.0.1") : numberToAddress(this.#nextAddress++);
    const record = { ...spec, ip, createdAtMs: this.#options.clock.now() };
    this.#pods.set(spec.uid, record);
    return Promise.resolve(record);
  }

  removePod(uid: string): Promise<void> {
    for (const attempt of this.#attempts.get(uid) ?? []) attempt.timer?.cancel();
    this.#attempts.delete(uid);
    this.#pods.delete(uid);
    return Promise.resolve();
  }

  releasePod(): Promise<void> {
    return Promise.resolve();
  }

  podFolder(uid: string): string {
    return `/nonexistent/${uid}`;
  }

  containers(podUid: string): readonly ContainerRecord[] {
    return (this.#attempts.get(podUid) ?? []).map((attempt) => attempt.record);
  }

  async startContainer(spec: ContainerSpec): Promise<void> {
    const { clock } = this.#options;
    const behaviour = { ...this.#options.behaviour?.(spec), ...fromAnnotations(spec.annotations) };
    const attempt: Attempt = {
      record: newRecord(spec, clock.now()),
      behaviour,
      healthy: undefined,
      timer: undefined,
      onEnd: [],
    };
    this.#attempts.set(spec.podUid, [...(this.#attempts.get(spec.podUid) ?? []), attempt]);
    if ((behaviour.startDelayMs ?? 0) > 0) await clock.sleep(behaviour.startDelayMs ?? 0);
    if (behaviour.startError !== undefined) {
      this.#end(attempt, 128, { reason: "StartError", message: behaviour.startError });
      throw new StartError(behaviour.startError);
    }
    attempt.record = { ...attempt.record, state: "running", startedAtMs: clock.now() };
    if (behaviour.exitAfterMs !== undefined) {
      attempt.timer = clock.setTimer(behaviour.exitAfterMs, () => this.#end(attempt, behaviour.exitCode ?? 0));
    }
    this.#tell(spec.podUid);
  }

  async stopContainer(ref: ContainerRef, graceMs: number): Promise<void> {
    const attempt = this.#find(ref);
    if (attempt === undefined || attempt.record.state === "exited") return;
    const delayMs = attempt.behaviour.stopDelayMs ?? 0;
    if (delayMs > 0 && graceMs > 0) await this.#options.clock.sleep(Math.min(delayMs, graceMs));
    this.#end(attempt, graceMs === 0 || delayMs > graceMs ? 137 : 143);
  }

  removeContainer(ref: ContainerRef): Promise<void> {
    const kept = (this.#attempts.get(ref.podUid) ?? []).filter(
      (attempt) => containerIdOf(attempt.record) !== containerIdOf(ref),
    );
    this.#attempts.set(ref.podUid, kept);
    return Promise.resolve();
  }

  terminationMessage(): Promise<string> {
    return Promise.resolve("");
  }

  exec(_ref: ContainerRef, options: ExecOptions): Promise<ExecSession> {
    return Promise.resolve(finishedSession(`simulated: ${options.command.join(" ")}\n`));
  }

  attach(ref: ContainerRef): Promise<ExecSession> {
    return Promise.resolve(finishedSession(this.#find(ref)?.behaviour.log ?? ""));
  }

  async *logs(ref: ContainerRef, options: LogOptions): AsyncGenerator<Uint8Array> {
    const attempt = this.#find(ref);
    if (attempt === undefined) throw new NodeError("NotFound", `container "${ref.name}" has no such attempt`);
    const log = attempt.behaviour.log ?? "";
    if (log !== "") yield Buffer.from(log);
    if (options.follow !== true || attempt.record.state === "exited") return;
    await new Promise<void>((resolve) => {
      attempt.onEnd.push(resolve);
      options.signal?.addEventListener("abort", () => resolve());
    });
  }

  dial(): Promise<Duplex> {
    return Promise.reject(new NodeError("ConnectionRefused", "a simulated pod has no ports"));
  }

  connect(): Promise<Duplex> {
    return this.dial();
  }

  probe(ref: ContainerRef): boolean {
    const attempt = this.#find(ref);
    if (attempt === undefined || attempt.record.state !== "running") return false;
    if (attempt.healthy !== undefined) return attempt.healthy;
    const { neverReady, readyAfterMs = 0 } = attempt.behaviour;
    return neverReady !== true && this.#options.clock.now() - attempt.record.startedAtMs >= readyAfterMs;
  }

  usage(ref: ContainerRef): ResourceUsage | undefined {
    const attempt = this.#find(ref);
    return attempt?.record.state === "running" ? attempt.behaviour.usage : undefined;
  }

  diskUse(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  onChange(handler: (podUid: string) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  refusal(): undefined {
    return undefined;
  }

  exit(ref: ContainerRef, code: number): void {
    const attempt = this.#find(ref);
    if (attempt !== undefined && attempt.record.state !== "exited") this.#end(attempt, code);
  }

  setHealthy(ref: ContainerRef, healthy: boolean): void {
    const attempt = this.#find(ref);
    if (attempt !== undefined) attempt.healthy = healthy;
  }

  close(): Promise<void> {
    for (const attempts of this.#attempts.values()) for (const attempt of attempts) attempt.timer?.cancel();
    this.#handlers.clear();
    return Promise.resolve();
  }

  #find(ref: ContainerRef): Attempt | undefined {
    return this.#attempts
      .get(ref.podUid)
      ?.find((attempt) => attempt.record.name === ref.name && attempt.record.attempt === ref.attempt);
  }

  #end(attempt: Attempt, exitCode: number, why: { reason?: string; message?: string } = {}): void {
    attempt.timer?.cancel();
    const reason = why.reason ?? (exitCode === 0 ? "Completed" : "Error");
    attempt.record = {
      ...attempt.record,
      ...why,
      state: "exited",
      exitCode,
      reason,
      finishedAtMs: this.#options.clock.now(),
    };
    for (const notify of attempt.onEnd.splice(0)) notify();
    this.#tell(attempt.record.podUid);
  }

  #tell(podUid: string): void {
    for (const handler of this.#handlers) handler(podUid);
  }
}

function newRecord(spec: ContainerSpec, nowMs: number): ContainerRecord {
  const { podUid, name, attempt, image, imageId, resources } = spec;
  const known = resources === undefined ? {} : { resources };
  return { podUid, name, attempt, image, imageId, state: "starting", startedAtMs: nowMs, ...known };
}

function fromAnnotations(annotations: Readonly<Record<string, string>>): SimulatedBehaviour {
  const number = (name: string): number | undefined => {
    const text = annotations[`${annotationPrefix}${name}`];
    return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
  };
  const found: [string, number | string | boolean | undefined][] = [
    ["startDelayMs", number("start-delay-ms")],
    ["exitAfterMs", number("exit-after-ms")],
    ["exitCode", number("exit-code")],
    ["readyAfterMs", number("ready-after-ms")],
    ["stopDelayMs", number("stop-delay-ms")],
    ["neverReady", annotations[`${annotationPrefix}never-ready`] === "true" ? true : undefined],
    ["startError", annotations[`${annotationPrefix}start-error`]],
  ];
  return Object.fromEntries(found.filter(([, value]) => value !== undefined));
}

function finishedSession(output: string): ExecSession {
  return {
    stdin: new PassThrough().resume(),
    stdout: Readable.from(output === "" ? [] : [Buffer.from(output)]),
    stderr: undefined,
    exited: Promise.resolve(0),
    resize: () => undefined,
    kill: () => undefined,
  };
}

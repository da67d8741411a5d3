import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Timer } from "../../../kernel/clock/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import type { Container, Pod, PodStatus } from "../../../kernel/kinds/index.js";
import type { SandboxRecord } from "../runtime/types.js";
import { ContainerRunner } from "./container-runner.js";
import { resolvConfName } from "./container-spec.js";
import type { PodContext } from "./context.js";
import { DiskWatch } from "./disk-watch.js";
import { type Finding, findingsOf, ignoredText, type Refusal, refusalOf } from "./fields/evaluate.js";
import { resolvConfOf } from "./resolv-conf.js";
import { type ContainerRole, containersOf, shouldRestart } from "./roles.js";
import { sandboxSpecOf } from "./sandbox.js";
import { type PodView, podStatusOf } from "./status.js";

type Stage = "running" | "stopping" | "over" | "gone";

const firstRetryMs = 500;
const maxRetryMs = 10_000;
/** As kubelet when a pod has written too much. */
const evictionGraceMs = 1_000;
/** Sidecars that are left when the grace is used up get this much. */
const minSidecarGraceMs = 2_000;

/**
 * Makes one pod true, from its first container to its last trace. Level-triggered: whatever happens, `look` compares what
 * should be with what is and begins what is missing; it never waits for a container.
 */
export class PodWorker {
  readonly #context: PodContext;
  readonly #runners = new Map<string, ContainerRunner>();
  #pod: Pod;
  #stage: Stage = "running";
  #sandbox: SandboxRecord | undefined;
  #volumesReady = false;
  #initialized = false;
  #failure: { reason: string; message: string } | undefined;
  #graceMs = Number.POSITIVE_INFINITY;
  #isVanished = false;
  #published: PodStatus | undefined;
  #found: { readonly generation: number; readonly findings: readonly Finding[] } | undefined;
  #refused = "";
  #told: string | undefined;
  #wasSeen = false;
  #isTaken: boolean;
  readonly #disk: DiskWatch;
  #resize: string | undefined;
  #toldResize: string | undefined;
  #retryMs = 0;
  #startedAtMs: number;
  #timer: Timer | undefined;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #closed = false;

  constructor(context: PodContext, pod: Pod) {
    this.#context = context;
    this.#pod = pod;
    const startTime = pod.status?.startTime;
    this.#startedAtMs = startTime === undefined ? context.clock.now() : Date.parse(startTime);
    this.#sandbox = context.runtime.pods().find((each) => each.uid === pod.metadata.uid);
    this.#isTaken = this.#sandbox !== undefined || startTime !== undefined;
    this.#disk = new DiskWatch({
      ...context,
      use: {
        container: async (name) => {
          const latest = this.#runners.get(name)?.latest;
          return latest === undefined ? undefined : context.runtime.diskUse(latest);
        },
        volume: (name) => context.volumes.diskUse(pod.metadata.uid, name),
      },
      exceeded: (message) => this.#evict(message),
    });
    const phase = pod.status?.phase;
    if (phase === "Succeeded" || phase === "Failed") this.#stage = "over";
    const { reason, message } = pod.status ?? {};
    if (phase === "Failed" && reason !== undefined) this.#failure = { reason, message: message ?? "" };
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** The pod has changed in the API. */
  update(pod: Pod): void {
    this.#pod = pod;
    this.look();
  }

  /** The pod is not in the API any more, without having been deleted by us. */
  vanish(): void {
    this.#isVanished = true;
    this.look();
  }

  /** Compares and acts, soon. Any number of calls make one look. */
  look(): void {
    if (this.#closed || this.#stage === "gone") return;
    if (this.#looking !== undefined) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = this.#run();
  }

  /** Stops acting; the pod goes on. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    for (const runner of this.#runners.values()) runner.close();
    await this.#looking;
  }

  /** The node has let the pod in, and it is not over. */
  get isTaken(): boolean {
    // What was taken out of the API by force has no claim any more, though it may still be ending.
    return this.#isTaken && !this.#isVanished && this.#stage !== "over" && this.#stage !== "gone";
  }

  /** Where the container of that name stands. */
  runner(name: string): ContainerRunner | undefined {
    return this.#runners.get(name);
  }

  async #run(): Promise<void> {
    // One turn later, so that changes that come together are seen together.
    await new Promise((resolve) => setImmediate(resolve));
    do {
      this.#lookAgain = false;
      try {
        await this.#step();
      } catch (error) {
        this.#context.log.error("a pod could not be brought on", { pod: this.#pod.metadata.name, err: error });
        this.#retry();
      }
    } while (this.#lookAgain && !this.#closed);
    this.#looking = undefined;
  }

  async #step(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#pod.metadata.deletionTimestamp !== undefined || this.#isVanished) return this.#terminate();
    if (this.#stage === "over") return this.#adoptEnded();
    if (this.#stage === "stopping") return this.#finishStopping();
    const refusal = this.#refusal();
    if (refusal?.rejection !== undefined)
      return this.#reject(refusal.rejection, `Pod was rejected: ${refusal.message}`);
    const rejection = this.#isTaken ? undefined : await this.#context.rejection(this.#pod);
    if (rejection !== undefined) return this.#reject(rejection.reason, `Pod was rejected: ${rejection.message}`);
    this.#isTaken = true;
    this.#makeRunners();
    if (refusal !== undefined) return this.#refuse(refusal);
    if (!(await this.#prepare())) return this.#publish();
    this.#tellIgnored();
    for (const runner of this.#runners.values()) await runner.collect();
    this.#checkDeadline();
    if (this.#stage === "running") this.#decide();
    this.#publish();
  }

  /** A pod that had ended before this agent came: only its logs are kept. */
  async #adoptEnded(): Promise<void> {
    if (this.#runners.size > 0) return;
    this.#makeRunners();
    if (this.#sandbox !== undefined) await this.#context.runtime.releasePod(this.#pod.metadata.uid);
  }

  #makeRunners(): void {
    for (const { container, role } of containersOf(this.#pod)) {
      if (!this.#runners.has(container.name)) this.#runners.set(container.name, this.#newRunner(container, role));
    }
  }

  #newRunner(container: Container, role: ContainerRole): ContainerRunner {
    return new ContainerRunner({
      context: this.#context,
      container,
      role,
      pod: () => this.#pod,
      podIp: () => this.#sandbox?.ip ?? "",
      changed: () => this.look(),
    });
  }

  #refusal(): Refusal | undefined {
    const message = this.#context.runtime.refusal();
    if (message !== undefined) return { message, event: "FailedCreatePodSandBox" };
    // What runs already was let in before.
    return this.#sandbox === undefined ? refusalOf(this.#findings()) : undefined;
  }

  /** What this node makes of the spec; found out once a generation. */
  #findings(): readonly Finding[] {
    const generation = this.#pod.metadata.generation ?? 0;
    if (this.#found?.generation !== generation)
      this.#found = { generation, findings: findingsOf(this.#pod, this.#context.abilities) };
    return this.#found.findings;
  }

  #refuse({ message, event }: Refusal): void {
    for (const runner of this.#runners.values()) runner.hold("CreateContainerConfigError", message);
    if (this.#refused !== message)
      this.#context.events.record(this.#pod, "Warning", event, `Pod was not started: ${message}`);
    this.#refused = message;
    this.#publish();
  }

  /** As kubelet turns a pod away: it has failed before it began. */
  #reject(reason: string, message: string): void {
    this.#failure = { reason, message };
    this.#stage = "over";
    this.#context.events.record(this.#pod, "Warning", reason, message);
    this.#publish();
  }

  /** Network and volumes. Returns whether both are there; tries again later otherwise. */
  async #prepare(): Promise<boolean> {
    if (this.#sandbox !== undefined && this.#volumesReady) return true;
    const { runtime, volumes, hostIp } = this.#context;
    const { metadata } = this.#pod;
    try {
      this.#sandbox = await runtime.createPod(sandboxSpecOf(this.#pod, this.#context.clusterDomain));
      const podFolder = runtime.podFolder(metadata.uid);
      if (runtime.name !== "simulated") this.#writeNames(podFolder, this.#sandbox.ip);
    } catch (error) {
      this.#failed("FailedCreatePodSandBox", `Failed to create pod sandbox: ${messageOf(error)}`);
      return false;
    }
    try {
      const podFolder = runtime.podFolder(metadata.uid);
      if (runtime.name !== "simulated")
        await volumes.prepare({ pod: this.#pod, podFolder, podIp: this.#sandbox.ip, hostIp });
      this.#volumesReady = true;
      this.#retryMs = 0;
      return true;
    } catch (error) {
      this.#failed("FailedMount", `MountVolume.SetUp failed: ${messageOf(error)}`);
      return false;
    }
  }

  /** What the pod looks names up in. */
  #writeNames(podFolder: string, ip: string): void {
    this.#context.hosts.add(this.#pod, podFolder, ip);
    const resolver = resolvConfOf(this.#pod, this.#context.runtime.etcFolder ?? "/etc");
    if (resolver !== undefined) writeFileSync(join(podFolder, resolvConfName), resolver, { mode: 0o644 });
  }

  /** Nothing is swallowed: what is not carried out is said once, where the owner looks. */
  #tellIgnored(): void {
    const ignored = ignoredText(this.#findings());
    // What ran before this agent came was told by the one before.
    const isKnown = !this.#wasSeen && this.#pod.status?.containerStatuses !== undefined;
    if (ignored !== undefined && ignored !== this.#told && !isKnown)
      this.#context.events.record(this.#pod, "Warning", "FieldsIgnored", ignored);
    this.#told = ignored;
    this.#wasSeen = true;
  }

  #failed(reason: string, message: string): void {
    this.#context.events.record(this.#pod, "Warning", reason, message);
    this.#retry();
  }

  #retry(): void {
    this.#retryMs = Math.min(maxRetryMs, Math.max(firstRetryMs, this.#retryMs * 2));
    this.#lookIn(this.#retryMs);
  }

  #lookIn(delayMs: number): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#context.clock.setTimer(delayMs, () => this.look());
  }

  #of(role: ContainerRole): ContainerRunner[] {
    return [...this.#runners.values()].filter((runner) => runner.role === role);
  }

  #checkDeadline(): void {
    const seconds = this.#pod.spec.activeDeadlineSeconds;
    if (seconds === undefined) return;
    if (this.#context.clock.now() < this.#startedAtMs + seconds * 1000) return;
    this.#fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
  }

  #fail(reason: string, message: string): void {
    this.#failure = { reason, message };
    this.#context.events.record(this.#pod, "Normal", reason, message);
    this.#beginStop();
  }

  #decide(): void {
    const waits: number[] = [];
    const bringUp = (runner: ContainerRunner): void => {
      if (runner.isOutdated && runner.role !== "init") {
        runner.replace();
        return;
      }
      const waitMs = runner.ensureRunning();
      if (waitMs !== undefined) waits.push(waitMs);
    };
    if (!this.#initialized) {
      this.#initialized = this.#initialize(bringUp);
      if (this.#initialized) this.#disk.hurry();
    } else for (const sidecar of this.#of("sidecar")) bringUp(sidecar);
    if (this.#initialized) this.#runMains(bringUp);
    this.#tellResize();
    const diskMs = this.#disk.look(this.#pod);
    if (diskMs !== undefined) waits.push(diskMs);
    const deadline = this.#pod.spec.activeDeadlineSeconds;
    if (deadline !== undefined)
      waits.push(Math.max(1, this.#startedAtMs + deadline * 1000 - this.#context.clock.now()));
    if (waits.length > 0 && this.#stage === "running") this.#lookIn(Math.min(...waits));
  }

  /** Starts what comes first; true when all init containers are done and all sidecars started. */
  #initialize(bringUp: (runner: ContainerRunner) => void): boolean {
    // An agent that adopts a pod whose containers have run once does not begin again.
    if (this.#of("main").some((runner) => runner.latest !== undefined)) return true;
    for (const runner of this.#runners.values()) {
      const latest = runner.latest;
      if (runner.role === "sidecar") {
        bringUp(runner);
        if (!runner.isStarted) return false;
      } else if (runner.role === "init" && !(latest?.state === "exited" && latest.exitCode === 0)) {
        const isHopeless = latest?.state === "exited" && !shouldRestart(this.#pod, "init", latest.exitCode ?? 1);
        if (isHopeless) this.#beginStop();
        else bringUp(runner);
        return false;
      }
    }
    return true;
  }

  #runMains(bringUp: (runner: ContainerRunner) => void): void {
    let open = 0;
    for (const runner of [...this.#of("main"), ...this.#of("ephemeral")]) {
      const latest = runner.latest;
      const isDone =
        latest?.state === "exited" &&
        !runner.isReplaced &&
        !shouldRestart(this.#pod, runner.role, latest.exitCode ?? 1);
      if (isDone && !runner.isBusy) continue;
      if (runner.role === "main") open += 1;
      bringUp(runner);
    }
    if (open === 0) this.#beginStop();
  }

  #evict(message: string): void {
    if (this.#stage !== "running" || this.#closed) return;
    this.#failure = { reason: "Evicted", message };
    this.#context.events.record(this.#pod, "Warning", "Evicted", message);
    this.#beginStop(evictionGraceMs);
    this.look();
  }

  /** Resources change with the next start only, and the owner hears of it. */
  #tellResize(): void {
    const names = [...this.#runners.values()]
      .filter((runner) => runner.isToBeResized)
      .map((each) => each.container.name);
    this.#resize = names.length === 0 ? undefined : resizeMessage(names);
    if (this.#resize !== undefined && this.#resize !== this.#toldResize)
      this.#context.events.record(this.#pod, "Warning", "ResizeInfeasible", this.#resize);
    this.#toldResize = this.#resize;
  }

  /** All work is done, or the pod has failed: sidecars and whatever else runs go, then the status is final. */
  #beginStop(graceMs = this.#defaultGraceMs()): void {
    if (this.#stage !== "running") return;
    this.#stage = "stopping";
    this.#stopAll(graceMs);
    this.#lookAgain = true;
  }

  async #finishStopping(): Promise<void> {
    if (this.#anyRunning()) return this.#publish();
    for (const runner of this.#runners.values()) await runner.collect();
    this.#stage = "over";
    this.#publish();
    await this.#context.runtime.releasePod(this.#pod.metadata.uid);
  }

  #anyRunning(): boolean {
    return [...this.#runners.values()].some((runner) => runner.isRunning || runner.isBusy);
  }

  #defaultGraceMs(): number {
    return (this.#pod.spec.terminationGracePeriodSeconds ?? 30) * 1000;
  }

  /** Main containers together, then sidecars from the last to the first. */
  #stopAll(graceMs: number): void {
    const untilMs = this.#context.clock.monotonicMs() + graceMs;
    const stop = async (): Promise<void> => {
      const first = [...this.#of("main"), ...this.#of("ephemeral"), ...this.#of("init")];
      await Promise.all(first.map((runner) => runner.stop(graceMs)));
      for (const sidecar of this.#of("sidecar").reverse()) {
        const leftMs = untilMs - this.#context.clock.monotonicMs();
        await sidecar.stop(graceMs === 0 ? 0 : Math.max(minSidecarGraceMs, leftMs));
      }
    };
    stop().then(
      () => this.look(),
      (error: unknown) => {
        this.#context.log.error("a pod could not be stopped", { pod: this.#pod.metadata.name, err: error });
        this.#retry();
      },
    );
  }

  async #terminate(): Promise<void> {
    this.#makeRunners();
    const given = this.#pod.metadata.deletionGracePeriodSeconds;
    const graceMs =
      this.#isVanished && given === undefined ? 0 : given === undefined ? this.#defaultGraceMs() : given * 1000;
    if (graceMs < this.#graceMs) {
      this.#graceMs = graceMs;
      this.#stage = "stopping";
      this.#stopAll(graceMs);
    }
    if (this.#anyRunning()) return this.#publish();
    for (const runner of this.#runners.values()) await runner.collect();
    this.#stage = "over";
    this.#publish();
    await this.#remove();
  }

  async #remove(): Promise<void> {
    const { runtime, volumes, hosts } = this.#context;
    const { uid } = this.#pod.metadata;
    hosts.remove(uid);
    volumes.remove(uid);
    if (this.#sandbox !== undefined) await runtime.removePod(uid);
    this.#sandbox = undefined;
    await this.#context.finished(this.#pod);
    this.#stage = "gone";
    for (const runner of this.#runners.values()) runner.close();
  }

  #publish(): void {
    if (this.#closed || this.#isVanished) return;
    this.#published = podStatusOf(this.#view());
    this.#context.publish(this.#pod, this.#published);
  }

  #view(): PodView {
    return {
      pod: this.#pod,
      published: this.#published,
      runtimeName: this.#context.runtime.name,
      containers: [...this.#runners.values()].map((runner) => runner.view()),
      podIp: this.#sandbox?.ip ?? this.#pod.status?.podIP,
      hostIp: this.#context.hostIp,
      startedAtMs: this.#startedAtMs,
      nowMs: this.#context.clock.now(),
      isInitialized: this.#initialized || this.#of("main").some((runner) => runner.latest !== undefined),
      isOver: this.#stage === "over",
      failure: this.#failure,
      resize: this.#resize,
    };
  }
}

function resizeMessage(names: readonly string[]): string {
  return `running containers are not resized here (${names.join(", ")}): the new resources hold from the container's next start; delete the pod to have it made anew`;
}

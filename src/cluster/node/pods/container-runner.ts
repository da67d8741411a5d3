import { messageOf } from "../../../kernel/errors/index.js";
import type { Container, Pod } from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { NodeError, StartError } from "../errors.js";
import { ContainerProbes } from "../probes/container-probes.js";
import type { ContainerRecord, ContainerRef } from "../runtime/types.js";
import { BackOff } from "./back-off.js";
import { buildContainerSpec } from "./container-spec.js";
import type { PodContext } from "./context.js";
import { findingsOf, refusalOf } from "./fields/evaluate.js";
import { type InContainer, runHook } from "./hooks.js";
import { type ContainerRole, containersOf, podText } from "./roles.js";
import { type ContainerView, idOf } from "./status.js";

export interface RunnerOptions {
  readonly context: PodContext;
  readonly container: Container;
  readonly role: ContainerRole;
  /** The pod as it is now. */
  pod(): Pod;
  podIp(): string;
  /** Something happened: look at the pod again. */
  changed(): void;
}

/** kubelet leaves at least this much of the grace for the program when a hook has used it up. */
const minGraceMs = 2_000;
const defaultHookMs = 30_000;
const firstRetryMs = 500;
const maxRetryMs = 300_000;

/** One container of a pod: starts it, keeps its probes, stops it. Says what it is doing; when to do what is the worker's. */
export class ContainerRunner {
  readonly role: ContainerRole;
  readonly #options: RunnerOptions;
  readonly #probes: ContainerProbes;
  #backOff = new BackOff();
  readonly #messages = new Map<number, string>();
  #waiting: { reason: string; message: string } | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #retryMs = 0;
  #retryAtMs = 0;
  #hookDone = true;
  #adopted = false;
  #isReplaced = false;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.role = options.role;
    this.#probes = new ContainerProbes({
      clock: options.context.clock,
      container: options.container,
      changed: () => options.changed(),
      tell: (reason, message) => this.#event("Warning", reason, message),
      kill: (kind, graceSeconds) => this.#failed(kind, graceSeconds),
    });
  }

  get latest(): ContainerRecord | undefined {
    return this.#records().at(-1);
  }

  /** As the pod has it now: its image and resources may change while it is there. */
  get container(): Container {
    const { container } = this.#options;
    const now = containersOf(this.#options.pod()).find((each) => each.container.name === container.name);
    return now?.container ?? container;
  }

  /** It runs another image than the pod names by now. */
  get isOutdated(): boolean {
    const { latest } = this;
    return latest?.state === "running" && latest.image !== (this.container.image ?? "");
  }

  /** It ends to be started anew, whatever the pod's restart policy says. */
  get isReplaced(): boolean {
    return this.#isReplaced;
  }

  /** It runs with other resources than the pod names by now. */
  get isToBeResized(): boolean {
    const { latest } = this;
    const wanted = toJson(this.container.resources ?? {});
    return latest?.state === "running" && latest.resources !== undefined && !equalJson(latest.resources, wanted);
  }

  get isRunning(): boolean {
    return this.latest?.state === "running" || this.latest?.state === "starting";
  }

  /** Started for good: startup probe and postStart hook are through. */
  get isStarted(): boolean {
    return this.latest?.state === "running" && this.#hookDone && this.#probes.isStarted;
  }

  get isBusy(): boolean {
    return this.#starting !== undefined || this.#stopping !== undefined;
  }

  view(): ContainerView {
    const records = this.#records();
    const latest = records.at(-1);
    return {
      name: this.container.name,
      role: this.role,
      image: this.container.image ?? "",
      mounts: this.container.volumeMounts ?? [],
      latest,
      previous: records.at(-2),
      waiting: this.#waiting,
      started: this.isStarted,
      ready: this.#probes.isReady,
      messages: this.#messages,
    };
  }

  /** Reads termination messages of attempts that have ended since. */
  async collect(): Promise<void> {
    for (const record of this.#records()) {
      if (record.state !== "exited" || this.#messages.has(record.attempt)) continue;
      this.#messages.set(record.attempt, await this.#terminationMessage(record));
      this.#probes.stop();
    }
  }

  /** Brings the container up, unless it is or is about to. Returns in how many milliseconds to look again. */
  ensureRunning(): number | undefined {
    const latest = this.latest;
    if (this.isBusy || latest?.state === "starting") return undefined;
    if (latest?.state === "running") {
      this.#watch(latest);
      return undefined;
    }
    const nowMs = this.#options.context.clock.now();
    if (nowMs < this.#retryAtMs) return this.#retryAtMs - nowMs;
    if (latest?.finishedAtMs !== undefined) {
      const waitMs = this.#backOff.remainingMs(latest.finishedAtMs, nowMs);
      if (waitMs > 0) {
        this.#crashLooping();
        return waitMs;
      }
      this.#backOff.next(nowMs);
    }
    this.#starting = this.#start((latest?.attempt ?? -1) + 1).finally(() => {
      this.#starting = undefined;
      this.#options.changed();
    });
    return undefined;
  }

  /** Runs preStop, sends TERM, kills after the grace. Calling it again only makes it shorter. */
  stop(graceMs: number, message?: string): Promise<void> {
    this.#probes.stop();
    const latest = this.latest;
    if (latest === undefined || latest.state === "exited") {
      // What is about to start is stopped as soon as it has.
      return this.#starting?.then(() => this.stop(graceMs, message)) ?? Promise.resolve();
    }
    if (this.#stopping !== undefined && graceMs > 0) return this.#stopping;
    this.#event("Normal", "Killing", message ?? `Stopping container ${this.container.name}`);
    this.#stopping = this.#stop(latest, graceMs).finally(() => {
      this.#stopping = undefined;
      this.#options.changed();
    });
    return this.#stopping;
  }

  /** Ends what runs, to start the container as the pod has it now. */
  replace(): void {
    if (this.#isReplaced) return;
    this.#isReplaced = true;
    this.#backOff = new BackOff();
    // The API lets no container that has ended begin again in a pod that is not to be restarted.
    this.#waiting = { reason: "ContainerCreating", message: "" };
    this.#endInBackground(this.#graceMs(), `Container ${this.container.name} definition changed, will be restarted`);
  }

  close(): void {
    this.#probes.stop();
  }

  /** Says why the container is not started, from outside. */
  hold(reason: string, message: string): void {
    this.#waiting = { reason, message };
  }

  #records(): readonly ContainerRecord[] {
    return this.#options.context.runtime
      .containers(this.#options.pod().metadata.uid)
      .filter((record) => record.name === this.container.name)
      .sort((a, b) => a.attempt - b.attempt);
  }

  async #start(attempt: number): Promise<void> {
    this.#isReplaced = false;
    const { context } = this.#options;
    const pod = this.#options.pod();
    try {
      this.#checkEphemeral(pod);
      const spec = await buildContainerSpec({
        context,
        pod,
        container: this.container,
        podIp: this.#options.podIp(),
        attempt,
      });
      if (spec.warning !== undefined) this.#event("Warning", "ImageVersion", spec.warning);
      this.#event("Normal", "Pulled", `Container image "${this.container.image}" already present on machine`);
      this.#probes.reset();
      this.#hookDone = this.container.lifecycle?.postStart === undefined;
      await context.runtime.startContainer(spec.spec);
      this.#event("Normal", "Created", `Created container: ${this.container.name}`);
      this.#event("Normal", "Started", `Started container ${this.container.name}`);
      this.#waiting = undefined;
      this.#retryMs = 0;
      await this.#forgetOld(attempt);
      await this.#postStart({ podUid: pod.metadata.uid, name: this.container.name, attempt });
      const latest = this.latest;
      if (latest?.state === "running") this.#watch(latest);
    } catch (error) {
      this.#startFailed(error);
    }
  }

  /** An ephemeral container came after the pod was let in. Throws `CreateContainerConfigError`. */
  #checkEphemeral(pod: Pod): void {
    if (this.role !== "ephemeral") return;
    const findings = findingsOf(pod, this.#options.context.abilities);
    const refusal = refusalOf(findings, this.container.name);
    if (refusal !== undefined) throw new NodeError("CreateContainerConfigError", refusal.message);
  }

  #startFailed(error: unknown): void {
    const nowMs = this.#options.context.clock.now();
    if (error instanceof StartError) {
      // An attempt that is not repeated is shown as ended, with its exit code.
      const repeats = this.#options.pod().spec.restartPolicy !== "Never" || this.role === "sidecar";
      this.#waiting = repeats ? { reason: "RunContainerError", message: error.message } : undefined;
      this.#event("Warning", "Failed", `Error: ${error.message}`);
      return;
    }
    const reason = error instanceof NodeError ? error.code : "CreateContainerError";
    const message = messageOf(error);
    const isPull = reason === "ErrImagePull";
    if (isPull && this.#retryMs === 0) {
      this.#event("Warning", "Failed", `Failed to pull image "${this.container.image}": ${message}`);
      this.#event("Warning", "Failed", "Error: ErrImagePull");
    } else if (isPull) {
      this.#event("Normal", "BackOff", `Back-off pulling image "${this.container.image}"`);
    } else this.#event("Warning", "Failed", `Error: ${message}`);
    const shown =
      isPull && this.#retryMs > 0
        ? "ImagePullBackOff"
        : isPull && this.container.imagePullPolicy === "Never"
          ? "ErrImageNeverPull"
          : reason;
    this.#waiting = {
      reason: shown,
      message: shown === "ImagePullBackOff" ? `Back-off pulling image "${this.container.image}": ${message}` : message,
    };
    this.#retryMs = Math.min(maxRetryMs, Math.max(firstRetryMs, this.#retryMs * 2));
    this.#retryAtMs = nowMs + this.#retryMs;
  }

  #crashLooping(): void {
    if (this.#waiting?.reason === "CrashLoopBackOff") return;
    const pod = podText(this.#options.pod());
    const seconds = this.#backOff.delayMs / 1000;
    const delay = seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
    this.#waiting = {
      reason: "CrashLoopBackOff",
      message: `back-off ${delay} restarting failed container=${this.container.name} pod=${pod}`,
    };
    this.#event("Warning", "BackOff", `Back-off restarting failed container ${this.container.name} in pod ${pod}`);
  }

  async #postStart(ref: ContainerRef): Promise<void> {
    const handler = this.container.lifecycle?.postStart;
    if (handler === undefined) return;
    const result = await runHook(handler, this.#place(ref), this.#graceMs() + defaultHookMs);
    if (result.ok) {
      this.#hookDone = true;
      return;
    }
    this.#event("Warning", "FailedPostStartHook", `PostStartHook failed: ${result.message}`);
    await this.stop(this.#graceMs(), "FailedPostStartHook");
  }

  async #stop(record: ContainerRecord, graceMs: number): Promise<void> {
    const { clock, runtime } = this.#options.context;
    const beganMs = clock.monotonicMs();
    const handler = this.container.lifecycle?.preStop;
    if (handler !== undefined && graceMs > 0 && record.state === "running") {
      const result = await runHook(handler, this.#place(record), graceMs);
      if (!result.ok) this.#event("Warning", "FailedPreStopHook", `PreStopHook failed: ${result.message}`);
    }
    const leftMs = graceMs - (clock.monotonicMs() - beganMs);
    await runtime.stopContainer(record, graceMs === 0 ? 0 : Math.max(leftMs, minGraceMs));
  }

  /** A liveness or startup probe gave the container up. */
  #failed(kind: string, graceSeconds: number | undefined): void {
    const graceMs = graceSeconds === undefined ? this.#graceMs() : graceSeconds * 1000;
    this.#endInBackground(graceMs, `Container ${this.container.name} failed ${kind} probe, will be restarted`);
  }

  #endInBackground(graceMs: number, message: string): void {
    this.stop(graceMs, message).catch((error: unknown) => {
      this.#options.context.log.error("a container could not be stopped", {
        container: this.container.name,
        err: error,
      });
    });
  }

  #graceMs(): number {
    return (this.#options.pod().spec.terminationGracePeriodSeconds ?? 30) * 1000;
  }

  #watch(record: ContainerRecord): void {
    const { runtime } = this.#options.context;
    this.#waiting = undefined;
    if (!this.#adopted) this.#adopt(record);
    const place = this.#place(record);
    this.#probes.start(place, (kind) => runtime.probe?.(place.ref, kind));
  }

  /** What an agent before us saw stays true until a probe says otherwise: an adopted pod does not flap. */
  #adopt(record: ContainerRecord): void {
    this.#adopted = true;
    const { context } = this.#options;
    const { status } = this.#options.pod();
    const known = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])].find(
      (each) => each.containerID === idOf(record, context.runtime.name),
    );
    if (known?.started === true) this.#probes.assume({ started: true, ready: known.ready });
  }

  #place(ref: ContainerRef): InContainer {
    const { runtime, clock } = this.#options.context;
    const { podUid, name, attempt } = ref;
    return { runtime, clock, container: this.container, ref: { podUid, name, attempt }, podIp: this.#options.podIp() };
  }

  /** Two attempts are kept: the last one, and the one before for `logs --previous`. */
  async #forgetOld(attempt: number): Promise<void> {
    for (const record of this.#records()) {
      if (record.attempt >= attempt - 1) continue;
      await this.#options.context.runtime.removeContainer(record);
      this.#messages.delete(record.attempt);
    }
  }

  async #terminationMessage(record: ContainerRecord): Promise<string> {
    const { runtime } = this.#options.context;
    const message = await runtime.terminationMessage(record);
    if (message !== "" || this.container.terminationMessagePolicy !== "FallbackToLogsOnError" || record.exitCode === 0)
      return message;
    let tail = "";
    for await (const chunk of runtime.logs(record, { tailLines: 80 }))
      tail = `${tail}${Buffer.from(chunk).toString("utf8")}`.slice(-2048);
    return tail;
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#options.context.events.record(this.#options.pod(), type, reason, message);
  }
}

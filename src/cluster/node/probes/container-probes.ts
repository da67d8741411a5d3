import type { Clock } from "../../../kernel/clock/index.js";
import type { Container, Probe } from "../../../kernel/kinds/index.js";
import { execInContainer, type InContainer } from "../pods/hooks.js";
import { type CheckResult, runCheck } from "./check.js";
import { type ProbeKind, Prober } from "./prober.js";

export interface ContainerProbesOptions {
  readonly clock: Clock;
  readonly container: Container;
  changed(): void;
  /** A probe's word for the owner: reason and message of an event. */
  tell(reason: "Unhealthy" | "ProbeWarning", message: string): void;
  kill(kind: ProbeKind, graceSeconds: number | undefined): void;
}

/** The three probes of one container and what they say. Without a probe the answer is yes as soon as it runs. */
export class ContainerProbes {
  readonly #options: ContainerProbesOptions;
  readonly #running: Prober[] = [];
  #place: InContainer | undefined;
  #direct: (kind: ProbeKind) => boolean | undefined = () => undefined;
  #started = false;
  #ready = false;

  constructor(options: ContainerProbesOptions) {
    this.#options = options;
    this.reset();
  }

  get isStarted(): boolean {
    return this.#started;
  }

  get isReady(): boolean {
    return this.#ready;
  }

  /** A new attempt: nothing is known. */
  reset(): void {
    this.stop();
    this.#started = this.#options.container.startupProbe === undefined;
    this.#ready = this.#options.container.readinessProbe === undefined;
  }

  /** What is known from before. */
  assume(known: { readonly started: boolean; readonly ready: boolean }): void {
    this.#started = known.started;
    this.#ready = known.ready;
  }

  /** Begins to check; does nothing when it is at it. `direct` answers in place of a check where it can. */
  start(place: InContainer, direct: (kind: ProbeKind) => boolean | undefined): void {
    if (this.#place !== undefined) return;
    this.#place = place;
    this.#direct = direct;
    const { startupProbe } = this.#options.container;
    if (startupProbe !== undefined && !this.#started) this.#add("startup", startupProbe);
    else this.#startOthers();
  }

  stop(): void {
    for (const prober of this.#running.splice(0)) prober.stop();
    this.#place = undefined;
  }

  #startOthers(): void {
    const { livenessProbe, readinessProbe } = this.#options.container;
    if (livenessProbe !== undefined) this.#add("liveness", livenessProbe);
    if (readinessProbe !== undefined) this.#add("readiness", readinessProbe);
  }

  #add(kind: ProbeKind, probe: Probe): void {
    const title = `${kind[0]?.toUpperCase() ?? ""}${kind.slice(1)}`;
    const prober = new Prober({
      kind,
      probe,
      clock: this.#options.clock,
      check: () => this.#check(kind, probe),
      onFailure: (message) => this.#options.tell("Unhealthy", `${title} probe failed: ${message}`),
      onRemark: ({ ok, message }) =>
        ok
          ? this.#options.tell("ProbeWarning", `${title} probe warning: ${message}`)
          : this.#options.tell("Unhealthy", `${title} probe errored and resulted in unknown state: ${message}`),
      onVerdict: (ok) => this.#verdict(kind, probe, ok),
    });
    this.#running.push(prober);
    prober.start();
  }

  async #check(kind: ProbeKind, probe: Probe): Promise<CheckResult> {
    const place = this.#place;
    if (place === undefined) return { ok: false, message: "the container is not running", isError: true };
    const direct = this.#direct(kind);
    if (direct !== undefined) return { ok: direct, message: direct ? "" : "the simulation says no" };
    return runCheck(probe, {
      container: place.container,
      podIp: place.podIp,
      timeoutMs: (probe.timeoutSeconds ?? 1) * 1000,
      connect: place.runtime.connect.bind(place.runtime),
      exec: (command, timeoutMs) => execInContainer(place, command, timeoutMs),
    });
  }

  #verdict(kind: ProbeKind, probe: Probe, ok: boolean): void {
    if (kind === "readiness") this.#ready = ok;
    else if (!ok) this.#options.kill(kind, probe.terminationGracePeriodSeconds);
    else if (kind === "startup") {
      this.#started = true;
      for (const prober of this.#running.splice(0)) prober.stop();
      this.#startOthers();
    }
    this.#options.changed();
  }
}

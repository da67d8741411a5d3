import { amountOf, durationMs, durationText } from "../../../kernel/gates/index.js";
import { timeOf } from "../../../kernel/kinds/index.js";
import { Assignments, type ClusterFacts, isSame, type Wanted } from "./assignments.js";
import type { GateReport, HyperRolloutSpec, HyperRolloutStatus } from "./kind.js";
import type { RevisionRef } from "./revisions.js";
import { type Wave, wavesOf } from "./waves.js";

/** How long a wave is watched where nothing is said. */
const BAKE_MS = 30_000;
const DEADLINE_MS = 600_000;
/** Gates are asked this often while a wave is watched. */
const GATE_MS = 5000;

type StepSpec = NonNullable<HyperRolloutSpec["steps"]>[number];

/** Everything that a step of a rollout depends on. */
export interface RolloutScene {
  readonly spec: HyperRolloutSpec;
  readonly status: HyperRolloutStatus;
  /** The revision of the HyperMLService's present spec. */
  readonly latest: RevisionRef;
  /** What the clusters had before there was a HyperRollout. */
  readonly seed: RevisionRef | undefined;
  readonly clusters: ReadonlyMap<string, ClusterFacts>;
  /** The clusters that a revision names. */
  readonly clustersOf: (revision: string) => readonly string[];
  /** Whether a canary between two revisions is possible in a cluster. */
  readonly hasCanary: (cluster: string, from: string, to: string) => boolean;
  /** What gates say of the wave that is watched. */
  readonly gates: readonly GateReport[];
  readonly nowMs: number;
}

/** Something that was decided, for the ledger. */
export interface RolloutDecision {
  readonly outcome: string;
  readonly rule: string;
  readonly isBad?: boolean;
  readonly winners?: readonly { readonly name: string; readonly reason: string }[];
  readonly losers?: readonly { readonly name: string; readonly reason: string }[];
}

/** What follows. */
export interface RolloutStep {
  readonly status: HyperRolloutStatus;
  readonly decisions: readonly RolloutDecision[];
  /** When to look again at the latest. */
  readonly wakeMs: number | undefined;
}

/** Takes a rollout as far as it can go now. Pure: the same scene gives the same step. */
export function stepRollout(scene: RolloutScene): RolloutStep {
  return new Stepper(scene).run();
}

class Stepper {
  readonly #scene: RolloutScene;
  readonly #decisions: RolloutDecision[] = [];
  readonly #given: Assignments;
  /** The target is the one of the step before. */
  readonly #isKnown: boolean;
  readonly #bakeMs: number;
  readonly #deadlineMs: number;
  #stable: RevisionRef | undefined;
  #target: RevisionRef;
  #wave: HyperRolloutStatus["wave"];
  #failure: HyperRolloutStatus["failure"];
  #gates: readonly GateReport[];
  #wakeMs: number | undefined;
  #waves: readonly Wave[] = [];
  #awaits: string | undefined;

  constructor(scene: RolloutScene) {
    const { spec, status, latest, seed } = scene;
    this.#scene = scene;
    this.#bakeMs = durationMs(spec.bake, BAKE_MS);
    this.#deadlineMs = durationMs(spec.progressDeadline, DEADLINE_MS);
    this.#stable = status.stable ?? seed;
    this.#target = latest;
    const { clusters: facts, nowMs } = scene;
    this.#given = new Assignments({ before: status.clusters ?? [], facts, target: latest, nowMs });
    const isKnown = status.target?.name === latest.name;
    this.#isKnown = isKnown;
    this.#wave = isKnown ? status.wave : undefined;
    this.#failure = isKnown ? status.failure : undefined;
    this.#gates = isKnown ? scene.gates : [];
    if (!isKnown) this.#decide(`rollout of revision ${latest.number} begins`, "the spec of the HyperMLService changed");
  }

  run(): RolloutStep {
    const { spec } = this.#scene;
    for (const cluster of this.#stable === undefined ? [] : this.#scene.clustersOf(this.#stable.name)) {
      if (this.#given.get(cluster) === undefined)
        this.#given.give(cluster, { revision: this.#stable?.name ?? "" }, this.#stable?.number ?? 0);
    }
    const targets = this.#scene.clustersOf(this.#target.name);
    const leaving = this.#given.names().filter((cluster) => !targets.includes(cluster));
    this.#waves = wavesOf(
      spec.waves ?? [],
      { staying: targets, leaving },
      (cluster) => this.#given.facts(cluster)?.labels,
    );
    if (this.#isMeant(spec.aborted) && this.#failure?.reason !== "Aborted")
      this.#fail("Aborted", "it was aborted (spec.aborted)");
    if (this.#failure !== undefined && this.#failure.reason !== "Aborted" && this.#isApprovedAnyway())
      this.#failure = undefined;
    return this.#finish(this.#advance());
  }

  #advance(): { readonly phase: NonNullable<HyperRolloutStatus["phase"]>; readonly message: string } {
    const { spec } = this.#scene;
    const stable = this.#stable;
    if (stable === undefined) return this.#giveAll("first revision: there is nothing before it to protect");
    if (stable.name === this.#target.name) return this.#giveAll("it is the stable revision again");
    if (this.#failure !== undefined) return this.#takeBack(stable);
    if (spec.paused === true)
      return {
        phase: "Paused",
        message: `paused (spec.paused)${this.#wave === undefined ? "" : ` in wave ${this.#wave.name}`}`,
      };
    // Every turn ends a step or a wave.
    for (let turn = 0; turn < 2000; turn++) {
      const wave = this.#currentWave();
      if (wave === undefined) return this.#complete();
      const result = this.#work(wave);
      if (this.#failure !== undefined) return this.#takeBack(stable);
      if (result !== undefined) return result;
    }
    return { phase: "Progressing", message: "goes on" };
  }

  /** The wave that is on, or else the first that does not have the target. */
  #currentWave(): Wave | undefined {
    const on = this.#waves.find(({ name }) => name === this.#wave?.name);
    if (on !== undefined) return on;
    const next = this.#waves.find(({ clusters }) => clusters.some((cluster) => !this.#given.hasTarget(cluster)));
    this.#wave = undefined;
    return next;
  }

  /** Undefined: something ended, look again. */
  #work(wave: Wave): { readonly phase: "Waiting" | "Progressing" | "Baking"; readonly message: string } | undefined {
    const index = this.#waves.indexOf(wave);
    const isApproved = this.#isApproved(index);
    if (this.#wave === undefined) {
      if (wave.needsApproval && !isApproved) {
        this.#awaits = wave.name;
        return {
          phase: "Waiting",
          message: `wave ${wave.name} begins when it is promoted: ${wave.clusters.join(", ")}`,
        };
      }
      const found = this.#stepsOf(wave).length;
      this.#wave = { index, name: wave.name, count: this.#waves.length, step: 0, steps: found };
      this.#decide(
        `wave ${wave.name} begins: ${wave.clusters.join(", ")}`,
        isApproved ? "it is promoted" : "the waves before are done",
      );
    }
    const steps = (this.#scene.spec.steps ?? []).slice(0, this.#wave.steps);
    const step = Math.min(this.#wave.step, steps.length);
    const pending = this.#assign(wave, steps[step]);
    const where = this.#describe(wave, steps.length, step);
    if (this.#isLate(wave)) return undefined;
    const open = wave.clusters.filter((cluster) => !this.#isSettled(cluster));
    if (pending.length > 0 || open.length > 0) {
      this.#wave = withoutTime(this.#wave);
      this.#gates = [];
      const names = [...new Set([...open, ...pending])].sort();
      return { phase: "Progressing", message: `${where}: ${this.#given.gapsOf(names)}` };
    }
    const bakeMs = isApproved ? 0 : durationMs(steps[step]?.bake ?? wave.bake, this.#bakeMs);
    const watching = this.#watch(where, bakeMs, isApproved || wave.name === "leaving");
    if (watching !== undefined || this.#failure !== undefined) return watching;
    this.#decide(`${where} is done`, isApproved ? "it is promoted" : "it is ready, was watched, and every gate passed");
    this.#gates = [];
    this.#wave = step < steps.length ? withoutTime({ ...this.#wave, index, step: step + 1 }) : undefined;
    return undefined;
  }

  /** The steps inside the clusters of a wave; none where no cluster can have a canary. */
  #stepsOf(wave: Wave): readonly StepSpec[] {
    return wave.clusters.some((cluster) => this.#baseOf(cluster) !== undefined) ? (this.#scene.spec.steps ?? []) : [];
  }

  /** What a cluster's canary is a canary of. */
  #baseOf(cluster: string): string | undefined {
    const one = this.#given.get(cluster);
    if (one === undefined) return undefined;
    const base = one.revision === this.#target.name ? one.from : one.revision;
    if (base === undefined || base === this.#target.name) return undefined;
    return this.#scene.hasCanary(cluster, base, this.#target.name) ? base : undefined;
  }

  /** Gives the wave's clusters what they are to have, as far as the budget lets; returns those that have to wait. */
  #assign(wave: Wave, share: StepSpec | undefined): string[] {
    const all = this.#given.names();
    const away = new Set(all.filter((cluster) => !this.#given.isAvailable(cluster)));
    const budget = this.#budget();
    const pending: string[] = [];
    const begun: string[] = [];
    for (const cluster of wave.clusters) {
      const wanted = this.#wantedFor(cluster, share);
      const now = this.#given.get(cluster);
      if (isSame(now, wanted)) continue;
      // A new cluster takes nothing away, nor does one that gives nothing now.
      const isFree = now === undefined || away.has(cluster) || wave.name === "leaving";
      if (!isFree && away.size >= budget) {
        pending.push(cluster);
        continue;
      }
      this.#given.give(cluster, wanted, this.#target.number);
      if (now !== undefined) away.add(cluster);
      begun.push(cluster);
    }
    if (begun.length > 0) {
      const what =
        share?.canaryPercent !== undefined
          ? ` as canary with ${share.canaryPercent}%`
          : share?.shadowPercent === undefined
            ? ""
            : ` in shadow, with copies of ${share.shadowPercent}%`;
      this.#decisions.push({
        outcome: `revision ${this.#target.number}${what} for ${begun.join(", ")}`,
        rule: `at most ${budget} clusters are unavailable at once`,
        winners: begun.map((name) => ({ name, reason: `wave ${wave.name}` })),
        losers: pending.map((name) => ({ name, reason: `waits: ${away.size} of ${budget} are unavailable` })),
      });
    }
    return pending;
  }

  #wantedFor(cluster: string, share: StepSpec | undefined): Wanted {
    const now = this.#given.get(cluster);
    const full = { revision: this.#target.name };
    if (share === undefined || now === undefined) return full;
    const from = this.#baseOf(cluster);
    // Where there can be no canary the cluster changes with the last step.
    const { canaryPercent, shadowPercent } = share;
    return from === undefined ? now : { ...full, from, canaryPercent, shadowPercent };
  }

  #budget(): number {
    return Math.max(1, amountOf(this.#scene.spec.maxUnavailable ?? 1, this.#given.names().length, Math.floor));
  }

  /** Ready, or out of reach while the budget bears that: it gets what it is to have when it is back. */
  #isSettled(cluster: string): boolean {
    if (!this.#given.isSilent(cluster)) return this.#given.isReady(cluster);
    const wave = this.#waves.find(({ clusters }) => clusters.includes(cluster));
    const silent = this.#given.names().filter((other) => this.#given.isSilent(other));
    return silent.length <= this.#budget() && wave?.clusters.some((other) => !this.#given.isSilent(other)) === true;
  }

  /** Whether a cluster took too long; that is a failure. */
  #isLate(wave: Wave): boolean {
    const { nowMs } = this.#scene;
    for (const cluster of wave.clusters) {
      const one = this.#given.get(cluster);
      if (one?.revision !== this.#target.name || this.#given.isSilent(cluster) || this.#given.isReady(cluster))
        continue;
      // Readiness that was there and is lost has the whole time again.
      if (one.state === "Ready") this.#given.restart(cluster);
      const sinceMs = one.state === "Ready" ? nowMs : Date.parse(one.since);
      const leftMs = sinceMs + this.#deadlineMs - nowMs;
      if (leftMs > 0) this.#wakeIn(leftMs);
      else {
        const why = this.#given.facts(cluster)?.message ?? "";
        this.#fail(
          "DeadlineExceeded",
          `cluster ${cluster} is not ready within ${durationText(this.#deadlineMs)}${why === "" ? "" : `: ${why}`}`,
        );
        return true;
      }
    }
    return false;
  }

  /** Undefined when the watch is over and all is well, or when it failed. */
  #watch(
    where: string,
    bakeMs: number,
    isExempt: boolean,
  ): { readonly phase: "Baking"; readonly message: string } | undefined {
    const { nowMs, spec } = this.#scene;
    const gates = isExempt ? [] : (spec.gates ?? []);
    const readySince = this.#wave?.readySince ?? timeOf(nowMs);
    if (this.#wave !== undefined) {
      if (this.#wave.readySince === undefined) this.#gates = [];
      this.#wave = { ...this.#wave, readySince };
    }
    const failed = gates.length === 0 ? undefined : this.#gates.find(({ verdict }) => verdict === "Failed");
    if (failed !== undefined) {
      this.#fail("GateFailed", `gate ${failed.name} in cluster ${failed.cluster}: ${failed.message}`);
      return undefined;
    }
    const elapsedMs = nowMs - Date.parse(readySince);
    const answered = gates.every(({ name }) => {
      const own = this.#gates.filter((report) => report.name === name);
      return own.length > 0 && own.every(({ verdict }) => verdict === "Passed");
    });
    if (elapsedMs >= bakeMs && answered) return undefined;
    const leftMs = bakeMs - elapsedMs;
    this.#wakeIn(gates.length > 0 ? Math.min(GATE_MS, leftMs > 0 ? leftMs : GATE_MS) : leftMs);
    if (leftMs > 0)
      return { phase: "Baking", message: `${where} is ready and watched for ${durationText(leftMs)} more` };
    const waiting = this.#gates.find(({ verdict }) => verdict === "Waiting");
    const what =
      waiting === undefined ? "its gates" : `gate ${waiting.name} in cluster ${waiting.cluster}: ${waiting.message}`;
    if (elapsedMs < bakeMs + this.#deadlineMs) return { phase: "Baking", message: `${where} waits for ${what}` };
    this.#fail("GateInconclusive", `no verdict within ${durationText(this.#deadlineMs)} after the bake: ${what}`);
    return undefined;
  }

  #fail(reason: string, message: string): void {
    this.#failure = { revision: this.#target.name, reason, message, time: timeOf(this.#scene.nowMs) };
    this.#decisions.push({
      outcome: `revision ${this.#target.number} fails: ${message}`,
      rule: "a failed gate, a missed deadline or an abort ends a rollout",
      isBad: true,
      losers: [{ name: this.#target.name, reason: message }],
    });
  }

  #takeBack(stable: RevisionRef): {
    readonly phase: "Paused" | "RollingBack" | "RolledBack";
    readonly message: string;
  } {
    const message = this.#failure?.message ?? "";
    const isHeld = this.#scene.spec.onFailure === "Pause" && this.#failure?.reason !== "Aborted";
    if (isHeld)
      return { phase: "Paused", message: `revision ${this.#target.number} failed: ${message}; promote or abort it` };
    if (this.#scene.spec.paused === true && this.#failure?.reason !== "Aborted")
      return {
        phase: "Paused",
        message: `revision ${this.#target.number} failed: ${message}; it is not taken back while paused`,
      };
    const strayed = this.#given.all().filter((one) => !isSame(one, { revision: stable.name }));
    for (const { cluster } of strayed) this.#given.give(cluster, { revision: stable.name }, stable.number);
    if (strayed.length > 0)
      this.#decide(
        `${strayed.map(({ cluster }) => cluster).join(", ")} back to revision ${stable.number}: ${message}`,
        "what failed is taken back everywhere at once",
      );
    const open = this.#given
      .names()
      .filter((cluster) => !this.#given.isReady(cluster) && !this.#given.isSilent(cluster));
    const what = `revision ${this.#target.number} failed: ${message}`;
    if (open.length === 0)
      return { phase: "RolledBack", message: `${what}; every cluster has revision ${stable.number}` };
    return { phase: "RollingBack", message: `${what}; back to revision ${stable.number}: ${this.#given.gapsOf(open)}` };
  }

  /** Everything at once, without waves. */
  #giveAll(rule: string): { readonly phase: "Progressing" | "Complete"; readonly message: string } {
    this.#failure = undefined;
    this.#wave = undefined;
    const names = [...new Set([...this.#scene.clustersOf(this.#target.name), ...this.#given.names()])].sort();
    const changed = names.filter((cluster) => !this.#given.hasTarget(cluster));
    for (const cluster of changed) this.#given.give(cluster, { revision: this.#target.name }, this.#target.number);
    if (changed.length > 0) this.#decide(`revision ${this.#target.number} for ${changed.join(", ")} at once`, rule);
    const silent = names.filter((cluster) => this.#given.isSilent(cluster));
    const open = names.filter((cluster) => !this.#given.isReady(cluster));
    const isSettled = open.every((cluster) => silent.includes(cluster)) && silent.length < Math.max(names.length, 1);
    const wasDone = this.#scene.status.phase === "Complete" && changed.length === 0 && this.#isKnown;
    if (isSettled || wasDone) return this.#complete();
    return { phase: "Progressing", message: `revision ${this.#target.number}: ${this.#given.gapsOf(open)}` };
  }

  #complete(): { readonly phase: "Complete"; readonly message: string } {
    const targets = this.#scene.clustersOf(this.#target.name);
    for (const cluster of this.#given.names()) if (!targets.includes(cluster)) this.#given.drop(cluster);
    if (this.#stable?.name !== this.#target.name)
      this.#decide(
        `revision ${this.#target.number} is in every cluster: it is the stable one now`,
        "every wave is done",
      );
    this.#stable = this.#target;
    this.#wave = undefined;
    return { phase: "Complete", message: `every cluster has revision ${this.#target.number}` };
  }

  #isMeant(named: { readonly revision: string; readonly number?: number } | undefined): boolean {
    return (
      named?.revision === this.#target.name && (named.number === undefined || named.number === this.#target.number)
    );
  }

  #isApproved(index: number): boolean {
    const { promoted } = this.#scene.spec;
    if (promoted === undefined || !this.#isMeant(promoted)) return false;
    if (promoted.through === "*") return true;
    return index <= this.#waves.findIndex(({ name }) => name === promoted.through);
  }

  /** A failure that only pauses is overruled by promoting the wave that it happened in. */
  #isApprovedAnyway(): boolean {
    const index = this.#waves.findIndex(({ name }) => name === this.#wave?.name);
    return this.#scene.spec.onFailure === "Pause" && index >= 0 && this.#isApproved(index);
  }

  #describe(wave: Wave, steps: number, step: number): string {
    const of = `wave ${wave.name} (${this.#waves.indexOf(wave) + 1} of ${this.#waves.length})`;
    return steps === 0 ? of : `${of}, step ${step + 1} of ${steps + 1}`;
  }

  #decide(outcome: string, rule: string): void {
    this.#decisions.push({ outcome, rule });
  }

  #wakeIn(ms: number): void {
    this.#wakeMs = Math.min(this.#wakeMs ?? ms, Math.max(ms, 1));
  }

  #finish({
    phase,
    message,
  }: {
    readonly phase: NonNullable<HyperRolloutStatus["phase"]>;
    readonly message: string;
  }): RolloutStep {
    const clusters = this.#given.reported(this.#waves, phase === "Complete" || this.#failure !== undefined);
    const done = clusters.filter((one) => this.#given.hasTarget(one.cluster) && one.state === "Ready").length;
    const total = this.#scene.clustersOf(this.#target.name).length;
    const status: HyperRolloutStatus = {
      phase,
      message,
      target: this.#target,
      ...(this.#stable === undefined ? {} : { stable: this.#stable }),
      ...(this.#wave === undefined ? {} : { wave: this.#wave }),
      ...(this.#awaits === undefined ? {} : { awaits: this.#awaits }),
      ...(this.#failure === undefined ? {} : { failure: this.#failure }),
      clusters,
      ...(this.#gates.length === 0 ? {} : { gates: [...this.#gates] }),
      summary: `${done}/${total}`,
    };
    return { status, decisions: this.#decisions, wakeMs: this.#wakeMs };
  }
}

function withoutTime(wave: HyperRolloutStatus["wave"]): HyperRolloutStatus["wave"] {
  if (wave === undefined) return undefined;
  const { readySince: _readySince, ...rest } = wave;
  return rest;
}

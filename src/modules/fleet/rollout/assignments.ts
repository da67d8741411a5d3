import { timeOf } from "../../../kernel/kinds/index.js";
import type { ClusterAssignment } from "./kind.js";
import type { RevisionRef } from "./revisions.js";
import type { Wave } from "./waves.js";

/** What is seen of a cluster. */
export interface ClusterFacts {
  readonly labels: Readonly<Record<string, string>>;
  /** Why its API does not answer; empty when it does. */
  readonly silence: string;
  /** What it has been given, as its HyperMLService says. */
  readonly revision: string;
  readonly canaryPercent: number | undefined;
  readonly shadowPercent: number | undefined;
  /** All of that is applied and ready. */
  readonly isReady: boolean;
  readonly message: string;
}

/** What a cluster is to be given. */
export interface Wanted {
  readonly revision: string;
  /** During a step: the revision whose releases keep the rest of the requests. */
  readonly from?: string | undefined;
  readonly canaryPercent?: number | undefined;
  /** Instead: it gets copies only. */
  readonly shadowPercent?: number | undefined;
}

/** Whether two come to the same in a cluster. */
export function isSame(one: Wanted | undefined, other: Wanted): boolean {
  return (
    one !== undefined &&
    one.revision === other.revision &&
    one.canaryPercent === other.canaryPercent &&
    one.shadowPercent === other.shadowPercent
  );
}

/** What each cluster is given, held against what is seen there. */
export class Assignments {
  readonly #assigned: Map<string, ClusterAssignment>;
  readonly #facts: ReadonlyMap<string, ClusterFacts>;
  readonly #target: RevisionRef;
  readonly #nowMs: number;

  constructor(options: {
    readonly before: readonly ClusterAssignment[];
    readonly facts: ReadonlyMap<string, ClusterFacts>;
    readonly target: RevisionRef;
    readonly nowMs: number;
  }) {
    this.#assigned = new Map(options.before.map((one) => [one.cluster, one]));
    this.#facts = options.facts;
    this.#target = options.target;
    this.#nowMs = options.nowMs;
  }

  get(cluster: string): ClusterAssignment | undefined {
    return this.#assigned.get(cluster);
  }

  names(): string[] {
    return [...this.#assigned.keys()];
  }

  all(): ClusterAssignment[] {
    return [...this.#assigned.values()];
  }

  facts(cluster: string): ClusterFacts | undefined {
    return this.#facts.get(cluster);
  }

  /** Gives a cluster something from now on. */
  give(cluster: string, wanted: Wanted, number: number): void {
    const { revision, from, canaryPercent, shadowPercent } = wanted;
    this.#assigned.set(cluster, {
      cluster,
      wave: "",
      revision,
      number,
      ...(from === undefined ? {} : { from }),
      ...(canaryPercent === undefined ? {} : { canaryPercent }),
      ...(shadowPercent === undefined ? {} : { shadowPercent }),
      since: timeOf(this.#nowMs),
      state: "Updating",
    });
  }

  /** Its readiness was there and is lost: it has the whole time again. */
  restart(cluster: string): void {
    const one = this.#assigned.get(cluster);
    if (one !== undefined) this.#assigned.set(cluster, { ...one, since: timeOf(this.#nowMs), state: "NotReady" });
  }

  drop(cluster: string): void {
    this.#assigned.delete(cluster);
  }

  hasTarget(cluster: string): boolean {
    const one = this.#assigned.get(cluster);
    return one !== undefined && isSame(one, { revision: this.#target.name });
  }

  /** It has what it was given, and that is ready. */
  isReady(cluster: string): boolean {
    const facts = this.#facts.get(cluster);
    return facts?.isReady === true && isSame(this.#assigned.get(cluster), facts);
  }

  isSilent(cluster: string): boolean {
    return (this.#facts.get(cluster)?.silence ?? "") !== "";
  }

  isAvailable(cluster: string): boolean {
    return this.isReady(cluster) && !this.isSilent(cluster);
  }

  /** Why clusters are not where they are to be, for people. */
  gapsOf(clusters: readonly string[]): string {
    const texts = clusters.map((cluster) => {
      const facts = this.#facts.get(cluster);
      if (this.isSilent(cluster)) return `${cluster} does not answer: ${facts?.silence}`;
      if (!this.hasTarget(cluster) && this.isReady(cluster)) return `${cluster} waits until another is ready`;
      const isSeen = facts !== undefined && isSame(this.#assigned.get(cluster), facts);
      return `${cluster}: ${isSeen && facts.message !== "" ? facts.message : "is being given it"}`;
    });
    return `${texts.slice(0, 3).join("; ")}${texts.length > 3 ? `; and ${texts.length - 3} more` : ""}`;
  }

  /** For the status, by name. `isOver`: no cluster waits for a wave any more. */
  reported(waves: readonly Wave[], isOver: boolean): ClusterAssignment[] {
    const rows = this.all().map((one): ClusterAssignment => {
      const { message: _message, ...rest } = one;
      const wave = waves.find(({ clusters }) => clusters.includes(one.cluster))?.name ?? "";
      const message = this.#messageOf(one.cluster);
      return { ...rest, wave, state: this.#stateOf(one, isOver), ...(message === "" ? {} : { message }) };
    });
    return rows.sort((a, b) => (a.cluster < b.cluster ? -1 : 1));
  }

  #messageOf(cluster: string): string {
    const facts = this.#facts.get(cluster);
    if (this.isSilent(cluster)) return facts?.silence ?? "";
    return this.isReady(cluster) ? "" : (facts?.message ?? "");
  }

  #stateOf(one: ClusterAssignment, isOver: boolean): ClusterAssignment["state"] {
    if (this.isSilent(one.cluster)) return "Unreachable";
    if (this.isReady(one.cluster)) return one.revision !== this.#target.name && !isOver ? "Waiting" : "Ready";
    return one.state === "NotReady" || one.state === "Ready" ? "NotReady" : "Updating";
  }
}

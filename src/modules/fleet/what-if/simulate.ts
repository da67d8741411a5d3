import type { Clock } from "../../../kernel/clock/index.js";
import { findCondition, isDeleting, type KubeObject } from "../../../kernel/kinds/index.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { type Bound, decide, isNoted, isOurs, placementText, takeNote, verdictOn } from "../bindings/decide.js";
import { groupNamesOf } from "../bindings/groups.js";
import type { BindingSpec, ResourceBinding } from "../bindings/kinds.js";
import { nextTargets } from "../bindings/scheduler.js";
import { wishFor } from "../bindings/wish.js";
import { clustersOf } from "../bindings/work-plan.js";
import { planEviction } from "../clusters/eviction.js";
import { isFeasible } from "../clusters/eviction-controller.js";
import { lostNote } from "../clusters/fail-back.js";
import { brakeOn, isAway } from "../clusters/stability.js";
import { taintsFor } from "../clusters/taints.js";
import type { Cluster } from "../kinds.js";
import { factsOf } from "../placement/facts.js";
import { Promises } from "../placement/promises.js";
import { Residents } from "../placement/residents.js";
import type { ClusterFacts, PlacementResult, Target } from "../placement/types.js";
import { choosePolicy, type Policy } from "../policies/choose.js";
import { claimOf } from "../policies/claims.js";
import { BINDING, bindingNameOf, isClustersOwn, isReservedSpace, lostClustersOf } from "../policies/marks.js";
import { policyOf } from "../policies/policy.js";
import type { FleetCopy } from "./copy.js";
import { type ServiceOutcome, serviceOutcomes } from "./services.js";

/** What would become of one object. */
export interface Outcome {
  /** `NAMESPACE/NAME` of the binding; without namespace `NAME`. */
  readonly binding: string;
  readonly template: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly namespace?: string;
    readonly name: string;
  };
  readonly before: readonly Target[];
  readonly after: readonly Target[];
  /** Clusters that it leaves, and where it stays until it is well elsewhere. */
  readonly kept: readonly string[];
  /** What happens, in order, each with seconds from the change on. */
  readonly steps: readonly { readonly atSeconds: number; readonly what: string }[];
  /** The last placement: why it was made, by which rule, and who was left out. */
  readonly decision?: {
    readonly why: string;
    readonly rule: string;
    readonly isPlaced: boolean;
    readonly message?: string;
    readonly rejected: readonly { readonly cluster: string; readonly reason: string }[];
    readonly feasible: readonly { readonly cluster: string; readonly room?: number; readonly promised: number }[];
  };
}

/** What would become of a fleet. */
export interface Simulation {
  /** Objects that would move, be placed, or be held where they are not wanted. */
  readonly outcomes: readonly Outcome[];
  /** How many others there are. */
  readonly unchanged: number;
  /** HyperMLServices for which anything would be otherwise. */
  readonly services: readonly ServiceOutcome[];
  readonly notes: readonly string[];
}

const HORIZON_MS = 3_600_000;
const MAX_ROUNDS = 50;

/** Lets evictions and placements happen on a copy, with the code that makes them happen in the hub, until nothing moves any more within an hour. */
export function simulate(before: FleetCopy, changed: FleetCopy): Simulation {
  const world = new World(changed);
  const notes = world.takeTemplates();
  world.run();
  const known = new Map(before.bindings.map((binding) => [textOf(binding), binding]));
  const outcomes: Outcome[] = [];
  for (const [text, actor] of world.actors) {
    const was = known.get(text);
    const outcome = outcomeOf(text, was === undefined ? [] : clustersOf(was.spec), actor);
    const isMoved = !equalJson(sorted(outcome.before), sorted(outcome.after));
    const message = outcome.decision?.message;
    // What has no place, before and after, is only told of where it was asked about.
    const isPlaceless = outcome.before.length + outcome.after.length === 0 && !actor.isAsked;
    const isStuck =
      !isPlaceless && message !== undefined && message !== findCondition(was?.status?.conditions, "Scheduled")?.message;
    if (isMoved || isStuck || was === undefined || outcome.steps.length > 0) outcomes.push(outcome);
  }
  const services = serviceOutcomes(before, changed);
  return {
    outcomes,
    unchanged: world.actors.size - outcomes.length,
    services,
    notes: [...notes, ...changed.unread],
  };
}

interface Actor {
  binding: ResourceBinding;
  /** Its template, or the policy that means it, is part of the change. */
  readonly isAsked: boolean;
  readonly steps: { readonly atSeconds: number; readonly what: string }[];
  decision: { readonly why: string; readonly result: PlacementResult } | undefined;
}

class World {
  readonly actors = new Map<string, Actor>();
  readonly #copy: FleetCopy;
  readonly #clusters: readonly Cluster[];
  readonly #byName: ReadonlyMap<string, Cluster>;
  readonly #facts: readonly ClusterFacts[];
  readonly #factsByName: ReadonlyMap<string, ClusterFacts>;
  readonly #promises = new Promises();
  readonly #residents = new Residents();
  readonly #startMs: number;
  #nowMs: number;

  constructor(copy: FleetCopy) {
    this.#copy = copy;
    this.#startMs = copy.nowMs;
    this.#nowMs = copy.nowMs;
    const stamp = new Date(copy.nowMs).toISOString();
    this.#promises.start(standingStill(copy.nowMs));
    this.#clusters = copy.clusters.map((cluster) => ({
      ...cluster,
      spec: { ...cluster.spec, taints: taintsFor(cluster, factsOf(cluster), copy.taintPolicies, stamp) },
    }));
    this.#byName = new Map(this.#clusters.map((cluster) => [cluster.metadata.name, cluster]));
    this.#facts = this.#clusters.map((cluster) => {
      const { name } = cluster.metadata;
      // What is decided here is seen nowhere.
      this.#promises.seeNodes(name, true);
      return { ...factsOf(cluster), promised: this.#promises.in(name), residents: this.#residents.in(name) };
    });
    this.#factsByName = new Map(this.#facts.map((facts) => [facts.name, facts]));
    for (const { spec } of copy.bindings)
      this.#residents.settle(
        spec.resource.uid ?? "",
        groupNamesOf(spec),
        (spec.clusters ?? []).map(({ name }) => name),
      );
    const priorityOf = ({ spec }: ResourceBinding): number => spec.schedulePriority?.priority ?? 0;
    for (const binding of copy.bindings.toSorted((a, b) => priorityOf(b) - priorityOf(a)))
      if (!isDeleting(binding))
        this.actors.set(textOf(binding), { binding, isAsked: false, steps: [], decision: undefined });
  }

  /** Makes the bindings of templates that changed. Returns what cannot be told. */
  takeTemplates(): string[] {
    const policies = this.#copy.policies.map(policyOf);
    const notes: string[] = [];
    for (const template of this.#copy.templates) {
      const note = this.#take(template, policies);
      if (note !== undefined) notes.push(note);
    }
    return notes;
  }

  #take(template: KubeObject, policies: readonly Policy[]): string | undefined {
    const { apiVersion, kind, metadata } = template;
    const { name, namespace = "", labels = {} } = metadata;
    if (isDeleting(template) || isReservedSpace(namespace) || isClustersOwn({ kind, name })) return undefined;
    const subject = { apiVersion, kind, namespace, name, labels };
    const claim = claimOf(template);
    const claimant = claim === "" ? undefined : policies.find(({ id }) => id === claim);
    const policy = choosePolicy(policies, subject, claimant);
    const text = `${namespace === "" ? "" : `${namespace}/`}${bindingNameOf(kind, name)}`;
    const known = this.actors.get(text);
    if (policy === undefined)
      return known === undefined ? undefined : `${kind} ${name}: no policy means it any more; it stays where it is`;
    if (policy.spec.activationPreference === "Lazy" && claimant === policy)
      return `${kind} ${name}: policy ${policy.name} is lazy, and acts when the object itself changes`;
    const interpreter = this.#copy.interpreters.interpreterFor(apiVersion, kind);
    const wish = wishFor(template, policy, interpreter, known?.binding.spec);
    const kept = known?.binding.spec;
    const spec: BindingSpec = {
      ...wish,
      ...pick(kept, ["clusters", "gracefulEvictionTasks", "requiredBy", "rescheduleTriggeredAt", "schedulePriority"]),
    };
    const binding: ResourceBinding = known?.binding ?? {
      apiVersion: "work.karmada.io/v1alpha2",
      kind: namespace === "" ? "ClusterResourceBinding" : "ResourceBinding",
      metadata: {
        name: bindingNameOf(kind, name),
        ...(namespace === "" ? {} : { namespace }),
        uid: "",
        resourceVersion: "",
        creationTimestamp: "",
      },
      spec,
    };
    this.actors.set(text, { steps: [], decision: undefined, ...known, isAsked: true, binding: { ...binding, spec } });
    return undefined;
  }

  /** Until nothing moves. */
  run(): void {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      let isMoving = false;
      const waits: number[] = [];
      for (const actor of this.actors.values()) {
        isMoving = this.#evict(actor, waits) || isMoving;
        isMoving = this.#place(actor) || isMoving;
      }
      this.#followLeaders();
      if (isMoving) continue;
      const nextMs = this.#nowMs + Math.min(...waits);
      if (waits.length === 0 || nextMs - this.#startMs > HORIZON_MS) return;
      this.#nowMs = nextMs;
    }
  }

  #say(actor: Actor, what: string): void {
    if (actor.steps.some((step) => step.what === what)) return;
    actor.steps.push({ atSeconds: Math.round((this.#nowMs - this.#startMs) / 1000), what });
  }

  #evict(actor: Actor, waits: number[]): boolean {
    const { binding } = actor;
    const plan = planEviction(binding, {
      cluster: (name) => this.#byName.get(name),
      isFeasible: (leaving) => isFeasible(binding, this.#facts, leaving),
      brake: () => brakeOn(this.#clusters),
      nowMs: this.#nowMs,
    });
    if (plan.againMs !== undefined) waits.push(Math.max(1000, plan.againMs));
    const evicted = new Set(plan.evicted);
    for (const { cluster, why } of plan.held) {
      const until = evicted.has(cluster) ? " until it has a place" : "";
      this.#say(actor, `stays in ${cluster}, where it is not wanted${until}: ${why}`);
    }
    for (const cluster of plan.restored) this.#say(actor, `stays in ${cluster} after all`);
    if (!plan.isChanged) return false;
    for (const cluster of plan.evicted)
      if (!plan.held.some((each) => each.cluster === cluster))
        this.#say(actor, `leaves ${cluster}: a NoExecute taint of it is not tolerated`);
    const failed = plan.evicted.filter((name) => {
      const cluster = this.#byName.get(name);
      return cluster !== undefined && isAway(cluster);
    });
    const note = lostNote([...lostClustersOf(binding.metadata.annotations), ...failed])[BINDING.lost];
    actor.binding = {
      ...binding,
      metadata: {
        ...binding.metadata,
        annotations: { ...binding.metadata.annotations, ...(note === null ? {} : { [BINDING.lost]: note }) },
      },
      spec: { ...binding.spec, clusters: [...plan.clusters], gracefulEvictionTasks: [...plan.tasks] },
    };
    return true;
  }

  #place(actor: Actor): boolean {
    const { binding } = actor;
    const { spec, status, metadata } = binding;
    if (!isOurs(spec)) return false;
    const { annotations = {} } = metadata;
    const bound: Bound = { spec, annotations, ...(status === undefined ? {} : { status }) };
    const verdict = verdictOn(bound, this.#factsByName);
    if (!verdict.isDue) return false;
    const result = decide(bound, this.#facts, verdict.isFresh);
    takeNote({ promises: this.#promises, residents: this.#residents }, bound, result);
    const clusters = nextTargets(spec, result);
    const isSame = equalJson(clusters, spec.clusters ?? []);
    if (!isSame || !result.isPlaced || actor.steps.length > 0) actor.decision = { why: verdict.why, result };
    const text = placementText(spec.placement ?? {});
    const isKnown = annotations[BINDING.appliedPlacement] === text || !isNoted(result);
    const affinity = result.isPlaced ? result.trace.affinity : undefined;
    actor.binding = {
      ...binding,
      metadata: {
        ...metadata,
        annotations: {
          ...annotations,
          ...(isNoted(result) ? { [BINDING.appliedPlacement]: text } : {}),
          ...(verdict.isFresh ? { [BINDING.rescheduled]: spec.rescheduleTriggeredAt ?? "" } : {}),
        },
      },
      spec: { ...spec, clusters: [...clusters] },
      status: { ...status, ...(affinity === undefined ? {} : { schedulerObservingAffinityName: affinity }) },
    };
    return !isSame || !isKnown;
  }

  /** What goes along with others goes where they go. */
  #followLeaders(): void {
    for (const actor of this.actors.values()) {
      const { requiredBy } = actor.binding.spec;
      if (requiredBy === undefined) continue;
      const next = requiredBy.map((each) => {
        const leader = this.actors.get(`${each.namespace === undefined ? "" : `${each.namespace}/`}${each.name}`);
        return leader === undefined ? each : { ...each, clusters: leader.binding.spec.clusters ?? [] };
      });
      actor.binding = { ...actor.binding, spec: { ...actor.binding.spec, requiredBy: next } };
    }
  }
}

function outcomeOf(text: string, before: readonly Target[], { binding, steps, decision }: Actor): Outcome {
  const { apiVersion, kind, name, namespace } = binding.spec.resource;
  const after = clustersOf(binding.spec);
  const template = { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) };
  const kept = (binding.spec.gracefulEvictionTasks ?? []).flatMap(({ fromCluster, purgeMode }) =>
    purgeMode === "Directly" || purgeMode === "Immediately" ? [] : [fromCluster],
  );
  const shown = { binding: text, template, before: [...before], after, kept, steps };
  if (decision === undefined) return shown;
  const { why, result } = decision;
  const { rule, rejected, feasible } = result.trace;
  return {
    ...shown,
    decision: {
      why,
      rule,
      isPlaced: result.isPlaced,
      ...(result.isPlaced ? {} : { message: result.message }),
      rejected: rejected.map(({ cluster, plugin, reason }) => ({ cluster, reason: `${plugin}: ${reason}` })),
      feasible: feasible.map(({ cluster, room, promised }) => ({
        cluster,
        promised,
        ...(room === Number.MAX_SAFE_INTEGER ? {} : { room }),
      })),
    },
  };
}

function sorted(targets: readonly Target[]): { name: string; replicas: number }[] {
  return targets
    .map(({ name, replicas }) => ({ name, replicas: replicas ?? -1 }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function textOf({ metadata: { namespace, name } }: ResourceBinding): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function pick<T extends object, K extends keyof T>(object: T | undefined, names: readonly K[]): Partial<Pick<T, K>> {
  const picked: Partial<Pick<T, K>> = {};
  for (const name of names) if (object?.[name] !== undefined) picked[name] = object[name];
  return picked;
}

/** Time does not pass while a copy is tried. */
function standingStill(nowMs: number): Clock {
  return { now: () => nowMs, monotonicMs: () => 0, setTimer: () => ({ cancel: () => {} }), sleep: async () => {} };
}

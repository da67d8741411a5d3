import type { GatewayDriver } from "../../../dataplane/gateway/index.js";
import {
  type ClusterAccess,
  type ControllerSpec,
  type InformerSet,
  type Key,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../../kernel/control/index.js";
import {
  ControllerRevisionKind,
  findCondition,
  isDeleting,
  type KubeObject,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { asObjects, asString, isObject, toJsonObject } from "../../../kernel/schema/index.js";
import type { Ledger } from "../../../stores/ledger/index.js";
import { type PlannedObject, planParts } from "../hyper-plan.js";
import {
  ClusterKind,
  type ConditionDraft,
  HeadIngressKind,
  type HyperMLService,
  HyperMLServiceKind,
} from "../kinds.js";
import { faultsOfRollout } from "./admission.js";
import type { ClusterFacts } from "./assignments.js";
import { type RolloutDecision, type RolloutScene, stepRollout } from "./engine.js";
import { GateKeeper, type Watch } from "./gate-keeper.js";
import { type GateReport, type HyperRollout, HyperRolloutKind, type HyperRolloutStatus } from "./kind.js";
import type { WatchedService } from "./model-servers.js";
import { type AskPrometheus, askPrometheus } from "./prometheus.js";
import { type RevisionRef, RevisionStore } from "./revisions.js";
import { hasCanary, rolloutOf } from "./targets.js";
import { unmatchedIn } from "./waves.js";

const NAME = "hyper-rollout-controller";
const RETRY_MS = 1000;

type Context = ReconcileContext<HyperRollout>;

/** What the controller of HyperRollouts works with. */
export interface RolloutOptions {
  readonly gateway: Pick<GatewayDriver, "lastState">;
  readonly members: (cluster: string) => ClusterAccess | undefined;
  readonly ledger: Ledger;
  /** Default: over HTTP. */
  readonly prometheus?: AskPrometheus;
}

/** Takes HyperMLServices' revisions through their clusters, by assigning a revision to each; the HyperMLService's controller delivers them. */
export function hyperRolloutController(options: RolloutOptions): ControllerSpec<HyperRollout> {
  const keeper = new GateKeeper({
    gateway: () => options.gateway.lastState,
    members: options.members,
    prometheus: options.prometheus ?? askPrometheus,
  });
  const conductor = new Conductor(options.ledger, keeper);
  return {
    name: NAME,
    kind: HyperRolloutKind,
    concurrency: 4,
    watches: [
      { kind: HyperMLServiceKind, keys: (hyper, informers) => rulersOf(hyper.metadata, informers) },
      { kind: ClusterKind, keys: (cluster, informers) => concerned(cluster, informers) },
      { kind: HyperRolloutKind, keys: siblings },
      // Only so that they are known.
      { kind: HeadIngressKind, keys: () => [] },
      { kind: ControllerRevisionKind, keys: () => [] },
    ],
    async reconcile(key, rollout, context) {
      if (rollout !== undefined && !isDeleting(rollout)) return conductor.conduct(rollout, context);
      keeper.forget(`${key.namespace}/${key.name}`);
      return undefined;
    },
  };
}

function rulersOf({ namespace = "", name }: KubeObject["metadata"], informers: InformerSet): readonly Key[] {
  return informers
    .informer(HyperRolloutKind)
    .list(namespace)
    .filter(({ spec }) => spec.hyperMLServiceRef.name === name)
    .map(({ metadata }) => ({ namespace, name: metadata.name }));
}

/** Of several for one HyperMLService the oldest rules: when it goes, another does. */
function siblings(rollout: KubeObject, informers: InformerSet): readonly Key[] {
  const { namespace = "", name } = rollout.metadata;
  const all = informers.informer(HyperRolloutKind).list(namespace);
  return all
    .filter(({ metadata }) => metadata.name !== name)
    .map(({ metadata }) => ({ namespace, name: metadata.name }));
}

function concerned(cluster: KubeObject, informers: InformerSet): readonly Key[] {
  const { name } = cluster.metadata;
  return informers
    .informer(HyperRolloutKind)
    .list()
    .filter(({ status }) => (status?.clusters ?? []).some((one) => one.cluster === name))
    .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name }));
}

/** What revisions have for clusters. */
type Plans = ReadonlyMap<string, readonly PlannedObject[]>;

class Conductor {
  readonly #ledger: Ledger;
  readonly #keeper: GateKeeper;
  readonly #revisions = new RevisionStore();

  constructor(ledger: Ledger, keeper: GateKeeper) {
    this.#ledger = ledger;
    this.#keeper = keeper;
  }

  async conduct(rollout: HyperRollout, context: Context): Promise<ReconcileResult | undefined> {
    const { namespace = "", name } = rollout.metadata;
    const { informers } = context.cluster;
    const ruled = rollout.spec.hyperMLServiceRef.name;
    const hyper = informers.informer(HyperMLServiceKind).get({ namespace, name: ruled });
    if (hyper === undefined || isDeleting(hyper))
      return this.#refuse(
        rollout,
        { reason: "NotFound", message: `there is no HyperMLService ${ruled} in namespace ${namespace}` },
        context,
      );
    const ruler = rolloutOf(namespace, ruled, informers.informer(HyperRolloutKind).list(namespace));
    if (ruler !== undefined && ruler.metadata.name !== name)
      return this.#refuse(
        rollout,
        {
          reason: "Superseded",
          message: `HyperRollout ${ruler.metadata.name}, which is older, rules HyperMLService ${ruled}`,
        },
        context,
      );
    const faults = faultsOfRollout(toJsonObject(rollout.spec));
    if (faults.length > 0) {
      const message = faults.map((fault) => `${fault.field}: ${fault.message}`).join("; ");
      return this.#refuse(rollout, { reason: "InvalidSpec", message }, context);
    }
    const latest = this.#latestOf(hyper, context);
    // Its controller makes the revision first.
    if (latest === undefined) return { requeueAfterMs: RETRY_MS };
    return this.#step(rollout, { hyper, latest }, context);
  }

  async #step(
    rollout: HyperRollout,
    { hyper, latest }: { readonly hyper: HyperMLService; readonly latest: RevisionRef },
    context: Context,
  ): Promise<ReconcileResult | undefined> {
    const status = rollout.status ?? {};
    const seed = this.#seedOf(hyper, context);
    const used = [
      latest.name,
      status.stable?.name ?? seed?.name,
      ...(status.clusters ?? []).flatMap(({ revision, from }) => [revision, from]),
    ];
    const plans = await this.#plansOf(hyper, new Set(used.flatMap((one) => one ?? [])), context);
    const scene: RolloutScene = {
      spec: rollout.spec,
      status,
      latest,
      seed,
      clusters: factsOf(hyper, context),
      clustersOf: (revision) => [...new Set((plans.get(revision) ?? []).map(({ cluster }) => cluster))],
      hasCanary: (cluster, from, to) => hasCanary(within(plans.get(from), cluster), within(plans.get(to), cluster)),
      gates: await this.#askGates(rollout, { hyper, status, plans }, context),
      nowMs: context.clock.now(),
    };
    const step = stepRollout(scene);
    // What is counted from now on is counted from here.
    const begun = step.status.wave?.readySince !== undefined && step.status.wave.readySince !== status.wave?.readySince;
    if (begun) await this.#askGates(rollout, { hyper, status: step.status, plans }, context);
    if (step.status.wave?.readySince === undefined) this.#keeper.forget(keyOf(rollout));
    await this.#write(rollout, step.status, context);
    this.#record(rollout, hyper, step.decisions, context);
    return step.wakeMs === undefined ? undefined : { requeueAfterMs: step.wakeMs };
  }

  #latestOf(hyper: HyperMLService, context: Context): RevisionRef | undefined {
    const name = this.#revisions.nameOf(hyper);
    const all = this.#revisions.list(hyper, context);
    const [newest] = all;
    const found = all.find(({ metadata }) => metadata.name === name);
    return found === undefined || found.revision < (newest?.revision ?? 0)
      ? undefined
      : { name, number: found.revision };
  }

  /** What was in force when the HyperRollout came. */
  #seedOf(hyper: HyperMLService, context: Context): RevisionRef | undefined {
    const name = hyper.status?.revision;
    const found = this.#revisions.list(hyper, context).find(({ metadata }) => metadata.name === name);
    return found === undefined ? undefined : { name: found.metadata.name, number: found.revision };
  }

  async #plansOf(hyper: HyperMLService, names: ReadonlySet<string>, context: Context): Promise<Plans> {
    const plans = new Map<string, readonly PlannedObject[]>();
    for (const name of names) {
      const workloads = await this.#revisions.load(hyper, name, context);
      if (workloads !== undefined) plans.set(name, planParts({ metadata: hyper.metadata, workloads }).objects);
    }
    return plans;
  }

  async #askGates(
    rollout: HyperRollout,
    {
      hyper,
      status,
      plans,
    }: { readonly hyper: HyperMLService; readonly status: HyperRolloutStatus; readonly plans: Plans },
    context: Context,
  ): Promise<GateReport[]> {
    const { wave, target, clusters = [] } = status;
    const gates = rollout.spec.gates ?? [];
    if (gates.length === 0 || wave?.readySince === undefined || target === undefined) return [];
    const watched = clusters.filter(
      (one) => one.wave === wave.name && one.state === "Ready" && one.revision === target.name,
    );
    const { namespace = "", name } = hyper.metadata;
    const heads = context.cluster.informers.informer(HeadIngressKind).list(namespace);
    const watch: Watch = {
      mark: `${target.name} ${wave.name} ${wave.step} ${wave.readySince}`,
      namespace,
      name,
      clusters: watched.map(({ cluster }) => cluster),
      gates,
      heads: heads.filter(({ spec }) => spec.hyperMLServiceRef?.name === name),
      triedIn: (cluster) => {
        const isTried = watched.some((one) => one.cluster === cluster && one.shadowPercent !== undefined);
        const services = isTried ? servicesOf(within(plans.get(target.name), cluster), true) : [];
        return isTried ? services.flatMap(({ release }) => release ?? []) : undefined;
      },
      isPull: (cluster) =>
        context.cluster.informers.informer(ClusterKind).get({ namespace: "", name: cluster })?.spec?.syncMode ===
        "Pull",
      servicesIn: (cluster) => {
        const isStep = watched.some((one) => one.cluster === cluster && one.from !== undefined);
        return servicesOf(within(plans.get(target.name), cluster), isStep);
      },
    };
    const { clock, signal } = context;
    return this.#keeper.look(keyOf(rollout), watch, { client: context.cluster.client, clock, signal });
  }

  #record(rollout: HyperRollout, hyper: HyperMLService, decisions: readonly RolloutDecision[], context: Context): void {
    const { apiVersion, kind, metadata } = hyper;
    for (const { outcome, rule, isBad, winners = [], losers = [] } of decisions) {
      this.#ledger.record({
        cluster: context.cluster.name,
        about: { apiVersion, kind, namespace: metadata.namespace ?? "", name: metadata.name },
        topic: "rollout",
        rule,
        inputs: { rollout: rollout.metadata.name, generation: metadata.generation ?? 0 },
        outcome,
        winners,
        losers,
      });
      context.events.record(
        hyper,
        isBad === true ? "Warning" : "Normal",
        isBad === true ? "RolloutFailed" : "Rollout",
        outcome,
      );
    }
  }

  async #refuse(
    rollout: HyperRollout,
    { reason, message }: { readonly reason: string; readonly message: string },
    context: Context,
  ): Promise<undefined> {
    const now = context.clock.now();
    const observedGeneration = rollout.metadata.generation ?? 0;
    const draft = { type: "Progressing", status: "False" as const, reason, message, observedGeneration };
    const conditions = withCondition(rollout.status?.conditions, draft, now);
    const status: HyperRolloutStatus = { ...rollout.status, observedGeneration, phase: "Waiting", message, conditions };
    await syncStatus(context.cluster.client.resource(HyperRolloutKind), rollout, status, NAME);
    return undefined;
  }

  async #write(rollout: HyperRollout, status: HyperRolloutStatus, context: Context): Promise<void> {
    const observedGeneration = rollout.metadata.generation ?? 0;
    let conditions = rollout.status?.conditions;
    for (const draft of [...conditionsOf(status), wavesMatched(rollout, status)])
      conditions = withCondition(conditions, { ...draft, observedGeneration }, context.clock.now());
    const whole = { observedGeneration, ...status, ...(conditions === undefined ? {} : { conditions }) };
    await syncStatus(context.cluster.client.resource(HyperRolloutKind), rollout, whole, NAME);
  }
}

function keyOf({ metadata }: HyperRollout): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

function within(plan: readonly PlannedObject[] | undefined, cluster: string): readonly PlannedObject[] {
  return (plan ?? []).filter((one) => one.cluster === cluster);
}

/** During a step only the new release is watched. */
function servicesOf(plan: readonly PlannedObject[], isStep: boolean): WatchedService[] {
  return plan
    .filter(({ kind }) => kind === "MLService")
    .map(({ namespace, name, manifest }) => {
      const spec = isObject(manifest["spec"]) ? manifest["spec"] : {};
      const isKnown = asObjects(spec["releases"]).some((release) => release["name"] === spec["default"]);
      return { namespace, name, release: isStep && isKnown ? asString(spec["default"]) : undefined };
    });
}

function factsOf(hyper: HyperMLService, context: Context): ReadonlyMap<string, ClusterFacts> {
  const rows = new Map((hyper.status?.revisions ?? []).map((row) => [row.cluster, row]));
  const isFresh = hyper.status?.observedGeneration === hyper.metadata.generation;
  const clusters = context.cluster.informers.informer(ClusterKind).list();
  const known = new Map(clusters.map((cluster) => [cluster.metadata.name, cluster]));
  return new Map(
    [...new Set([...known.keys(), ...rows.keys()])].map((name): [string, ClusterFacts] => {
      const cluster = known.get(name);
      const row = rows.get(name);
      const ready = findCondition(cluster?.status?.conditions, "Ready");
      const silence =
        cluster === undefined
          ? "it is not registered"
          : ready?.status === "True"
            ? ""
            : (ready?.message ?? "it was not looked at yet");
      return [
        name,
        {
          labels: cluster?.metadata.labels ?? {},
          silence,
          revision: row?.revision ?? "",
          canaryPercent: row?.canaryPercent,
          shadowPercent: row?.shadows?.[0]?.percent,
          isReady: isFresh && row?.ready === true,
          message: row?.message ?? "",
        },
      ];
    }),
  );
}

function wavesMatched({ spec }: HyperRollout, { clusters = [] }: HyperRolloutStatus): ConditionDraft {
  const type = "WavesMatched";
  const unmatched = unmatchedIn(spec.waves ?? [], clusters);
  return unmatched.length === 0
    ? { type, status: "True", reason: "AsAsked", message: "every wave has the clusters that it names" }
    : { type, status: "False", reason: "NoSuchCluster", message: unmatched.join("; ") };
}

function conditionsOf({ phase, message = "", failure }: HyperRolloutStatus): ConditionDraft[] {
  const reason = phase ?? "Waiting";
  const isMoving = reason === "Progressing" || reason === "Baking" || reason === "RollingBack";
  return [
    { type: "Progressing", status: isMoving ? "True" : "False", reason, message },
    { type: "Complete", status: reason === "Complete" ? "True" : "False", reason, message },
    failure === undefined
      ? { type: "Healthy", status: "True", reason: "AsExpected", message: "no gate failed and no deadline was missed" }
      : { type: "Healthy", status: "False", reason: failure.reason, message: failure.message },
  ];
}

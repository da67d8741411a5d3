import type { ClusterAccess, ControllerSpec, ReconcileContext } from "../../../kernel/control/index.js";
import { isDeleting, type KindDefinition } from "../../../kernel/kinds/index.js";
import { toJson } from "../../../kernel/schema/index.js";
import type { Ledger } from "../../../stores/ledger/index.js";
import {
  type BindingSpec,
  ClusterResourceBindingKind,
  type ResourceBinding,
  ResourceBindingKind,
} from "../bindings/kinds.js";
import { isMoreThanStatus } from "../changes.js";
import { type Cluster, ClusterKind } from "../kinds.js";
import { factsOf } from "../placement/facts.js";
import { affinityMatches, untoleratedTaint } from "../placement/index.js";
import { type EvictionPlan, planEviction } from "./eviction.js";

type Context = ReconcileContext<ResourceBinding>;

const CLUSTER_INDEX = "clusters-of-binding";

/** Sends objects away from clusters that do not want them any more, and ends what was begun. One controller for each kind of binding. */
export function evictionControllers(ledger: Ledger): ControllerSpec<ResourceBinding>[] {
  return [
    evictionController(ResourceBindingKind, "binding-eviction", ledger),
    evictionController(ClusterResourceBindingKind, "cluster-binding-eviction", ledger),
  ];
}

function evictionController(
  kind: KindDefinition<ResourceBinding>,
  name: string,
  ledger: Ledger,
): ControllerSpec<ResourceBinding> {
  return {
    name,
    kind,
    // An eviction ends when its replacement is healthy.
    concerns: (now, old) => (now.spec.gracefulEvictionTasks ?? []).length > 0 || isMoreThanStatus(now, old),
    concurrency: 4,
    watches: [
      {
        kind: ClusterKind,
        keys: (cluster, informers) => {
          const bindings = informers.informer(kind);
          bindings.addIndex(CLUSTER_INDEX, ({ spec }) => (spec.clusters ?? []).map((target) => target.name));
          return bindings
            .byIndex(CLUSTER_INDEX, cluster.metadata.name)
            .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name }));
        },
      },
    ],
    async reconcile(_key, binding, context) {
      if (binding === undefined || isDeleting(binding)) return undefined;
      const clusters = context.cluster.informers.informer(ClusterKind);
      await clusters.synced(context.signal);
      const plan = planEviction(binding, {
        cluster: (each) => clusters.get({ namespace: "", name: each }),
        hasAlternative: (leaving) => hasAlternative(binding.spec, clusters.list(), leaving),
        nowMs: context.clock.now(),
      });
      if (plan.isChanged) await write(binding, plan, { kind, name, ledger, context });
      for (const each of plan.stranded)
        context.events.record(
          binding,
          "Warning",
          "EvictionHeldBack",
          `cluster ${each} does not want it, but there is no other cluster that it could go to`,
        );
      return plan.againMs === undefined ? undefined : { requeueAfterMs: Math.max(plan.againMs, 100) };
    },
  };
}

async function write(
  binding: ResourceBinding,
  plan: EvictionPlan,
  {
    kind,
    name: manager,
    ledger,
    context,
  }: {
    readonly kind: KindDefinition<ResourceBinding>;
    readonly name: string;
    readonly ledger: Ledger;
    readonly context: Context;
  },
): Promise<void> {
  const { name, namespace, resourceVersion } = binding.metadata;
  const change = {
    metadata: { resourceVersion: resourceVersion ?? "" },
    spec: {
      clusters: plan.clusters.length === 0 ? null : toJson(plan.clusters),
      gracefulEvictionTasks: plan.tasks.length === 0 ? null : toJson(plan.tasks),
    },
  };
  await context.cluster.client
    .resource(kind)
    .patch(name, "merge", change, { fieldManager: manager, ...(namespace === undefined ? {} : { namespace }) });
  for (const cluster of plan.evicted)
    context.events.record(
      binding,
      "Normal",
      "EvictWorkloadFromClusterSucceed",
      `it does not tolerate the taints of cluster ${cluster} and is sent away`,
    );
  for (const cluster of plan.finished)
    context.events.record(binding, "Normal", "EvictWorkloadFromClusterSucceed", `it has left cluster ${cluster}`);
  if (plan.evicted.length > 0) record(binding, plan, context.cluster, ledger);
}

function record({ spec }: ResourceBinding, plan: EvictionPlan, hub: ClusterAccess, ledger: Ledger): void {
  const { apiVersion, kind, name, namespace } = spec.resource;
  ledger.record({
    cluster: hub.name,
    about: { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) },
    topic: "placement",
    rule: "eviction by taints",
    inputs: { tolerations: toJson(spec.placement?.clusterTolerations ?? []) },
    outcome: `leaves ${plan.evicted.join(", ")}`,
    winners: plan.clusters.map((target) => ({ name: target.name, reason: "its taints are tolerated" })),
    losers: plan.evicted.map((each) => ({ name: each, reason: "a NoExecute taint of it is not tolerated" })),
  });
}

/** Whether another cluster would be a choice: meant by the policy, tolerated, and with this kind. */
function hasAlternative(spec: BindingSpec, clusters: readonly Cluster[], leaving: ReadonlySet<string>): boolean {
  const { clusterAffinity, clusterAffinities, clusterTolerations = [] } = spec.placement ?? {};
  const meant = clusterAffinities ?? [clusterAffinity];
  const kind = `${spec.resource.apiVersion}/${spec.resource.kind}`;
  return clusters
    .filter((cluster) => !isDeleting(cluster) && !leaving.has(cluster.metadata.name))
    .map(factsOf)
    .some(
      (facts) =>
        meant.some((affinity) => affinityMatches(affinity, facts)) &&
        untoleratedTaint(facts, clusterTolerations) === undefined &&
        (facts.kinds.has(kind) || !facts.knowsAllKinds),
    );
}

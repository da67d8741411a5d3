import type { ControllerSpec, ReconcileContext, ReconcileResult } from "../../../kernel/control/index.js";
import { isDeleting, type KindDefinition } from "../../../kernel/kinds/index.js";
import { toJson } from "../../../kernel/schema/index.js";
import { ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "../bindings/kinds.js";
import { type FailoverPlan, planFailover, unhealthyIn } from "./application-failover.js";
import { type EvictionParts, isFeasible } from "./eviction-controller.js";

type Context = ReconcileContext<ResourceBinding>;

/** Moves objects that are unhealthy where they are, as their policies ask for. One controller for each kind of binding. */
export function failoverControllers(parts: EvictionParts): ControllerSpec<ResourceBinding>[] {
  return [
    failoverController(ResourceBindingKind, "resource-binding-application-failover-controller", parts),
    failoverController(ClusterResourceBindingKind, "cluster-resource-binding-application-failover-controller", parts),
  ];
}

function failoverController(
  kind: KindDefinition<ResourceBinding>,
  name: string,
  parts: EvictionParts,
): ControllerSpec<ResourceBinding> {
  /** By binding: since when it is unhealthy in which cluster. A restart begins to count anew. */
  const since = new Map<string, Map<string, number>>();
  return {
    name,
    kind,
    concerns: ({ spec }, old) =>
      spec.failover?.application !== undefined || old.spec.failover?.application !== undefined,
    isIdle: ({ spec }) => spec.failover?.application === undefined,
    async reconcile(key, binding, context): Promise<ReconcileResult | undefined> {
      const text = `${key.namespace}/${key.name}`;
      const isOver = binding === undefined || isDeleting(binding);
      if (isOver || binding.spec.failover?.application === undefined) {
        since.delete(text);
        return undefined;
      }
      const nowMs = context.clock.now();
      const known = since.get(text);
      const unhealthySinceMs = new Map(unhealthyIn(binding).map((each) => [each, known?.get(each) ?? nowMs]));
      if (unhealthySinceMs.size === 0) {
        since.delete(text);
        return undefined;
      }
      since.set(text, unhealthySinceMs);
      await parts.book.synced(context.signal);
      const plan = planFailover(binding, {
        unhealthySinceMs,
        isFeasible: (leaving) => isFeasible(binding, parts.book.list, leaving),
        producer: name,
        nowMs,
      });
      if (plan.evicted.length > 0) await write(binding, plan, { kind, name, parts, context });
      for (const { cluster, why } of plan.held)
        context.events.record(
          binding,
          "Warning",
          "EvictionHeldBack",
          `it is unhealthy in cluster ${cluster}, but stays there: ${why}`,
        );
      return plan.againMs === undefined ? undefined : { requeueAfterMs: Math.max(plan.againMs, 100) };
    },
  };
}

interface Where {
  readonly kind: KindDefinition<ResourceBinding>;
  readonly name: string;
  readonly parts: EvictionParts;
  readonly context: Context;
}

async function write(
  binding: ResourceBinding,
  plan: FailoverPlan,
  { kind, name, parts, context }: Where,
): Promise<void> {
  const { metadata, spec } = binding;
  const { namespace } = metadata;
  const change = {
    metadata: { resourceVersion: metadata.resourceVersion },
    spec: {
      clusters: plan.clusters.length === 0 ? null : toJson(plan.clusters),
      gracefulEvictionTasks: toJson(plan.tasks),
    },
  };
  await context.cluster.client
    .resource(kind)
    .patch(metadata.name, "merge", change, { fieldManager: name, ...(namespace === undefined ? {} : { namespace }) });
  for (const cluster of plan.evicted)
    context.events.record(
      binding,
      "Normal",
      "EvictWorkloadFromClusterSucceed",
      `it has been unhealthy in cluster ${cluster} for too long and is sent away`,
    );
  const { apiVersion, kind: about, name: template, namespace: space } = spec.resource;
  parts.ledger.record({
    cluster: context.cluster.name,
    about: { apiVersion, kind: about, name: template, ...(space === undefined ? {} : { namespace: space }) },
    topic: "placement",
    rule: "failover of what is unhealthy",
    inputs: { application: toJson(spec.failover?.application ?? {}) },
    outcome: `leaves ${plan.evicted.join(", ")}`,
    winners: plan.clusters.map((target) => ({ name: target.name, reason: "it is not unhealthy there" })),
    losers: plan.evicted.map((each) => ({ name: each, reason: "it has been unhealthy there for too long" })),
  });
}

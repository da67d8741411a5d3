import type { ControllerSpec, ReconcileContext } from "../../../kernel/control/index.js";
import { syncStatus } from "../../../kernel/control/index.js";
import { isDeleting, timeOf } from "../../../kernel/kinds/index.js";
import { type WorkloadRebalancer, WorkloadRebalancerKind, type WorkloadRebalancerStatus } from "../policies/kinds.js";
import { bindingNameOf } from "../policies/marks.js";
import { bindingKindOf } from "./binding-writer.js";
import { ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "./kinds.js";

const NAME = "workload-rebalancer";

type Context = ReconcileContext<WorkloadRebalancer>;
type Workload = WorkloadRebalancer["spec"]["workloads"][number];
type Observed = NonNullable<WorkloadRebalancerStatus["observedWorkloads"]>[number];

/** Has bindings placed anew, once for each workload of a WorkloadRebalancer, and takes that away when its time is over. */
export function rebalancerController(): ControllerSpec<WorkloadRebalancer> {
  return {
    name: NAME,
    kind: WorkloadRebalancerKind,
    // So that they are known; no change of a binding concerns a rebalancer.
    watches: [
      { kind: ResourceBindingKind, keys: () => [] },
      { kind: ClusterResourceBindingKind, keys: () => [] },
    ],
    async reconcile(_key, object, context) {
      if (object === undefined || isDeleting(object)) return undefined;
      const status = await rebalance(object, context);
      const { ttlSecondsAfterFinished } = object.spec;
      if (ttlSecondsAfterFinished === undefined || status.finishTime === undefined) return undefined;
      const leftMs = Date.parse(status.finishTime) + ttlSecondsAfterFinished * 1000 - context.clock.now();
      if (leftMs > 0) return { requeueAfterMs: leftMs };
      const { name, uid } = object.metadata;
      await context.cluster.client.resource(WorkloadRebalancerKind).delete(name, { preconditions: { uid } });
      return undefined;
    },
  };
}

async function rebalance(object: WorkloadRebalancer, context: Context): Promise<WorkloadRebalancerStatus> {
  const { status, metadata, spec } = object;
  if (status?.finishTime !== undefined && status.observedGeneration === metadata.generation) return status;
  const known = new Map((status?.observedWorkloads ?? []).map((each) => [textOf(each.workload), each]));
  const observed: Observed[] = [];
  for (const workload of new Map(spec.workloads.map((each) => [textOf(each), each])).values()) {
    const before = known.get(textOf(workload));
    observed.push(before?.result === "Successful" ? before : await trigger(workload, context));
  }
  const next: WorkloadRebalancerStatus = {
    observedGeneration: metadata.generation ?? 0,
    observedWorkloads: observed.sort((a, b) => (textOf(a.workload) < textOf(b.workload) ? -1 : 1)),
    finishTime: timeOf(context.clock.now()),
  };
  await syncStatus(context.cluster.client.resource(WorkloadRebalancerKind), object, next, NAME);
  return next;
}

async function trigger(workload: Workload, context: Context): Promise<Observed> {
  const { namespace = "", name, kind } = workload;
  const bindingKind = bindingKindOf(namespace);
  const key = { namespace, name: bindingNameOf(kind, name) };
  const binding = context.cluster.informers.informer(bindingKind).get(key);
  if (binding === undefined || isDeleting(binding) || !isAbout(binding, workload))
    return { workload, result: "Failed", reason: "ReferencedBindingNotFound" };
  // Times are told in seconds: later than the last placement, whenever in that second it was.
  const now = context.clock.now();
  const last = Date.parse(binding.status?.lastScheduledTime ?? "") || now;
  const patch = { spec: { rescheduleTriggeredAt: timeOf(Math.max(now, last + 1000)) } };
  await context.cluster.client.resource(bindingKind).patch(key.name, "merge", patch, {
    fieldManager: NAME,
    ...(namespace === "" ? {} : { namespace }),
  });
  return { workload, result: "Successful" };
}

function isAbout({ spec: { resource } }: ResourceBinding, { apiVersion, kind, name }: Workload): boolean {
  return resource.apiVersion === apiVersion && resource.kind === kind && resource.name === name;
}

function textOf({ apiVersion, kind, namespace = "", name }: Workload): string {
  return `${apiVersion} ${kind} ${namespace} ${name}`;
}

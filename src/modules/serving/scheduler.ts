/** TensorStack's scheduler: whether a cluster has it, and what pods say for it. */
import type { ClusterAccess } from "../../kernel/control/types.js";
import { DeploymentKind } from "../../kernel/kinds/index.js";
import type { PodScheduler } from "./pod-template.js";

/** Its name, in pods and as a Deployment. */
const T9K_SCHEDULER = "t9k-scheduler";
const QUEUE = "scheduler.tensorstack.dev/queue";
const BY_NAME = "t9k-schedulers";

/** What pods say for TensorStack's scheduler; `undefined` where it was not asked for, or does not run in the cluster. */
export function schedulerFor(
  asked: { readonly t9kScheduler?: { readonly queue?: string | undefined } | undefined } | undefined,
  { informers }: Pick<ClusterAccess, "informers">,
): PodScheduler | undefined {
  const { t9kScheduler } = asked ?? {};
  if (t9kScheduler === undefined) return undefined;
  const deployments = informers.informer(DeploymentKind);
  deployments.addIndex(BY_NAME, ({ metadata }) => (metadata.name === T9K_SCHEDULER ? ["yes"] : []));
  const isThere = deployments
    .byIndex(BY_NAME, "yes")
    .some(({ spec, metadata }) => spec.replicas !== 0 && metadata.deletionTimestamp === undefined);
  if (!isThere) return undefined;
  const { queue } = t9kScheduler;
  return { name: T9K_SCHEDULER, annotations: queue === undefined ? {} : { [QUEUE]: queue } };
}

/** Whether a pod template was made for it. */
export const isPlacedByT9k = (template: Readonly<Record<string, unknown>>): boolean => {
  const { spec } = template;
  return typeof spec === "object" && spec !== null && "schedulerName" in spec && spec.schedulerName === T9K_SCHEDULER;
};

/** What is said where it is not there. */
export const NO_SCHEDULER =
  "spec.scheduler.t9kScheduler (the cluster has no Deployment t9k-scheduler: its own scheduler places the pods)";

import type { InformerSet } from "../../../kernel/control/index.js";
import {
  controllerOf,
  type LabelSelector,
  labelSelectorMatches,
  type Pod,
  ReplicaSetKind,
  ReplicationControllerKind,
  ServiceKind,
  StatefulSetKind,
} from "../../../kernel/kinds/index.js";

/** Kinds that say which pods belong together. */
export const siblingKinds = [ServiceKind, ReplicationControllerKind, ReplicaSetKind, StatefulSetKind] as const;

/** What selects the pods of the same services and the same owner; `undefined` when it has neither. */
export function siblingsOf(pod: Pod, informers: InformerSet): LabelSelector | undefined {
  const namespace = pod.metadata.namespace ?? "";
  const services = informers
    .informer(ServiceKind)
    .list(namespace)
    .map(({ spec }) => spec?.selector)
    .filter((selector) => selector !== undefined)
    .filter((matchLabels) => labelSelectorMatches({ matchLabels }, pod.metadata.labels));
  const owner = ownerSelector(pod, informers);
  const matchLabels = { ...Object.assign({}, ...services), ...owner.matchLabels };
  const matchExpressions = owner.matchExpressions ?? [];
  if (Object.keys(matchLabels).length + matchExpressions.length === 0) return undefined;
  return { matchLabels, matchExpressions };
}

function ownerSelector(pod: Pod, informers: InformerSet): LabelSelector {
  const { kind = "", name = "", apiVersion } = controllerOf(pod) ?? {};
  const key = { namespace: pod.metadata.namespace ?? "", name };
  if (kind === "ReplicationController" && apiVersion === "v1")
    return { matchLabels: informers.informer(ReplicationControllerKind).get(key)?.spec?.selector ?? {} };
  if (apiVersion !== "apps/v1") return {};
  if (kind === "ReplicaSet") return informers.informer(ReplicaSetKind).get(key)?.spec.selector ?? {};
  if (kind === "StatefulSet") return informers.informer(StatefulSetKind).get(key)?.spec.selector ?? {};
  return {};
}

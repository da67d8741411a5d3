/** Objects that the hub itself has completed and checked are of their kinds, though their type does not say so. */
import type { JsonObject, KubeObject } from "../../../kernel/kinds/index.js";
import type { Cluster, HeadIngress, HyperMLService } from "../kinds.js";
import type { ClusterTaintPolicy, PropagationPolicy } from "../policies/kinds.js";
import type { HyperRollout } from "../rollout/kind.js";
import type { FleetCopy } from "./copy.js";

/** An object as JSON, as an object. */
export function revisedObject(object: JsonObject): KubeObject {
  return object as unknown as KubeObject;
}

/** With an object put in the place of the one of its name; `undefined`: nothing is known of such objects but that they may be propagated. */
export function withTyped(copy: FleetCopy, object: JsonObject): FleetCopy | undefined {
  const { apiVersion, kind } = revisedObject(object);
  const put = <T extends KubeObject>(list: readonly T[]): T[] => {
    const next = object as unknown as T;
    const isOther = ({ metadata, kind: other }: T): boolean =>
      other !== kind ||
      metadata.name !== next.metadata.name ||
      (metadata.namespace ?? "") !== (next.metadata.namespace ?? "");
    return [...list.filter(isOther), next];
  };
  switch (`${apiVersion}/${kind}`) {
    case "cluster.karmada.io/v1alpha1/Cluster":
      return { ...copy, clusters: put<Cluster>(copy.clusters) };
    case "policy.karmada.io/v1alpha1/PropagationPolicy":
    case "policy.karmada.io/v1alpha1/ClusterPropagationPolicy":
      return { ...copy, policies: put<PropagationPolicy>(copy.policies) };
    case "policy.karmada.io/v1alpha1/ClusterTaintPolicy":
      return { ...copy, taintPolicies: put<ClusterTaintPolicy>(copy.taintPolicies) };
    case "tensorstack.dev/v1beta1/HyperMLService":
      return { ...copy, services: put<HyperMLService>(copy.services) };
    case "argosy.dev/v1alpha1/HyperRollout":
      return { ...copy, rollouts: put<HyperRollout>(copy.rollouts) };
    case "argosy.dev/v1alpha1/HeadIngress":
      return { ...copy, heads: put<HeadIngress>(copy.heads) };
    default:
      return undefined;
  }
}

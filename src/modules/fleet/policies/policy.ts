import { isDeleting } from "../../../kernel/kinds/index.js";
import type { Policy } from "./choose.js";
import type { PropagationPolicy } from "./kinds.js";
import { CLAIM } from "./marks.js";

/** A policy object of either scope as the choice sees it. */
export function policyOf(object: PropagationPolicy): Policy {
  const { namespace = "", name, uid, labels, creationTimestamp, generation = 0 } = object.metadata;
  const isCluster = namespace === "";
  return {
    key: `${namespace}/${name}`,
    isCluster,
    namespace,
    name,
    uid,
    id: labels?.[isCluster ? CLAIM.cluster.id : CLAIM.namespaced.id] ?? "",
    createdAt: creationTimestamp,
    generation,
    isDeleting: isDeleting(object),
    spec: object.spec,
  };
}

import type { JsonObject } from "../../../kernel/kinds/object.js";
import { metadataOf, objectAt, stringAt } from "../fields.js";
import type { DeletionRules, ResourceType } from "../types.js";

const none: DeletionRules = {};

/** A pod's agent gets the grace period to end the containers; a pod that never started, or has ended, goes at once. */
const pods: DeletionRules = {
  returnsObject: true,
  graceSeconds(object, asked) {
    const spec = objectAt(object, "spec");
    const phase = stringAt(objectAt(object, "status"), "phase");
    if (stringAt(spec, "nodeName") === "" || phase === "Failed" || phase === "Succeeded") return 0;
    const own = spec["terminationGracePeriodSeconds"];
    const wanted = asked ?? (typeof own === "number" ? own : 30);
    // As upstream: a negative period means one second.
    return wanted < 0 ? 1 : wanted;
  },
};

/** A namespace goes when its controller has emptied it and taken its own finalizer away. */
const namespaces: DeletionRules = {
  returnsObject: true,
  isHeld(object) {
    const finalizers = objectAt(object, "spec")["finalizers"];
    return Array.isArray(finalizers) && finalizers.length > 0;
  },
  begin(object) {
    object["status"] = { ...objectAt(object, "status"), phase: "Terminating" };
    delete metadataOf(object)["deletionGracePeriodSeconds"];
  },
};

const returnsObject: DeletionRules = { returnsObject: true };
const orphans: DeletionRules = { defaultPropagation: "Orphan" };
const childless: DeletionRules = { defaultPropagation: "None" };
const jobs: DeletionRules = {
  ...orphans,
  propagationWarning:
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
};

/** By `group/plural`: kinds whose deletion is peculiar. A type's own `deletion` comes first. */
const table: Readonly<Record<string, DeletionRules>> = {
  "/pods": pods,
  "/namespaces": namespaces,
  "/services": returnsObject,
  "/serviceaccounts": returnsObject,
  "/persistentvolumes": returnsObject,
  "/persistentvolumeclaims": returnsObject,
  "/podtemplates": returnsObject,
  "/resourcequotas": returnsObject,
  "/replicationcontrollers": orphans,
  "batch/jobs": jobs,
  "/events": childless,
  "events.k8s.io/events": childless,
};

/** The rules for a kind. */
export function deletionRulesOf(type: ResourceType): DeletionRules {
  return type.deletion ?? table[`${type.group}/${type.plural}`] ?? none;
}

/** Whether something besides finalizers and grace holds a deleted object. */
export function isHeld(type: ResourceType, object: JsonObject): boolean {
  return deletionRulesOf(type).isHeld?.(object) === true;
}

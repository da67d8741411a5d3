import { type ControllerSpec, syncStatus } from "../../../kernel/control/index.js";
import type { Condition, KindDefinition, Resource } from "../../../kernel/kinds/index.js";
import { withCondition } from "../../../kernel/kinds/index.js";
import { CronFederatedHPAKind, FederatedHPAKind, MultiClusterServiceKind } from "./kinds.js";

type Told = Resource<object, { observedGeneration?: number | undefined; conditions?: Condition[] | undefined }>;

/** Karmada's kinds that are checked and stored here and carried out by nothing; each says so in a condition. */
export function unservedControllers(): ControllerSpec[] {
  return [
    telling(FederatedHPAKind, "scales nothing: give its target the number of replicas that it should have"),
    telling(CronFederatedHPAKind, "scales nothing: give its target the number of replicas that it should have"),
    telling(MultiClusterServiceKind, "carries no request from one cluster to another: see HeadIngress"),
  ];
}

function telling<T extends Told>(kind: KindDefinition<T>, why: string): ControllerSpec<T> {
  const name = `${kind.singular}-notice`;
  return {
    name,
    kind,
    async reconcile(_key, object, context) {
      if (object === undefined) return undefined;
      const observedGeneration = object.metadata.generation ?? 0;
      const draft = {
        type: "Served",
        status: "False" as const,
        reason: "NotServed",
        message: `Argosy checks and keeps ${kind.kind}, but ${why}`,
        observedGeneration,
      };
      const conditions = withCondition(object.status?.conditions, draft, context.clock.now());
      const status = { ...object.status, observedGeneration, conditions };
      await syncStatus(context.cluster.client.resource(kind), object, status, name);
      return undefined;
    },
  };
}

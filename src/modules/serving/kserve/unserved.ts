/** Kinds that are taken as KServe's users write them, and that nobody carries out here: each object says so itself. */
import { syncStatus } from "../../../kernel/control/index.js";
import type { ControllerSpec } from "../../../kernel/control/types.js";
import type { KindDefinition, KubeObject, Resource } from "../../../kernel/kinds/index.js";
import { withCondition } from "../../../kernel/kinds/index.js";
import type { ConditionValue } from "../../../kernel/schema/index.js";
import { kserveRunsIn, standBackWatches } from "./stand-back.js";

/** What such kinds have in common. */
interface Conditioned {
  conditions?: ConditionValue[];
}

/** Writes `Ready: False, NotCarriedOut` into every object of the kind. */
export function unservedController<Spec, Status extends Conditioned>(
  kind: KindDefinition<Resource<Spec, Status>>,
  instead: string,
): ControllerSpec<Resource<Spec, Status>> {
  return {
    name: `unserved-${kind.plural}`,
    kind,
    watches: standBackWatches(kind),
    async reconcile(_key, object, { cluster, clock }) {
      if (object === undefined || object.metadata.deletionTimestamp !== undefined || kserveRunsIn(cluster)) return;
      const message = `objects of kind ${kind.kind} are not carried out by Argosy yet: ${instead}`;
      const update = {
        ...{ type: "Ready", status: "False" as const, reason: "NotCarriedOut", message },
        observedGeneration: generationOf(object),
      };
      const conditions = withCondition(object.status?.conditions, update, clock.now());
      await syncStatus(
        cluster.client.resource(kind),
        object,
        statusWith(object.status, conditions),
        `unserved-${kind.plural}`,
      );
    },
  };
}

const generationOf = ({ metadata }: KubeObject): number => metadata.generation ?? 0;

function statusWith<Status extends Conditioned>(
  status: Status | undefined,
  conditions: ConditionValue[],
): Status & Conditioned {
  return Object.assign({}, status, { conditions });
}

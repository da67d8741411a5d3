/** Keeps the runtimes that come with Argosy in a cluster. */
import type { ClusterAccess, ControllerSpec } from "../../../kernel/control/types.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { equalJson, toJsonObject } from "../../../kernel/schema/index.js";
import { BUILT_IN_LABEL, builtInRuntimes } from "./builtin-runtimes.js";
import type { Runtime } from "./runtime-kinds.js";
import { ClusterServingRuntimeKind } from "./runtime-kinds.js";
import { kserveRunsIn, standBackWatches } from "./stand-back.js";

const NAME = "argosy-runtimes";

/** They are made, and put right; one of the same name that somebody else made stays theirs, and so does `disabled`. */
export function builtInRuntimeController(cluster: ClusterAccess): ControllerSpec<Runtime> {
  const wanted = new Map(builtInRuntimes().map((runtime) => [runtime.metadata.name, runtime]));
  const keys = [...wanted.keys()].map((name) => ({ namespace: "", name }));
  return {
    name: NAME,
    kind: ClusterServingRuntimeKind,
    keys,
    watches: standBackWatches(ClusterServingRuntimeKind, keys),
    async reconcile({ name }, present) {
      const runtime = wanted.get(name);
      if (runtime === undefined || kserveRunsIn(cluster)) return;
      if (present !== undefined && present.metadata.labels?.[BUILT_IN_LABEL] === undefined) return;
      if (present !== undefined && isAsWanted(present, runtime.spec)) return;
      await cluster.client.resource(ClusterServingRuntimeKind).apply(runtime, { fieldManager: NAME, force: true });
    },
  };
}

/** Besides `disabled`, which users may set. */
function isAsWanted({ spec }: Runtime, wanted: JsonObject): boolean {
  const { disabled: _, ...rest } = toJsonObject(spec);
  return equalJson(rest, wanted);
}

import type { ReconcileContext } from "../../kernel/control/index.js";
import type { KubeObject } from "../../kernel/kinds/index.js";
import type { Work } from "./kinds.js";
import type { Target } from "./member-apply.js";
import { driftOf } from "./member-owners.js";

type Context = Pick<ReconcileContext<Work>, "events" | "log">;

/** Says which fields of a member's object were put back, and who had changed them. */
export function tellOfDrift(
  work: Work,
  { kind, namespace, name, manifest }: Target,
  before: KubeObject,
  { cluster, context }: { readonly cluster: string; readonly context: Context },
): void {
  context.log.info("drift repaired", { cluster, kind: kind.kind, namespace, name });
  const drifts = driftOf(before, manifest);
  if (drifts.length === 0) return;
  const fields = drifts.map(({ path, managers }) =>
    managers.length === 0 ? path : `${path} (changed by ${managers.join(", ")})`,
  );
  const about = `${kind.kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;
  context.events.record(
    work,
    "Normal",
    "DriftRepaired",
    `${about} in cluster ${cluster}: put back ${fields.join(", ")}`,
  );
}

/** Says that the member decides about the replicas of an object. */
export function tellOfScaler(work: Work, { kind, name }: Target, autoscaler: string, { events }: Context): void {
  events.record(
    work,
    "Normal",
    "ReplicasKept",
    `HorizontalPodAutoscaler ${autoscaler} of the member decides about the replicas of ${kind.kind} ${name}`,
  );
}

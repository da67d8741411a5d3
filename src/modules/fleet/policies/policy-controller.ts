import type { ControllerSpec, ReconcileContext } from "../../../kernel/control/index.js";
import type { KindDefinition } from "../../../kernel/kinds/index.js";
import { Detector, type DetectorParts } from "./detector.js";
import { ClusterPropagationPolicyKind, type PropagationPolicy, PropagationPolicyKind } from "./kinds.js";
import { CLAIM } from "./marks.js";
import { policyOf } from "./policy.js";

/** A kind that the hub does not have may come. */
const KIND_WAIT_MS = 5000;
const RELEASE_WAIT_MS = 50;

/** The controllers of both propagation policies; they share one detector. */
export function policyControllers(parts: DetectorParts): ControllerSpec<PropagationPolicy>[] {
  let detector: Detector | undefined;
  const detectorFor = (context: ReconcileContext<PropagationPolicy>): Detector => {
    if (detector === undefined || detector.context.signal.aborted) detector = new Detector(parts, context);
    return detector;
  };
  const controller = (
    kind: KindDefinition<PropagationPolicy>,
    name: string,
    marks: { readonly id: string; readonly finalizer: string },
  ): ControllerSpec<PropagationPolicy> => ({
    name,
    kind,
    concurrency: 8,
    finalizer: marks.finalizer,
    async reconcile(_key, object, context) {
      if (object === undefined) return undefined;
      const marked = await identified(object, kind, marks.id, context);
      const knowsAll = await detectorFor(context).attend(policyOf(marked));
      return knowsAll ? undefined : { requeueAfterMs: KIND_WAIT_MS };
    },
    async finalize(object, context) {
      return (await detectorFor(context).release(policyOf(object))) ? "done" : { requeueAfterMs: RELEASE_WAIT_MS };
    },
  });
  return [
    controller(PropagationPolicyKind, "propagation-policy-controller", CLAIM.namespaced),
    controller(ClusterPropagationPolicyKind, "cluster-propagation-policy-controller", CLAIM.cluster),
  ];
}

/** With the identifier by which it claims; admission gives it to new ones. */
async function identified(
  object: PropagationPolicy,
  kind: KindDefinition<PropagationPolicy>,
  label: string,
  { cluster, random }: ReconcileContext<PropagationPolicy>,
): Promise<PropagationPolicy> {
  const { labels, name, namespace, resourceVersion } = object.metadata;
  if ((labels?.[label] ?? "") !== "") return object;
  const patch = { metadata: { resourceVersion, labels: { [label]: random.uuid() } } };
  return cluster.client.resource(kind).patch(name, "merge", patch, {
    fieldManager: "propagation-policy-controller",
    ...(namespace === undefined ? {} : { namespace }),
  });
}

import {
  type ControllerSpec,
  controllerOf,
  ownerReferenceTo,
  type ReconcileContext,
} from "../../kernel/control/index.js";
import { isDeleting, type JsonObject } from "../../kernel/kinds/index.js";
import { asObject, asString, equalJson, toJsonObject } from "../../kernel/schema/index.js";
import { parseWeights } from "./head-weights.js";
import { HeadIngressKind, type HyperMLService, HyperMLServiceKind } from "./kinds.js";
import { ARGOSY } from "./names.js";
import { isServed } from "./served-kinds.js";

const NAME = "head-ingress-maker";

/**
 * Makes a HeadIngress of the same name for each HyperMLService that has an MLService or InferenceService, with the weights of the annotation
 * `argosy.dev/ingress-weights` (`cloud=30,edge=70`). Annotation `argosy.dev/ingress: none` prevents it; a HeadIngress of that name
 * that somebody wrote by hand is left alone, and fields that people add to a made one stay.
 */
export function headIngressMaker(): ControllerSpec<HyperMLService> {
  /** By namespace and name: the annotation that was called bad last. */
  const told = new Map<string, string>();
  return {
    name: NAME,
    kind: HyperMLServiceKind,
    owns: [HeadIngressKind],
    async reconcile(key, hyper, context) {
      if (hyper === undefined || isDeleting(hyper)) {
        told.delete(`${key.namespace}/${key.name}`);
        return;
      }
      const existing = context.cluster.informers.informer(HeadIngressKind).get(key);
      const isMade = existing !== undefined && controllerOf(existing)?.uid === hyper.metadata.uid;
      if (existing !== undefined && !isMade) return;
      const heads = context.cluster.client.resource(HeadIngressKind);
      if (!wantsIngress(hyper)) {
        if (isMade)
          await heads.delete(key.name, { namespace: key.namespace, preconditions: { uid: existing.metadata.uid } });
        return;
      }
      const { weights, isFaulty } = weightsOf(hyper, told, context);
      // A slip of the pen moves no traffic.
      if (isFaulty && isMade) return;
      const spec = madeSpec(hyper);
      const isCurrent =
        existing?.spec.hyperMLServiceRef?.name === key.name && equalJson(existing.spec.weights ?? {}, weights);
      if (isCurrent) return;
      await heads.apply(
        {
          metadata: {
            name: key.name,
            namespace: key.namespace,
            ownerReferences: [toJsonObject(ownerReferenceTo(hyper))],
          },
          spec,
        },
        { fieldManager: NAME, force: true, namespace: key.namespace },
      );
    },
  };
}

/** What the HeadIngress that is made for a HyperMLService says. */
export function madeSpec({ metadata }: HyperMLService): {
  hyperMLServiceRef: { name: string };
  weights?: Record<string, number>;
} {
  const { weights } = parseWeights(metadata.annotations?.[ARGOSY.ingressWeights] ?? "");
  const isAny = Object.keys(weights).length > 0;
  return { hyperMLServiceRef: { name: metadata.name }, ...(isAny ? { weights: { ...weights } } : {}) };
}

/** Whether one is made. */
export function wantsIngress(hyper: HyperMLService): boolean {
  if (hyper.metadata.annotations?.[ARGOSY.ingress] === "none") return false;
  return hyper.spec.workloads.some((workload) => workload.manifests.some((manifest) => isServed(manifest.kind)));
}

function weightsOf(
  hyper: HyperMLService,
  told: Map<string, string>,
  context: ReconcileContext<HyperMLService>,
): { readonly weights: Record<string, number>; readonly isFaulty: boolean } {
  const text = hyper.metadata.annotations?.[ARGOSY.ingressWeights] ?? "";
  const { namespace = "", name } = hyper.metadata;
  const key = `${namespace}/${name}`;
  const { weights, faults } = parseWeights(text);
  if (faults.length === 0) told.delete(key);
  else if (told.get(key) !== text) {
    told.set(key, text);
    context.events.record(hyper, "Warning", "BadWeights", `annotation ${ARGOSY.ingressWeights}: ${faults.join("; ")}`);
  }
  return { weights: { ...weights }, isFaulty: faults.length > 0 };
}

/** What is wrong with the annotation for weights, if it is newly so. Pure. */
export function weightWarnings(object: JsonObject, old: JsonObject | undefined): string[] {
  const textIn = (one: JsonObject | undefined): string =>
    asString(asObject(asObject(one?.["metadata"])["annotations"])[ARGOSY.ingressWeights]);
  const text = textIn(object);
  if (text === textIn(old)) return [];
  return parseWeights(text).faults.map(
    (fault) =>
      `metadata.annotations[${ARGOSY.ingressWeights}]: ${fault}; the weights stay as they are until it is corrected`,
  );
}

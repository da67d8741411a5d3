/** The predictors of `spec.canary`: each a Deployment of its own, with an address of its own, and a share while it answers. */
import { InputError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asString } from "../../../kernel/schema/index.js";
import { hostOf, urlOf } from "../children.js";
import type { Fault } from "../diagnosis.js";
import type { BuiltTemplate } from "../pod-template.js";
import { reconcileUnit } from "../unit.js";
import { annotationOf, isClusterLocal, OWN } from "./annotations.js";
import { deploymentOf, hashOf, holdsDevices, ingressOf, serviceOf, type VariantObjects } from "./children.js";
import type { VariantOutcome } from "./component.js";
import type { InferenceService } from "./inference-service-kind.js";
import { buildComponentPods, type PodInput } from "./pods.js";
import type { Promotion } from "./promotion.js";
import { allowedPods, surgeOf } from "./rollout.js";
import { scalingOf } from "./scaling.js";
import { steerCanary, takenBack } from "./steering.js";
import { deploymentsOf, otherPods, podsOf, type Tools } from "./tools.js";

/** One canary as written, with what its pods are made of; a fault where that is not known. */
export interface CanaryWish {
  readonly name: string;
  readonly percent: number;
  readonly spec: JsonObject;
  readonly pods: PodInput | Fault;
}

/** How it is. */
export interface CanaryOutcome {
  readonly name: string;
  readonly percent: number;
  readonly deployment: string;
  /** How far it is, where it comes to its share by steps or is watched by gates. */
  readonly promotion: Promotion | undefined;
  /** Pods that it is to have in the end, and for how many of them the stable predictor makes room before it answers. */
  readonly pods: number;
  readonly needs: number;
  readonly variant: VariantOutcome | undefined;
  readonly fault: Fault | undefined;
}

/** Name of the Deployment of a predictor that has a name of its own. */
export const namedPredictor = (service: string, name: string): string => `${service}-${name}-predictor`;

/** Pods of each canary: as many as written, else its share of the stable predictor's. */
export function canaryReplicas(canary: JsonObject, percent: number, stable: number): number {
  return Math.max(1, asNumber(canary["minReplicas"]) ?? Math.ceil((stable * percent) / 100));
}

/** Percent of each Service: only canaries that answer get theirs, the stable one the rest. */
export function canaryShares(canaries: readonly CanaryOutcome[]): {
  readonly stable: number;
  readonly of: ReadonlyMap<string, number>;
} {
  const of = new Map(canaries.map(({ name, percent, variant }) => [name, variant?.answers === true ? percent : 0]));
  return { stable: 100 - [...of.values()].reduce((sum, share) => sum + share, 0), of };
}

/** Writes one canary's children and looks at them. */
export async function reconcileCanary(
  service: InferenceService,
  wish: CanaryWish,
  {
    stable,
    taken,
    mode,
    tools,
  }: { readonly stable: number; readonly taken: number; readonly mode: string; readonly tools: Tools },
): Promise<CanaryOutcome> {
  const { name, pods } = wish;
  const deployment = namedPredictor(service.metadata.name, name);
  const none = {
    ...{ name, deployment, percent: wish.percent, variant: undefined, promotion: undefined, pods: 0, needs: 0 },
  };
  if ("reason" in pods) return { ...none, fault: pods };
  const built = buildOrSay(name, pods);
  if ("reason" in built) return { ...none, fault: built };
  const { wanted, replicas, surge, needs } = roomFor(service, wish, { built, stable, taken, tools });
  if (wanted < 1) return { ...none, fault: withoutRoom(name) };
  const host = hostOf(deployment, service.metadata.namespace ?? "", tools.address);
  const url = isClusterLocal(service) ? undefined : urlOf(host, tools.address);
  const scaling = { ...scalingOf(service, { minReplicas: replicas }, mode, false), labels: {}, annotations: {} };
  const found = deploymentsOf(service, tools).find(({ metadata }) => metadata.name === deployment);
  const steered = { name, deployment, percent: wish.percent, hash: hashOf(built), found };
  const { percent, promotion } = await steerCanary(service, steered, tools);
  const objects = {
    ...objectsOf(wish, { deployment, built, scaling, replicas, surge }),
    promotion: promotion?.state,
  };
  const healthPath = built.anyAnswer ? undefined : built.probePath;
  const ingress = ingressOf(service, deployment, [{ host, service: deployment }], { healthPath });
  const outcome = await reconcileUnit(
    {
      owner: service,
      deployment: deploymentOf(service, objects),
      service: serviceOf(service, deployment, objects),
      ...(url === undefined ? {} : { ingress }),
      built,
      url,
      given: replicas,
      pods: () => podsOf(service, deployment, tools),
    },
    tools,
  );
  return {
    ...none,
    percent: percent ?? 0,
    promotion,
    pods: wanted,
    needs,
    variant: {
      ...outcome,
      ...{ built, url, deployment, revision: deployment, backend: deployment, own: deployment, share: 0 },
      settled: outcome.settled && replicas >= wanted,
    },
    fault: outcome.fault ?? takenBack(promotion, tools),
  };
}

function buildOrSay(name: string, pods: PodInput): BuiltTemplate | Fault {
  try {
    return buildComponentPods(pods);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { reason: "InvalidPredictorSpec", message: `canary ${name}: ${error.message}` };
  }
}

/** Canaries are pods that were asked for; only where a surge is written, or pods hold devices, they share in what the service has. */
function roomFor(
  service: InferenceService,
  { name, spec, percent }: CanaryWish,
  made: { readonly built: BuiltTemplate; readonly stable: number; readonly taken: number; readonly tools: Tools },
): { readonly wanted: number; readonly replicas: number; readonly surge: number; readonly needs: number } {
  const { built, stable, taken, tools } = made;
  const holds = holdsDevices(built.template);
  const annotation = annotationOf(service, OWN.surge);
  const surge = surgeOf(annotation, stable, holds);
  const asked = canaryReplicas(spec, percent, stable);
  if (!holds && annotation === undefined) return { wanted: asked, replicas: asked, surge, needs: 0 };
  const wanted = Math.min(asked, stable + surge - 1 - taken);
  const deployment = namedPredictor(service.metadata.name, name);
  const replicas = allowedPods(wanted, {
    has: deploymentsOf(service, tools).find(({ metadata }) => metadata.name === deployment)?.spec.replicas ?? 0,
    others: otherPods(service, { component: "predictor", deployments: [deployment], holds }, tools),
    budget: stable + surge,
  });
  return { wanted, replicas, surge, needs: Math.max(0, Math.min(wanted, wanted + taken - surge)) };
}

function objectsOf(
  { name, spec }: CanaryWish,
  {
    surge,
    ...made
  }: Pick<VariantObjects, "deployment" | "built" | "scaling" | "replicas"> & { readonly surge: number },
): VariantObjects {
  return {
    ...made,
    component: "predictor",
    revision: made.deployment,
    hash: hashOf(made.built),
    asked: hashOf(spec),
    canary: name,
    strategy: {
      type: "RollingUpdate",
      rollingUpdate: surge > 0 ? { maxSurge: 1, maxUnavailable: 0 } : { maxSurge: 0, maxUnavailable: 1 },
    },
  };
}

const withoutRoom = (name: string): Fault => ({
  reason: "SurgeBudget",
  message: `canary ${name} needs a pod besides the one there is, and this rollout may have none: set the annotation ${OWN.surge} to "1"`,
});

/** The canaries of a spec, without what their pods are made of. */
export function canariesIn(
  spec: JsonObject,
): { readonly name: string; readonly percent: number; readonly spec: JsonObject }[] {
  const list = spec["canary"];
  if (!Array.isArray(list)) return [];
  return list.map((canary) => {
    const predictor = asObject(asObject(canary)["predictor"]);
    return {
      name: asString(predictor["name"]),
      percent: asNumber(asObject(canary)["trafficPercent"]) ?? 0,
      spec: predictor,
    };
  });
}

/** Making one component true: its Deployments of one or two revisions, and how they are. */
import { InputError } from "../../../kernel/errors/index.js";
import type { Deployment, JsonObject } from "../../../kernel/kinds/index.js";
import { HorizontalPodAutoscalerKind, ServiceKind } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, isObject, toJsonObject } from "../../../kernel/schema/index.js";
import { isFault } from "../apply.js";
import { SCALING, standingOf } from "../autoscaling/index.js";
import { hostOf, TEMPLATE_ANNOTATION, urlOf } from "../children.js";
import type { Fault } from "../diagnosis.js";
import { THROUGH_ANNOTATION } from "../inside.js";
import type { BuiltTemplate } from "../pod-template.js";
import { readBuilt, reconcileUnit, type UnitOutcome } from "../unit.js";
import { annotationOf, isClusterLocal, KSERVE, OWN, saysYes } from "./annotations.js";
import {
  ASKED_ANNOTATION,
  CANARY_ANNOTATION,
  COMPONENT_LABEL,
  deploymentOf,
  HASH_ANNOTATION,
  hashOf,
  holdsDevices,
  hpaOf,
  ingressOf,
  REVISION_ANNOTATION,
  serviceOf,
  type VariantObjects,
} from "./children.js";
import { withoutChosen } from "./chosen-runtime.js";
import type { InferenceService } from "./inference-service-kind.js";
import { servicesOf } from "./inside.js";
import type { PodInput } from "./pods.js";
import { buildComponentPods } from "./pods.js";
import type { Promotion } from "./promotion.js";
import {
  allowedPods,
  divideReplicas,
  type FoundVariant,
  type PlannedVariant,
  planRollout,
  type RolloutPlan,
  type RolloutShares,
  shareBefore,
  shareTraffic,
  surgeOf,
} from "./rollout.js";
import { timeoutOf } from "./route-policies.js";
import { type Scaling, scalingOf } from "./scaling.js";
import { holdsCode } from "./self-fetch.js";
import { leaveSharedPods, withSharedPods } from "./shared-pods.js";
import { steerRollout, takenBack } from "./steering.js";
import { deploymentsOf, otherPods, podsOf, type Tools } from "./tools.js";
import { type WithWorkers, withWorkers } from "./worker-unit.js";

/** Parts of an InferenceService that have pods of their own. */
export type ComponentName = "predictor" | "transformer" | "explainer";

/** One Deployment of a component, and how it is. */
export interface VariantOutcome extends WithWorkers {
  readonly deployment: string;
  readonly revision: string;
  readonly built: BuiltTemplate;
  /** Percent of the component's traffic. */
  readonly share: number;
  /** Address of its own, while it is not alone. */
  readonly url: string | undefined;
  /** The Service by which Ingresses come to it. */
  readonly backend: string;
  /** The Service that was written with it. */
  readonly own: string;
}

/** A component, and how it is. */
export interface ComponentOutcome {
  readonly component: ComponentName;
  /** Name of its Service, and of its address. */
  readonly base: string;
  readonly latest: VariantOutcome | undefined;
  readonly previous: VariantOutcome | undefined;
  readonly shares: RolloutShares | undefined;
  readonly scaling: Scaling | undefined;
  /** Requests from inside of the cluster come by its Ingress too. */
  readonly isThrough?: boolean;
  /** Requests are held for pods of it; absent: its scaling says. */
  readonly isWoken?: boolean;
  /** How far the latest revision is, where it comes to its share by a rollout. */
  readonly promotion?: Promotion | undefined;
  /** Why what was asked for does not run. */
  readonly fault: Fault | undefined;
}

/** Which component, and where it answers. */
export interface PlaceWish {
  readonly component: ComponentName;
  /** Name of its Service and of its own address. */
  readonly base: string;
  /** Others share the component's address: what is stable has one of its own beside it. */
  readonly isShared: boolean;
  /** Name of the Deployment of a canary that has become this predictor. */
  readonly promoted?: string;
}

/** What to make true. */
export interface ComponentWish extends PlaceWish {
  /** As written, completed. */
  readonly spec: JsonObject;
  readonly mode: string;
  /** Other pods of the service ask it. */
  readonly isAsked: boolean;
  /** Deployments of canaries. */
  readonly canaries: readonly string[];
  /** Pods of canaries that answer, or that room is made for: so many fewer are needed here. */
  readonly elsewhere: number;
  /** Everything that its pods are made of, but for what does not change with the revision. */
  readonly pods: PodInput;
}

/** Writes the component's children and looks at them. Never throws for what is wrong in the component. */
export async function reconcileComponent(
  service: InferenceService,
  wish: ComponentWish,
  tools: Tools,
): Promise<ComponentOutcome> {
  const { component, spec, base } = wish;
  const found = variantsIn(service, wish, tools);
  const asked = askedOf(withoutChosen(service, spec));
  const built = buildOrKeep(service, wish, found, asked);
  if ("reason" in built) return unmade(service, wish, built, tools);
  const before = service.status?.components?.[component];
  const [rolledOut, created] = [before?.latestRolledoutRevision, before?.latestCreatedRevision];
  const hash = hashOf(built);
  const written = asNumber(spec["canaryTrafficPercent"]);
  const known = { component, base, percent: written, hash, rolledOut, created, found };
  const { percent, promotion } = await steerRollout(service, known, tools);
  const plan = planRollout({ base, hash, percent, rolledOut, created }, found.map(variantOf));
  const asScaled = withSharedPods(scalingOf(service, spec, wish.mode, tools.hasKpa), plan.previous, found);
  const scaling = { ...asScaled, replicas: Math.max(1, asScaled.replicas - wish.elsewhere) };
  const holds = holdsDevices(built.template);
  const surge = surgeOf(annotationOf(service, OWN.surge), scaling.replicas, holds);
  const divided =
    plan.previous === undefined
      ? { latest: scaling.replicas, previous: 0 }
      : divideReplicas(scaling.replicas, percent ?? 100, surge);
  // Who may have no pod is woken by whoever asks, from inside of the cluster too.
  const isWoken = scaling.by === "kpa" && (wish.isAsked || scaling.min === 0);
  const isThrough = plan.previous !== undefined || wish.isShared || isWoken;
  const isScaled = plan.previous === undefined && scaling.by !== "nobody";
  const shared = isScaled || scaling.by === "nobody" ? undefined : asScaled.replicas;
  const making = { service, wish, plan, scaling, asked, found, surge, isThrough, promotion, shared };
  const replicas = latestPods(making, { wanted: divided.latest, budget: asScaled.replicas + surge, holds }, tools);
  const made = await makeVariant({ ...making, variant: plan.latest, built, replicas }, tools);
  const latest = { ...made, settled: made.settled && (replicas >= divided.latest || isScaled) };
  const previous = await makePrevious(making, divided.previous, tools);
  const had = shareBefore(before?.traffic ?? [], [latest.revision, previous?.revision]);
  const shares = sharesOf(previous === undefined ? { ...plan, previous: undefined } : plan, { latest, had, percent });
  const refused =
    "fault" in divided && divided.fault !== undefined ? { reason: "SurgeBudget", message: divided.fault } : undefined;
  return {
    component,
    base,
    latest: { ...latest, share: shares.latest },
    previous: previous === undefined ? undefined : { ...previous, share: shares.previous },
    shares,
    scaling,
    isThrough,
    promotion,
    fault: refused ?? latest.fault ?? takenBack(promotion, tools),
  };
}

/** Pods of the latest revision that there is room for now. */
function latestPods(
  { service, wish, plan, found }: Pick<Making, "service" | "wish" | "plan" | "found">,
  { wanted, budget, holds }: { readonly wanted: number; readonly budget: number; readonly holds: boolean },
  tools: Tools,
): number {
  const { deployment } = plan.latest;
  // Canaries come on top, unless what there may be is bounded.
  const isBounded = holds || annotationOf(service, OWN.surge) !== undefined;
  const deployments = [deployment, ...(isBounded ? [] : wish.canaries)];
  return allowedPods(wanted, {
    has: deploymentNamed(found, deployment)?.spec.replicas ?? 0,
    others: otherPods(service, { component: wish.component, deployments, holds }, tools),
    budget,
  });
}

/** While pods are added to a revision that has a share it keeps that. */
function sharesOf(
  plan: RolloutPlan,
  {
    latest,
    had,
    percent,
  }: { readonly latest: UnitOutcome; readonly had: number; readonly percent: number | undefined },
): RolloutShares {
  const keeps = latest.answers && !latest.settled && had > 0;
  return shareTraffic(plan, {
    percent: keeps ? Math.min(percent ?? 100, had) : percent,
    answers: latest.answers && (plan.previous === undefined || latest.settled || keeps),
  });
}

/** The Deployments of a component; canaries of `spec.canary` are not among them, but for one that has become the predictor. */
function variantsIn(service: InferenceService, { component, promoted }: PlaceWish, tools: Tools): Deployment[] {
  return deploymentsOf(service, tools).filter(
    ({ metadata }) =>
      metadata.labels?.[COMPONENT_LABEL] === component &&
      (metadata.annotations?.[CANARY_ANNOTATION] === undefined || metadata.name === promoted),
  );
}

/** The revision that had the traffic before stays as it was made. */
async function makePrevious(
  making: Omit<Making, "variant" | "built" | "replicas">,
  replicas: number,
  tools: Tools,
): Promise<VariantOutcome | undefined> {
  const variant = making.plan.previous;
  const kept = making.found.find(({ metadata }) => metadata.name === variant?.deployment);
  const built = readBuilt(kept?.metadata.annotations?.[TEMPLATE_ANNOTATION]);
  return variant === undefined || built === undefined
    ? undefined
    : makeVariant({ ...making, variant, built, replicas }, tools);
}

/** A component that cannot be made: what was there before stays as it is. */
export function unmade(service: InferenceService, wish: PlaceWish, fault: Fault, tools: Tools): ComponentOutcome {
  const { component, base } = wish;
  const none = { component, base, previous: undefined, latest: undefined, shares: undefined, scaling: undefined };
  return { ...none, ...still(service, wish, tools), fault };
}

function still(service: InferenceService, wish: PlaceWish, tools: Tools): Partial<ComponentOutcome> {
  const { component, base, isShared } = wish;
  const found = variantsIn(service, wish, tools);
  const rolledOut = service.status?.components?.[component]?.latestRolledoutRevision;
  const kept = found.find(({ metadata }) => metadata.annotations?.[REVISION_ANNOTATION] === rolledOut) ?? found[0];
  const built = readBuilt(kept?.metadata.annotations?.[TEMPLATE_ANNOTATION]);
  if (kept === undefined || built === undefined) return {};
  const readyReplicas = kept.status?.readyReplicas ?? 0;
  const { informers } = tools.context.cluster;
  const { deployment, revision } = variantOf(kept);
  const door = informers.informer(ServiceKind).get({ namespace: service.metadata.namespace ?? "", name: base });
  const isThrough = isShared || door?.metadata.annotations?.[THROUGH_ANNOTATION] !== undefined;
  const isHeld = readyReplicas === 0 && standingOf(kept)?.hasRun === true;
  return {
    isThrough,
    isWoken: kept.metadata.labels?.[SCALING.autoscaler] === "kpa",
    previous: {
      ...servicesOf(service, { base, deployment, isThrough }, informers),
      ...{ deployment, revision, built, readyReplicas, totalReplicas: kept.status?.replicas ?? 0 },
      ...{ answers: readyReplicas > 0 || isHeld, settled: true, fault: undefined, share: 100, url: undefined },
      ...(isHeld ? { isHeld } : {}),
    },
  };
}

const variantOf = ({ metadata }: Deployment): FoundVariant => ({
  deployment: metadata.name,
  revision: metadata.annotations?.[REVISION_ANNOTATION] ?? metadata.name,
  hash: metadata.annotations?.[HASH_ANNOTATION] ?? "",
});

/** The template; that of before where the user asked for the same and wants no updates by runtimes alone. */
function buildOrKeep(
  service: InferenceService,
  { pods }: ComponentWish,
  found: readonly Deployment[],
  asked: string,
): BuiltTemplate | Fault {
  if (saysYes(service, KSERVE.disableAutoUpdate)) {
    const same = found.find(({ metadata }) => metadata.annotations?.[ASKED_ANNOTATION] === asked);
    const kept = readBuilt(same?.metadata.annotations?.[TEMPLATE_ANNOTATION]);
    if (kept !== undefined && !holdsCode(kept.template, pods.access)) return kept;
  }
  try {
    return buildComponentPods(pods);
  } catch (error) {
    if (error instanceof InputError) return { reason: "InvalidPredictorSpec", message: error.message };
    throw error;
  }
}

interface Making {
  readonly service: InferenceService;
  readonly wish: ComponentWish;
  readonly plan: RolloutPlan;
  readonly scaling: Scaling;
  readonly asked: string;
  readonly found: readonly Deployment[];
  readonly variant: PlannedVariant;
  readonly built: BuiltTemplate;
  readonly replicas: number;
  readonly surge: number;
  readonly isThrough: boolean;
  readonly promotion: Promotion | undefined;
  readonly shared: number | undefined;
}

async function makeVariant(making: Making, tools: Tools): Promise<VariantOutcome> {
  const { service, wish, scaling, variant, built } = making;
  const { base } = wish;
  const isAlone = making.plan.previous === undefined;
  const objects = objectsOf(making, isAlone);
  const tag = variant.isLatest ? (isAlone ? "stable" : "latest") : "prev";
  const host = isAlone && !wish.isShared ? base : `${tag}-${base}`;
  const fullHost = hostOf(host, service.metadata.namespace ?? "", tools.address);
  const url = isClusterLocal(service) ? undefined : urlOf(fullHost, tools.address);
  const healthPath = built.anyAnswer ? undefined : built.probePath;
  const settings = {
    healthPath,
    annotations: timeoutOf(service, wish.component),
    held: objects.replicas === undefined && scaling.by === "kpa" ? [objects.deployment] : [],
  };
  const { deployment } = objects;
  await leaveSharedPods(objects, deploymentNamed(making.found, deployment), tools);
  const services = servicesOf(service, { ...making, base, deployment }, tools.context.cluster.informers);
  // Who calls the newest by its tag finds it there when it is alone again, too.
  const isTagged = host === base && saysYes(service, KSERVE.tagRouting);
  const hosts = [
    fullHost,
    ...(isTagged ? [hostOf(`latest-${base}`, service.metadata.namespace ?? "", tools.address)] : []),
  ];
  const routes = hosts.map((each) => ({ host: each, service: services.backend }));
  const ingress = ingressOf(service, host, routes, settings);
  const head = await reconcileUnit(
    {
      owner: service,
      deployment: deploymentOf(service, objects),
      service: serviceOf(service, services.own, objects),
      ...(url === undefined ? {} : { ingress }),
      built,
      url,
      pods: () => podsOf(service, variant.deployment, tools),
      given: objects.replicas,
    },
    tools,
  );
  const outcome = await withWorkers(service, objects, head, tools);
  const hpa = isAlone ? scaling.hpa : undefined;
  const scaler = hpa === undefined ? undefined : hpaOf(service, objects, hpa);
  const refused =
    scaler === undefined ? undefined : await tools.writer.write(HorizontalPodAutoscalerKind, service, scaler);
  return {
    ...outcome,
    ...services,
    fault: refused !== undefined && isFault(refused) ? refused : outcome.fault,
    deployment: variant.deployment,
    revision: variant.revision,
    built,
    share: 0,
    url: host === base ? undefined : url,
  };
}

function objectsOf(making: Making, isAlone: boolean): VariantObjects {
  const { wish, scaling, variant, built, replicas, surge } = making;
  const annotations = deploymentNamed(making.found, variant.deployment)?.metadata.annotations ?? {};
  return {
    component: wish.component,
    deployment: variant.deployment,
    revision: variant.revision,
    hash: variant.isLatest ? hashOf(built) : (annotations[HASH_ANNOTATION] ?? ""),
    asked: variant.isLatest ? making.asked : (annotations[ASKED_ANNOTATION] ?? ""),
    built,
    scaling: isAlone ? scaling : { ...scaling, labels: {}, annotations: {} },
    replicas: isAlone && scaling.by !== "nobody" ? undefined : replicas,
    promotion: variant.isLatest ? making.promotion?.state : undefined,
    shared: making.shared,
    strategy: strategyOf(wish.spec, surge),
  };
}

const deploymentNamed = (found: readonly Deployment[], name: string): Deployment | undefined =>
  found.find(({ metadata }) => metadata.name === name);

/** What has no part in what the pods are. */
const NOT_PODS = new Set([
  "canaryTrafficPercent",
  "minReplicas",
  "maxReplicas",
  "scaleTarget",
  "scaleMetric",
  "scaleMetricType",
  "autoScaling",
  "deploymentStrategy",
]);

const askedOf = (spec: JsonObject): string =>
  hashOf(Object.fromEntries(Object.entries(spec).filter(([name]) => !NOT_PODS.has(name))));

/** A new pod answers before an old one goes; where there is no room for one more, an old one goes first. */
function strategyOf(component: JsonObject, surge: number): JsonObject {
  const asked = component["deploymentStrategy"];
  if (isObject(asked)) return toJsonObject(asObject(asked));
  return {
    type: "RollingUpdate",
    rollingUpdate: surge > 0 ? { maxSurge: Math.min(surge, 1), maxUnavailable: 0 } : { maxSurge: 0, maxUnavailable: 1 },
  };
}

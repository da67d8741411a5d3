/** The status of an InferenceService from what was seen. Pure. */
import type { ConditionLike } from "../../../kernel/kinds/index.js";
import { withCondition } from "../../../kernel/kinds/index.js";
import { hostOf, type ServingAddress, urlOf } from "../children.js";
import { type Fault, wordsOf } from "../diagnosis.js";
import { type Said, says, saysHonored, saysStopped } from "../said.js";
import { isClusterLocal, KSERVE, saysYes } from "./annotations.js";
import { canaryShares } from "./canaries.js";
import type { ComponentOutcome, VariantOutcome } from "./component.js";
import type { InferenceService, InferenceServiceStatus } from "./inference-service-kind.js";
import { modelStatusOf } from "./model-status.js";
import { mainVariant, type Outcomes, type RouteOutcome } from "./routes.js";
import type { Candidate } from "./selection.js";

type ComponentStatus = NonNullable<InferenceServiceStatus["components"]>[string];
type Target = NonNullable<ComponentStatus["traffic"]>[number];

/** What was seen. */
export interface Seen {
  readonly mode: string;
  readonly outcomes: Outcomes | undefined;
  readonly route: RouteOutcome | undefined;
  readonly runtime: Candidate | undefined;
  readonly ignored: readonly string[];
  /** Of the whole: why there are no outcomes. */
  readonly fault: Fault | undefined;
  readonly isStopped: boolean;
  readonly address: ServingAddress;
  readonly nowMs: number;
}

/** Why the service is not ready; `undefined` when it is. */
export function readinessOf({ outcomes, route, fault, isStopped }: Seen): Fault | undefined {
  if (isStopped) return { reason: "Stopped", message: `the annotation ${KSERVE.stop} is true: nothing runs` };
  if (fault !== undefined) return fault;
  for (const component of [outcomes?.predictor, outcomes?.transformer, outcomes?.explainer]) {
    const own = component === undefined ? undefined : componentFault(component);
    if (own !== undefined) return own;
  }
  if (outcomes === undefined || route === undefined)
    return { reason: "Starting", message: "nothing was seen of it yet" };
  return (
    route.fault ?? (route.answers ? undefined : { reason: "NotAnswering", message: `${route.url} does not answer` })
  );
}

/** Why a component is not ready. */
function componentFault({ component, latest, previous, fault }: ComponentOutcome): Fault | undefined {
  const answering = previous?.answers === true ? ` (${previous.revision} still answers)` : "";
  if (fault !== undefined) return { ...fault, message: `${component}: ${fault.message}${answering}` };
  if (latest?.settled === true && latest.answers) return undefined;
  return { reason: "Updating", message: `${component}: its pods are being replaced${answering}` };
}

/** The whole status. */
export function statusOf(service: InferenceService, seen: Seen): InferenceServiceStatus {
  const { mode, outcomes, route, runtime, isStopped } = seen;
  const before = service.status;
  const named = runtime?.runtime.metadata.name;
  const isLocal = isClusterLocal(service);
  const local = `http://${service.metadata.name}.${service.metadata.namespace ?? ""}.svc.cluster.local`;
  const canaryStatuses = canaryStatusesOf(service, seen);
  return {
    observedGeneration: service.metadata.generation ?? 0,
    ...(route === undefined || isStopped ? {} : { url: route.url, address: { url: local } }),
    ...(outcomes === undefined
      ? kept(before, isStopped)
      : { components: componentsOf(service, outcomes, { address: seen.address, isLocal }) }),
    conditions: conditionsOf(service, seen),
    ...(isStopped ? {} : { modelStatus: modelStatus(service, seen) }),
    deploymentMode: mode,
    ...(runtime?.scope === "namespace" && named !== undefined ? { servingRuntimeName: named } : {}),
    ...(runtime?.scope === "cluster" && named !== undefined ? { clusterServingRuntimeName: named } : {}),
    ...(canaryStatuses.length === 0 ? {} : { canaryStatuses }),
  };
}

/** Revisions are told on while nothing could be looked at; of what is stopped nothing is left. */
const kept = (
  before: InferenceServiceStatus | undefined,
  isStopped: boolean,
): Pick<InferenceServiceStatus, "components"> =>
  before?.components === undefined || isStopped ? {} : { components: before.components };

const modelStatus = (service: InferenceService, { outcomes, fault, nowMs }: Seen) =>
  modelStatusOf(
    {
      latest: outcomes?.predictor.latest,
      previous: outcomes?.predictor.previous,
      fault: fault ?? outcomes?.predictor.fault,
    },
    service.status?.modelStatus,
    nowMs,
  );

function canaryStatusesOf(
  service: InferenceService,
  { outcomes, nowMs }: Seen,
): NonNullable<InferenceServiceStatus["canaryStatuses"]> {
  const canaries = outcomes?.canaries ?? [];
  const shares = canaryShares(canaries);
  return canaries.map(({ name, variant, fault }) => ({
    name,
    ready: variant?.answers === true && variant.settled,
    trafficPercent: shares.of.get(name) ?? 0,
    modelStatus: modelStatusOf(
      { latest: variant, previous: undefined, fault },
      service.status?.canaryStatuses?.find((each) => each.name === name)?.modelStatus,
      nowMs,
    ),
  }));
}

function componentsOf(
  service: InferenceService,
  outcomes: Outcomes,
  place: { readonly address: ServingAddress; readonly isLocal: boolean },
): NonNullable<InferenceServiceStatus["components"]> {
  const components: NonNullable<InferenceServiceStatus["components"]> = {};
  for (const outcome of [outcomes.predictor, outcomes.transformer, outcomes.explainer])
    if (outcome !== undefined) components[outcome.component] = componentOf(service, outcome, place);
  const own = components["predictor"];
  if (own !== undefined && outcomes.canaries.length > 0) own.traffic = withCanaries(own.traffic ?? [], outcomes);
  return components;
}

function componentOf(
  service: InferenceService,
  outcome: ComponentOutcome,
  { address, isLocal }: { readonly address: ServingAddress; readonly isLocal: boolean },
): ComponentStatus {
  const { component, base, latest, shares } = outcome;
  const namespace = service.metadata.namespace ?? "";
  const before = service.status?.components?.[component];
  const inside = `http://${base}.${namespace}.svc.cluster.local`;
  const url = isLocal ? inside : urlOf(hostOf(base, namespace, address), address);
  const isReady = latest?.answers === true && latest.settled;
  const ready = isReady ? latest.revision : before?.latestReadyRevision;
  const rolledOut = isReady && shares?.isRolledOut === true ? latest.revision : before?.latestRolledoutRevision;
  const previous =
    rolledOut === before?.latestRolledoutRevision ? before?.previousRolledoutRevision : before?.latestRolledoutRevision;
  const created = latest?.revision ?? before?.latestCreatedRevision;
  return {
    url,
    restUrl: url,
    address: { url: inside },
    ...(created === undefined ? {} : { latestCreatedRevision: created }),
    ...(ready === undefined ? {} : { latestReadyRevision: ready }),
    ...(rolledOut === undefined ? {} : { latestRolledoutRevision: rolledOut }),
    ...(previous === undefined ? {} : { previousRolledoutRevision: previous }),
    traffic: trafficOf(
      service,
      outcome,
      isLocal ? undefined : urlOf(hostOf(`latest-${base}`, namespace, address), address),
    ),
  };
}

/** Who gets which share; the tags are names in addresses. */
function trafficOf(
  service: InferenceService,
  { latest, previous }: ComponentOutcome,
  latestUrl: string | undefined,
): Target[] {
  const tagged = saysYes(service, KSERVE.tagRouting);
  const target = (variant: VariantOutcome, tag: string | undefined): Target => {
    const url = variant.url ?? (variant === latest ? latestUrl : undefined);
    return {
      latestRevision: variant === latest,
      percent: variant.share,
      revisionName: variant.revision,
      ...(tag === undefined ? {} : { tag }),
      ...(tag === undefined || url === undefined ? {} : { url }),
    };
  };
  return [
    ...(latest === undefined || (latest.share === 0 && !latest.answers)
      ? []
      : [target(latest, tagged ? "latest" : undefined)]),
    ...(previous === undefined ? [] : [target(previous, "prev")]),
  ];
}

/** What canaries leave is that revision's which has the predictor's traffic; then the canaries, by their names. */
function withCanaries(own: readonly Target[], { predictor, canaries }: Outcomes): Target[] {
  const { stable, of } = canaryShares(canaries);
  const main = mainVariant(predictor)?.revision;
  return [
    ...own.map((target) => ({ ...target, percent: target.revisionName === main ? stable : 0 })),
    ...canaries.flatMap(({ name, variant }): Target[] => {
      if (variant === undefined) return [];
      const { revision: revisionName, url } = variant;
      const percent = of.get(name) ?? 0;
      return [{ latestRevision: false, percent, revisionName, tag: name, ...(url === undefined ? {} : { url }) }];
    }),
  ];
}

type Condition = NonNullable<InferenceServiceStatus["conditions"]>[number];

function conditionsOf(service: InferenceService, seen: Seen): Condition[] {
  const { route, nowMs, isStopped, ignored } = seen;
  const ready = readinessOf(seen);
  const updates: Said[] = [
    ...componentConditions(seen, ready),
    ...routeConditions(seen, ready),
    ...canaryConditions(seen),
    ...promotionConditions(seen),
    saysStopped(isStopped, KSERVE.stop),
    saysHonored(ignored),
    saysOf("Ready", ready, ["Answers", `the model answers at ${route?.url ?? ""}`]),
  ];
  const types = new Set(updates.map(({ type }) => type));
  let conditions: ConditionLike[] = (service.status?.conditions ?? [])
    .filter(({ type }) => types.has(type))
    .map(withoutSeverity);
  for (const update of updates) conditions = withCondition(conditions, update, nowMs);
  return conditions.map((condition) => ({
    ...condition,
    ...(INFORMATIVE.has(condition.type) ? { severity: "Info" } : {}),
  }));
}

const saysOf = (type: string, fault: Fault | undefined, holds: readonly [string, string]): Said =>
  says(type, fault, holds, WAITING);

const partsOf = ({ outcomes }: Seen): ComponentOutcome[] =>
  [outcomes?.predictor, outcomes?.transformer, outcomes?.explainer].filter((each) => each !== undefined);

function componentConditions(seen: Seen, ready: Fault | undefined): Said[] {
  const parts = partsOf(seen);
  if (parts.length === 0 && !seen.isStopped && ready !== undefined) return [saysOf("PredictorReady", ready, ["", ""])];
  return parts.flatMap((part) => {
    const fault = componentFault(part);
    const name = `${part.component.charAt(0).toUpperCase()}${part.component.slice(1)}`;
    const what = part.latest?.revision ?? part.base;
    return [
      saysOf(`${name}Ready`, fault, ["Answers", `${what} answers`]),
      saysOf(`${name}ConfigurationReady`, fault, ["Deployed", `${what} is deployed`]),
      saysOf(part.component === "explainer" ? "ExplainerRoutesReady" : `${name}RouteReady`, fault, [
        "Routed",
        `${part.base} leads to what answers`,
      ]),
    ];
  });
}

function routeConditions(seen: Seen, ready: Fault | undefined): Said[] {
  const { route } = seen;
  if (route === undefined) return [];
  const silent = { reason: "NotAnswering", message: `${route.url} does not answer` };
  const fault = route.fault ?? (route.answers ? undefined : (ready ?? silent));
  const [deployment] = [seen.fault, ...partsOf(seen).map(componentFault)].filter((each) => each !== undefined);
  return [
    saysOf("IngressReady", fault, ["Answers", `${route.url} answers`]),
    route.answers
      ? saysOf("Answering", undefined, ["Answers", `${route.url} answers, be it with pods of an earlier generation`])
      : saysOf("Answering", fault ?? silent, ["", ""]),
    saysOf("RoutesReady", fault, ["Answers", `${route.url} answers`]),
    saysOf("LatestDeploymentReady", deployment, ["Deployed", "every component is of this generation"]),
  ];
}

/** Nothing is wrong yet. */
const WAITING = new Set(["Starting", "Loading", "Fetching", "Updating"]);
/** Do not stand against Ready. */
const INFORMATIVE = new Set(["Answering", "AllFieldsHonored", "CanaryPredictorReady", "PromotionHealthy", "Stopped"]);

function withoutSeverity(condition: Condition): ConditionLike {
  const { type, status, reason, message, lastTransitionTime } = condition;
  return {
    type,
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
    ...(lastTransitionTime === undefined ? {} : { lastTransitionTime }),
  };
}

function promotionConditions(seen: Seen): Said[] {
  const type = "PromotionHealthy";
  const all = [...partsOf(seen), ...(seen.outcomes?.canaries ?? [])].flatMap(({ promotion: each }) => each ?? []);
  const promotion = all.find(({ state }) => state.failed !== undefined) ?? all[0];
  if (promotion === undefined) return [];
  const { phase, message, state } = promotion;
  return [
    state.failed === undefined
      ? { type, status: "True", reason: phase, message }
      : { type, status: "False", reason: state.failed.reason, message },
  ];
}

function canaryConditions({ outcomes }: Seen): Said[] {
  const canaries = outcomes?.canaries ?? [];
  if (canaries.length === 0) return [];
  const waiting = canaries.filter(({ variant, fault }) => fault !== undefined || variant?.answers !== true);
  const words = waiting.map(
    ({ name, fault }) =>
      `${name}: ${fault === undefined ? "it does not answer yet" : `${fault.reason}: ${wordsOf(fault)}`}`,
  );
  return [
    waiting.length === 0
      ? { type: "CanaryPredictorReady", status: "True", reason: "AllCanariesReady", message: "every canary answers" }
      : { type: "CanaryPredictorReady", status: "False", reason: "CanariesNotReady", message: words.join("; ") },
  ];
}

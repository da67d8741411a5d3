/** The share that a new revision of a component gets now: the one that is written, or as far as its rollout has come. */
import type { Deployment } from "../../../kernel/kinds/index.js";
import type { Fault } from "../diagnosis.js";
import { annotationOf, OWN } from "./annotations.js";
import { HASH_ANNOTATION, PROMOTION_ANNOTATION, REVISION_ANNOTATION } from "./children.js";
import type { InferenceService } from "./inference-service-kind.js";
import { servicesOf } from "./inside.js";
import { advancePromotion, type Promotion, readPromotion } from "./promotion.js";
import { type PromotionSettings, promotionSettings } from "./promotion-settings.js";
import { recordPromotion } from "./record.js";
import { nextRevision } from "./rollout.js";
import type { Tools } from "./tools.js";

/** What is asked of a component, and what it has. */
export interface SteeringInput {
  readonly component: "predictor" | "transformer" | "explainer";
  readonly base: string;
  /** `canaryTrafficPercent`. */
  readonly percent: number | undefined;
  /** Of what is asked for now. */
  readonly hash: string;
  readonly rolledOut: string | undefined;
  readonly created: string | undefined;
  readonly found: readonly Deployment[];
}

/** The share now; `promotion` while a revision is on its way. */
export interface Steering {
  readonly percent: number | undefined;
  readonly promotion: Promotion | undefined;
}

/** Moves a rollout on as far as that may be now. */
export async function steerRollout(service: InferenceService, input: SteeringInput, tools: Tools): Promise<Steering> {
  const { component, base, percent, found } = input;
  const settings = settingsFor(service, component);
  const at = (deployment: Deployment): string => deployment.metadata.annotations?.[REVISION_ANNOTATION] ?? "";
  const none = { percent, promotion: undefined };
  const hasBefore = input.rolledOut !== undefined && found.some((one) => at(one) === input.rolledOut);
  if (settings === undefined || !hasBefore) return none;
  const latest = found.find(({ metadata }) => metadata.annotations?.[HASH_ANNOTATION] === input.hash);
  const uid = `${service.metadata.uid} ${component}`;
  if (latest !== undefined && at(latest) === input.rolledOut) {
    tools.gateWatch.forget(uid);
    return none;
  }
  const revision = latest === undefined ? nextRevision(base, [input.created, ...found.map(at)]) : at(latest);
  const deployment = latest?.metadata.name ?? revision;
  const { backend } = servicesOf(service, { base, deployment, isThrough: true }, tools.context.cluster.informers);
  const hasAnswered = service.status?.components?.[component]?.latestReadyRevision === revision;
  const watch = { settings, uid, component, base, revision, backend };
  const promotion = await moveOn(service, { ...watch, target: percent ?? 100, latest, hasAnswered }, tools);
  return { percent: promotion.state.percent, promotion };
}

/** A predictor of `spec.canary`. */
interface CanaryInput {
  readonly name: string;
  readonly deployment: string;
  readonly percent: number;
  /** Of what is asked for now. */
  readonly hash: string;
  readonly found: Deployment | undefined;
}

/** The share that a canary has now: what is written is where it ends, and gates watch it there too. */
export async function steerCanary(
  service: InferenceService,
  { name, deployment, percent, hash, found }: CanaryInput,
  tools: Tools,
): Promise<Steering> {
  const { settings } = promotionSettings({ metadata: { annotations: { ...service.metadata.annotations } } });
  const uid = `${service.metadata.uid} canary/${name}`;
  if (settings === undefined) {
    tools.gateWatch.forget(uid);
    return { percent, promotion: undefined };
  }
  const revision = `${deployment}-${hash.slice(0, 8)}`;
  const base = `${service.metadata.name}-predictor`;
  const watch = { settings, uid, base, revision, component: "predictor", backend: deployment, target: percent };
  const hasAnswered = service.status?.canaryStatuses?.find((one) => one.name === name)?.ready === true;
  const promotion = await moveOn(service, { ...watch, latest: found, hasAnswered }, tools);
  return { percent: promotion.state.percent, promotion };
}

/** What comes to its share. */
interface Moving {
  readonly settings: PromotionSettings;
  readonly uid: string;
  readonly component: string;
  readonly base: string;
  readonly revision: string;
  /** Its Service behind the Ingresses. */
  readonly backend: string;
  readonly target: number;
  readonly latest: Deployment | undefined;
  /** It was seen to answer: from then on its time counts. */
  readonly hasAnswered: boolean;
}

async function moveOn(service: InferenceService, moving: Moving, tools: Tools): Promise<Promotion> {
  const { settings, uid, component, base, revision, backend, target, latest, hasAnswered } = moving;
  const before = readPromotion(latest?.metadata.annotations?.[PROMOTION_ANNOTATION]);
  const isWatched = before?.revision === revision && before.sinceMs > 0 && before.failed === undefined;
  const watched = {
    ...{ uid, revision, backend, gates: settings.gates, cluster: tools.context.cluster.name },
    mark: settings.durationMs > 0 ? revision : `${revision} ${before?.percent ?? 0} ${before?.sinceMs ?? 0}`,
    namespace: service.metadata.namespace ?? "",
    name: service.metadata.name,
    ingresses: [service.metadata.name, base],
  };
  const verdicts = isWatched ? await tools.gateWatch.look(watched, tools.context) : [];
  const nowMs = tools.context.clock.now();
  const promotion = advancePromotion(before, settings, {
    ...{ revision, verdicts, nowMs, target },
    isSettled: hasAnswered && latest !== undefined && isSettled(latest),
    isPromoted: annotationOf(service, OWN.promote) === revision,
  });
  if (JSON.stringify(promotion.state) !== JSON.stringify(before))
    recordPromotion(tools, service, { component, promotion, verdicts });
  return promotion;
}

/** What is asked for does not have the traffic, and will not. */
export function takenBack(promotion: Promotion | undefined, { context }: Tools): Fault | undefined {
  const reason = promotion?.state.failed?.reason;
  return promotion === undefined || reason === undefined
    ? undefined
    : { reason, message: `cluster ${context.cluster.name}: ${promotion.message}` };
}

/** Gates and steps are for predictors; bit by bit goes every component. */
function settingsFor(service: InferenceService, component: string): PromotionSettings | undefined {
  const { settings } = promotionSettings({ metadata: { annotations: { ...service.metadata.annotations } } });
  if (settings === undefined || component === "predictor") return settings;
  return settings.durationMs > 0 ? { ...settings, gates: [] } : undefined;
}

function isSettled({ spec, status, metadata }: Deployment): boolean {
  const replicas = spec.replicas ?? 1;
  return (
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    status?.updatedReplicas === replicas &&
    status.replicas === replicas &&
    status.readyReplicas === replicas
  );
}

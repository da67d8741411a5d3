/** The share that a new revision of a component gets now: the one that is written, or as far as its rollout has come. */
import type { Deployment } from "../../../kernel/kinds/index.js";
import { toJsonObject } from "../../../kernel/schema/index.js";
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
  const before = readPromotion(latest?.metadata.annotations?.[PROMOTION_ANNOTATION]);
  const isWatched = before?.revision === revision && before.sinceMs > 0 && before.failed === undefined;
  const deployment = latest?.metadata.name ?? revision;
  const { informers, name: cluster } = tools.context.cluster;
  const watched = {
    ...{ uid, cluster, revision, gates: settings.gates },
    mark: settings.durationMs > 0 ? revision : `${revision} ${before?.percent ?? 0} ${before?.sinceMs ?? 0}`,
    namespace: service.metadata.namespace ?? "",
    name: service.metadata.name,
    ingresses: [service.metadata.name, base],
    backend: servicesOf(service, { base, deployment, isThrough: true }, informers).backend,
  };
  const verdicts = isWatched ? await tools.gateWatch.look(watched, tools.context.signal) : [];
  const nowMs = tools.context.clock.now();
  const promotion = advancePromotion(before, settings, {
    ...{ revision, verdicts, nowMs, target: percent ?? 100 },
    isSettled: latest !== undefined && isSettled(latest),
    readyAfterMs: Math.max(0, nowMs - Date.parse(latest?.metadata.creationTimestamp ?? "") || 0),
    isPromoted: annotationOf(service, OWN.promote) === revision,
  });
  if (JSON.stringify(promotion.state) !== JSON.stringify(before))
    recordPromotion(tools, service, { component, promotion, verdicts });
  return { percent: promotion.state.percent, promotion };
}

/** Gates and steps are for predictors; bit by bit goes every component. */
function settingsFor(service: InferenceService, component: string): PromotionSettings | undefined {
  const { settings } = promotionSettings(toJsonObject(service));
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

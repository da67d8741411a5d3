/** Making one release true, and seeing how it is. */
import type { ReconcileContext } from "../../kernel/control/types.js";
import { InputError } from "../../kernel/errors/index.js";
import type { Deployment, KubeObject, Pod } from "../../kernel/kinds/index.js";
import { DeploymentKind, PodKind, SecretKind } from "../../kernel/kinds/index.js";
import { isFault } from "./apply.js";
import { standingOf } from "./autoscaling/index.js";
import type { ServingAddress } from "./children.js";
import {
  deploymentOf,
  hostOf,
  ingressOf,
  RELEASE_HASH_ANNOTATION,
  RELEASE_LABEL,
  releaseLabels,
  releaseName,
  releasePods,
  SERVICE_LABEL,
  serviceOf,
  TEMPLATE_ANNOTATION,
  urlOf,
} from "./children.js";
import type { Fault } from "./diagnosis.js";
import type { MLService, Release } from "./kinds.js";
import { MLServiceRuntimeKind } from "./kinds.js";
import { logWishOf } from "./log-wish.js";
import type { BuiltTemplate } from "./pod-template.js";
import { buildPodTemplate, FETCH_CONTAINER } from "./pod-template.js";
import { isScaled } from "./release-scaling.js";
import { schedulerFor } from "./scheduler.js";
import { fetchedApart, fetchesItself } from "./self-fetch.js";
import { type StoreTrust, storeTrustOf } from "./store-trust.js";
import type { UnitTools } from "./unit.js";
import { asks, readBuilt, reconcileUnit } from "./unit.js";

const FETCHERS = new RegExp(`^${FETCH_CONTAINER}$`);
/** `init-container`: models are not fetched by their server. */
const FETCH_ANNOTATION = "serving.argosy.dev/fetch";

/** What a release needs from around it. */
export interface ReleaseTools extends UnitTools {
  readonly context: ReconcileContext<MLService>;
  readonly address: ServingAddress;
  readonly cacheHostPath: string | undefined;
}

/** How a release is. */
export interface ReleaseOutcome {
  readonly name: string;
  readonly url: string;
  /** Its address answers. */
  readonly answers: boolean;
  /** All its pods are of this generation and ready. */
  readonly settled: boolean;
  readonly fault: Fault | undefined;
  readonly readyReplicas: number;
  readonly totalReplicas: number;
  /** It has no pod, and needs none before the next request, which will be held for one. */
  readonly isHeld?: boolean;
  /** Path and manner of asking; for the service's own address. */
  readonly built: BuiltTemplate | undefined;
}

/** Writes the release's Deployment, Service and Ingress and looks at its pods and its address. */
export async function reconcileRelease(
  service: MLService,
  release: Release,
  tools: ReleaseTools,
): Promise<ReleaseOutcome> {
  const { context, address } = tools;
  const namespace = service.metadata.namespace ?? "";
  const name = releaseName(service.metadata.name, release.name);
  const url = urlOf(hostOf(name, namespace, address), address);
  const existing = context.cluster.informers.informer(DeploymentKind).get({ namespace, name });
  const none = {
    name: release.name,
    url,
    answers: false,
    settled: false,
    readyReplicas: existing?.status?.readyReplicas ?? 0,
    totalReplicas: existing?.status?.replicas ?? 0,
  };
  const trust = await storeTrustOf(
    service,
    { secret: release.predictor.storage?.s3?.secretRef.name, logs: release.predictor.logger?.urls },
    context.cluster,
  );
  const pods = releasePods(service, release, isFault(trust) ? {} : trust);
  const built = isFault(trust) ? trust : buildTemplate(service, release, tools, { existing, trust, hash: pods.hash });
  if (isFault(built)) {
    const isHeld = none.readyReplicas === 0 && existing !== undefined && standingOf(existing)?.hasRun === true;
    const answers = isHeld || (none.readyReplicas > 0 && (await asks(`${url}/`, true, tools)) === undefined);
    return { ...none, answers, ...(isHeld ? { isHeld } : {}), fault: built, built: undefined };
  }
  const paused = service.spec.runMode === "Pause";
  const given = paused ? 0 : isScaled(release) ? undefined : release.predictor.minReplicas;
  const host = hostOf(name, namespace, address);
  const seen = await reconcileUnit(
    {
      owner: service,
      deployment: deploymentOf(service, pods, built, given),
      given,
      service: serviceOf(service, pods, built.port),
      ingress: ingressOf(service, name, host, { [name]: 100 }),
      built,
      url,
      pods: () => podsOf(service, release.name, tools),
      check: () => checkSecret(service, release.predictor.storage, tools),
    },
    tools,
  );
  if (paused && seen.fault === undefined)
    return {
      ...none,
      ...seen,
      answers: false,
      settled: false,
      built,
      fault: { reason: "Paused", message: "runMode is Pause" },
    };
  return { ...none, ...seen, built };
}

/**
 * The template as it was built for this release, or a new one when the release itself changed: a runtime's changes are lazy and
 * reach only releases that change after it.
 */
function buildTemplate(
  service: MLService,
  release: Release,
  tools: ReleaseTools,
  { existing, trust, hash }: { existing: Deployment | undefined; trust: StoreTrust; hash: string },
): BuiltTemplate | Fault {
  const annotations = existing?.metadata.annotations ?? {};
  const apart = fetchedApart(existing?.spec.template, podsOf(service, release.name, tools), FETCHERS);
  const ours = existing?.metadata.ownerReferences?.some(({ uid }) => uid === service.metadata.uid) === true;
  if (ours && annotations[RELEASE_HASH_ANNOTATION] === hash) {
    const before = readBuilt(annotations[TEMPLATE_ANNOTATION]);
    if (before !== undefined && !fetchesItself(before.template, apart)) return before;
  }
  const { runtime: runtimeName } = release.predictor.model;
  const namespace = service.metadata.namespace ?? "";
  const runtime = tools.context.cluster.informers.informer(MLServiceRuntimeKind).get({ namespace, name: runtimeName });
  const where = `cluster ${tools.context.cluster.name}`;
  if (runtime === undefined)
    return { reason: "RuntimeNotFound", message: `${where}: there is no MLServiceRuntime ${namespace}/${runtimeName}` };
  if (!runtime.spec.enabled)
    return { reason: "RuntimeDisabled", message: `${where}: MLServiceRuntime ${namespace}/${runtimeName} is disabled` };
  try {
    return buildPodTemplate(release, runtime.spec, {
      labels: releaseLabels(service, release.name),
      // What one namespace may read is not another's to see.
      cacheHostPath:
        tools.cacheHostPath === undefined ? undefined : `${tools.cacheHostPath}/${service.metadata.namespace ?? ""}`,
      log: logWishOf(service, release.predictor.logger, {
        ...{ component: "predictor", release: release.name, trust: trust.all },
        url: urlOf(hostOf(releaseName(service.metadata.name, release.name), namespace, tools.address), tools.address),
      }),
      scheduler: schedulerFor(service.spec.scheduler, tools.context.cluster),
      trust,
      ...(service.metadata.annotations?.[FETCH_ANNOTATION] === "init-container" ? {} : { apart }),
    });
  } catch (error) {
    if (error instanceof InputError) return { reason: "InvalidRelease", message: `${where}: ${error.message}` };
    throw error;
  }
}

const POD_INDEX = "mlservice-release";

function podsOf(service: MLService, release: string, { context }: ReleaseTools): readonly Pod[] {
  const pods = context.cluster.informers.informer(PodKind);
  pods.addIndex(POD_INDEX, ({ metadata: { namespace = "", labels } }) => {
    const [name, of] = [labels?.[SERVICE_LABEL], labels?.[RELEASE_LABEL]];
    return name === undefined || of === undefined ? [] : [`${namespace}/${name}/${of}`];
  });
  return pods.byIndex(POD_INDEX, `${service.metadata.namespace ?? ""}/${service.metadata.name}/${release}`);
}

/** A Secret that is missing or incomplete, said before pods fail on it. */
export async function checkSecret(
  { metadata }: KubeObject,
  storage: Release["predictor"]["storage"],
  { context }: UnitTools,
): Promise<Fault | undefined> {
  const reference = storage?.s3?.secretRef;
  if (reference === undefined) return undefined;
  const namespace = metadata.namespace ?? "";
  const secret = await context.cluster.client.resource(SecretKind).find(reference.name, { namespace });
  const name = `cluster ${context.cluster.name}: Secret ${namespace}/${reference.name}`;
  if (secret === undefined) return { reason: "SecretNotFound", message: `${name} does not exist` };
  if (secret.metadata.labels?.["tensorstack.dev/resource"] !== "s3")
    return { reason: "InvalidSecret", message: `${name} needs the label tensorstack.dev/resource: s3` };
  if (secret.data?.[".s3cfg"] === undefined)
    return { reason: "InvalidSecret", message: `${name} needs the key .s3cfg` };
  return undefined;
}

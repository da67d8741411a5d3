/** Making one release true, and seeing how it is. */
import type { ReconcileContext } from "../../kernel/control/types.js";
import { InputError } from "../../kernel/errors/index.js";
import type { Deployment, Pod } from "../../kernel/kinds/index.js";
import { DeploymentKind, IngressKind, PodKind, SecretKind, ServiceKind } from "../../kernel/kinds/index.js";
import { isObject } from "../../kernel/schema/index.js";
import type { ChildWriter } from "./apply.js";
import { isFault } from "./apply.js";
import { standingOf } from "./autoscaling/index.js";
import type { ServingAddress } from "./children.js";
import {
  deploymentOf,
  hashRelease,
  hostOf,
  ingressOf,
  RELEASE_HASH_ANNOTATION,
  RELEASE_LABEL,
  releaseLabels,
  releaseName,
  SERVICE_LABEL,
  serviceOf,
  TEMPLATE_ANNOTATION,
  urlOf,
} from "./children.js";
import type { Fault } from "./diagnosis.js";
import { diagnosePods } from "./diagnosis.js";
import type { MLService, Release } from "./kinds.js";
import { MLServiceRuntimeKind } from "./kinds.js";
import type { BuiltTemplate } from "./pod-template.js";
import { buildPodTemplate } from "./pod-template.js";
import type { Probe, ProbeResult } from "./probe.js";
import { isScaled } from "./release-scaling.js";

/** What a release needs from around it. */
export interface ReleaseTools {
  readonly context: ReconcileContext<MLService>;
  readonly writer: ChildWriter;
  readonly address: ServingAddress;
  readonly probe: Probe;
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
  const { context, writer, address } = tools;
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
  const built = buildTemplate(service, release, tools, existing);
  if (isFault(built)) {
    const answers =
      existing !== undefined && none.readyReplicas > 0 && (await asks(`${url}/`, true, tools)) === undefined;
    return { ...none, answers, fault: built, built: undefined };
  }
  const paused = service.spec.runMode === "Pause";
  const given = paused ? 0 : isScaled(release) ? undefined : release.predictor.minReplicas;
  const host = hostOf(name, namespace, address);
  const deployment = await writer.write(DeploymentKind, service, deploymentOf(service, release, built, given));
  if (isFault(deployment)) return { ...none, fault: deployment, built };
  const other = [
    await writer.write(ServiceKind, service, serviceOf(service, release, built.port)),
    await writer.write(IngressKind, service, ingressOf(service, name, host, { [name]: 100 })),
  ].find(isFault);
  const seen = {
    ...none,
    built,
    readyReplicas: deployment.status?.readyReplicas ?? 0,
    totalReplicas: deployment.status?.replicas ?? 0,
  };
  if (other !== undefined) return { ...seen, fault: other };
  if (paused) return { ...seen, fault: { reason: "Paused", message: "runMode is Pause" } };

  return judge(service, release, { seen, built, deployment, given }, tools);
}

interface Seen {
  readonly seen: Pick<ReleaseOutcome, "name" | "url" | "readyReplicas" | "totalReplicas"> & {
    readonly built: BuiltTemplate;
  };
  readonly built: BuiltTemplate;
  readonly deployment: Deployment;
  /** Pods that the release says it has; absent: the autoscaler says. */
  readonly given: number | undefined;
}

/** Looks at the pods and the address of a release that is written. */
async function judge(
  service: MLService,
  release: Release,
  { seen, built, deployment, given }: Seen,
  tools: ReleaseTools,
): Promise<ReleaseOutcome> {
  const cluster = tools.context.cluster.name;
  if (given === undefined && seen.readyReplicas === 0) {
    const held = heldOutcome(deployment, podsOf(service, release.name, tools), cluster);
    if (held !== undefined) return { ...seen, ...held };
  }
  const replicas = given ?? deployment.spec.replicas ?? 1;
  const settled = given === undefined ? isRolledOut(deployment) : isSettled(deployment, replicas);
  const unanswered =
    seen.readyReplicas > 0 ? await asks(`${seen.url}${built.probePath}`, built.anyAnswer, tools) : undefined;
  const answers = seen.readyReplicas > 0 && unanswered === undefined;
  if (settled) return { ...seen, answers, settled, fault: unanswered };
  const secret = await checkSecret(service, release, tools);
  const pods = podsOf(service, release.name, tools);
  const fault = secret ?? diagnosePods(cluster, pods, deployment) ?? unanswered;
  return {
    ...seen,
    answers,
    settled,
    fault: fault ?? { reason: "Starting", message: `${seen.readyReplicas} of ${replicas} pods are ready` },
  };
}

/**
 * The template as it was built for this release, or a new one when the release itself changed: a runtime's changes are lazy and
 * reach only releases that change after it.
 */
function buildTemplate(
  service: MLService,
  release: Release,
  tools: ReleaseTools,
  existing: Deployment | undefined,
): BuiltTemplate | Fault {
  const annotations = existing?.metadata.annotations ?? {};
  const ours = existing?.metadata.ownerReferences?.some(({ uid }) => uid === service.metadata.uid) === true;
  if (ours && annotations[RELEASE_HASH_ANNOTATION] === hashRelease(release)) {
    const before = readBuilt(annotations[TEMPLATE_ANNOTATION]);
    if (before !== undefined) return before;
  }
  const { runtime: runtimeName } = release.predictor.model;
  const namespace = service.metadata.namespace ?? "";
  const runtime = tools.context.cluster.informers.informer(MLServiceRuntimeKind).get({ namespace, name: runtimeName });
  const where = `cluster ${tools.context.cluster.name}: release ${release.name}`;
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
    });
  } catch (error) {
    if (error instanceof InputError) return { reason: "InvalidRelease", message: `${where}: ${error.message}` };
    throw error;
  }
}

/** The template that a Deployment's annotation keeps. */
export function readBuilt(text: string | undefined): BuiltTemplate | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (!isObject(value) || !isObject(value["template"])) return undefined;
    const { template, port, probePath, anyAnswer } = value;
    if (typeof port !== "number" || typeof probePath !== "string" || typeof anyAnswer !== "boolean") return undefined;
    return { template, port, probePath, anyAnswer };
  } catch {
    return undefined;
  }
}

/** A release without a ready pod whose requests are held: fine while nothing is wrong with the pods that are on their way. Undefined where it has not run as it is declared now. */
function heldOutcome(
  deployment: Deployment,
  pods: readonly Pod[],
  cluster: string,
): Pick<ReleaseOutcome, "answers" | "settled" | "isHeld" | "fault"> | undefined {
  const standing = standingOf(deployment);
  if (standing?.hasRun !== true) return undefined;
  const fault = standing.isAsleep ? undefined : diagnosePods(cluster, pods, deployment);
  if (fault !== undefined && !ON_ITS_WAY.has(fault.reason)) return undefined;
  return { answers: true, settled: true, isHeld: true, fault: undefined };
}

const ON_ITS_WAY: ReadonlySet<string> = new Set(["Starting", "Loading", "Fetching"]);

/** Every pod is of this generation, and one is ready; how many there are is the autoscaler's affair. */
function isRolledOut({ status, metadata }: Deployment): boolean {
  const { observedGeneration = 0, replicas = 0, updatedReplicas = 0, readyReplicas = 0 } = status ?? {};
  return observedGeneration >= (metadata.generation ?? 0) && updatedReplicas === replicas && readyReplicas > 0;
}

function isSettled(deployment: Deployment, replicas: number): boolean {
  const { status, metadata } = deployment;
  return (
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    status?.replicas === replicas &&
    status.updatedReplicas === replicas &&
    status.readyReplicas === replicas
  );
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
async function checkSecret(
  service: MLService,
  release: Release,
  { context }: ReleaseTools,
): Promise<Fault | undefined> {
  const reference = release.predictor.storage?.s3?.secretRef;
  if (reference === undefined) return undefined;
  const namespace = service.metadata.namespace ?? "";
  const secret = await context.cluster.client.resource(SecretKind).find(reference.name, { namespace });
  const name = `cluster ${context.cluster.name}: Secret ${namespace}/${reference.name}`;
  if (secret === undefined) return { reason: "SecretNotFound", message: `${name} does not exist` };
  if (secret.metadata.labels?.["tensorstack.dev/resource"] !== "s3")
    return { reason: "InvalidSecret", message: `${name} needs the label tensorstack.dev/resource: s3` };
  if (secret.data?.[".s3cfg"] === undefined)
    return { reason: "InvalidSecret", message: `${name} needs the key .s3cfg` };
  return undefined;
}

/** Asks an address, twice before it is given up. `undefined` when it answered. */
export async function asks(
  url: string,
  anyAnswer: boolean,
  { probe, context }: Pick<ReleaseTools, "probe" | "context">,
): Promise<Fault | undefined> {
  const good = (result: ProbeResult): boolean =>
    "status" in result && result.status < (anyAnswer ? 500 : 400) && result.status !== ROUTER_ANSWER;
  let result = await probe(url, context.signal);
  if (good(result)) return undefined;
  await context.clock.sleep(100, context.signal);
  result = await probe(url, context.signal);
  if (good(result)) return undefined;
  const said =
    "error" in result
      ? result.error
      : `status ${result.status}${result.body === "" ? "" : `: ${result.body.slice(0, 200)}`}`;
  const hint =
    anyAnswer && "status" in result
      ? "; give the runtime's user-container a readinessProbe with httpGet to say where its model answers"
      : "";
  return { reason: "NotAnswering", message: `cluster ${context.cluster.name}: ${url} does not answer: ${said}${hint}` };
}

/** An ingress that knows no such host answers 404; that is not the model's answer. */
const ROUTER_ANSWER = 404;

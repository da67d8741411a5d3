/** Making the transformer true: its pods, its address, and the way from it to the releases. */
import { InputError } from "../../kernel/errors/index.js";
import type { Deployment, JsonObject, Pod } from "../../kernel/kinds/index.js";
import { DeploymentKind, IngressKind, PodKind, ServiceKind } from "../../kernel/kinds/index.js";
import { asObject, asObjects, toJson, toJsonObject } from "../../kernel/schema/index.js";
import { isFault } from "./apply.js";
import {
  COMPONENT_LABEL,
  deploymentOf,
  hostOf,
  ingressOf,
  insideOnly,
  type PodSet,
  predictorsName,
  predictorsOf,
  RELEASE_HASH_ANNOTATION,
  releaseLabels,
  SERVICE_LABEL,
  serviceOf,
  TEMPLATE_ANNOTATION,
  transformerName,
  transformerPods,
  urlOf,
} from "./children.js";
import type { Fault } from "./diagnosis.js";
import { isBuiltInServer } from "./images.js";
import { isOpenTo, slicesOf } from "./inside.js";
import type { MLService, Transformer } from "./kinds.js";
import { logWishOf } from "./log-wish.js";
import {
  addModel,
  type BuiltTemplate,
  completeMain,
  finish,
  replaceResources,
  type TemplateOptions,
  USER_CONTAINER,
} from "./pod-template.js";
import { checkSecret, type ReleaseOutcome, type ReleaseTools } from "./release.js";
import { isScaled } from "./release-scaling.js";
import { type Routing, weightsOf } from "./routing.js";
import { schedulerFor } from "./scheduler.js";
import { type StoreTrust, storeTrustOf } from "./store-trust.js";
import { asks, readBuilt, reconcileUnit } from "./unit.js";

const DEFAULT_PORT = 8080;

/** Writes the transformer's Deployment, Service and Ingress, and looks at its pods and its address; `undefined` where there is none. */
export async function reconcileTransformer(
  service: MLService,
  tools: ReleaseTools,
): Promise<ReleaseOutcome | undefined> {
  const { transformer } = service.spec;
  if (transformer === undefined) return undefined;
  const { context, address } = tools;
  const { namespace = "" } = service.metadata;
  const trust = await storeTrustOf(
    service,
    { secret: transformer.storage?.s3?.secretRef.name, logs: transformer.logger?.urls },
    context.cluster,
  );
  const pods = transformerPods(service, transformer, isFault(trust) ? {} : trust);
  const url = urlOf(hostOf(pods.name, namespace, address), address);
  const existing = context.cluster.informers.informer(DeploymentKind).get({ namespace, name: pods.name });
  const none = {
    ...{ name: pods.name, url, answers: false, settled: false },
    readyReplicas: existing?.status?.readyReplicas ?? 0,
    totalReplicas: existing?.status?.replicas ?? 0,
  };
  const built = isFault(trust) ? trust : templateFor(service, transformer, { tools, existing, url, trust, pods });
  if (isFault(built)) {
    const answers =
      existing !== undefined && none.readyReplicas > 0 && (await asks(`${url}/`, true, tools)) === undefined;
    return { ...none, answers, fault: built, built: undefined };
  }
  const isPaused = service.spec.runMode === "Pause";
  const given = isPaused ? 0 : isScaled(pods.scalable) ? undefined : transformer.minReplicas;
  const seen = await reconcileUnit(
    {
      ...{ owner: service, given, built, url },
      deployment: deploymentOf(service, pods, built, given),
      service: serviceOf(service, pods, built.port),
      ingress: ingressOf(service, pods.name, hostOf(pods.name, namespace, address), { [pods.name]: 100 }),
      pods: () => podsOf(service, tools),
      check: () => checkSecret(service, transformer.storage, tools),
    },
    tools,
  );
  const paused = { reason: "Paused", message: "runMode is Pause" };
  if (isPaused && seen.fault === undefined)
    return { ...none, ...seen, answers: false, settled: false, built, fault: paused };
  return { ...none, ...seen, built };
}

interface Templating {
  readonly tools: ReleaseTools;
  readonly existing: Deployment | undefined;
  readonly url: string;
  readonly trust: StoreTrust;
  readonly pods: PodSet;
}

/** The template as it was made, or a new one where the transformer changed. */
function templateFor(
  service: MLService,
  transformer: Transformer,
  { tools, existing, url, trust, pods: { labels, hash } }: Templating,
): BuiltTemplate | Fault {
  const annotations = existing?.metadata.annotations ?? {};
  const isOurs = existing?.metadata.ownerReferences?.some(({ uid }) => uid === service.metadata.uid) === true;
  if (isOurs && annotations[RELEASE_HASH_ANNOTATION] === hash) {
    const before = readBuilt(annotations[TEMPLATE_ANNOTATION]);
    if (before !== undefined) return before;
  }
  const { cluster } = tools.context;
  const { namespace = "" } = service.metadata;
  try {
    return buildTransformer(service, transformer, {
      labels,
      cacheHostPath: tools.cacheHostPath === undefined ? undefined : `${tools.cacheHostPath}/${namespace}`,
      log: logWishOf(service, transformer.logger, { component: "transformer", url, trust: trust.all }),
      scheduler: schedulerFor(service.spec.scheduler, cluster),
      trust,
    });
  } catch (error) {
    if (error instanceof InputError)
      return { reason: "InvalidTransformer", message: `cluster ${cluster.name}: transformer: ${error.message}` };
    throw error;
  }
}

/** Builds the pod template. Throws `InputError` naming what is wrong. */
function buildTransformer(service: MLService, transformer: Transformer, options: TemplateOptions): BuiltTemplate {
  const template = asObject(toJson(transformer.template ?? {}));
  const spec: JsonObject = toJsonObject(asObject(template["spec"]));
  const containers = asObjects(spec["containers"]).map((container) => ({ ...container }));
  const main = containers.find(({ name }) => name === USER_CONTAINER) ?? containers[0];
  if (main === undefined)
    throw new InputError("spec.transformer.template.spec names no containers; one must answer requests");
  replaceResources(containers, transformer.containersResources ?? []);
  const ports = asObjects(main["ports"]);
  const chosen = ports.find(({ name }) => typeof name === "string" && name.startsWith("http")) ?? ports[0];
  const port = typeof chosen?.["containerPort"] === "number" ? chosen["containerPort"] : DEFAULT_PORT;
  addEnvironment(service, main);
  completeMain(main, port, isBuiltInServer(main));
  spec["containers"] = containers;
  addModel(spec, main, transformer.storage, options);
  return finish({ metadata: toJsonObject(asObject(template["metadata"])), spec, main, port }, options);
}

/** Where the releases are. Its arguments may use these as `$(PREDICTOR_HOST)`. */
function addEnvironment({ metadata }: MLService, main: JsonObject): void {
  const host = `${predictorsName(metadata.name)}.${metadata.namespace ?? ""}.svc.cluster.local`;
  const own = { PREDICTOR_HOST: host, PREDICTOR_URL: `http://${host}`, MLSERVICE_NAME: metadata.name };
  const given = asObjects(main["env"]);
  const more = Object.entries(own).filter(([name]) => !given.some((entry) => entry["name"] === name));
  main["env"] = [...more.map(([name, value]) => ({ name, value })), ...given];
}

/** Writes the way from the transformer to default and canary. */
export async function writePredictors(
  service: MLService,
  outcomes: readonly ReleaseOutcome[],
  { routing, tools }: { readonly routing: Routing; readonly tools: ReleaseTools },
): Promise<Fault | undefined> {
  const { name, namespace = "" } = service.metadata;
  const main = outcomes.find((outcome) => outcome.name === routing.defaultRelease);
  const own = predictorsName(name);
  const weights = weightsOf(name, routing);
  const isThrough = leadsThrough(service, routing);
  if (isThrough) {
    // Nobody outside has a use for it: the service's own address leads to the transformer.
    const ingress = insideOnly(ingressOf(service, own, hostOf(own, namespace, tools.address), weights));
    const written = await tools.writer.write(IngressKind, service, ingress);
    if (isFault(written)) return written;
  }
  const { informers } = tools.context.cluster;
  const pods = { labels: releaseLabels(service, routing.defaultRelease), port: main?.built?.port ?? DEFAULT_PORT };
  const way = isThrough ? { ingress: own, isOpen: isOpenTo(namespace, own, own, informers) } : undefined;
  const written = await tools.writer.write(ServiceKind, service, predictorsOf(service, pods, way));
  if (isFault(written)) return written;
  const leads = slicesOf(namespace, own, informers).some(({ endpoints }) =>
    endpoints.some(({ conditions }) => conditions?.ready !== false),
  );
  return leads || (main?.readyReplicas ?? 0) === 0
    ? undefined
    : { reason: "Starting", message: `transformer: its way to the releases, Service ${own}, leads nowhere yet` };
}

/** What does not hold behind the transformer, while the gateway has no way in. */
export function predictorsIgnored(service: MLService, routing: Routing, tools: ReleaseTools): string[] {
  if (service.spec.transformer === undefined || !leadsThrough(service, routing)) return [];
  const { name, namespace = "" } = service.metadata;
  const own = predictorsName(name);
  if (isOpenTo(namespace, own, own, tools.context.cluster.informers)) return [];
  const what =
    Object.keys(weightsOf(name, routing)).length > 1
      ? "spec.canaryTrafficPercent"
      : "waiting for a pod of the default release";
  return [`${what} behind the transformer (it asks the default release's pods, as long as the gateway has no way in)`];
}

/** Whether the transformer reaches the releases through the gateway: where there are shares, or pods are waited for. */
function leadsThrough({ metadata, spec }: MLService, routing: Routing): boolean {
  const release = spec.releases.find(({ name }) => name === routing.defaultRelease);
  return Object.keys(weightsOf(metadata.name, routing)).length > 1 || (release !== undefined && isScaled(release));
}

/** Names of the transformer's children that are to stay. */
export function transformerChildren(service: MLService, routing: Routing): { all: string[]; ingresses: string[] } {
  const { metadata, spec } = service;
  if (spec.transformer === undefined) return { all: [], ingresses: [] };
  const own = transformerName(metadata.name);
  return {
    all: [own, predictorsName(metadata.name)],
    ingresses: leadsThrough(service, routing) ? [own, predictorsName(metadata.name)] : [own],
  };
}

const POD_INDEX = "mlservice-transformer";

function podsOf({ metadata }: MLService, { context }: ReleaseTools): readonly Pod[] {
  const pods = context.cluster.informers.informer(PodKind);
  pods.addIndex(POD_INDEX, ({ metadata: { namespace = "", labels } }) =>
    labels?.[COMPONENT_LABEL] === "transformer" ? [`${namespace}/${labels[SERVICE_LABEL] ?? ""}`] : [],
  );
  return pods.byIndex(POD_INDEX, `${metadata.namespace ?? ""}/${metadata.name}`);
}

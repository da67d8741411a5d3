import { syncStatus } from "../../kernel/control/index.js";
import type {
  ClusterAccess,
  ControllerSpec,
  InformerSet,
  Key,
  ReconcileContext,
  ReconcileResult,
} from "../../kernel/control/types.js";
import type { Kind, KubeObject } from "../../kernel/kinds/index.js";
import {
  controllerOf,
  DeploymentKind,
  EndpointSliceKind,
  IngressKind,
  PodKind,
  ServiceKind,
} from "../../kernel/kinds/index.js";
import type { Ledger } from "../../stores/ledger/types.js";
import type { ChildWriter } from "./apply.js";
import { createChildWriter, isFault } from "./apply.js";
import { standingOf } from "./autoscaling/index.js";
import type { ServingAddress } from "./children.js";
import {
  FIELD_MANAGER,
  hostOf,
  ingressOf,
  predictorsName,
  releaseName,
  SERVICE_LABEL,
  TEMPLATE_ANNOTATION,
  transformerName,
  urlOf,
} from "./children.js";
import { conditionsOf } from "./conditions.js";
import { type Fault, wordsOf } from "./diagnosis.js";
import type { MLService, MLServiceStatus } from "./kinds.js";
import { MLServiceKind, MLServiceRuntimeKind } from "./kinds.js";
import { ownedBy } from "./owned.js";
import type { Probe } from "./probe.js";
import { recordReadiness, recordRouting } from "./record.js";
import type { ReleaseOutcome, ReleaseTools } from "./release.js";
import { reconcileRelease } from "./release.js";
import type { Routing } from "./routing.js";
import { routeTraffic, weightsOf } from "./routing.js";
import { predictorsIgnored, reconcileTransformer, transformerChildren, writePredictors } from "./transformer.js";
import { asks, readBuilt } from "./unit.js";
import { invalidSpec } from "./validation.js";

/** What the controller needs besides the cluster. */
export interface MLServiceControllerOptions {
  readonly ledger: Ledger;
  readonly probe: Probe;
  readonly address: ServingAddress;
  readonly cacheHostPath: string | undefined;
}

/** While something is on its way; watches wake the controller earlier. */
const UNSETTLED_MS = 500;
/** How often an address that answers is asked again. */
const SETTLED_MS = 10_000;

/** Makes MLServices true in one cluster. */
export function mlserviceController(
  cluster: ClusterAccess,
  options: MLServiceControllerOptions,
): ControllerSpec<MLService> {
  const writer = createChildWriter(cluster, { fieldManager: FIELD_MANAGER, ownerLabel: SERVICE_LABEL });
  return {
    name: FIELD_MANAGER,
    kind: MLServiceKind,
    owns: [DeploymentKind, ServiceKind, IngressKind],
    watches: [
      { kind: EndpointSliceKind, keys: behindTransformer },
      { kind: PodKind, keys: ({ metadata }) => keysOf(metadata.namespace, metadata.labels?.[SERVICE_LABEL]) },
      {
        kind: MLServiceRuntimeKind,
        keys: ({ metadata }, informers) =>
          informers
            .informer(MLServiceKind)
            .list(metadata.namespace)
            .filter(({ spec }) => spec.releases.some(({ predictor }) => predictor.model.runtime === metadata.name))
            .flatMap((service) => keysOf(service.metadata.namespace, service.metadata.name)),
      },
    ],
    concurrency: 4,
    async reconcile(key, service, context) {
      if (service === undefined || service.metadata.deletionTimestamp !== undefined) {
        writer.forget(key);
        return;
      }
      return reconcileService(service, { context, writer, ...options });
    },
  };
}

const keysOf = (namespace: string | undefined, name: string | undefined): Key[] =>
  name === undefined ? [] : [{ namespace: namespace ?? "", name }];

/** Whose Service a slice is of, where a transformer reaches releases by it. */
function behindTransformer({ metadata }: KubeObject, informers: InformerSet): Key[] {
  const { namespace = "", labels = {} } = metadata;
  const service = informers.informer(ServiceKind).get({ namespace, name: labels["kubernetes.io/service-name"] ?? "" });
  const name = service?.metadata.labels?.[SERVICE_LABEL];
  return name !== undefined && service?.metadata.name === predictorsName(name) ? keysOf(namespace, name) : [];
}

interface Tools extends ReleaseTools {
  readonly context: ReconcileContext<MLService>;
  readonly writer: ChildWriter;
  readonly ledger: Ledger;
}

async function reconcileService(service: MLService, tools: Tools): Promise<ReconcileResult> {
  const invalid = invalidSpec(service);
  if (invalid !== undefined) return reportInvalid(service, invalid, tools);
  const outcomes: ReleaseOutcome[] = [];
  for (const release of service.spec.releases) outcomes.push(await reconcileRelease(service, release, tools));
  outcomes.push(...retiringRelease(service, tools));
  const states = outcomes.map(({ name, answers }) => ({ name, ready: answers }));
  const routing = routeTraffic(service.spec, states, service.status?.defaultRelease);
  const transformer = await reconcileTransformer(service, tools);
  const shown = outcomes.filter(({ name, fault }) => fault?.reason !== "Retiring" || (routing.percent[name] ?? 0) > 0);
  const way = transformer === undefined ? undefined : await writePredictors(service, outcomes, { tools, routing });
  const own = await routeService(service, outcomes, { tools, routing, transformer });
  const ready = own.fault ?? readinessOf(service, outcomes, transformer) ?? way;
  await removeStale(service, routing, tools);
  await report(service, shown, { tools, routing, ready, answers: own.answers, transformer });
  return {
    requeueAfterMs: ready === undefined ? SETTLED_MS : service.spec.runMode === "Pause" ? SETTLED_MS * 6 : UNSETTLED_MS,
  };
}

/** What contradicts itself changes nothing: what was there before goes on, and is told of as it is. */
async function reportInvalid(service: MLService, invalid: Fault, tools: Tools): Promise<ReconcileResult> {
  const { defaultRelease, releases = [], transformer: before } = service.status ?? {};
  const front = transformerName(service.metadata.name);
  const outcomes = releases.flatMap(({ name }) => standingUnit(service, name, invalid, tools));
  const [transformer] = before === undefined ? [] : standingUnit(service, front, invalid, tools);
  const percent = Object.fromEntries(releases.map(({ name, trafficPercent }) => [name, trafficPercent]));
  const reason = `as before: ${invalid.message}`;
  const routing = defaultRelease === undefined ? undefined : { percent, defaultRelease, reason };
  const main = transformer ?? outcomes.find(({ name }) => name === defaultRelease);
  const answers = main !== undefined && (main.isHeld === true || (await asksOwn(service, main, tools)) === undefined);
  await report(service, outcomes, { tools, routing, ready: invalid, answers, transformer });
  return { requeueAfterMs: SETTLED_MS };
}

/** The default release of before that is no longer in the spec, while its pods are still there: it bridges the time until the new one answers. */
function retiringRelease(service: MLService, tools: Tools): ReleaseOutcome[] {
  const before = service.status?.defaultRelease;
  if (before === undefined || service.spec.releases.some((release) => release.name === before)) return [];
  const message = `it is no longer in the spec and goes when ${service.spec.default} answers`;
  return standingUnit(service, before, { reason: "Retiring", message }, tools).filter(({ isHeld }) => isHeld !== true);
}

/** A release or transformer whose pods are there, or that sleeps, whatever the spec says of it now. */
function standingUnit(
  service: MLService,
  release: string,
  fault: Fault,
  { context, address }: Tools,
): ReleaseOutcome[] {
  const { name, namespace = "", uid } = service.metadata;
  const child = release === transformerName(name) ? release : releaseName(name, release);
  const deployment = context.cluster.informers.informer(DeploymentKind).get({ namespace, name: child });
  if (deployment === undefined || controllerOf(deployment)?.uid !== uid) return [];
  const { readyReplicas = 0, replicas: totalReplicas = 0 } = deployment.status ?? {};
  const isHeld = readyReplicas === 0 && standingOf(deployment)?.hasRun === true;
  if (readyReplicas === 0 && !isHeld) return [];
  return [
    {
      ...{ name: release, url: urlOf(hostOf(child, namespace, address), address), fault },
      ...{ answers: true, settled: true, readyReplicas, totalReplicas },
      ...(isHeld ? { isHeld } : {}),
      built: readBuilt(deployment.metadata.annotations?.[TEMPLATE_ANNOTATION]),
    },
  ];
}

/** Writes the service's own address and asks it. A fault when it cannot be written, or does not answer although its release does. */
async function routeService(
  service: MLService,
  outcomes: readonly ReleaseOutcome[],
  { tools, routing, transformer }: { tools: Tools; routing: Routing; transformer: ReleaseOutcome | undefined },
): Promise<{ readonly answers: boolean; readonly fault: Fault | undefined }> {
  const { metadata } = service;
  const host = hostOf(metadata.name, metadata.namespace ?? "", tools.address);
  const first = transformer !== undefined && leadsTo(service, transformer, tools) ? transformer : undefined;
  const weights = first === undefined ? weightsOf(metadata.name, routing) : { [first.name]: 100 };
  const written = await tools.writer.write(IngressKind, service, ingressOf(service, metadata.name, host, weights));
  if (isFault(written)) return { answers: false, fault: written };
  const main = first ?? outcomes.find(({ name }) => name === routing.defaultRelease);
  if (main?.answers !== true) return { answers: false, fault: undefined };
  const fault = main.isHeld === true ? undefined : await asksOwn(service, main, tools);
  return { answers: fault === undefined, fault };
}

/** Asks the service's own address the way that the release behind it is asked; without a template for its spec, for anything at all. */
function asksOwn({ metadata }: MLService, { built }: ReleaseOutcome, tools: Tools): Promise<Fault | undefined> {
  const url = urlOf(hostOf(metadata.name, metadata.namespace ?? "", tools.address), tools.address);
  return asks(`${url}${built?.probePath ?? "/"}`, built?.anyAnswer ?? true, tools);
}

/** Whether the service's own address leads to the transformer: from the first on; where there was none before, when it answers. */
function leadsTo({ metadata }: MLService, transformer: ReleaseOutcome, { context }: Tools): boolean {
  if (transformer.answers) return true;
  const { namespace = "", name } = metadata;
  const ingress = context.cluster.informers.informer(IngressKind).get({ namespace, name });
  const [path] = ingress?.spec.rules?.[0]?.http?.paths ?? [];
  return ingress === undefined || path?.backend.service?.name === transformer.name;
}

/** Why the service is not ready; `undefined` when it is. */
function readinessOf(
  service: MLService,
  outcomes: readonly ReleaseOutcome[],
  transformer: ReleaseOutcome | undefined,
): Fault | undefined {
  const wanted = [service.spec.default, service.spec.canary];
  const needed = outcomes
    .filter(({ name }) => wanted.includes(name))
    .map((outcome) => ({ who: `release ${outcome.name}`, outcome }));
  if (transformer !== undefined) needed.push({ who: "transformer", outcome: transformer });
  for (const { who, outcome } of needed) {
    if (outcome.settled && outcome.answers && outcome.fault === undefined) continue;
    if (outcome.fault?.reason === "Paused") return outcome.fault;
    const updating = outcome.answers ? " (its pods before this change still answer)" : "";
    const fault = outcome.fault ?? { reason: "Updating", message: "its pods are being replaced" };
    return { ...fault, message: `${who}: ${fault.message}${updating}` };
  }
  return undefined;
}

/** Children of releases that are gone. The release that still has the traffic stays until the new default answers. */
async function removeStale(service: MLService, routing: Routing, { context }: Tools): Promise<void> {
  const { name, namespace = "" } = service.metadata;
  const named = service.spec.releases.map((release) => releaseName(name, release.name));
  const kept = new Set([...named, releaseName(name, routing.defaultRelease)]);
  const { client, informers } = context.cluster;
  const removeFrom = async <T extends KubeObject>(kind: Kind<T>, keep: ReadonlySet<string>): Promise<void> => {
    for (const { metadata } of ownedBy(informers, kind, service)) {
      const { name: child, uid, labels } = metadata;
      if (labels?.[SERVICE_LABEL] !== name || keep.has(child)) continue;
      const options = { namespace, propagationPolicy: "Background", preconditions: { uid } } as const;
      await client.resource(kind).delete(child, options);
    }
  };
  const { all, ingresses } = transformerChildren(service, routing);
  await removeFrom(IngressKind, new Set([...kept, ...ingresses, name]));
  await removeFrom(ServiceKind, new Set([...kept, ...all]));
  await removeFrom(DeploymentKind, new Set([...kept, ...all]));
}

interface Report {
  readonly tools: Tools;
  readonly routing: Routing | undefined;
  readonly ready: Fault | undefined;
  /** The service's own address answers, whatever generation. */
  readonly answers: boolean;
  readonly transformer: ReleaseOutcome | undefined;
}

async function report(service: MLService, outcomes: readonly ReleaseOutcome[], told: Report): Promise<void> {
  const { tools, routing, ready, transformer } = told;
  const { context, address, ledger } = tools;
  const status = statusOf(service, outcomes, told);
  const before = service.status?.conditions?.find(({ type }) => type === "Ready");
  const url = urlOf(hostOf(service.metadata.name, service.metadata.namespace ?? "", address), address);
  const all = transformer === undefined ? outcomes : [...outcomes, transformer];
  recordReadiness(ledger, context.cluster.name, service, { outcomes: all, ready, url });
  if (routing !== undefined) recordRouting(ledger, context.cluster.name, service, { outcomes, routing });
  await syncStatus(context.cluster.client.resource(MLServiceKind), service, status, FIELD_MANAGER);
  if (before?.status === (ready === undefined ? "True" : "False") && before.reason === (ready?.reason ?? "Answers"))
    return;
  if (ready === undefined) context.events.record(service, "Normal", "Ready", `the model answers at ${url}`);
  else if (!["Starting", "Loading", "Fetching", "Updating", "Paused"].includes(ready.reason))
    context.events.record(service, "Warning", ready.reason, ready.message);
}

function statusOf(
  service: MLService,
  outcomes: readonly ReleaseOutcome[],
  { tools, routing, ready, answers, transformer }: Report,
): MLServiceStatus {
  const { spec, metadata } = service;
  const url = urlOf(hostOf(metadata.name, metadata.namespace ?? "", tools.address), tools.address);
  return {
    observedGeneration: metadata.generation ?? 0,
    address: { url },
    ...(routing === undefined ? {} : { defaultRelease: routing.defaultRelease }),
    ...(outcomes.some(({ name }) => name === spec.canary) ? { canaryRelease: spec.canary } : {}),
    releases: outcomes.map((outcome) => ({
      name: outcome.name,
      trafficPercent: routing?.percent[outcome.name] ?? 0,
      ...seenOf(outcome),
    })),
    ...(transformer === undefined ? {} : { transformer: seenOf(transformer) }),
    conditions: conditionsOf(service, {
      url,
      fault: ready,
      answers,
      isHeld: outcomes.some((outcome) => outcome.isHeld === true && outcome.name === routing?.defaultRelease),
      now: tools.context.clock.now(),
      outcomes: transformer === undefined ? outcomes : [...outcomes, transformer],
      ignored: routing === undefined ? [] : predictorsIgnored(service, routing, tools),
    }),
  };
}

const seenOf = ({ answers, url, fault, readyReplicas, totalReplicas }: ReleaseOutcome) => ({
  ...{ ready: answers, url, readyReplicas, totalReplicas },
  ...(fault === undefined ? {} : { reason: fault.reason, message: wordsOf(fault) }),
});

/** The addresses of an InferenceService: its own, those of its components, and one inside of the cluster. */
import { IngressKind, ServiceKind } from "../../../kernel/kinds/index.js";
import { isFault } from "../apply.js";
import { hostOf, urlOf } from "../children.js";
import type { Fault } from "../diagnosis.js";
import { asks } from "../unit.js";
import { annotationOf, isClusterLocal, OWN } from "./annotations.js";
import type { CanaryOutcome } from "./canaries.js";
import { canaryShares } from "./canaries.js";
import { COMPONENT_LABEL, ingressOf, ROUTE, type RouteHost, serviceOf } from "./children.js";
import { type ComponentOutcome, unmade, type VariantOutcome } from "./component.js";
import type { InferenceService } from "./inference-service-kind.js";
import { isOpen } from "./inside.js";
import { policiesOf } from "./route-policies.js";
import type { Tools } from "./tools.js";

/** All components, in no order. */
export interface Outcomes {
  readonly predictor: ComponentOutcome;
  readonly transformer: ComponentOutcome | undefined;
  readonly explainer: ComponentOutcome | undefined;
  readonly canaries: readonly CanaryOutcome[];
}

/** How the service's own address is. */
export interface RouteOutcome {
  readonly url: string;
  readonly answers: boolean;
  readonly fault: Fault | undefined;
  /** Names of the Services and Ingresses that are kept. */
  readonly services: readonly string[];
  readonly ingresses: readonly string[];
}

/** The one that has the traffic: what was rolled out, until another one is. */
export const mainVariant = ({ latest, previous, shares }: ComponentOutcome): VariantOutcome | undefined =>
  previous !== undefined && shares?.isRolledOut !== true ? previous : (latest ?? previous);

/** Shares by Service; the first is the one that has the traffic. What answers without a share is there for those who name it. */
export function weightsOf(
  service: InferenceService,
  outcome: ComponentOutcome,
  canaries: readonly CanaryOutcome[],
): Record<string, number> {
  const main = mainVariant(outcome);
  if (main === undefined) return {};
  const isPinned = annotationOf(service, OWN.pin) !== undefined;
  if (canaries.length > 0) {
    const shares = canaryShares(canaries);
    const weights: Record<string, number> = { [main.backend]: shares.stable };
    for (const { name, deployment, variant } of canaries) {
      const share = shares.of.get(name) ?? 0;
      if (share > 0 || (isPinned && variant?.answers === true)) weights[deployment] = share;
    }
    return weights;
  }
  const { latest, previous } = outcome;
  const weights: Record<string, number> = { [main.backend]: main.share };
  for (const variant of [latest, previous])
    if (variant !== undefined && (variant.share > 0 || (isPinned && variant.answers)))
      weights[variant.backend] = variant.share;
  return weights;
}

/** Address of the service, stable over modes. */
export function serviceUrl({ metadata }: InferenceService, tools: Tools, isLocal: boolean): string {
  const { name, namespace = "" } = metadata;
  return isLocal
    ? `http://${name}.${namespace}.svc.cluster.local`
    : urlOf(hostOf(name, namespace, tools.address), tools.address);
}

const partsOf = ({ predictor, transformer, explainer }: Outcomes): ComponentOutcome[] =>
  [predictor, transformer, explainer].filter((each) => each !== undefined);

/** Writes them and asks the service's own. */
export async function routeService(service: InferenceService, outcomes: Outcomes, tools: Tools): Promise<RouteOutcome> {
  const isLocal = isClusterLocal(service);
  const url = serviceUrl(service, tools, isLocal);
  const entry = entryOf(service, outcomes, tools);
  // What a Service leads through is there before it does.
  const written = await writeIngresses(service, { ...outcomes, entry }, tools);
  const services = await writeServices(service, { ...outcomes, entry }, tools);
  const none = { url, services: services.names, ingresses: written.names };
  const fault = services.fault ?? written.fault;
  const main = mainVariant(entry);
  if (main === undefined || fault !== undefined) return { ...none, answers: false, fault };
  return { ...none, ...(await askOwn(service, main, tools)) };
}

async function askOwn(
  service: InferenceService,
  main: VariantOutcome,
  tools: Tools,
): Promise<Pick<RouteOutcome, "url" | "answers" | "fault">> {
  const isLocal = isClusterLocal(service);
  const url = serviceUrl(service, tools, isLocal);
  const isAsked = main.answers && !isLocal && main.isHeld !== true;
  const { probePath, anyAnswer } = main.built;
  const fault = isAsked ? await asks(`${url}${probePath}`, anyAnswer, tools) : undefined;
  return { url, answers: main.answers && fault === undefined, fault };
}

/** How the service's own address is while nothing is made of what is written: it leads where it led before. */
export async function standingRoute(
  service: InferenceService,
  invalid: Fault,
  tools: Tools,
): Promise<RouteOutcome | undefined> {
  for (const component of ["transformer", "predictor"] as const) {
    const place = { component, base: `${service.metadata.name}-${component}`, isShared: false };
    const { previous } = unmade(service, place, invalid, tools);
    if (previous !== undefined) return { ...(await askOwn(service, previous, tools)), services: [], ingresses: [] };
  }
  return undefined;
}

/** Where requests enter: at the transformer; where there was none before, when it answers. */
function entryOf({ metadata }: InferenceService, { predictor, transformer }: Outcomes, tools: Tools): ComponentOutcome {
  if (transformer === undefined || mainVariant(transformer)?.answers === true) return transformer ?? predictor;
  const { name, namespace = "" } = metadata;
  const now = tools.context.cluster.informers.informer(ServiceKind).get({ namespace, name });
  return now?.metadata.labels?.[COMPONENT_LABEL] === predictor.component ? predictor : transformer;
}

/** Components, and the one where requests enter. */
type Entered = Outcomes & { readonly entry: ComponentOutcome };

/** Those that are shared by several Deployments; the others were written with their Deployments, and are only named. */
async function writeIngresses(
  service: InferenceService,
  outcomes: Entered,
  tools: Tools,
): Promise<{ readonly names: string[]; readonly fault: Fault | undefined }> {
  const { predictor, explainer, canaries, entry } = outcomes;
  const isLocal = isClusterLocal(service);
  const names: string[] = isLocal ? [] : canaries.map(({ deployment }) => deployment);
  let fault: Fault | undefined;
  const host = (name: string): string => hostOf(name, service.metadata.namespace ?? "", tools.address);
  const write = async (
    name: string,
    of: ComponentOutcome,
    hostsFor: (main: VariantOutcome) => RouteHost[],
  ): Promise<void> => {
    const main = mainVariant(of);
    if (main === undefined) return;
    const healthPath = main.built.anyAnswer ? undefined : main.built.probePath;
    const weights = weightsOf(service, of, of === predictor ? canaries : []);
    names.push(name);
    const isWoken = of.isWoken ?? (of.scaling?.by === "kpa" && of.previous === undefined);
    const held = isWoken ? [main.deployment] : [];
    const annotations = {
      ...policiesOf(service, of, { main, canaries: of === predictor ? canaries : [] }),
      ...(isLocal ? { [ROUTE.insideOnly]: "true" } : {}),
    };
    const wanted = ingressOf(service, name, hostsFor(main), { weights, healthPath, held, annotations });
    const written = await tools.writer.write(IngressKind, service, wanted);
    if (isFault(written)) fault ??= written;
  };
  for (const part of partsOf(outcomes)) {
    const isWeighted = part.previous !== undefined || (part === predictor && canaries.length > 0);
    if (isLocal ? part.isThrough === true : isWeighted)
      await write(part.base, part, ({ backend }) => [{ host: host(part.base), service: backend }]);
    else if (!isLocal) names.push(part.base);
    names.push(...ownNames(part));
  }
  if (!isLocal || entry.isThrough === true)
    await write(service.metadata.name, entry, (main) => hostsOf(service, main, explainer, host));
  return { names, fault };
}

/** Ingresses of the Deployments that have addresses of their own. */
const ownNames = ({ latest, previous }: ComponentOutcome): string[] =>
  [latest, previous].flatMap((variant) =>
    variant?.url === undefined ? [] : [new URL(variant.url).hostname.split(".")[0] ?? ""],
  );

/** Its own host, and the one that KServe's standard mode makes; explanations go to whom they are for. */
function hostsOf(
  { metadata }: InferenceService,
  main: VariantOutcome,
  explainer: ComponentOutcome | undefined,
  host: (name: string) => string,
): RouteHost[] {
  const { name, namespace = "" } = metadata;
  const to = explainer === undefined ? undefined : mainVariant(explainer)?.backend;
  const exact = to === undefined ? {} : { [`/v1/models/${name}:explain`]: to, [`/v2/models/${name}/explain`]: to };
  const own = host(name);
  const standard = own.replace(`${name}.${namespace}.`, `${name}-${namespace}.`);
  return [own, standard].map((each) => ({ host: each, exact, service: main.backend }));
}

/** A Service a component that always leads to what is rolled out, and one for all. */
async function writeServices(
  service: InferenceService,
  { predictor, transformer, explainer, canaries, entry }: Entered,
  tools: Tools,
): Promise<{ readonly names: string[]; readonly fault: Fault | undefined }> {
  const names: string[] = canaries.map(({ deployment }) => deployment);
  let fault: Fault | undefined;
  const { informers } = tools.context.cluster;
  const write = async (name: string, component: ComponentOutcome, variant: VariantOutcome): Promise<void> => {
    names.push(name);
    // An Ingress that leads to the Service itself must not be led to by it.
    const isLoop = [component.latest, component.previous].some((each) => each?.backend === name);
    const way =
      component.isThrough === true && !isLoop
        ? { ingress: name, isOpen: isOpen(service, name, name, informers) }
        : undefined;
    const { deployment, built } = variant;
    const wanted = serviceOf(service, name, { component: component.component, deployment, built }, way);
    const written = await tools.writer.write(ServiceKind, service, wanted);
    if (isFault(written)) fault ??= written;
  };
  for (const component of [predictor, transformer, explainer]) {
    const main = component === undefined ? undefined : mainVariant(component);
    if (component === undefined || main === undefined) continue;
    for (const variant of [component.latest, component.previous]) if (variant !== undefined) names.push(variant.own);
    if ([component.latest, component.previous].every((variant) => variant?.own !== component.base))
      await write(component.base, component, main);
  }
  const main = mainVariant(entry);
  if (main !== undefined) await write(service.metadata.name, entry, main);
  return { names, fault };
}

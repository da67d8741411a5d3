/** All components of an InferenceService: what each is to be made of, and how it is once that is made. */
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asString, isObject } from "../../../kernel/schema/index.js";
import type { Fault } from "../diagnosis.js";
import { type CanaryOutcome, canariesIn, namedPredictor, reconcileCanary } from "./canaries.js";
import { type ComponentName, type ComponentOutcome, reconcileComponent, unmade } from "./component.js";
import type { InferenceService } from "./inference-service-kind.js";
import type { Outcomes } from "./routes.js";
import type { Candidate } from "./selection.js";
import type { Tools } from "./tools.js";
import { podsFor, runtimeFor } from "./wishes.js";

/** What components are made of. */
export interface ComponentsWish {
  /** Completed. */
  readonly spec: JsonObject;
  readonly mode: string;
  /** Of the predictor; `undefined`: containers of its own. */
  readonly runtime: Candidate | Fault | undefined;
}

/** Makes all components true as far as that can be done now. */
export async function componentsFor(service: InferenceService, wish: ComponentsWish, tools: Tools): Promise<Outcomes> {
  const canaries = await canariesFor(service, wish, tools);
  const make = (component: ComponentName): Promise<ComponentOutcome | undefined> =>
    componentFor(service, { ...wish, component, canaries }, tools);
  return {
    predictor: (await make("predictor")) ?? nothingOf(service, "predictor"),
    transformer: await make("transformer"),
    explainer: await make("explainer"),
    canaries,
  };
}

function nothingOf({ metadata }: InferenceService, component: ComponentName): ComponentOutcome {
  return {
    component,
    base: `${metadata.name}-${component}`,
    ...{ latest: undefined, previous: undefined, shares: undefined, scaling: undefined, fault: undefined },
  };
}

async function componentFor(
  service: InferenceService,
  {
    spec,
    mode,
    runtime,
    component,
    canaries,
  }: ComponentsWish & { readonly component: ComponentName; readonly canaries: readonly CanaryOutcome[] },
  tools: Tools,
): Promise<ComponentOutcome | undefined> {
  const own = spec[component];
  if (!isObject(own)) return undefined;
  const none = nothingOf(service, component);
  const isPredictor = component === "predictor";
  const name = asString(own["name"]);
  const promoted = isPredictor && name !== "" ? { promoted: namedPredictor(service.metadata.name, name) } : {};
  const isShared = isPredictor && canaries.length > 0;
  const place = { component, base: none.base, isShared, ...promoted };
  if (isPredictor && runtime !== undefined && "reason" in runtime)
    return unmade(service, place, atCluster(runtime, tools), tools);
  const served = isPredictor && runtime !== undefined && "runtime" in runtime ? runtime.runtime : undefined;
  const pods = await podsFor(service, { component, spec: own, runtime: served }, tools);
  if ("reason" in pods) return unmade(service, place, pods, tools);
  const isAsked = isPredictor && (isObject(spec["transformer"]) || isObject(spec["explainer"]));
  const elsewhere = canaries.reduce(
    (sum, { variant, needs }) => sum + Math.max(needs, variant?.answers === true ? variant.readyReplicas : 0),
    0,
  );
  return reconcileComponent(
    service,
    {
      ...place,
      spec: own,
      mode,
      isAsked,
      canaries: isPredictor ? canaries.map(({ deployment }) => deployment) : [],
      elsewhere: isPredictor ? elsewhere : 0,
      pods,
    },
    tools,
  );
}

async function canariesFor(
  service: InferenceService,
  { spec, mode }: ComponentsWish,
  tools: Tools,
): Promise<CanaryOutcome[]> {
  const stable = Math.max(1, asNumber(asObject(spec["predictor"])["minReplicas"]) ?? 1);
  const outcomes: CanaryOutcome[] = [];
  for (const canary of canariesIn(spec)) {
    const chosen = runtimeFor(service, canary.spec, tools);
    const served = chosen !== undefined && "runtime" in chosen ? chosen.runtime : undefined;
    const pods =
      chosen !== undefined && "reason" in chosen
        ? atCluster(chosen, tools)
        : await podsFor(service, { component: "predictor", spec: canary.spec, runtime: served }, tools);
    const taken = outcomes.reduce((sum, outcome) => sum + outcome.pods, 0);
    outcomes.push(await reconcileCanary(service, { ...canary, pods }, { stable, taken, mode, tools }));
  }
  return outcomes;
}

const atCluster = ({ reason, message }: Fault, { context }: Tools): Fault => ({
  reason,
  message: `cluster ${context.cluster.name}: ${message}`,
});

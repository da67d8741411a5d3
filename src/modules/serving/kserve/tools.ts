/** What everything that reconciles an InferenceService works with. */
import type { InformerSet, ReconcileContext } from "../../../kernel/control/types.js";
import type { Deployment, Pod } from "../../../kernel/kinds/index.js";
import { DeploymentKind, PodKind } from "../../../kernel/kinds/index.js";
import type { Ledger } from "../../../stores/ledger/types.js";
import type { ServingAddress } from "../children.js";
import { ownedBy } from "../owned.js";
import type { UnitTools } from "../unit.js";
import { KSERVE } from "./annotations.js";
import { COMPONENT_LABEL, VARIANT_LABEL } from "./children.js";
import type { GateSources, GateWatch } from "./gate-watch.js";
import type { InferenceService } from "./inference-service-kind.js";
import { InferenceServiceKind } from "./inference-service-kind.js";

/** Given to the controller. */
export interface InferenceServiceOptions {
  readonly ledger: Ledger;
  readonly probe: UnitTools["probe"];
  readonly address: ServingAddress;
  readonly cacheHostPath: string | undefined;
  /** Somebody scales Deployments by requests here. */
  readonly hasKpa: boolean;
  /** Who tells what gates of rollouts ask for. */
  readonly gates: GateSources;
}

/** The same with what one reconcile has. */
export interface Tools extends UnitTools, InferenceServiceOptions {
  readonly context: ReconcileContext<InferenceService>;
  readonly gateWatch: GateWatch;
}

const BY_COMPONENT = "inferenceservice-component";
const BY_VARIANT = "inferenceservice-variant";

/** The Deployments that an InferenceService owns. */
export const deploymentsOf = (service: InferenceService, { context }: Tools): readonly Deployment[] =>
  ownedBy(context.cluster.informers, DeploymentKind, service);

/** The pods of one of its Deployments. */
export function podsOf(service: InferenceService, deployment: string, { context }: Tools): readonly Pod[] {
  const pods = context.cluster.informers.informer(PodKind);
  pods.addIndex(BY_VARIANT, ({ metadata: { namespace = "", labels } }) => {
    const variant = labels?.[VARIANT_LABEL];
    return variant === undefined ? [] : [`${namespace}/${variant}`];
  });
  return pods.byIndex(BY_VARIANT, `${service.metadata.namespace ?? ""}/${deployment}`);
}

/** How many pods of a component there are beside those of some Deployments; pods that end count where they hold what others wait for. */
export function otherPods(
  service: InferenceService,
  {
    component,
    deployments,
    holds,
  }: { readonly component: string; readonly deployments: readonly string[]; readonly holds: boolean },
  { context }: Tools,
): number {
  const pods = context.cluster.informers.informer(PodKind);
  pods.addIndex(BY_COMPONENT, ({ metadata: { namespace = "", labels = {} } }) => {
    const [name, of] = [labels[KSERVE.service], labels[COMPONENT_LABEL]];
    return name === undefined || of === undefined ? [] : [`${namespace}/${name}/${of}`];
  });
  const { namespace = "", name } = service.metadata;
  return pods
    .byIndex(BY_COMPONENT, `${namespace}/${name}/${component}`)
    .filter(({ metadata }) => !deployments.includes(metadata.labels?.[VARIANT_LABEL] ?? ""))
    .filter(({ status }) => status?.phase !== "Succeeded" && status?.phase !== "Failed")
    .filter(({ metadata }) => holds || metadata.deletionTimestamp === undefined).length;
}

/** All InferenceServices of a namespace, or of all. */
export const servicesWith = (informers: InformerSet, namespace: string | undefined): readonly InferenceService[] =>
  informers.informer(InferenceServiceKind).list(namespace);

/**
 * How requests from inside of the cluster come to a component. Usually its Service leads to its pods. Where shares must hold, or pods be waited for, it leads
 * through the gateway: the Service names an Ingress, the ingress controller opens a way for it, and then the Service lets go of the pods.
 */
import type { InformerSet } from "../../../kernel/control/types.js";
import { type EndpointSlice, ServiceKind } from "../../../kernel/kinds/index.js";
import { doorOf, isOpenTo, slicesOf } from "../inside.js";
import type { ComponentOutcome } from "./component.js";
import type { InferenceService } from "./inference-service-kind.js";

/** The Services of a Deployment: which is written with it, and to which Ingresses lead. */
export interface VariantServices {
  readonly own: string;
  readonly backend: string;
}

/**
 * The first Deployment of a component has the component's name, and so has its Service. When that one is to lead through the gateway, the pods get a second
 * one behind it, which Ingresses use as soon as it has as many of them.
 */
export function servicesOf(
  service: InferenceService,
  { base, deployment, isThrough }: { readonly base: string; readonly deployment: string; readonly isThrough: boolean },
  informers: InformerSet,
): VariantServices {
  const namespace = service.metadata.namespace ?? "";
  if (deployment !== base) return { own: deployment, backend: deployment };
  const second = `${base}-pods`;
  const isThere = informers.informer(ServiceKind).get({ namespace, name: second }) !== undefined;
  if (!isThrough && !isThere) return { own: base, backend: base };
  const slices = (name: string) => slicesOf(namespace, name, informers).filter((slice) => doorOf(slice) === undefined);
  const isReady = isThere && slices(second).length > 0 && readyIn(slices(second)) >= readyIn(slices(base));
  return { own: second, backend: isReady ? second : base };
}

/** Whether the gateway takes the requests of a Service, as those to the Ingress. */
export const isOpen = (service: InferenceService, name: string, ingress: string, informers: InformerSet): boolean =>
  isOpenTo(service.metadata.namespace ?? "", name, ingress, informers);

/** What does not hold inside of the cluster, or not yet: each component whose Service should lead through the gateway, and leads past it. */
export function insideIgnored(
  service: InferenceService,
  components: readonly (ComponentOutcome | undefined)[],
  informers: InformerSet,
): string[] {
  return components.flatMap((outcome) => {
    if (outcome?.isThrough !== true) return [];
    const slices = slicesOf(service.metadata.namespace ?? "", outcome.base, informers);
    if (slices.length > 0 && slices.every((slice) => doorOf(slice) !== undefined)) return [];
    const what = outcome.scaling?.by === "kpa" ? "requests that meet no pod" : "shares";
    return [
      `${outcome.component}: ${what} inside of the cluster (Service ${outcome.base} leads to pods as long as the gateway has no way in)`,
    ];
  });
}

/** Ready addresses; for a moment one may stand in a slice that goes and in one that comes. */
const readyIn = (slices: readonly EndpointSlice[]): number =>
  new Set(
    slices.flatMap(({ endpoints }) =>
      (endpoints ?? [])
        .filter(({ conditions }) => conditions?.ready !== false)
        .flatMap(({ addresses }) => [...addresses]),
    ),
  ).size;

/** Services that lead through the gateway rather than to pods: where shares must hold, or pods be waited for, inside of the cluster too. */
import type { InformerSet } from "../../kernel/control/types.js";
import { type EndpointSlice, EndpointSliceKind } from "../../kernel/kinds/index.js";

/** The Ingress that the requests to a Service go through; the ingress controller opens the way. */
export const THROUGH_ANNOTATION = "argosy.dev/through-ingress";
const BY_SERVICE = "serving-slices";
const SERVICE_LABEL = "kubernetes.io/service-name";
/** Of a slice that leads to the gateway: the Ingress. */
export const DOOR_LABEL = "argosy.dev/door-of";

/** The Ingress that a slice leads to. */
export const doorOf = ({ metadata }: EndpointSlice): string | undefined => metadata.labels?.[DOOR_LABEL];

/** Where a Service leads to. */
export function slicesOf(namespace: string, service: string, informers: InformerSet): readonly EndpointSlice[] {
  const slices = informers.informer(EndpointSliceKind);
  slices.addIndex(BY_SERVICE, ({ metadata }) => [
    `${metadata.namespace ?? ""}/${metadata.labels?.[SERVICE_LABEL] ?? ""}`,
  ]);
  return slices.byIndex(BY_SERVICE, `${namespace}/${service}`);
}

/** Whether the gateway takes the requests of a Service, as those to the Ingress. */
export function isOpenTo(namespace: string, service: string, ingress: string, informers: InformerSet): boolean {
  return slicesOf(namespace, service, informers).some((slice) => doorOf(slice) === ingress);
}

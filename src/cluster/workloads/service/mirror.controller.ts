import { isIPv4 } from "node:net";
import type { EndpointAddress } from "kubernetes-types/core/v1.js";
import type { Endpoint } from "kubernetes-types/discovery/v1.js";
import type { ControllerSpec } from "../../../kernel/control/index.js";
import {
  EndpointSliceKind,
  type Endpoints,
  EndpointsKind,
  isDeleting,
  type Service,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { hasSelector } from "./endpoints.js";
import {
  changeTime,
  type EndpointGroup,
  managedByLabel,
  ownSlices,
  placeEndpoints,
  serviceLabel,
  writeSlices,
} from "./slices.js";

const fieldManager = "endpoint-slice-mirroring-controller";
const manager = "endpointslicemirroring-controller.k8s.io";
const maxPerSubset = 1000;
const notCopied: ReadonlySet<string> = new Set([changeTime, "kubectl.kubernetes.io/last-applied-configuration"]);

/** Keeps EndpointSlices for Endpoints that somebody wrote by hand for a Service without selector. */
export function endpointsMirror(): ControllerSpec<Endpoints> {
  return {
    name: fieldManager,
    kind: EndpointsKind,
    owns: [EndpointSliceKind],
    watches: [
      { kind: ServiceKind, keys: ({ metadata }) => [{ namespace: metadata.namespace ?? "", name: metadata.name }] },
    ],
    async reconcile(key, endpoints, context) {
      // Slices go with their owner.
      if (endpoints === undefined || isDeleting(endpoints)) return;
      const service = context.cluster.informers.informer(ServiceKind).get(key);
      const slices = ownSlices(endpoints, manager, context);
      const wanted = isMirrored(endpoints, service) ? placeEndpoints(groupsOf(endpoints), slices) : [];
      const annotations = Object.fromEntries(
        Object.entries(endpoints.metadata.annotations ?? {}).filter(([name]) => !notCopied.has(name)),
      );
      const labels = {
        ...endpoints.metadata.labels,
        [managedByLabel]: manager,
        [serviceLabel]: endpoints.metadata.name,
      };
      await writeSlices(
        { owner: endpoints, labels, annotations, fieldManager, changedAt: undefined },
        { wanted, slices },
        context,
      );
    },
  };
}

function isMirrored({ metadata }: Endpoints, service: Service | undefined): boolean {
  if (service === undefined || hasSelector(service)) return false;
  if (metadata.labels?.["endpointslice.kubernetes.io/skip-mirror"] === "true") return false;
  return metadata.annotations?.["control-plane.alpha.kubernetes.io/leader"] === undefined;
}

function groupsOf({ subsets = [] }: Endpoints): EndpointGroup[] {
  return subsets.flatMap(({ addresses = [], notReadyAddresses = [], ports = [] }) => {
    const all = [
      ...addresses.map((address) => endpointOf(address, true)),
      ...notReadyAddresses.map((address) => endpointOf(address, false)),
    ].slice(0, maxPerSubset);
    const named = ports.map(({ name = "", ...port }) => ({ name, ...port }));
    return (["IPv4", "IPv6"] as const).flatMap((addressType) => {
      const endpoints = all.filter(({ addresses: [ip = ""] }) => isIPv4(ip) === (addressType === "IPv4"));
      return endpoints.length === 0 ? [] : [{ addressType, ports: named, endpoints }];
    });
  });
}

function endpointOf({ ip, hostname, nodeName, targetRef }: EndpointAddress, ready: boolean): Endpoint {
  return {
    addresses: [ip],
    conditions: { ready },
    ...(hostname === undefined ? {} : { hostname }),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(targetRef === undefined ? {} : { targetRef }),
  };
}

import { isIPv4, isIPv6 } from "node:net";
import type { Endpoint, EndpointPort } from "kubernetes-types/discovery/v1.js";
import type { WatchSpec } from "../../../kernel/control/index.js";
import {
  isConditionTrue,
  isDeleting,
  type Pod,
  PodKind,
  type Service,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { isTerminal } from "../shared/pods.js";
import type { EndpointGroup } from "./slices.js";

/** Which addresses are meant, and where nodes are. */
export interface EndpointView {
  readonly family: "IPv4" | "IPv6";
  readonly zoneOf: (node: string) => string | undefined;
}

/** Whether a Service finds its pods itself. */
export function hasSelector(service: Service): boolean {
  return Object.keys(service.spec.selector ?? {}).length > 0;
}

/** Whether a Service means pods with these labels. */
export function selects(service: Service, labels: Readonly<Record<string, string>> = {}): boolean {
  return (
    hasSelector(service) && Object.entries(service.spec.selector ?? {}).every(([key, value]) => labels[key] === value)
  );
}

/** Wakes the Services that mean a pod. */
export const podWatch: WatchSpec = {
  kind: PodKind,
  keys: (pod, informers) =>
    informers
      .informer(ServiceKind)
      .list(pod.metadata.namespace ?? "")
      .filter((service) => selects(service, pod.metadata.labels))
      .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name })),
};

/** The kinds of addresses that a Service has. */
export function familiesOf({ spec }: Service): readonly ("IPv4" | "IPv6")[] {
  const families = (["IPv4", "IPv6"] as const).filter((family) => spec.ipFamilies?.includes(family) === true);
  return families.length === 0 ? ["IPv4"] : spec.ipFamilies?.[0] === "IPv6" ? families.toReversed() : families;
}

/** A pod's address of a family. */
export function addressOf(pod: Pod, family: "IPv4" | "IPv6"): string | undefined {
  const addresses = [pod.status?.podIP, ...(pod.status?.podIPs ?? []).map(({ ip }) => ip)];
  const isOf = family === "IPv4" ? isIPv4 : isIPv6;
  return addresses.find((ip) => ip !== undefined && isOf(ip));
}

/** What stands behind a Service now: an endpoint for each pod with an address that has not ended. */
export function endpointsOf(service: Service, pods: readonly Pod[], view: EndpointView): EndpointGroup[] {
  const groups = new Map<string, { ports: EndpointPort[]; endpoints: Endpoint[] }>();
  for (const pod of pods) {
    const endpoint = endpointOf(service, pod, view);
    if (endpoint === undefined) continue;
    const ports = portsFor(service, pod);
    const id = JSON.stringify(ports);
    const group = groups.get(id) ?? { ports, endpoints: [] };
    groups.set(id, group);
    group.endpoints.push(endpoint);
  }
  return [...groups.values()].map((group) => ({ addressType: view.family, ...group }));
}

function endpointOf(service: Service, pod: Pod, { family, zoneOf }: EndpointView): Endpoint | undefined {
  const address = isTerminal(pod) ? undefined : addressOf(pod, family);
  if (address === undefined) return undefined;
  const serving = isConditionTrue(pod.status?.conditions, "Ready");
  const terminating = isDeleting(pod);
  const ready = service.spec.publishNotReadyAddresses === true || (serving && !terminating);
  const { namespace = "", name, uid } = pod.metadata;
  const { nodeName } = pod.spec;
  const zone = nodeName === undefined ? undefined : zoneOf(nodeName);
  const hostname = hostnameOf(service, pod);
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    targetRef: { kind: "Pod", namespace, name, uid },
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    ...(hostname === undefined ? {} : { hostname }),
  };
}

/** The name under which a pod is found below its Service's. */
export function hostnameOf(service: Service, pod: Pod): string | undefined {
  return pod.spec.subdomain === service.metadata.name && (pod.spec.hostname ?? "") !== ""
    ? pod.spec.hostname
    : undefined;
}

/** The Service's ports as this pod has them; a port by a name that the pod does not have is left out. */
export function portsFor(service: Service, pod: Pod): (EndpointPort & { readonly port: number })[] {
  return (service.spec.ports ?? []).flatMap((port) => {
    const protocol = port.protocol ?? "TCP";
    const number = resolvePort(port.targetPort ?? port.port, protocol, pod);
    if (number === undefined) return [];
    const appProtocol = port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol };
    return [{ name: port.name ?? "", port: number, protocol, ...appProtocol }];
  });
}

function resolvePort(target: number | string, protocol: string, pod: Pod): number | undefined {
  if (typeof target === "number") return target === 0 ? undefined : target;
  const sidecars = (pod.spec.initContainers ?? []).filter((container) => container.restartPolicy === "Always");
  for (const container of [...pod.spec.containers, ...sidecars]) {
    const found = container.ports?.find((port) => port.name === target && (port.protocol ?? "TCP") === protocol);
    if (found !== undefined) return found.containerPort;
  }
  return undefined;
}

import type { Endpoint, EndpointPort } from "kubernetes-types/discovery/v1.js";
import { isConditionTrue, isDeleting, type Pod, type Service } from "../../../kernel/kinds/index.js";

/** Endpoints that are reached at the same ports; they share slices. */
export interface EndpointGroup {
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

/** What stands behind a Service now: an endpoint for each pod with an IPv4 address that has not ended. */
export function endpointsOf(service: Service, pods: readonly Pod[]): EndpointGroup[] {
  const groups = new Map<string, { ports: EndpointPort[]; endpoints: Endpoint[] }>();
  for (const pod of pods) {
    const endpoint = endpointOf(service, pod);
    if (endpoint === undefined) continue;
    const ports = portsFor(service, pod);
    const id = JSON.stringify(ports);
    const group = groups.get(id) ?? { ports, endpoints: [] };
    groups.set(id, group);
    group.endpoints.push(endpoint);
  }
  return [...groups.values()];
}

function endpointOf(service: Service, pod: Pod): Endpoint | undefined {
  const { phase } = pod.status ?? {};
  if (phase === "Succeeded" || phase === "Failed") return undefined;
  const addresses = [pod.status?.podIP, ...(pod.status?.podIPs ?? []).map(({ ip }) => ip)];
  const address = addresses.find((ip) => ip !== undefined && /^\d+\.\d+\.\d+\.\d+$/.test(ip));
  if (address === undefined) return undefined;
  const serving = isConditionTrue(pod.status?.conditions, "Ready");
  const terminating = isDeleting(pod);
  const ready = service.spec.publishNotReadyAddresses === true || (serving && !terminating);
  const { namespace = "", name, uid } = pod.metadata;
  const hasName = pod.spec.hostname !== undefined && pod.spec.subdomain === service.metadata.name;
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    targetRef: { kind: "Pod", namespace, name, uid },
    ...(pod.spec.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
    ...(hasName && pod.spec.hostname !== undefined ? { hostname: pod.spec.hostname } : {}),
  };
}

/** The Service's ports as this pod has them; a port by a name that the pod does not have is left out. */
function portsFor(service: Service, pod: Pod): EndpointPort[] {
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

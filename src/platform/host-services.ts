import { isIPv6 } from "node:net";
import type { ApiClient } from "../kernel/client/types.js";
import { EndpointSliceKind, NamespaceKind, ServiceKind } from "../kernel/kinds/index.js";
import type { JsonObject } from "../kernel/kinds/object.js";

export const systemNamespace = "argosy-system";
const fieldManager = "argosy-platform";

/** A service of this machine that pods of a member reach by a name of the cluster. */
export interface HostService {
  readonly name: string;
  /** Port inside the cluster. */
  readonly port: number;
  /** Port on this machine's 127.0.0.1. */
  readonly targetPort: number;
}

/** The services that members have names for, with the ports of these names. */
export const hostServices = {
  northbound: { name: "tracking", port: 5000 },
  artifacts: { name: "artifacts", port: 9000 },
} as const;

/** Names under which certificates of host services must be valid. */
export function hostServiceNames(name: string): string[] {
  return [
    name,
    `${name}.${systemNamespace}`,
    `${name}.${systemNamespace}.svc`,
    `${name}.${systemNamespace}.svc.cluster.local`,
  ];
}

/** Where pods find a service of this machine. */
export function hostServiceAddress({ name, port }: Pick<HostService, "name" | "port">): string {
  return `https://${hostServiceNames(name).at(-1)}:${port}`;
}

/** A selectorless Service and its endpoints at an address by which the cluster's pods reach the machine; pods use `<name>.argosy-system.svc.cluster.local`. */
export function hostServiceObjects({ name, port, targetPort }: HostService, address: string): [JsonObject, JsonObject] {
  const metadata = { name, namespace: systemNamespace };
  return [
    {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: { ports: [{ name: "https", port, protocol: "TCP", targetPort }] },
    },
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { ...metadata, labels: { "kubernetes.io/service-name": name } },
      addressType: isIPv6(address) ? "IPv6" : "IPv4",
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports: [{ name: "https", port: targetPort, protocol: "TCP" }],
    },
  ];
}

/** Makes the services of this machine known to the pods of a member that runs on it. */
export async function publishHostServices(client: ApiClient, services: readonly HostService[]): Promise<void> {
  await client.resource(NamespaceKind).apply({ metadata: { name: systemNamespace } }, { fieldManager, force: true });
  for (const host of services) {
    const [service, slice] = hostServiceObjects(host, "127.0.0.1");
    const options = { fieldManager, force: true, namespace: systemNamespace };
    const { name } = host;
    await client.resource(ServiceKind).apply({ ...service, metadata: { name } }, options);
    await client
      .resource(EndpointSliceKind)
      .apply({ ...slice, metadata: { name, labels: { "kubernetes.io/service-name": name } } }, options);
  }
}

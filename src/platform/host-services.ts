import type { ApiClient } from "../kernel/client/types.js";
import { EndpointSliceKind, NamespaceKind, ServiceKind } from "../kernel/kinds/index.js";

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

/** Names under which certificates of host services must be valid. */
export function hostServiceNames(name: string): string[] {
  return [
    name,
    `${name}.${systemNamespace}`,
    `${name}.${systemNamespace}.svc`,
    `${name}.${systemNamespace}.svc.cluster.local`,
  ];
}

/** Makes selectorless Services whose endpoints are on this machine: pods use `<name>.argosy-system.svc.cluster.local`. */
export async function publishHostServices(client: ApiClient, services: readonly HostService[]): Promise<void> {
  await client.resource(NamespaceKind).apply({ metadata: { name: systemNamespace } }, { fieldManager, force: true });
  for (const { name, port, targetPort } of services) {
    const metadata = { name, namespace: systemNamespace };
    await client
      .resource(ServiceKind)
      .apply(
        { metadata, spec: { ports: [{ name: "https", port, protocol: "TCP", targetPort }] } },
        { fieldManager, force: true, namespace: systemNamespace },
      );
    await client.resource(EndpointSliceKind).apply(
      {
        metadata: { ...metadata, labels: { "kubernetes.io/service-name": name } },
        addressType: "IPv4",
        endpoints: [{ addresses: ["127.0.0.1"], conditions: { ready: true } }],
        ports: [{ name: "https", port: targetPort, protocol: "TCP" }],
      },
      { fieldManager, force: true, namespace: systemNamespace },
    );
  }
}

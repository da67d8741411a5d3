import type { EndpointSlice, Service, ServicePort } from "../../../kernel/kinds/index.js";
import type { Backend, Spread } from "./listener.js";

/** An address that should answer, and where it leads. */
export interface WantedListener {
  readonly ip: string;
  readonly port: number;
  readonly spread: Spread;
}

/** What a service asks for; `problems` are wishes that cannot be met, in words. */
export interface ServicePlan {
  readonly listeners: readonly WantedListener[];
  readonly problems: readonly string[];
}

const defaultAffinitySeconds = 10_800;

/** The listeners of a service: its ClusterIPs and node ports, each only while it has endpoints. */
export function planService(
  service: Service,
  slices: readonly EndpointSlice[],
  nodeAddresses: readonly string[],
): ServicePlan {
  const listeners: WantedListener[] = [];
  const problems: string[] = [];
  const ip = service.spec.clusterIP ?? "";
  for (const port of service.spec.ports ?? []) {
    if ((port.protocol ?? "TCP") !== "TCP") {
      problems.push(`port ${port.port}/${port.protocol}: this cluster's service proxy carries TCP only`);
      continue;
    }
    const backends = backendsOf(port, slices);
    if (backends.length === 0) continue;
    const spread = spreadOf(service, backends);
    if (ip !== "" && ip !== "None") listeners.push({ ip, port: port.port, spread });
    if (port.nodePort === undefined || port.nodePort === 0) continue;
    for (const address of nodeAddresses) listeners.push({ ip: address, port: port.nodePort, spread });
  }
  return { listeners, problems };
}

function spreadOf(service: Service, backends: readonly Backend[]): Spread {
  if (service.spec.sessionAffinity !== "ClientIP") return { backends };
  const seconds = service.spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds;
  return { backends, affinityMs: seconds * 1000 };
}

/** Ready endpoints; when there is none, those that still serve while they end (KEP-1672). */
function backendsOf(port: ServicePort, slices: readonly EndpointSlice[]): Backend[] {
  const ready: Backend[] = [];
  const ending: Backend[] = [];
  for (const slice of slices) {
    if (slice.addressType !== "IPv4") continue;
    const target = (slice.ports ?? []).find((each) => (each.name ?? "") === (port.name ?? ""))?.port;
    if (target === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const { ready: isReady, serving, terminating } = endpoint.conditions ?? {};
      const list = isReady !== false ? ready : serving === true && terminating === true ? ending : undefined;
      list?.push(...endpoint.addresses.map((ip) => ({ ip, port: target })));
    }
  }
  return ready.length > 0 ? ready : ending;
}

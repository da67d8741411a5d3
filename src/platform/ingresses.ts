import type { GatewayDriver, ListenerInput } from "../dataplane/gateway/index.js";
import { ArgosyError } from "../kernel/errors/index.js";
import type { Logger } from "../kernel/log/index.js";
import type { ClusterPlan } from "./plan.js";
import type { PortChooser } from "./ports.js";

/** What opening the ingresses needs. */
export interface IngressOptions {
  /** Running, or about to. */
  readonly gateway: Pick<GatewayDriver, "open">;
  readonly ports: PortChooser;
  readonly log: Logger;
}

/** The gateway's listener for the ingress of a cluster: of the hub, the head's. */
function listenerOf(plan: ClusterPlan, port: number): ListenerInput {
  const place = { host: "127.0.0.1", port };
  return plan.role === "hub"
    ? { name: "head", ...place }
    : { name: `ingress-${plan.name}`, ...place, trustForwarded: true };
}

/**
 * Has the gateway listen for every cluster: on the planned port or, where another program took that in the meantime, on another one. Returns
 * the plans with the ports in use. A gateway that does not come up is reported where its routes are; its ports stay as planned.
 */
export async function openIngresses(plans: readonly ClusterPlan[], options: IngressOptions): Promise<ClusterPlan[]> {
  const { gateway, ports, log } = options;
  const opened: ClusterPlan[] = [];
  for (const plan of plans) {
    const name = plan.role === "hub" ? "ingress" : `ingress-${plan.name}`;
    const ingressPort = await ports.listen(name, plan.ingressPort, async (port) => {
      try {
        await gateway.open(listenerOf(plan, port));
      } catch (error) {
        if (!(error instanceof ArgosyError && error.code === "GatewayUnreachable")) throw error;
        log.warn("the gateway did not say whether it listens", { err: error, listener: name });
      }
      return port;
    });
    opened.push({ ...plan, ingressPort });
  }
  return opened;
}

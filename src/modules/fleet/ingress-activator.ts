import type { ActivatorInput, BackendInput, RouteInput } from "../../dataplane/gateway/index.js";
import type { EndpointSlice, Ingress } from "../../kernel/kinds/index.js";
import { isObject } from "../../kernel/schema/index.js";
import { ARGOSY } from "./names.js";

const LIMITS = ["maxQueue", "waitMs", "concurrency"] as const;

/** The activator of a Service behind an Ingress; undefined where its requests are not held. A Deployment stands behind the Service of its name, and a single one behind whatever the Ingress names. */
export function activatorOf(ingress: Ingress, service: string, cluster: string): ActivatorInput | undefined {
  const text = ingress.metadata.annotations?.[ARGOSY.activator] ?? "";
  const names = text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  const isSplit = ingress.metadata.annotations?.[ARGOSY.weights] !== undefined;
  const name =
    names.find((one) => one === service || one === `${service}-deployment` || `${one}-pods` === service) ??
    (names.length === 1 && !isSplit ? names[0] : undefined);
  if (name === undefined) return undefined;
  return { name: `${cluster}/${ingress.metadata.namespace ?? ""}/${name}`, ...limitsOf(ingress, name) };
}

/** What is said about one Deployment; what is no number is left out, and out of bounds it is the gateway's to refuse. */
function limitsOf(ingress: Ingress, name: string): Partial<ActivatorInput> {
  try {
    const value: unknown = JSON.parse(ingress.metadata.annotations?.[ARGOSY.activatorLimits] ?? "{}");
    const own: unknown = isObject(value) ? value[name] : undefined;
    if (!isObject(own)) return {};
    const limits: Partial<Record<(typeof LIMITS)[number], number>> = {};
    for (const limit of LIMITS) {
      const given: unknown = own[limit];
      if (typeof given === "number") limits[limit] = given;
    }
    return limits;
  } catch {
    return {};
  }
}

/** host:port of each pod that is there and not ready yet. */
export function startingAddresses(slices: readonly EndpointSlice[], portName: string): string[] {
  const addresses = slices.flatMap((slice) => {
    const port = (slice.ports ?? []).find((candidate) => (candidate.name ?? "") === portName)?.port;
    if (port === undefined) return [];
    return (slice.endpoints ?? []).flatMap(({ conditions, addresses: own }) =>
      conditions?.ready === false && conditions.terminating !== true
        ? own.slice(0, 1).map((address) => `${address.includes(":") ? `[${address}]` : address}:${port}`)
        : [],
    );
  });
  return [...new Set(addresses)].sort();
}

/** What an activator adds to a backend. */
export function activated(
  activator: ActivatorInput | undefined,
  starting: readonly string[],
  healthPath: string | undefined,
): Pick<BackendInput, "activator" | "candidates"> {
  if (activator === undefined) return {};
  // Only who says by which path a pod is to be asked can have it asked ahead of its own readiness.
  return { activator, candidates: healthPath === undefined ? [] : starting };
}

const TIMEOUTS = ["responseMs", "idleMs", "requestMs"] as const;

/** What an Ingress says about its routes as such: timeouts, and the protocol of its backends. */
export function routeOptions({ metadata: { annotations = {} } }: Ingress): Pick<RouteInput, "timeouts" | "protocol"> {
  const protocol = annotations[ARGOSY.backendProtocol] === "h2" ? { protocol: "h2" as const } : {};
  const timeouts: Partial<Record<(typeof TIMEOUTS)[number], number>> = {};
  try {
    const value: unknown = JSON.parse(annotations[ARGOSY.timeouts] ?? "{}");
    if (isObject(value))
      for (const name of TIMEOUTS) {
        const given: unknown = value[name];
        if (typeof given === "number" && given > 0) timeouts[name] = given;
      }
  } catch {
    return protocol;
  }
  return { ...protocol, ...(Object.keys(timeouts).length === 0 ? {} : { timeouts }) };
}

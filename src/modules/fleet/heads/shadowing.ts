import type { RouteInput, ShadowInput, ShadowReport } from "../../../dataplane/gateway/index.js";
import { type PlannedShadow, shadowStatusOf } from "../head-shadows.js";
import type { HeadIngress, HeadShadowStatus } from "../kinds.js";
import type { HeadRoute, Limit } from "./rendering.js";

/** Who can carry a HeadIngress. */
type Carrier = "builtin" | "nginx" | "haproxy" | "istio" | "gateway-api";

/** Why a carrier copies nothing for a shadow; undefined when it does. */
function obstacleFor(carrier: Carrier, head: HeadIngress, shadow: Pick<PlannedShadow, "of" | "percent" | "isSecure">) {
  const isGrpc = head.spec.protocol === "GRPC";
  if (carrier === "haproxy") return "haproxy copies no requests without an agent beside it";
  if (isGrpc && carrier === "nginx")
    return "nginx reads a request whole before it copies it, and calls of gRPC may be streams";
  if (carrier === "istio" && shadow.of.length > 0)
    return "Istio copies the requests of a whole route, not those to one backend";
  if (carrier !== "gateway-api") return undefined;
  if (shadow.isSecure)
    return "TLS towards backends is a BackendTLSPolicy, which is not in the Gateway API's standard channel";
  return shadow.percent === 100
    ? undefined
    : "the standard channel of the Gateway API copies all requests, and not a share of them";
}

/** The shadows of a route that a carrier copies requests for. */
export function copiedBy(carrier: Carrier, { head, route }: HeadRoute): readonly ShadowInput[] {
  return (route.shadows ?? []).filter(
    (shadow) =>
      shadow.addresses.length > 0 &&
      (shadow.percent ?? 100) > 0 &&
      obstacleFor(carrier, head, factsOf(shadow)) === undefined,
  );
}

function factsOf({ of = [], percent = 100, tls }: ShadowInput): Pick<PlannedShadow, "of" | "percent" | "isSecure"> {
  return { of, percent, isSecure: tls !== undefined };
}

/** What of the shadows a carrier cannot make true. */
export function shadowLimits(
  carrier: Carrier,
  { head, route }: { readonly head: HeadIngress; readonly route: RouteInput },
): Limit[] {
  const shadows = route.shadows ?? [];
  const limits: Limit[] = shadows.flatMap((shadow) => {
    const message = obstacleFor(carrier, head, factsOf(shadow));
    return message === undefined ? [] : [{ field: `spec.shadows "${shadow.name}"`, message }];
  });
  if (carrier === "builtin" || carrier === "haproxy") return limits;
  const isSet = (field: "maxConcurrent" | "maxBodyBytes" | "timeoutMs"): boolean =>
    shadows.some((shadow) => shadow[field] !== undefined);
  const note = (field: "maxConcurrent" | "maxBodyBytes" | "timeoutMs", message: string): void => {
    if (isSet(field)) limits.push({ field: `spec.shadows[].${field}`, message });
  };
  const program = carrier === "istio" ? "Istio" : carrier === "nginx" ? "nginx" : "the Gateway API";
  note("maxBodyBytes", `${program} copies requests of every length`);
  if (carrier === "nginx") return limits;
  note("maxConcurrent", `${program} knows no such bound`);
  note("timeoutMs", `${program} knows no such time`);
  if (shadows.length > 0)
    limits.push({
      field: "spec.shadows",
      message:
        carrier === "istio"
          ? "Istio writes -shadow behind the Host of copies: who gets them must answer to that name"
          : "copies have the client's Host: who gets them must answer to that name",
    });
  return limits;
}

/** How the shadows of a HeadIngress stand. `reports` are the built-in gateway's, undefined while it does not have the route. */
export function shadowStatusesOf(
  carrier: Carrier,
  head: HeadIngress,
  planned: readonly PlannedShadow[],
  reports: readonly ShadowReport[] | undefined,
): HeadShadowStatus[] {
  return planned.map((shadow) => {
    const report = reports?.find(({ name }) => name === shadow.name);
    const message = obstacleFor(carrier, head, shadow);
    const missing =
      carrier === "builtin" && report === undefined
        ? { reason: "NotProgrammed", message: "the gateway does not copy for it yet" }
        : undefined;
    return shadowStatusOf(shadow, report, message === undefined ? missing : { reason: "NotExpressible", message });
  });
}

import type { BackendInput, ShadowInput } from "../../../dataplane/gateway/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import {
  baseOf,
  type HeadRoute,
  type Limit,
  Limits,
  prefixOf,
  type RenderedObject,
  wholeWeights,
} from "./rendering.js";
import { copiedBy, shadowLimits } from "./shadowing.js";

/** An HTTPRoute that carries one HeadIngress out, with a Service (and EndpointSlice) for each backend. Pure. */
export function renderGatewayApi(headRoute: HeadRoute): {
  readonly objects: readonly RenderedObject[];
  readonly limits: readonly Limit[];
} {
  const { head, route } = headRoute;
  const limits = new Limits();
  const objects: RenderedObject[] = [];
  const refs: JsonObject[] = [];
  const backends = route.backends.filter(({ addresses }) => addresses.length > 0);
  const weights = wholeWeights(
    backends.map(({ weight, draining }) => (draining === true ? 0 : (weight ?? 1))),
    1_000_000,
  );
  const mirrors = copiedBy("gateway-api", headRoute).map((shadow, index) => {
    const name = `${head.metadata.name}-shadow-${index}`;
    objects.push(...serviceOf(headRoute, name, shadow));
    const filter: JsonObject = { type: "RequestMirror", requestMirror: { backendRef: { name, port: portOf(shadow) } } };
    return { of: shadow.of ?? [], filter };
  });
  for (const [index, backend] of backends.entries()) {
    const name = `${head.metadata.name}-${index}`;
    objects.push(...serviceOf(headRoute, name, backend));
    refs.push({
      name,
      port: portOf(backend),
      weight: weights[index] ?? 0,
      filters: [
        ...(backend.host === undefined
          ? []
          : [
              {
                type: "RequestHeaderModifier",
                requestHeaderModifier: { set: [{ name: "Host", value: backend.host }] },
              },
            ]),
        ...(route.nameBackend === true
          ? [
              {
                type: "ResponseHeaderModifier",
                responseHeaderModifier: { set: [{ name: "X-Argosy-Backend", value: backend.name }] },
              },
            ]
          : []),
        ...mirrors.flatMap(({ of, filter }) => (of.includes(backend.name) ? [filter] : [])),
      ],
    });
  }
  const everywhere = mirrors.filter(({ of }) => of.length === 0).map(({ filter }) => filter);
  objects.push(httpRoute(headRoute, refs, everywhere));
  noteLimits(headRoute, limits);
  return { objects, limits: limits.byRoute.get(route.id) ?? [] };
}

function portOf(backend: BackendInput | ShadowInput): number {
  return Number(/:(\d+)$/.exec(backend.addresses[0] ?? "")?.[1] ?? 80);
}

function serviceOf({ head, route }: HeadRoute, name: string, backend: BackendInput | ShadowInput): RenderedObject[] {
  const namespace = head.metadata.namespace ?? "default";
  const hosts = backend.addresses.map((address) => address.replace(/:\d+$/, "").replaceAll(/[[\]]/g, ""));
  const isNumeric = hosts.every((host) => /^[\d.]+$|:/.test(host));
  const protocol = route.protocol === "h2" ? { appProtocol: "kubernetes.io/h2c" } : {};
  const port = portOf(backend);
  const service = (spec: JsonObject): RenderedObject => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace },
    spec: { ...spec, ports: [{ name: "http", port, protocol: "TCP", ...protocol }] },
  });
  if (!isNumeric) return [service({ type: "ExternalName", externalName: hosts[0] ?? "" })];
  const slice: RenderedObject = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name, namespace, labels: { "kubernetes.io/service-name": name } },
    addressType: hosts.some((host) => host.includes(":")) ? "IPv6" : "IPv4",
    endpoints: hosts.map((host) => ({ addresses: [host], conditions: { ready: true } })),
    ports: [{ name: "http", port, protocol: "TCP" }],
  };
  return [service({ type: "ClusterIP" }), slice];
}

function httpRoute(
  { head, route }: HeadRoute,
  backendRefs: readonly JsonObject[],
  mirrors: readonly JsonObject[],
): RenderedObject {
  const prefix = prefixOf(route);
  const hosts = (route.hosts ?? ["*"]).filter((host) => host !== "*");
  const type = route.exact === true ? "Exact" : "PathPrefix";
  const filters = [...rewriteOf(route), ...mirrors];
  const timeouts = timeoutsOf(route);
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name: head.metadata.name, namespace: head.metadata.namespace ?? "default" },
    spec: {
      parentRefs: (head.spec.rendering?.parentRefs ?? []).map((parent) => ({ ...parent })),
      ...(hosts.length === 0 ? {} : { hostnames: hosts }),
      rules: [
        {
          matches: [{ path: { type, value: prefix === "" ? "/" : prefix } }],
          ...(filters.length === 0 ? {} : { filters }),
          backendRefs: [...backendRefs],
          ...(Object.keys(timeouts).length === 0 ? {} : { timeouts }),
        },
      ],
    },
  };
}

function rewriteOf(route: HeadRoute["route"]): JsonObject[] {
  const base = baseOf(route);
  if (base === undefined || base === prefixOf(route)) return [];
  const to = base === "" ? "/" : base;
  const path =
    route.exact === true
      ? { type: "ReplaceFullPath", replaceFullPath: to }
      : { type: "ReplacePrefixMatch", replacePrefixMatch: to };
  return [{ type: "URLRewrite", urlRewrite: { path } }];
}

function timeoutsOf(route: HeadRoute["route"]): JsonObject {
  const { requestMs = 0, responseMs } = route.timeouts ?? {};
  const backendMs = requestMs > 0 && responseMs !== undefined ? Math.min(requestMs, responseMs) : responseMs;
  return {
    ...(requestMs > 0 ? { request: durationOf(requestMs) } : {}),
    ...(backendMs === undefined ? {} : { backendRequest: durationOf(backendMs) }),
  };
}

/** GEP-2257: at most five digits a unit. */
function durationOf(milliseconds: number): string {
  const whole = Math.round(milliseconds);
  const parts = [
    [Math.floor(whole / 3_600_000), "h"],
    [Math.floor(whole / 60_000) % 60, "m"],
    [Math.floor(whole / 1000) % 60, "s"],
    [whole % 1000, "ms"],
  ] as const;
  return parts.map(([amount, unit]) => (amount === 0 ? "" : `${amount}${unit}`)).join("");
}

function noteLimits({ head, route }: HeadRoute, limits: Limits): void {
  for (const { field, message } of shadowLimits("gateway-api", { head, route })) limits.add(route.id, field, message);
  const { spec } = head;
  const priorities = new Set(route.backends.map(({ priority }) => priority ?? 0));
  const { idleMs, connectMs, streamIdleMs } = spec.timeouts ?? {};
  const standard = "the standard channel of the Gateway API has no field for it";
  limits.note(route.id, {
    "spec.rendering.parentRefs": [
      (spec.rendering?.parentRefs ?? []).length === 0,
      "no Gateway is named: nobody carries the route",
    ],
    "spec.health": [spec.health !== undefined, standard],
    "spec.hedge": [spec.hedge !== undefined, standard],
    "spec.affinity": [spec.affinity !== undefined, "session persistence is experimental in the Gateway API"],
    "spec.priorities": [priorities.size > 1, "an HTTPRoute splits by weight and knows no order"],
    "spec.slowStartMs": [(spec.slowStartMs ?? 0) > 0, standard],
    "spec.outlierEjection": [spec.outlierEjection !== undefined, standard],
    "spec.retry": [spec.retry !== undefined, "retries are experimental in the Gateway API"],
    "spec.timeouts": [
      idleMs !== undefined || connectMs !== undefined || streamIdleMs !== undefined,
      "of the times only requestMs and responseMs have a field",
    ],
    "spec.tls": [
      spec.tls !== undefined,
      "TLS to clients is the Gateway's: name a listener that has the certificate in rendering.parentRefs",
    ],
    "spec.backendTLS": [
      route.backends.some(({ tls }) => tls !== undefined),
      "TLS towards backends is a BackendTLSPolicy, which is not in the standard channel: they would be spoken to in clear text",
    ],
    "spec.weighting.by": [
      spec.weighting?.by === "Latency",
      "the built-in gateway measures latency only where it carries the requests",
    ],
  });
}

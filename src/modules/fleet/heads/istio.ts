import type { BackendInput, ShadowInput } from "../../../dataplane/gateway/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
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

const API = "networking.istio.io/v1";
const DEFAULT_GATEWAYS = ["t9k-system/t9k"];

/** ServiceEntries, a VirtualService and DestinationRules that carry one HeadIngress out in Istio. Pure. */
export function renderIstio(headRoute: HeadRoute): {
  readonly objects: readonly RenderedObject[];
  readonly limits: readonly Limit[];
} {
  const { head, route } = headRoute;
  const limits = new Limits();
  const backends = route.backends.filter(({ addresses }) => addresses.length > 0);
  const shadows = copiedBy("istio", headRoute);
  const named = new Map<string, PlaceInput>();
  for (const place of [...backends, ...shadows]) if (!named.has(hostOf(place))) named.set(hostOf(place), place);
  const objects: RenderedObject[] = [];
  let index = 0;
  for (const [host, backend] of named) {
    const name = `${head.metadata.name}-${index++}`;
    objects.push(serviceEntry(head, name, { host, backend }), destinationRule(headRoute, name, { host, backend }));
  }
  if (backends.length > 0) objects.push(virtualService(headRoute, backends, shadows));
  noteLimits(headRoute, limits);
  return { objects, limits: limits.byRoute.get(route.id) ?? [] };
}

type PlaceInput = BackendInput | ShadowInput;

function metadataOf(head: HeadRoute["head"], name: string): RenderedObject["metadata"] {
  return { name, namespace: head.metadata.namespace ?? "default" };
}

/** A backend's Host without its port; its address where it has none. */
function hostOf(backend: PlaceInput): string {
  return (backend.host ?? backend.addresses[0] ?? "").replace(/:\d+$/, "");
}

function portOf(backend: PlaceInput): number {
  return Number(/:(\d+)$/.exec(backend.addresses[0] ?? "")?.[1] ?? 80);
}

interface Place {
  readonly host: string;
  readonly backend: PlaceInput;
}

function serviceEntry(head: HeadRoute["head"], name: string, { host, backend }: Place): RenderedObject {
  const address = backend.addresses[0]?.replace(/:\d+$/, "") ?? "";
  const isGiven = address !== host;
  const isNumeric = /^[\d.]+$|:/.test(address);
  const port = portOf(backend);
  const protocol = backend.tls !== undefined ? "HTTP" : head.spec.protocol === "GRPC" ? "GRPC" : "HTTP";
  return {
    apiVersion: API,
    kind: "ServiceEntry",
    metadata: metadataOf(head, name),
    spec: {
      hosts: [host],
      location: "MESH_EXTERNAL",
      ports: [{ number: port, name: protocol.toLowerCase(), protocol }],
      resolution: isGiven && isNumeric ? "STATIC" : "DNS",
      ...(isGiven
        ? {
            endpoints: backend.addresses.map((one) => ({
              address: one.replace(/:\d+$/, ""),
              ports: { [protocol.toLowerCase()]: Number(/:(\d+)$/.exec(one)?.[1] ?? port) },
            })),
          }
        : {}),
    },
  };
}

function destinationRule({ head, route }: HeadRoute, name: string, { host, backend }: Place): RenderedObject {
  const { connectMs, idleMs } = route.timeouts ?? {};
  const { affinity, slowStartMs = 0 } = route;
  const sessions: JsonObject | undefined =
    affinity === undefined
      ? undefined
      : affinity.by === "header"
        ? { httpHeaderName: affinity.name }
        : { httpCookie: { name: affinity.name, ttl: `${affinity.ttlSeconds ?? 0}s` } };
  const balancer: JsonObject = {
    ...(sessions === undefined ? { simple: "ROUND_ROBIN" } : { consistentHash: sessions }),
    ...(slowStartMs > 0 ? { warmupDurationSecs: `${Math.ceil(slowStartMs / 1000)}s` } : {}),
  };
  return {
    apiVersion: API,
    kind: "DestinationRule",
    metadata: metadataOf(head, name),
    spec: {
      host,
      trafficPolicy: {
        loadBalancer: balancer,
        connectionPool: {
          tcp: { connectTimeout: `${connectMs ?? 1000}ms` },
          http: {
            idleTimeout: `${idleMs ?? 300_000}ms`,
            ...(route.protocol === "h2" ? { h2UpgradePolicy: "UPGRADE" } : {}),
          },
        },
        ...outlierOf(route),
        ...tlsOf(head, backend),
      },
    },
  };
}

function outlierOf({ outlier }: HeadRoute["route"]): JsonObject {
  if (outlier === undefined) return none();
  return {
    outlierDetection: {
      consecutive5xxErrors: outlier.consecutiveErrors ?? 5,
      baseEjectionTime: `${outlier.baseEjectionMs ?? 30_000}ms`,
      maxEjectionPercent: Math.round(outlier.maxEjectedPercent ?? 50),
      interval: "1s",
    },
  };
}

function tlsOf(head: HeadRoute["head"], { tls }: PlaceInput): JsonObject {
  if (tls === undefined) return none();
  const { caSecretName, clientSecretName } = head.spec.backendTLS ?? {};
  const credentialName = clientSecretName ?? caSecretName;
  return {
    tls: {
      mode: clientSecretName === undefined ? "SIMPLE" : "MUTUAL",
      ...(tls.serverName === undefined ? {} : { sni: tls.serverName, subjectAltNames: [tls.serverName] }),
      ...(tls.insecure === true ? { insecureSkipVerify: true } : {}),
      ...(credentialName === undefined ? {} : { credentialName }),
    },
  };
}

function none(): JsonObject {
  return {};
}

function virtualService(
  { head, route }: HeadRoute,
  backends: readonly BackendInput[],
  shadows: readonly ShadowInput[],
): RenderedObject {
  const prefix = prefixOf(route);
  const base = baseOf(route);
  const weights = wholeWeights(
    backends.map(({ weight, draining }) => (draining === true ? 0 : (weight ?? 1))),
    1_000_000,
  );
  const { requestMs = 0 } = route.timeouts ?? {};
  const destinations = backends.map(
    (backend, index): JsonObject => ({
      destination: { host: hostOf(backend), port: { number: portOf(backend) } },
      weight: weights[index] ?? 0,
      headers: {
        request: { set: { Host: backend.host ?? hostOf(backend) } },
        ...(route.nameBackend === true ? { response: { set: { "X-Argosy-Backend": backend.name } } } : {}),
      },
    }),
  );
  const mirrors = shadows.map(
    (shadow): JsonObject => ({
      destination: { host: hostOf(shadow), port: { number: portOf(shadow) } },
      percentage: { value: shadow.percent ?? 100 },
    }),
  );
  const rewrite = base === undefined || base === prefix ? undefined : { uri: `${base}/` };
  const rule = (uri: JsonObject, to: Json | undefined): JsonObject => ({
    match: [{ uri }],
    ...(to === undefined ? {} : { rewrite: to }),
    route: destinations,
    ...(mirrors.length === 0 ? {} : { mirrors }),
    retries: retriesOf(route),
    ...(requestMs > 0 ? { timeout: `${requestMs}ms` } : {}),
  });
  // A prefix matches whole segments only when it ends with a slash; the path without one is a rule of its own.
  const exact = prefix === "" ? [] : [rule({ exact: prefix }, rewrite)];
  const rest = route.exact === true && prefix !== "" ? [] : [rule({ prefix: `${prefix}/` }, rewrite)];
  return {
    apiVersion: API,
    kind: "VirtualService",
    metadata: metadataOf(head, head.metadata.name),
    spec: {
      gateways: [...(head.spec.rendering?.gateways ?? DEFAULT_GATEWAYS)],
      hosts: [...(route.hosts ?? ["*"])],
      http: [...rest, ...exact],
    },
  };
}

function retriesOf(route: HeadRoute["route"]): JsonObject {
  const { attempts = 2, nonIdempotent = false, statuses = [] } = route.retry ?? {};
  if (attempts === 0) return { attempts: 0 };
  const on = ["connect-failure", "refused-stream", ...(nonIdempotent ? ["reset"] : []), ...statuses.map(String)];
  return { attempts, retryOn: on.join(",") };
}

function noteLimits({ head, route }: HeadRoute, limits: Limits): void {
  for (const { field, message } of shadowLimits("istio", { head, route })) limits.add(route.id, field, message);
  const { spec } = head;
  const priorities = new Set(route.backends.map(({ priority }) => priority ?? 0));
  limits.note(route.id, {
    "spec.health": [spec.health !== undefined, "Istio asks nobody by itself; use outlierEjection"],
    "spec.hedge": [spec.hedge !== undefined, "Istio asks no second backend while it waits for the first"],
    "spec.affinity": [
      spec.affinity !== undefined && route.backends.length > 1,
      "Istio keeps clients at an address of one backend; the backend is chosen by weight for each request",
    ],
    "spec.priorities": [priorities.size > 1, "a VirtualService splits by weight and knows no order"],
    "spec.slowStartMs": [
      (spec.slowStartMs ?? 0) > 0,
      "it holds for the addresses of one backend, not between backends",
    ],
    "spec.timeouts.responseMs": [
      spec.timeouts?.responseMs !== undefined,
      "Istio has only a time for the request as a whole",
    ],
    "spec.timeouts.streamIdleMs": [
      spec.timeouts?.streamIdleMs !== undefined,
      "Istio has one idle time; idleMs is used",
    ],
    "spec.tls": [
      spec.tls !== undefined,
      "TLS to clients is the Istio Gateway's: name one that has the certificate in rendering.gateways",
    ],
    "spec.backendTLS.caSecretName": [
      spec.backendTLS?.caSecretName !== undefined && spec.backendTLS.clientSecretName !== undefined,
      "Istio takes both from one Secret: clientSecretName is used and must hold ca.crt too",
    ],
    "spec.weighting.by": [
      spec.weighting?.by === "Latency",
      "the built-in gateway measures latency only where it carries the requests",
    ],
    "spec.retry.nonIdempotent": [
      spec.retry?.nonIdempotent === false,
      "Istio repeats by what happened, not by method: only connections that could not be made are repeated",
    ],
  });
}

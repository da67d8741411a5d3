import type { BackendInput, ShadowInput } from "../../../dataplane/gateway/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { isNumeric, type Place, type PlaceInput, placeOf, placesOf } from "./istio-places.js";
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
const NO_BACKEND = '{"error":{"reason":"NoHealthyBackend","message":"no backend has a weight above 0"}}';

/** ServiceEntries, a VirtualService and DestinationRules that carry one HeadIngress out in Istio. Pure. */
export function renderIstio(headRoute: HeadRoute): {
  readonly objects: readonly RenderedObject[];
  readonly limits: readonly Limit[];
} {
  const { head, route } = headRoute;
  const limits = new Limits();
  const backends = route.backends.filter(({ addresses }) => addresses.length > 0);
  const shadows = copiedBy("istio", headRoute);
  const places = placesOf(head, [...backends, ...shadows]);
  const objects = [...new Set(places.values())].flatMap((place) => [
    serviceEntry(head, place),
    destinationRule(headRoute, place),
  ]);
  if (backends.length > 0) objects.push(virtualService(headRoute, { backends, shadows, places }));
  noteLimits(headRoute, limits);
  return { objects, limits: limits.byRoute.get(route.id) ?? [] };
}

function metadataOf(head: HeadRoute["head"], name: string): RenderedObject["metadata"] {
  return { name, namespace: head.metadata.namespace ?? "default" };
}

function serviceEntry(head: HeadRoute["head"], { name, host, port, input }: Place): RenderedObject {
  const addresses = input.addresses.map(placeOf);
  const isGiven = addresses[0]?.host !== host;
  const protocol = input.tls === undefined && head.spec.protocol === "GRPC" ? "GRPC" : "HTTP";
  return {
    apiVersion: API,
    kind: "ServiceEntry",
    metadata: metadataOf(head, name),
    spec: {
      hosts: [host],
      location: "MESH_EXTERNAL",
      ports: [{ number: port, name: protocol.toLowerCase(), protocol }],
      resolution: addresses.every((one) => isNumeric(one.host)) ? "STATIC" : "DNS",
      ...(isGiven
        ? {
            endpoints: addresses.map((one) => ({
              address: one.host,
              ports: { [protocol.toLowerCase()]: one.port ?? port },
            })),
          }
        : {}),
    },
  };
}

function destinationRule({ head, route }: HeadRoute, { name, host, input }: Place): RenderedObject {
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
        ...tlsOf(head, input),
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
  const { serverName, insecure = false } = tls;
  // Istio refuses what it would check a certificate by where it is to check none.
  const credentialName = clientSecretName ?? (insecure ? undefined : caSecretName);
  return {
    tls: {
      mode: clientSecretName === undefined ? "SIMPLE" : "MUTUAL",
      // An address is no name that a client may ask for (RFC 6066 §3).
      ...(serverName === undefined || isNumeric(serverName) ? {} : { sni: serverName }),
      ...(serverName === undefined || insecure ? {} : { subjectAltNames: [serverName.replaceAll(/[[\]]/g, "")] }),
      ...(insecure ? { insecureSkipVerify: true } : {}),
      ...(credentialName === undefined ? {} : { credentialName }),
    },
  };
}

function none(): JsonObject {
  return {};
}

/** What a VirtualService leads to. */
interface Destinations {
  readonly backends: readonly BackendInput[];
  readonly shadows: readonly ShadowInput[];
  readonly places: ReadonlyMap<PlaceInput, Place>;
}

function virtualService(headRoute: HeadRoute, to: Destinations): RenderedObject {
  const { head, route } = headRoute;
  const prefix = prefixOf(route);
  const base = baseOf(route);
  const answer = answerOf(route, to);
  const rewrite = base === undefined || base === prefix ? undefined : { uri: `${base}/` };
  const rule = (uri: JsonObject): JsonObject => ({
    match: [{ uri }],
    // What is answered by itself has no path of a backend's.
    ...(rewrite === undefined || answer["route"] === undefined ? {} : { rewrite }),
    ...answer,
  });
  // A prefix matches whole segments only when it ends with a slash; the path without one is a rule of its own.
  const exact = prefix === "" ? [] : [rule({ exact: prefix })];
  const rest = route.exact === true && prefix !== "" ? [] : [rule({ prefix: `${prefix}/` })];
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

/** Who answers what matches. Istio refuses weights of which none is above 0, and takes the only one for all. */
function answerOf(route: HeadRoute["route"], { backends, shadows, places }: Destinations): JsonObject {
  const weights = wholeWeights(
    backends.map(({ weight, draining }) => (draining === true ? 0 : (weight ?? 1))),
    1_000_000,
  );
  if (weights.every((weight) => weight === 0)) return { directResponse: { status: 503, body: { string: NO_BACKEND } } };
  const destinationOf = (input: PlaceInput): JsonObject => {
    const { host = "", port = 80 } = places.get(input) ?? {};
    return { host, port: { number: port } };
  };
  const { requestMs = 0 } = route.timeouts ?? {};
  const destinations = backends.map(
    (backend, index): JsonObject => ({
      destination: destinationOf(backend),
      weight: weights[index] ?? 0,
      headers: {
        request: { set: { Host: backend.host ?? placeOf(backend.addresses[0] ?? "").host } },
        ...(route.nameBackend === true ? { response: { set: { "X-Argosy-Backend": backend.name } } } : {}),
      },
    }),
  );
  const mirrors = shadows.map(
    (shadow): JsonObject => ({ destination: destinationOf(shadow), percentage: { value: shadow.percent ?? 100 } }),
  );
  return {
    route: destinations,
    ...(mirrors.length === 0 ? {} : { mirrors }),
    retries: retriesOf(route),
    ...(requestMs > 0 ? { timeout: `${requestMs}ms` } : {}),
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

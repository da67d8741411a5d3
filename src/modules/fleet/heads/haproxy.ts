import type { BackendInput } from "../../../dataplane/gateway/index.js";
import { checksOf } from "./haproxy-checks.js";
import {
  baseOf,
  escaped,
  type HeadRoute,
  inOrder,
  isRounded,
  Limits,
  prefixOf,
  type RenderedText,
  SYSTEM_AUTHORITIES,
  secondsOf,
  TLS_DIRECTORY,
  wholeWeights,
  wordOf,
} from "./rendering.js";
import { shadowLimits } from "./shadowing.js";

const MAX_WEIGHT = 256;

/** What the configuration says besides its routes. */
export interface HaproxySettings {
  /** `address:port` */
  readonly listen: string;
  readonly listenTls: string;
  /** Where it tells how it is; undefined: nowhere. */
  readonly report?: string;
}

/** A configuration of haproxy (2.4 and later) that carries the routes. Pure. */
export function renderHaproxy(routes: readonly HeadRoute[], settings: HaproxySettings): RenderedText {
  const limits = new Limits();
  const ordered = inOrder(routes);
  const secure = ordered.filter(({ head }) => head.spec.tls !== undefined);
  const plain = ordered.filter(({ head }) => head.spec.tls === undefined);
  const parts = [HEAD];
  if (plain.length > 0) parts.push(frontend("head", `bind ${settings.listen}`, plain));
  if (secure.length > 0) {
    const certificates = new Set(secure.map(({ head }) => head.spec.tls?.secretName ?? ""));
    const files = [...certificates].map((name) => `crt ${TLS_DIRECTORY}/${name}/tls.crt`).join(" ");
    parts.push(frontend("head_tls", `bind ${settings.listenTls} ssl ${files} alpn h2,http/1.1`, secure));
  }
  for (const route of ordered) parts.push(backend(route, limits));
  if (settings.report !== undefined)
    parts.push(
      `frontend argosy_report\n  bind ${settings.report}\n  stats enable\n  stats uri /\n  stats hide-version`,
    );
  return { text: `${parts.join("\n")}\n`, limits: limits.byRoute };
}

const HEAD = `# Written by Argosy from HeadIngresses; changes are overwritten.
global
  expose-experimental-directives
  # tls.key lies beside tls.crt, as in Secrets.
  ssl-load-extra-del-ext
defaults
  mode http
  timeout connect 1s
  timeout client 300s
  timeout server 60s
  option http-keep-alive
  http-reuse safe`;

function frontend(name: string, bind: string, routes: readonly HeadRoute[]): string {
  const idle = Math.max(...routes.map(({ route }) => route.timeouts?.idleMs ?? 300_000));
  const lines = [
    `frontend ${name}`,
    `  ${bind}`,
    `  timeout client ${secondsOf(idle)}`,
    "  option forwardfor",
    "  http-request normalize-uri path-strip-dotdot full",
    "  http-request set-header X-Forwarded-Host %[req.hdr(host)]",
    `  http-request set-header X-Forwarded-Proto ${name === "head_tls" ? "https" : "http"}`,
  ];
  for (const { route } of routes) lines.push(...choiceOf(route));
  return lines.join("\n");
}

/** The lines by which a frontend finds a route. */
function choiceOf(route: HeadRoute["route"]): string[] {
  const lines: string[] = [];
  const word = wordOf(route.id);
  const prefix = prefixOf(route);
  if (prefix !== "") {
    lines.push(`  acl p_${word} path ${prefix}`);
    if (route.exact !== true) lines.push(`  acl p_${word} path_beg ${prefix}/`);
  }
  const conditions = prefix === "" ? [] : [`p_${word}`];
  const hosts = route.hosts ?? ["*"];
  if (!hosts.includes("*")) {
    for (const host of hosts)
      lines.push(
        host.startsWith("*.")
          ? `  acl h_${word} hdr(host),field(1,:),lower -m reg '^[^.]+${escaped(host.slice(1))}$'`
          : `  acl h_${word} hdr(host),field(1,:),lower -m str ${host}`,
      );
    conditions.push(`h_${word}`);
  }
  lines.push(`  use_backend b_${word}${conditions.length === 0 ? "" : ` if ${conditions.join(" ")}`}`);
  return lines;
}

function backend(headRoute: HeadRoute, limits: Limits): string {
  const { route } = headRoute;
  const prefix = prefixOf(route);
  const base = baseOf(route);
  const lines = [`backend b_${wordOf(route.id)}`, ...timeoutsOf(headRoute), ...retriesOf(headRoute)];
  if (base !== undefined && prefix !== base)
    lines.push(`  http-request set-path '${base}%[path,regsub("^${escaped(prefix)}/?","/")]'`);
  if (prefix !== "" && base !== undefined) lines.push(`  http-request set-header X-Forwarded-Prefix ${prefix}`);
  const hosts = new Set(route.backends.map(({ host }) => host ?? ""));
  const isOneHost = hosts.size === 1;
  const hasOneNameEach = hosts.size === route.backends.length;
  if (isOneHost && !hosts.has("")) lines.push(`  http-request set-header Host ${[...hosts].join("")}`);
  else if (!isOneHost && hasOneNameEach) lines.push("  http-send-name-header Host");
  else if (!isOneHost)
    limits.add(route.id, "spec.backends", "haproxy sets Host by server: hosts must all be equal, or all be different");
  const checks = checksOf(headRoute);
  if (checks.lack !== "") limits.add(route.id, "spec.protocol", checks.lack);
  lines.push(...balanceOf(headRoute, limits), ...checks.lines);
  const weights = route.backends.map(({ weight }) => weight ?? 1);
  const whole = wholeWeights(weights, MAX_WEIGHT);
  if (isRounded(weights, whole))
    limits.add(route.id, "spec.weights", `haproxy's weights go to ${MAX_WEIGHT}: shares are rounded`);
  const lowest = Math.min(...route.backends.map(({ priority }) => priority ?? 0));
  for (const [index, one] of route.backends.entries())
    lines.push(
      ...server(headRoute, one, {
        weight: whole[index] ?? 0,
        isBackup: (one.priority ?? 0) > lowest,
        isNamedByHost: !isOneHost && hasOneNameEach,
      }),
    );
  if (route.nameBackend === true && !(!isOneHost && hasOneNameEach))
    lines.push("  http-response set-header X-Argosy-Backend %[srv_name]");
  if (route.backends.every(({ addresses }) => addresses.length === 0))
    lines.push(
      '  http-request return status 503 content-type application/json string \'{"error":{"code":503,"reason":"NoHealthyBackend"}}\'',
    );
  noteLimits(headRoute, limits);
  return lines.join("\n");
}

function timeoutsOf({ route }: HeadRoute): string[] {
  const { connectMs = 1000, responseMs = 60_000, idleMs = 300_000, streamIdleMs = idleMs } = route.timeouts ?? {};
  return [
    `  timeout connect ${secondsOf(connectMs)}`,
    `  timeout server ${secondsOf(responseMs)}`,
    `  timeout tunnel ${secondsOf(streamIdleMs)}`,
  ];
}

function retriesOf({ route }: HeadRoute): string[] {
  const { attempts = 2, nonIdempotent = false, statuses = [] } = route.retry ?? {};
  if (attempts === 0) return ["  retries 0"];
  const known = statuses.filter((status) => [401, 403, 404, 408, 425, 429, 500, 501, 502, 503, 504].includes(status));
  return [
    `  retries ${attempts}`,
    "  option redispatch 1",
    `  retry-on ${["conn-failure", "empty-response", ...known].join(" ")}`,
    ...(nonIdempotent ? [] : ["  http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }"]),
  ];
}

function balanceOf({ head, route }: HeadRoute, limits: Limits): string[] {
  const { affinity } = route;
  if (affinity?.by === "header") return [`  balance hdr(${affinity.name})`, "  hash-type consistent"];
  const lines = ["  balance roundrobin"];
  if (affinity?.by === "cookie") {
    const { name, ttlSeconds = 0 } = affinity;
    lines.push(
      `  cookie ${name} insert indirect nocache httponly${head.spec.tls === undefined ? "" : " secure"} attr SameSite=Lax${ttlSeconds > 0 ? ` maxlife ${ttlSeconds}s` : ""}`,
    );
    if (ttlSeconds > 0)
      limits.add(
        route.id,
        "spec.affinity.cookie.ttlSeconds",
        "haproxy ends the session after it; the cookie itself stays until the client ends",
      );
  }
  return lines;
}

function server(
  { head, route }: HeadRoute,
  one: BackendInput,
  how: { readonly weight: number; readonly isBackup: boolean; readonly isNamedByHost: boolean },
): string[] {
  const { tls } = one;
  const { protocol } = route;
  return one.addresses.map((address, index) => {
    const name = how.isNamedByHost ? (one.host ?? one.name) : `${one.name}${index === 0 ? "" : `-${index}`}`;
    const words = [
      `  server ${name} ${address}`,
      `weight ${one.draining === true ? 0 : how.weight}`,
      ...lifeOf(route, one),
    ];
    if (how.isBackup) words.push("backup");
    if (protocol === "h2") words.push(tls === undefined ? "proto h2" : "alpn h2 check-alpn h2");
    if (tls !== undefined) words.push(...tlsWords(head, tls));
    return words.join(" ");
  });
}

/** Checks, ejection, slow start and the cookie of one server. */
function lifeOf({ outlier, slowStartMs = 0, affinity }: HeadRoute["route"], one: BackendInput): string[] {
  const { path, grpc, intervalMs = 500, unhealthyThreshold = 2, healthyThreshold = 1 } = one.health ?? {};
  const words: string[] = [];
  if (path !== undefined || grpc !== undefined)
    words.push(`check inter ${secondsOf(intervalMs)} fall ${unhealthyThreshold} rise ${healthyThreshold}`);
  if (outlier !== undefined)
    words.push(`observe layer7 error-limit ${outlier.consecutiveErrors ?? 5} on-error mark-down`);
  if (slowStartMs > 0) words.push(`slowstart ${secondsOf(slowStartMs)}`);
  if (affinity?.by === "cookie") words.push(`cookie ${wordOf(one.name)}`);
  return words;
}

function tlsWords(head: HeadRoute["head"], tls: NonNullable<BackendInput["tls"]>): string[] {
  const { caSecretName, clientSecretName } = head.spec.backendTLS ?? {};
  const authorities = caSecretName === undefined ? SYSTEM_AUTHORITIES : `${TLS_DIRECTORY}/${caSecretName}/ca.crt`;
  return [
    "ssl",
    tls.insecure === true ? "verify none" : `verify required ca-file ${authorities}`,
    ...(tls.serverName === undefined ? [] : [`sni str(${tls.serverName}) check-sni ${tls.serverName}`]),
    ...(tls.serverName === undefined || tls.insecure === true ? [] : [`verifyhost ${tls.serverName}`]),
    ...(clientSecretName === undefined ? [] : [`crt ${TLS_DIRECTORY}/${clientSecretName}/tls.crt`]),
  ];
}

function noteLimits({ head, route }: HeadRoute, limits: Limits): void {
  for (const { field, message } of shadowLimits("haproxy", { head, route })) limits.add(route.id, field, message);
  const { spec } = head;
  const priorities = new Set(route.backends.map(({ priority }) => priority ?? 0));
  limits.note(route.id, {
    "spec.hedge": [spec.hedge !== undefined, "haproxy asks no second backend while it waits for the first"],
    "spec.timeouts.requestMs": [spec.timeouts?.requestMs !== undefined, "haproxy has no time for a request as a whole"],
    "spec.timeouts.streamIdleMs": [
      spec.timeouts?.streamIdleMs !== undefined,
      "it holds for WebSockets; of event streams and gRPC responseMs ends what is silent",
    ],
    "spec.timeouts.idleMs": [
      spec.timeouts?.idleMs !== undefined,
      "it holds for clients; towards backends responseMs does",
    ],
    "spec.outlierEjection.baseEjectionMs": [
      spec.outlierEjection?.baseEjectionMs !== undefined,
      "haproxy takes a backend back as soon as its checks pass",
    ],
    "spec.outlierEjection.maxEjectedPercent": [
      spec.outlierEjection?.maxEjectedPercent !== undefined,
      "haproxy has no such bound",
    ],
    "spec.priorities": [priorities.size > 2, "haproxy knows two levels: the lowest number, and all others"],
    "spec.weighting.by": [
      spec.weighting?.by === "Latency",
      "the built-in gateway measures latency only where it carries the requests",
    ],
    "spec.retry.statuses": [
      (spec.retry?.statuses ?? []).some(
        (status) => ![401, 403, 404, 408, 425, 429, 500, 501, 502, 503, 504].includes(status),
      ),
      "haproxy repeats only 401, 403, 404, 408, 425, 429, 500 to 504",
    ],
  });
}

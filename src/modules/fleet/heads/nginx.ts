import { type NginxShadows, nginxTlsLines, renderShadows } from "./nginx-shadows.js";
import {
  baseOf,
  type HeadRoute,
  inOrder,
  isRounded,
  Limits,
  prefixOf,
  type RenderedText,
  secondsOf,
  TLS_DIRECTORY,
  wholeWeights,
  wordOf,
} from "./rendering.js";
import { shadowLimits } from "./shadowing.js";

const MAX_WEIGHT = 10_000;
/** Statuses that nginx can pass on to the next backend. */
const REPEATABLE = new Set([403, 404, 429, 500, 502, 503, 504]);

/** What the configuration says besides its routes. */
export interface NginxSettings {
  /** `address:port` */
  readonly listen: string;
  readonly listenTls: string;
  /** Where it tells how it is; undefined: nowhere. */
  readonly report?: string;
  /** Folder for sockets between the two halves of the configuration and for temporary files; must be writable. */
  readonly directory: string;
}

/**
 * A configuration of nginx (1.20 and later, no commercial parts) that carries the routes. Each backend has a server of its own on a
 * unix socket, which sets its Host and TLS; in front, an upstream splits over them. Pure.
 */
export function renderNginx(routes: readonly HeadRoute[], settings: NginxSettings): RenderedText {
  const limits = new Limits();
  const isGrpc = (one: HeadRoute): boolean => one.route.protocol === "h2";
  const ordered = inOrder(routes);
  // In clear text, a socket of nginx speaks either HTTP/1.1 or HTTP/2.
  const isMixed = ordered.some((one) => !isGrpc(one) && one.head.spec.tls === undefined);
  const carried = ordered.filter((one) => !isGrpc(one) || one.head.spec.tls !== undefined || !isMixed);
  for (const one of ordered)
    if (!carried.includes(one))
      limits.add(
        one.route.id,
        "spec.protocol",
        "nginx has no gRPC beside HTTP/1.1 on one socket without tls: the route is left out",
      );
  const parts = [headOf(settings)];
  for (const one of carried) {
    const shadows = renderShadows(one);
    parts.push(upstream(one, settings, limits), ...shadows.parts, ...inner(one, settings, shadows));
  }
  const plain = carried.filter(({ head }) => head.spec.tls === undefined);
  const secure = carried.filter(({ head }) => head.spec.tls !== undefined);
  parts.push(...servers(plain, (one) => `listen ${settings.listen}${isGrpc(one) ? " http2" : ""};`));
  const secrets = secretsByHost(secure, routes);
  for (const { route, head } of secure)
    for (const host of route.hosts ?? ["*"])
      if (secrets.get(host) !== head.spec.tls?.secretName)
        limits.add(
          route.id,
          "spec.tls.secretName",
          `nginx has one certificate for a host: ${host === "*" ? "who names none" : host} gets that of Secret ${secrets.get(host) ?? ""}, which an older HeadIngress names`,
        );
  parts.push(
    ...servers(secure, (_one, host) => {
      const folder = `${TLS_DIRECTORY}/${secrets.get(host) ?? ""}`;
      return `listen ${settings.listenTls} ssl http2;\n    ssl_certificate ${folder}/tls.crt;\n    ssl_certificate_key ${folder}/tls.key;`;
    }),
  );
  if (settings.report !== undefined)
    parts.push(
      `  server {\n    listen ${settings.report};\n    location = /status { stub_status; }\n    location / { return 404; }\n  }`,
    );
  return { text: `${parts.join("\n")}\n}\n`, limits: limits.byRoute };
}

function headOf({ directory }: NginxSettings): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `  ${name}_temp_path ${directory}/${name};`,
  );
  return `# Written by Argosy from HeadIngresses; changes are overwritten.
worker_processes auto;
pid ${directory}/nginx.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
  access_log off;
  server_tokens off;
  merge_slashes off;
  client_max_body_size 0;
  keepalive_requests 100000;
  large_client_header_buffers 8 32k;
  # Variables are named after routes.
  variables_hash_bucket_size 2048;
  variables_hash_max_size 16384;
${temporary.join("\n")}
  map $http_upgrade $argosy_connection { default upgrade; "" ""; }`;
}

const socketOf = (directory: string, id: string, name: string): string =>
  `unix:${directory}/${wordOf(`${id}/${name}`).slice(-80)}.sock`;

function upstream(headRoute: HeadRoute, { directory }: NginxSettings, limits: Limits): string {
  const { route } = headRoute;
  const { affinity, outlier, backends } = route;
  const word = wordOf(route.id);
  const weights = backends.map(({ weight }) => weight ?? 1);
  const whole = wholeWeights(weights, MAX_WEIGHT);
  if (isRounded(weights, whole))
    limits.add(route.id, "spec.weights", `nginx's weights are whole numbers up to ${MAX_WEIGHT}`);
  const lowest = Math.min(...backends.map(({ priority }) => priority ?? 0));
  const isHashed = affinity !== undefined;
  const lines: string[] = [];
  if (affinity?.by === "cookie")
    lines.push(
      `  map $cookie_${affinity.name} $argosy_session_${word} { "" $request_id; default $cookie_${affinity.name}; }`,
    );
  // One count for all workers.
  lines.push(`  upstream u_${word} {`, `    zone u_${word} 64k;`);
  if (affinity?.by === "header")
    lines.push(`    hash $http_${affinity.name.toLowerCase().replaceAll("-", "_")} consistent;`);
  if (affinity?.by === "cookie") lines.push(`    hash $argosy_session_${word} consistent;`);
  let served = 0;
  for (const [index, one] of backends.entries()) {
    const weight = whole[index] ?? 0;
    if (weight === 0 || one.addresses.length === 0 || one.draining === true) continue;
    served++;
    const isBackup = (one.priority ?? 0) > lowest;
    const words = [
      `weight=${weight}`,
      `max_fails=${outlier?.consecutiveErrors ?? 3}`,
      `fail_timeout=${Math.max(1, Math.ceil((outlier?.baseEjectionMs ?? 2000) / 1000))}s`,
    ];
    if (isBackup && !isHashed) words.push("backup");
    lines.push(`    server ${socketOf(directory, route.id, one.name)} ${words.join(" ")};`);
  }
  // An upstream must have a server; this one answers that there is none.
  if (served === 0) lines.push(`    server ${socketOf(directory, route.id, "")};`);
  lines.push("    keepalive 64;", "  }");
  noteLimits(headRoute, limits);
  return lines.join("\n");
}

/** A server for each backend: what differs between them is said there. */
function inner(headRoute: HeadRoute, { directory }: NginxSettings, shadows: NginxShadows): string[] {
  const { head, route } = headRoute;
  const { connectMs = 1000, responseMs = 60_000 } = route.timeouts ?? {};
  const isGrpc = route.protocol === "h2";
  const used = route.backends.filter(
    (one) => (one.weight ?? 1) > 0 && one.addresses.length > 0 && one.draining !== true,
  );
  if (used.length === 0)
    return [
      `  server { listen ${socketOf(directory, route.id, "")}; default_type application/json; return 503 '{"error":{"code":503,"reason":"NoHealthyBackend"}}'; }`,
    ];
  const kind = isGrpc ? "grpc" : "proxy";
  return used.map((one) => {
    const word = wordOf(`${route.id}/${one.name}`);
    const lines = [
      `  upstream a_${word} {`,
      ...one.addresses.map((address) => `    server ${address} max_fails=0;`),
      "    keepalive 64;",
      "  }",
      "  server {",
      `    listen ${socketOf(directory, route.id, one.name)}${isGrpc ? " http2" : ""};`,
      ...shadows.serverLines(one.name),
      "    location / {",
      ...shadows.locationLines(one.name),
      `      ${kind}_set_header Host ${one.host === undefined ? "$http_host" : `"${one.host}"`};`,
      `      ${kind}_connect_timeout ${secondsOf(connectMs)};`,
      `      ${kind}_read_timeout ${secondsOf(responseMs)};`,
      `      ${kind}_next_upstream error;`,
      ...(isGrpc ? [] : PROXY_LINES),
      ...nginxTlsLines(head, one, kind),
      ...(route.nameBackend === true ? [`      add_header X-Argosy-Backend "${one.name}" always;`] : []),
      `      ${kind}_pass ${isGrpc ? (one.tls === undefined ? "grpc" : "grpcs") : one.tls === undefined ? "http" : "https"}://a_${word};`,
      "    }",
      "  }",
    ];
    return lines.join("\n");
  });
}

const PROXY_LINES = [
  "      proxy_http_version 1.1;",
  "      proxy_set_header Upgrade $http_upgrade;",
  "      proxy_set_header Connection $argosy_connection;",
  "      proxy_buffering off;",
  "      proxy_request_buffering off;",
];

/** The Secret of each host's certificate: of several HeadIngresses for one host, that of the oldest, which `all` begins with. */
function secretsByHost(secure: readonly HeadRoute[], all: readonly HeadRoute[]): ReadonlyMap<string, string> {
  const secrets = new Map<string, string>();
  for (const { head, route } of all.filter((one) => secure.includes(one)))
    for (const host of route.hosts ?? ["*"]) if (!secrets.has(host)) secrets.set(host, head.spec.tls?.secretName ?? "");
  return secrets;
}

/** One server for hosts that have the same routes and certificate, with the locations of those. */
function servers(routes: readonly HeadRoute[], listenOf: (route: HeadRoute, host: string) => string): string[] {
  const byHost = new Map<string, { readonly listen: string; readonly host: string; readonly routes: HeadRoute[] }>();
  for (const one of routes)
    for (const host of one.route.hosts ?? ["*"]) {
      const listen = listenOf(one, host);
      const key = JSON.stringify([listen, host]);
      const group = byHost.get(key) ?? { listen, host, routes: [] };
      byHost.set(key, group);
      group.routes.push(one);
    }
  const groups = new Map<string, { readonly listen: string; readonly hosts: string[]; readonly routes: HeadRoute[] }>();
  for (const { listen, host, routes: own } of byHost.values()) {
    const key = JSON.stringify([listen, own.map(({ route }) => route.id)]);
    const group = groups.get(key) ?? { listen, hosts: [], routes: own };
    groups.set(key, group);
    group.hosts.push(host);
  }
  return [...groups.values()].map(({ listen, hosts, routes: own }) =>
    [
      "  server {",
      `    ${hosts.includes("*") ? listen.replace(/;/, " default_server;") : listen}`,
      `    server_name ${hosts.map((host) => (host === "*" ? "_" : host)).join(" ")};`,
      ...own.map((one) => location(one)),
      ...(own.some(({ route }) => prefixOf(route) === "") ? [] : ["    location / { return 404; }"]),
      "  }",
    ].join("\n"),
  );
}

function location({ head, route }: HeadRoute): string {
  const prefix = prefixOf(route);
  const base = baseOf(route);
  const word = wordOf(route.id);
  const kind = route.protocol === "h2" ? "grpc" : "proxy";
  const target = `${kind === "grpc" ? "grpc" : "http"}://u_${word}`;
  const lines = [
    ...(kind === "grpc" ? [] : PROXY_LINES),
    `      ${kind}_set_header Host $http_host;`,
    `      ${kind}_set_header X-Forwarded-For $remote_addr;`,
    `      ${kind}_set_header X-Forwarded-Host $http_host;`,
    `      ${kind}_set_header X-Forwarded-Proto $scheme;`,
    ...(prefix === "" || base === undefined ? [] : [`      ${kind}_set_header X-Forwarded-Prefix ${prefix};`]),
    ...retries(route, kind),
    ...times(route, kind),
    ...(route.affinity?.by === "cookie" ? [cookie(route.affinity, word, head.spec.tls !== undefined)] : []),
  ].join("\n");
  const block = (match: string, to: string): string => `    location ${match} {\n${lines}\n      ${to}\n    }`;
  const isWhole = base === undefined || base === prefix;
  const pass = (rest: string): string => {
    if (isWhole) return `${kind}_pass ${target};`;
    // gRPC cannot be passed on with a path: the path is rewritten before.
    return kind === "grpc"
      ? `rewrite ^${prefix}(/.*)?$ ${base}$1 break;\n      grpc_pass ${target};`
      : `proxy_pass ${target}${base}${rest};`;
  };
  if (prefix === "") return block("/", pass("/"));
  const exact = block(`= ${prefix}`, pass("/"));
  return route.exact === true ? exact : `${exact}\n${block(`^~ ${prefix}/`, pass("/"))}`;
}

function cookie(
  { name, ttlSeconds = 0 }: NonNullable<HeadRoute["route"]["affinity"]>,
  word: string,
  isSecure: boolean,
): string {
  const age = ttlSeconds > 0 ? `; Max-Age=${ttlSeconds}` : "";
  return `      add_header Set-Cookie "${name}=$argosy_session_${word}; Path=/${age}; HttpOnly; SameSite=Lax${isSecure ? "; Secure" : ""}";`;
}

function retries(route: HeadRoute["route"], kind: string): string[] {
  const { attempts = 2, nonIdempotent = false, statuses = [] } = route.retry ?? {};
  if (attempts === 0) return [`      ${kind}_next_upstream off;`];
  const codes = new Set([
    502,
    504,
    ...statuses.filter((status) => REPEATABLE.has(status)),
    ...(route.outlier === undefined ? [] : [500, 503]),
  ]);
  const words = ["error", ...[...codes].map((code) => `http_${code}`), ...(nonIdempotent ? ["non_idempotent"] : [])];
  const { requestMs = 0 } = route.timeouts ?? {};
  return [
    `      ${kind}_next_upstream ${words.join(" ")};`,
    `      ${kind}_next_upstream_tries ${attempts + 1};`,
    ...(requestMs > 0 ? [`      ${kind}_next_upstream_timeout ${secondsOf(requestMs)};`] : []),
  ];
}

function times(route: HeadRoute["route"], kind: string): string[] {
  const { connectMs = 1000, responseMs = 60_000, idleMs = 300_000, streamIdleMs = idleMs } = route.timeouts ?? {};
  // The server behind the socket ends what takes too long; here is waited a little longer, so that it can say so.
  return [
    `      ${kind}_connect_timeout ${secondsOf(connectMs)};`,
    `      ${kind}_read_timeout ${secondsOf(Math.max(responseMs, streamIdleMs) + 1000)};`,
    `      ${kind}_send_timeout ${secondsOf(idleMs)};`,
  ];
}

function noteLimits({ head, route }: HeadRoute, limits: Limits): void {
  for (const { field, message } of shadowLimits("nginx", { head, route })) limits.add(route.id, field, message);
  const { spec } = head;
  const priorities = new Set(route.backends.map(({ priority }) => priority ?? 0));
  limits.note(route.id, {
    "spec.health": [
      spec.health !== undefined,
      "nginx asks nobody by itself: a backend is out for a while after requests failed there",
    ],
    "spec.hedge": [spec.hedge !== undefined, "nginx asks no second backend while it waits for the first"],
    "spec.slowStartMs": [(spec.slowStartMs ?? 0) > 0, "only the commercial nginx starts slowly"],
    "spec.outlierEjection": [
      spec.outlierEjection !== undefined && spec.retry?.attempts === 0,
      "nginx counts only bad answers that it repeats elsewhere: with retry.attempts 0 none",
    ],
    "spec.outlierEjection.maxEjectedPercent": [
      spec.outlierEjection?.maxEjectedPercent !== undefined,
      "nginx has no such bound",
    ],
    "spec.priorities": [
      priorities.size > 2 || (priorities.size > 1 && spec.affinity !== undefined),
      "nginx knows two levels, the lowest number and all others, and none together with affinity",
    ],
    "spec.timeouts.streamIdleMs": [
      spec.timeouts?.streamIdleMs !== undefined,
      "nginx has one time for answers and streams: responseMs",
    ],
    "spec.timeouts.requestMs": [
      spec.timeouts?.requestMs !== undefined,
      "nginx holds it for repeated attempts, not for the last one",
    ],
    "spec.backends[].drain": [
      route.backends.some(({ draining }) => draining === true) && spec.affinity !== undefined,
      "nginx moves the sessions of a drained backend at once",
    ],
    "spec.weighting.by": [
      spec.weighting?.by === "Latency",
      "the built-in gateway measures latency only where it carries the requests",
    ],
    "spec.retry.statuses": [
      (spec.retry?.statuses ?? []).some((status) => !REPEATABLE.has(status)),
      `nginx repeats only ${[...REPEATABLE].join(", ")}`,
    ],
    "spec.hosts": [
      (spec.hosts ?? []).some((host) => host.startsWith("*.")),
      "for nginx *.example.org is also a.b.example.org",
    ],
  });
}

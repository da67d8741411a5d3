import { InputError, messageOf } from "../../kernel/errors/index.js";
import { type ActivatorInput, type ActivatorTable, parseActivator } from "./activator-table.js";
import { type PinTable, parsePin } from "./pin-table.js";
import { type PlaceTable, parsePlace, splitAddress } from "./place-table.js";
import { parseShadow, type ShadowTable } from "./shadow-table.js";
import { Reader } from "./table-reader.js";

/** A listening socket. TLS where a certificate is given. */
export interface ListenerTable {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly tls?: {
    readonly certFile: string;
    readonly keyFile: string;
    /** Other certificates, chosen by the name that the client asks for (SNI): exact names or `*.example.org`; of two for one name the first is shown. */
    readonly names?: readonly NamedCertificate[];
  };
  /** Believe `X-Forwarded-*` of the client (it is another gateway of ours) and append to them; default false: they are replaced. */
  readonly trustForwarded: boolean;
}

/** A certificate for some of a listener's names. Its files must not change: a new certificate has new names. */
export interface NamedCertificate {
  readonly hosts: readonly string[];
  readonly certFile: string;
  readonly keyFile: string;
}

/** Active check of one backend; every address is asked separately. */
export interface HealthTable {
  /** Any answer below 500 is alive. Absent: a TCP connection, and only while the address is out of use. */
  readonly path?: string;
  /** Instead of a path: asked by gRPC's health protocol for this service; empty for the whole server. */
  readonly grpc?: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly healthyThreshold: number;
  readonly unhealthyThreshold: number;
}

/** How requests of one client are kept on one backend. */
export interface AffinityTable {
  /** header: by a hash of its value; cookie: one that the gateway sets. */
  readonly by: "header" | "cookie";
  readonly name: string;
  /** Of the cookie; 0: until the browser ends. */
  readonly ttlSeconds: number;
}

/** A second attempt while the first is still waited for; whichever answers first is used. Only for requests that may be sent twice. */
export interface HedgeTable {
  readonly afterMs: number;
  /** At most this share of the route's requests is sent twice. */
  readonly maxPercent: number;
}

/** When an address that answers, but badly, is out of use for a while. */
export interface OutlierTable {
  /** Answers of 500 and above in a row. */
  readonly consecutiveErrors: number;
  /** For how long at first; each time again as much longer. */
  readonly baseEjectionMs: number;
  /** Of the route's addresses; the last one that is in use always stays. */
  readonly maxEjectedPercent: number;
}

/** Where requests go: one or more addresses that are equal to each other; none: then `reason` should say why. */
export interface BackendTable extends PlaceTable {
  readonly name: string;
  /** Share relative to the other backends of the route; 0: no traffic. */
  readonly weight: number;
  /** Of backends that may take requests, only those with the lowest number get any. Default 0. */
  readonly priority: number;
  /** Only clients whose cookie names it get to it. */
  readonly draining: boolean;
  readonly health: HealthTable;
  /** Requests are held while no address has room for them. */
  readonly activator?: ActivatorTable;
  /** Addresses of pods that are not ready yet: asked often, and used as soon as they answer the check of `health` well. Needs an activator, and a check with a path or by gRPC. */
  readonly candidates: readonly string[];
  /** Why the control plane gave it no weight or no address; shown in `/state` and in 503 answers. */
  readonly reason?: string;
}

export interface RouteTable {
  readonly id: string;
  readonly listener: string;
  /** Exact names, `*.example.org` (one label), or `*`. */
  readonly hosts: readonly string[];
  /** Matched by whole path segments; the longest wins. */
  readonly path: string;
  /** The path must be equal, not a prefix. */
  readonly exact: boolean;
  /** What the matched prefix becomes; absent: unchanged. */
  readonly rewrite?: string;
  /** What the backends speak. `h2` needs clients that speak HTTP/2 (gRPC); clients may speak either with `http1`. Default `http1`. */
  readonly protocol: "http1" | "h2";
  readonly affinity?: AffinityTable;
  readonly pin?: PinTable;
  readonly hedge?: HedgeTable;
  readonly outlier?: OutlierTable;
  /** An address that is new or back gets its full share only after this long. Default 0: at once. */
  readonly slowStartMs: number;
  readonly timeouts: {
    readonly connectMs: number;
    /** From the request being sent to the first byte of the answer. */
    readonly responseMs: number;
    /** Between two pieces of a request or an answer. */
    readonly idleMs: number;
    /** The same for streams: upgraded connections, server-sent events, gRPC. Default: `idleMs`. */
    readonly streamIdleMs: number;
    /** The whole exchange, retries included, from the head to the answer's last byte; streams are exempt. 0 (default): no limit. */
    readonly requestMs: number;
  };
  readonly retry: {
    /** Attempts after the first. */
    readonly attempts: number;
    /** Also repeat requests whose method is not idempotent when the connection broke before any answer. */
    readonly nonIdempotent: boolean;
    /** Answers with these statuses are no answers: the request is repeated elsewhere if it may be. Default: none. */
    readonly statuses: readonly number[];
  };
  readonly maxBodyBytes?: number;
  /** Answers carry `X-Argosy-Backend` with the name of the backend that gave them. */
  readonly nameBackend: boolean;
  /** Who wrote it; for the writers. */
  readonly source?: string;
  readonly backends: readonly BackendTable[];
  /** Who gets copies of requests; their answers are dropped. */
  readonly shadows: readonly ShadowTable[];
}

/** The whole routing table, as in `table.json`. */
export interface GatewayTable {
  readonly version: 1;
  /** Opaque mark of the writer; reported back in `/state`. */
  readonly generation: string;
  readonly listeners: readonly ListenerTable[];
  readonly routes: readonly RouteTable[];
}

/** A table as a writer gives it: everything that has a default may be left out. */
export type ListenerInput = Partial<ListenerTable> & Pick<ListenerTable, "name" | "host" | "port">;
export type BackendInput = Omit<Partial<BackendTable>, "health" | "tls" | "activator"> &
  Pick<BackendTable, "name" | "addresses"> & {
    readonly activator?: ActivatorInput;
    readonly health?: Partial<HealthTable>;
    readonly tls?: Partial<NonNullable<PlaceTable["tls"]>>;
  };
export type ShadowInput = Omit<Partial<ShadowTable>, "tls"> &
  Pick<ShadowTable, "name" | "addresses"> & { readonly tls?: Partial<NonNullable<PlaceTable["tls"]>> };
export type RouteInput = Omit<
  Partial<RouteTable>,
  "backends" | "shadows" | "timeouts" | "retry" | "affinity" | "hedge" | "outlier"
> &
  Pick<RouteTable, "id" | "listener"> & {
    readonly backends: readonly BackendInput[];
    readonly shadows?: readonly ShadowInput[];
    readonly timeouts?: Partial<RouteTable["timeouts"]>;
    readonly retry?: Partial<RouteTable["retry"]>;
    readonly affinity?: Partial<AffinityTable> & Pick<AffinityTable, "by" | "name">;
    readonly hedge?: Partial<HedgeTable> & Pick<HedgeTable, "afterMs">;
    readonly outlier?: Partial<OutlierTable>;
  };

/** The table of a gateway that has none yet. */
export const EMPTY_TABLE: GatewayTable = { version: 1, generation: "", listeners: [], routes: [] };

const MAX_LISTENERS = 4_096;
const MAX_ROUTES = 64_000;
const MAX_BACKENDS = 512;
const MAX_SHADOWS = 32;
const MAX_TIMEOUT_MS = 86_400_000;
const HOST_PATTERN = /^(\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?)$/;
const PATH_PATTERN = /^\/[\x21-\x7e]*$/;
/** A name of a header or cookie. */
export const TOKEN_PATTERN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;

/**
 * Checks a parsed `table.json` and fills in defaults. Throws `InputError` naming the field of the first fault; nothing of a
 * faulty table is used.
 */
export function parseTable(value: unknown): GatewayTable {
  const root = new Reader(value, "table");
  root.only(["version", "generation", "listeners", "routes"]);
  if (root.field("version") !== 1) root.fail("version", "must be 1");
  const listeners = root.list("listeners", MAX_LISTENERS).map(parseListener);
  const names = new Set<string>();
  const sockets = new Set<string>();
  for (const listener of listeners) {
    const socket = `${listener.host}:${listener.port}`;
    if (names.has(listener.name)) root.fail("listeners", `two listeners are called "${listener.name}"`);
    if (listener.port !== 0 && sockets.has(socket)) root.fail("listeners", `two listeners want ${socket}`);
    names.add(listener.name);
    sockets.add(socket);
  }
  const routes = root.list("routes", MAX_ROUTES).map(parseRoute);
  const ids = new Set<string>();
  for (const route of routes) {
    if (!names.has(route.listener))
      root.fail("routes", `route "${route.id}" names listener "${route.listener}", which does not exist`);
    if (ids.has(route.id)) root.fail("routes", `two routes are called "${route.id}"`);
    ids.add(route.id);
  }
  return { version: 1, generation: root.text("generation", ""), listeners, routes };
}

/** A change of the table in force. */
export interface TableChange {
  /** The table's name after it. */
  readonly generation: string;
  /** New, or in the place of the route of the same id. */
  readonly routes: readonly RouteTable[];
  /** Ids of routes that go. */
  readonly removed: readonly string[];
}

/** Checks a line of `table.changes.jsonl`, as `parseTable` does a table. */
export function parseChange(value: unknown): TableChange {
  const root = new Reader(value, "change");
  root.only(["generation", "routes", "removed"]);
  return {
    generation: root.text("generation"),
    routes: root.list("routes", MAX_ROUTES).map(parseRoute),
    removed: root.texts("removed"),
  };
}

/** A route with its defaults filled in. Throws `InputError`. */
export function readRoute(route: RouteInput): RouteTable {
  const [read] = new Reader({ routes: [route] }, "table").list("routes", 1).map(parseRoute);
  if (read === undefined) throw new InputError("table.routes: there is none");
  return read;
}

/** What is wrong with one route by itself; an empty string when nothing is. Its listener is taken to exist. */
export function checkRoute(route: RouteInput): string {
  try {
    readRoute(route);
    return "";
  } catch (error) {
    return messageOf(error).replace(/^table\.routes\[0\]\./, "");
  }
}

function parseListener(reader: Reader): ListenerTable {
  reader.only(["name", "host", "port", "tls", "trustForwarded"]);
  const tls = reader.child("tls");
  tls?.only(["certFile", "keyFile", "names"]);
  return {
    name: reader.text("name"),
    host: reader.text("host"),
    port: reader.number("port", { minimum: 0, maximum: 65_535, integer: true }),
    trustForwarded: reader.flag("trustForwarded"),
    ...(tls === undefined ? {} : { tls: parseListenerTls(tls) }),
  };
}

function parseListenerTls(tls: Reader): NonNullable<ListenerTable["tls"]> {
  const names = tls.has("names") ? tls.list("names", 4096).map(parseNamed) : undefined;
  return {
    certFile: tls.text("certFile"),
    keyFile: tls.text("keyFile"),
    ...(names === undefined ? {} : { names }),
  };
}

function parseNamed(reader: Reader): NamedCertificate {
  reader.only(["hosts", "certFile", "keyFile"]);
  return { hosts: parseHosts(reader), certFile: reader.text("certFile"), keyFile: reader.text("keyFile") };
}

function parseHosts(reader: Reader): readonly string[] {
  const hosts = reader.has("hosts") ? reader.texts("hosts").map((host) => host.toLowerCase()) : ["*"];
  for (const host of hosts)
    if (!HOST_PATTERN.test(host)) reader.fail("hosts", `"${host}" is no host name, "*.name" or "*"`);
  if (hosts.length === 0) reader.fail("hosts", "must not be empty");
  return hosts;
}

function parseRoute(reader: Reader): RouteTable {
  reader.only([
    "id",
    "listener",
    "hosts",
    "path",
    "exact",
    "rewrite",
    "timeouts",
    "retry",
    "maxBodyBytes",
    "nameBackend",
    "backends",
    "shadows",
    "protocol",
    "affinity",
    "pin",
    "hedge",
    "outlier",
    "slowStartMs",
    "source",
  ]);
  const hosts = parseHosts(reader);
  const rewrite = reader.optionalText("rewrite");
  const path = reader.text("path", "/");
  for (const [field, given] of Object.entries({ path, rewrite: rewrite ?? "/" })) {
    if (!PATH_PATTERN.test(given)) reader.fail(field, `"${given}" must begin with "/" and have no spaces`);
  }
  const backends = reader.list("backends", MAX_BACKENDS).map(parseBackend);
  const source = reader.optionalText("source");
  const names = new Set(backends.map((backend) => backend.name));
  if (names.size !== backends.length) reader.fail("backends", "two backends have the same name");
  const isActivated = backends.some(({ activator }) => activator !== undefined);
  if (isActivated && ["hedge", "affinity", "pin"].some((name) => reader.has(name)))
    reader.fail("backends", "an activator goes with neither hedge nor affinity nor pin");
  const shadows = reader.has("shadows") ? reader.list("shadows", MAX_SHADOWS).map(parseShadow) : [];
  if (new Set(shadows.map(({ name }) => name)).size !== shadows.length)
    reader.fail("shadows", "two shadows have the same name");
  return {
    id: reader.text("id"),
    listener: reader.text("listener"),
    hosts,
    path,
    exact: reader.flag("exact"),
    nameBackend: reader.flag("nameBackend"),
    timeouts: parseTimeouts(reader.child("timeouts")),
    retry: parseRetry(reader.child("retry")),
    protocol: parseProtocol(reader),
    slowStartMs: reader.number("slowStartMs", { minimum: 0, maximum: MAX_TIMEOUT_MS, fallback: 0 }),
    backends,
    shadows,
    ...parsePolicies(reader),
    ...(source === undefined ? {} : { source }),
    ...(rewrite === undefined ? {} : { rewrite }),
    ...(reader.has("maxBodyBytes") ? { maxBodyBytes: reader.number("maxBodyBytes", { minimum: 0 }) } : {}),
  };
}

function parseProtocol(reader: Reader): RouteTable["protocol"] {
  const protocol = reader.text("protocol", "http1");
  return protocol === "http1" || protocol === "h2" ? protocol : reader.fail("protocol", 'must be "http1" or "h2"');
}

function parsePolicies(reader: Reader): Pick<RouteTable, "affinity" | "pin" | "hedge" | "outlier"> {
  const affinity = reader.child("affinity");
  const pin = reader.child("pin");
  const hedge = reader.child("hedge");
  const outlier = reader.child("outlier");
  hedge?.only(["afterMs", "maxPercent"]);
  outlier?.only(["consecutiveErrors", "baseEjectionMs", "maxEjectedPercent"]);
  const whole = (from: Reader, name: string, maximum: number, fallback?: number): number =>
    from.number(name, { minimum: 1, maximum, integer: true, ...(fallback === undefined ? {} : { fallback }) });
  return {
    ...(affinity === undefined ? {} : { affinity: parseAffinity(affinity) }),
    ...(pin === undefined ? {} : { pin: parsePin(pin) }),
    ...(hedge === undefined
      ? {}
      : {
          hedge: {
            afterMs: whole(hedge, "afterMs", MAX_TIMEOUT_MS),
            maxPercent: hedge.number("maxPercent", { minimum: 0, maximum: 100, fallback: 10 }),
          },
        }),
    ...(outlier === undefined
      ? {}
      : {
          outlier: {
            consecutiveErrors: whole(outlier, "consecutiveErrors", 1_000_000, 5),
            baseEjectionMs: whole(outlier, "baseEjectionMs", MAX_TIMEOUT_MS, 30_000),
            maxEjectedPercent: outlier.number("maxEjectedPercent", { minimum: 0, maximum: 100, fallback: 50 }),
          },
        }),
  };
}

function parseAffinity(reader: Reader): AffinityTable {
  reader.only(["by", "name", "ttlSeconds"]);
  const by = reader.text("by");
  const name = reader.text("name");
  if (by !== "header" && by !== "cookie") return reader.fail("by", 'must be "header" or "cookie"');
  if (!TOKEN_PATTERN.test(name)) reader.fail("name", `"${name}" is no name of a header or cookie`);
  return { by, name, ttlSeconds: reader.number("ttlSeconds", { minimum: 0, maximum: 31_536_000, fallback: 0 }) };
}

function parseTimeouts(reader: Reader | undefined): RouteTable["timeouts"] {
  reader?.only(["connectMs", "responseMs", "idleMs", "streamIdleMs", "requestMs"]);
  const read = (name: string, fallback: number): number =>
    reader?.number(name, { minimum: 1, maximum: MAX_TIMEOUT_MS, fallback }) ?? fallback;
  const idleMs = read("idleMs", 300_000);
  return {
    connectMs: read("connectMs", 1000),
    responseMs: read("responseMs", 60_000),
    idleMs,
    streamIdleMs: read("streamIdleMs", idleMs),
    requestMs: reader?.number("requestMs", { minimum: 0, maximum: MAX_TIMEOUT_MS, fallback: 0 }) ?? 0,
  };
}

function parseRetry(reader: Reader | undefined): RouteTable["retry"] {
  reader?.only(["attempts", "nonIdempotent", "statuses"]);
  return {
    statuses: reader?.has("statuses") === true ? reader.statuses("statuses") : [],
    attempts: reader?.number("attempts", { minimum: 0, maximum: 10, integer: true, fallback: 2 }) ?? 2,
    nonIdempotent: reader?.flag("nonIdempotent") ?? false,
  };
}

function parseBackend(reader: Reader): BackendTable {
  reader.only([
    "name",
    "host",
    "addresses",
    "weight",
    "priority",
    "draining",
    "tls",
    "health",
    "reason",
    "activator",
    "candidates",
  ]);
  const reason = reader.optionalText("reason");
  const activator = reader.child("activator");
  return {
    name: reader.text("name"),
    ...parsePlace(reader),
    candidates: parseCandidates(reader),
    ...(activator === undefined ? {} : { activator: parseActivator(activator) }),
    weight: reader.number("weight", { minimum: 0, maximum: 1_000_000, fallback: 1 }),
    priority: reader.number("priority", { minimum: 0, maximum: 1000, integer: true, fallback: 0 }),
    draining: reader.flag("draining"),
    health: parseHealth(reader.child("health")),
    ...(reason === undefined ? {} : { reason }),
  };
}

function parseCandidates(reader: Reader): readonly string[] {
  const candidates = reader.has("candidates") ? reader.texts("candidates") : [];
  const bad = candidates.find((address) => splitAddress(address) === undefined);
  if (bad !== undefined) reader.fail("candidates", `"${bad}" is not host:port`);
  const health = reader.child("health");
  const isChecked = health?.has("path") === true || health?.has("grpc") === true;
  if (candidates.length > 0 && (!reader.has("activator") || !isChecked))
    reader.fail("candidates", "need an activator, and a health check with a path or by gRPC");
  return [...new Set(candidates)];
}

function parseHealth(reader: Reader | undefined): HealthTable {
  const grpc = reader?.optionalText("grpc");
  if (grpc !== undefined && reader?.has("path") === true) reader.fail("grpc", "there is a path already");
  reader?.only(["path", "grpc", "intervalMs", "timeoutMs", "healthyThreshold", "unhealthyThreshold"]);
  const path = reader?.optionalText("path");
  if (path !== undefined && !PATH_PATTERN.test(path)) reader?.fail("path", `"${path}" must begin with "/"`);
  const read = (name: string, fallback: number, minimum: number): number =>
    reader?.number(name, { minimum, maximum: 600_000, integer: true, fallback }) ?? fallback;
  return {
    intervalMs: read("intervalMs", 500, 10),
    timeoutMs: read("timeoutMs", 500, 10),
    healthyThreshold: read("healthyThreshold", 1, 1),
    unhealthyThreshold: read("unhealthyThreshold", 2, 1),
    ...(path === undefined ? {} : { path }),
    ...(grpc === undefined ? {} : { grpc }),
  };
}

import { InputError, messageOf } from "../../kernel/errors/index.js";

/** A listening socket. TLS where a certificate is given. */
export interface ListenerTable {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /** Believe `X-Forwarded-*` of the client (it is another gateway of ours) and append to them; default false: they are replaced. */
  readonly trustForwarded: boolean;
}

/** Active check of one backend; every address is asked separately. */
export interface HealthTable {
  /** Any answer below 500 is alive. Absent: a TCP connection, and only while the address is out of use. */
  readonly path?: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly healthyThreshold: number;
  readonly unhealthyThreshold: number;
}

/** Where requests go: one or more addresses that are equal to each other. */
export interface BackendTable {
  readonly name: string;
  /** `Host` header for it; absent: the client's is passed on. */
  readonly host?: string;
  /** `host:port`. May be empty: then `reason` should say why. */
  readonly addresses: readonly string[];
  /** Share relative to the other backends of the route; 0: no traffic. */
  readonly weight: number;
  readonly tls?: { readonly serverName?: string; readonly caFile?: string; readonly insecure: boolean };
  readonly health: HealthTable;
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
  readonly timeouts: {
    readonly connectMs: number;
    /** From the request being sent to the first byte of the answer. */
    readonly responseMs: number;
    /** Between two pieces of a request or an answer. */
    readonly idleMs: number;
  };
  readonly retry: {
    /** Attempts after the first. */
    readonly attempts: number;
    /** Also repeat requests whose method is not idempotent when the connection broke before any answer. */
    readonly nonIdempotent: boolean;
  };
  readonly maxBodyBytes?: number;
  /** Answers carry `X-Argosy-Backend` with the name of the backend that gave them. */
  readonly nameBackend: boolean;
  readonly backends: readonly BackendTable[];
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
export type BackendInput = Omit<Partial<BackendTable>, "health" | "tls"> &
  Pick<BackendTable, "name" | "addresses"> & {
    readonly health?: Partial<HealthTable>;
    readonly tls?: { readonly serverName?: string; readonly caFile?: string; readonly insecure?: boolean };
  };
export type RouteInput = Omit<Partial<RouteTable>, "backends" | "timeouts" | "retry"> &
  Pick<RouteTable, "id" | "listener"> & {
    readonly backends: readonly BackendInput[];
    readonly timeouts?: Partial<RouteTable["timeouts"]>;
    readonly retry?: Partial<RouteTable["retry"]>;
  };

/** The table of a gateway that has none yet. */
export const EMPTY_TABLE: GatewayTable = { version: 1, generation: "", listeners: [], routes: [] };

const MAX_ROUTES = 20_000;
const MAX_BACKENDS = 512;
const MAX_TIMEOUT_MS = 86_400_000;
const HOST_PATTERN = /^(\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?)$/;
const PATH_PATTERN = /^\/[\x21-\x7e]*$/;
const HEADER_VALUE_PATTERN = /^[\x21-\x7e]+$/;

/**
 * Checks a parsed `table.json` and fills in defaults. Throws `InputError` naming the field of the first fault; nothing of a
 * faulty table is used.
 */
export function parseTable(value: unknown): GatewayTable {
  const root = new Reader(value, "table");
  root.only(["version", "generation", "listeners", "routes"]);
  if (root.field("version") !== 1) root.fail("version", "must be 1");
  const listeners = root.list("listeners", 256).map(parseListener);
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

/** What is wrong with one route by itself; an empty string when nothing is. Its listener is taken to exist. */
export function checkRoute(route: RouteInput): string {
  try {
    parseTable({ version: 1, listeners: [{ name: route.listener, host: "localhost", port: 0 }], routes: [route] });
    return "";
  } catch (error) {
    return messageOf(error).replace(/^table\.routes\[0\]\./, "");
  }
}

/** `host:port`, with IPv6 hosts in brackets. `undefined` when it is not that. */
export function splitAddress(address: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

function parseListener(reader: Reader): ListenerTable {
  reader.only(["name", "host", "port", "tls", "trustForwarded"]);
  const tls = reader.child("tls");
  tls?.only(["certFile", "keyFile"]);
  return {
    name: reader.text("name"),
    host: reader.text("host"),
    port: reader.number("port", { minimum: 0, maximum: 65_535, integer: true }),
    trustForwarded: reader.flag("trustForwarded"),
    ...(tls === undefined ? {} : { tls: { certFile: tls.text("certFile"), keyFile: tls.text("keyFile") } }),
  };
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
  ]);
  const hosts = reader.has("hosts") ? reader.texts("hosts").map((host) => host.toLowerCase()) : ["*"];
  for (const host of hosts)
    if (!HOST_PATTERN.test(host)) reader.fail("hosts", `"${host}" is no host name, "*.name" or "*"`);
  if (hosts.length === 0) reader.fail("hosts", "must not be empty");
  const rewrite = reader.optionalText("rewrite");
  const path = reader.text("path", "/");
  for (const [field, given] of Object.entries({ path, rewrite: rewrite ?? "/" })) {
    if (!PATH_PATTERN.test(given)) reader.fail(field, `"${given}" must begin with "/" and have no spaces`);
  }
  const backends = reader.list("backends", MAX_BACKENDS).map(parseBackend);
  const names = new Set(backends.map((backend) => backend.name));
  if (names.size !== backends.length) reader.fail("backends", "two backends have the same name");
  return {
    id: reader.text("id"),
    listener: reader.text("listener"),
    hosts,
    path,
    exact: reader.flag("exact"),
    nameBackend: reader.flag("nameBackend"),
    timeouts: parseTimeouts(reader.child("timeouts")),
    retry: parseRetry(reader.child("retry")),
    backends,
    ...(rewrite === undefined ? {} : { rewrite }),
    ...(reader.has("maxBodyBytes") ? { maxBodyBytes: reader.number("maxBodyBytes", { minimum: 0 }) } : {}),
  };
}

function parseTimeouts(reader: Reader | undefined): RouteTable["timeouts"] {
  reader?.only(["connectMs", "responseMs", "idleMs"]);
  const read = (name: string, fallback: number): number =>
    reader?.number(name, { minimum: 1, maximum: MAX_TIMEOUT_MS, fallback }) ?? fallback;
  return {
    connectMs: read("connectMs", 1000),
    responseMs: read("responseMs", 60_000),
    idleMs: read("idleMs", 300_000),
  };
}

function parseRetry(reader: Reader | undefined): RouteTable["retry"] {
  reader?.only(["attempts", "nonIdempotent"]);
  return {
    attempts: reader?.number("attempts", { minimum: 0, maximum: 10, integer: true, fallback: 2 }) ?? 2,
    nonIdempotent: reader?.flag("nonIdempotent") ?? false,
  };
}

function parseBackend(reader: Reader): BackendTable {
  reader.only(["name", "host", "addresses", "weight", "tls", "health", "reason"]);
  const host = reader.optionalText("host");
  if (host !== undefined && !HEADER_VALUE_PATTERN.test(host))
    reader.fail("host", "must be a host, with a port if needed");
  const addresses = reader.texts("addresses");
  for (const address of addresses) {
    if (splitAddress(address) === undefined) reader.fail("addresses", `"${address}" is not host:port`);
  }
  const reason = reader.optionalText("reason");
  const tls = reader.child("tls");
  tls?.only(["serverName", "caFile", "insecure"]);
  return {
    name: reader.text("name"),
    addresses: [...new Set(addresses)],
    weight: reader.number("weight", { minimum: 0, maximum: 1_000_000, fallback: 1 }),
    health: parseHealth(reader.child("health")),
    ...(host === undefined ? {} : { host }),
    ...(reason === undefined ? {} : { reason }),
    ...(tls === undefined ? {} : { tls: parseBackendTls(tls) }),
  };
}

function parseBackendTls(reader: Reader): NonNullable<BackendTable["tls"]> {
  const serverName = reader.optionalText("serverName");
  const caFile = reader.optionalText("caFile");
  return {
    insecure: reader.flag("insecure"),
    ...(serverName === undefined ? {} : { serverName }),
    ...(caFile === undefined ? {} : { caFile }),
  };
}

function parseHealth(reader: Reader | undefined): HealthTable {
  reader?.only(["path", "intervalMs", "timeoutMs", "healthyThreshold", "unhealthyThreshold"]);
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
  };
}

interface NumberRule {
  readonly minimum: number;
  readonly maximum?: number;
  readonly integer?: boolean;
  readonly fallback?: number;
}

/** Reads the fields of one JSON object and names the place of what is wrong. */
class Reader {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new InputError(`${path}: must be an object`);
    this.#fields = new Map(Object.entries(value).filter((entry) => entry[1] !== undefined));
    this.#path = path;
  }

  fail(name: string, message: string): never {
    throw new InputError(`${this.#path}.${name}: ${message}`);
  }

  only(names: readonly string[]): void {
    for (const name of this.#fields.keys()) {
      if (!names.includes(name)) this.fail(name, `unknown field; known are ${names.join(", ")}`);
    }
  }

  has(name: string): boolean {
    return this.#fields.has(name);
  }

  field(name: string): unknown {
    return this.#fields.get(name);
  }

  text(name: string, fallback?: string): string {
    return this.optionalText(name) ?? fallback ?? this.fail(name, "is required");
  }

  optionalText(name: string): string | undefined {
    const value = this.field(name);
    if (value !== undefined && (typeof value !== "string" || value.length > 4096)) this.fail(name, "must be a string");
    return typeof value === "string" ? value : undefined;
  }

  texts(name: string): string[] {
    const value = this.field(name);
    if (!Array.isArray(value) || value.length > 4096) return this.fail(name, "must be a list of strings");
    return value.map((item: unknown) =>
      typeof item === "string" ? item : this.fail(name, "must be a list of strings"),
    );
  }

  flag(name: string): boolean {
    const value = this.field(name);
    if (value !== undefined && typeof value !== "boolean") this.fail(name, "must be true or false");
    return value === true;
  }

  number(name: string, rule: NumberRule): number {
    const value = this.field(name) ?? rule.fallback;
    const maximum = rule.maximum ?? Number.MAX_SAFE_INTEGER;
    if (typeof value !== "number" || !(value >= rule.minimum && value <= maximum)) {
      return this.fail(name, `must be a number from ${rule.minimum} to ${maximum}`);
    }
    if (rule.integer === true && !Number.isInteger(value)) this.fail(name, "must be a whole number");
    return value;
  }

  list(name: string, limit: number): Reader[] {
    const value = this.field(name);
    if (!Array.isArray(value)) return this.fail(name, "must be a list");
    if (value.length > limit) this.fail(name, `has ${value.length} entries; at most ${limit} are allowed`);
    return value.map((item: unknown, index) => new Reader(item, `${this.#path}.${name}[${index}]`));
  }

  child(name: string): Reader | undefined {
    return this.has(name) ? new Reader(this.field(name), `${this.#path}.${name}`) : undefined;
  }
}

import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { checkRoute, type GatewayDriver, type ListenerInput, type RouteInput } from "../../dataplane/gateway/index.js";
import type { InformerSet, Key, ReconcileContext } from "../../kernel/control/index.js";
import { ApiError } from "../../kernel/errors/index.js";
import {
  type EndpointSlice,
  EndpointSliceKind,
  EndpointsKind,
  type Ingress,
  isDeleting,
  type KubeObject,
  ownerReferenceTo,
  type Service,
  ServiceKind,
} from "../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../kernel/schema/index.js";
import { ARGOSY } from "./names.js";

const FIELD_MANAGER = "ingress-controller";
const SERVICE_LABEL = "kubernetes.io/service-name";
const MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
/** Who keeps the slices that lead to the gateway. */
const MANAGER = "ingress.argosy.dev";
const THROUGH_INDEX = "fleet-through-ingress";
const DOOR_INDEX = "fleet-door-of";
const SLICES_INDEX = "fleet-slices-of-service";
const FIRST_PORT = 21_000;
const PORTS = 9_000;
const RETRY_MS = 500;
/** The gateway takes 4,096 listeners and 20,000 routes; with more than it takes nothing of a cluster would come into force. */
const MOST_DOORS = 3_000;
const MOST_OF_NAMESPACE = 500;
const MOST_ROUTES = 2_000;
const MOST_ROUTES_OF_DOOR = 64;
const FULL_AGAIN_MS = 10_000;
/** Connections that were made by a door are carried so long after nobody is led to it any more. */
const GRACE_MS = 30_000;

type Context = ReconcileContext<Ingress>;

/** Ports of doors, of all clusters of one gateway. */
export class DoorPorts {
  readonly #used = new Set<number>();

  /** Takes one that nobody has: the preferred one, or the next after it. `undefined` when there are none. */
  claim(preferred: number, busy: ReadonlySet<number>): number | undefined {
    if (this.#used.size >= MOST_DOORS) return undefined;
    for (let step = 0; step < PORTS; step++) {
      const port = FIRST_PORT + ((((preferred - FIRST_PORT + step) % PORTS) + PORTS) % PORTS);
      if (this.#used.has(port) || busy.has(port)) continue;
      this.#used.add(port);
      return port;
    }
    return undefined;
  }

  free(port: number): void {
    this.#used.delete(port);
  }
}

/** What doors are made with. */
interface DoorOptions {
  readonly gateway: GatewayDriver;
  /** The cluster's ingress. */
  readonly listener: ListenerInput;
  /** Address by which programs inside of the cluster reach the gateway; absent: there is none. */
  readonly address: string | undefined;
  readonly ports: DoorPorts;
  readonly routesOf: (ingress: Ingress, listener: ListenerInput, context: Context) => readonly RouteInput[];
}

/** A listener of its own for one Service: whatever host a client names, it is this Service's. */
interface Door {
  readonly namespace: string;
  readonly service: string;
  ingress: string;
  port: number;
  /** Monotonic milliseconds after which it is closed; absent: it is wanted. */
  leavesAtMs?: number;
}

/** Whether a slice leads to a gateway rather than to pods. */
export const isDoor = ({ metadata }: EndpointSlice): boolean => metadata.labels?.[MANAGED_BY] === MANAGER;

/** Ingresses by which requests to a Service, or to the Service of a slice, come in. */
export function throughOf(object: KubeObject, informers: InformerSet): readonly Key[] {
  const { namespace = "", name, labels = {}, annotations = {} } = object.metadata;
  const own = object.kind === "Service" ? annotations[ARGOSY.through] : labels[ARGOSY.doorOf];
  const service = labels[SERVICE_LABEL];
  const behind =
    object.kind === "Service" || service === undefined
      ? undefined
      : informers.informer(ServiceKind).get({ namespace, name: service })?.metadata.annotations?.[ARGOSY.through];
  const kept = object.kind === "Service" ? slicesOf(namespace, name, informers).filter(isDoor) : [];
  const names = new Set([own, behind, ...kept.map(({ metadata }) => metadata.labels?.[ARGOSY.doorOf])]);
  return [...names].flatMap((ingress) => (ingress === undefined ? [] : [{ namespace, name: ingress }]));
}

function slicesOf(namespace: string, service: string, informers: InformerSet): readonly EndpointSlice[] {
  const slices = informers.informer(EndpointSliceKind);
  slices.addIndex(SLICES_INDEX, ({ metadata }) => [
    `${metadata.namespace ?? ""}/${metadata.labels?.[SERVICE_LABEL] ?? ""}`,
  ]);
  return slices.byIndex(SLICES_INDEX, `${namespace}/${service}`);
}

const hasReady = (slices: readonly EndpointSlice[]): boolean =>
  slices.some(({ endpoints }) => (endpoints ?? []).some(({ conditions }) => conditions?.ready !== false));

/**
 * Ways for programs inside of a cluster to what an Ingress leads to. A Service that is annotated with the Ingress' name gets a listener in the gateway, and an
 * EndpointSlice that leads there; what led to its pods before goes once it has no selector any more.
 */
export class Doors {
  readonly #options: DoorOptions;
  readonly #doors = new Map<string, Door>();
  /** Why Services have none, by `namespace/name`. */
  readonly #refused = new Map<string, string>();

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  /** What the gateway needs for them. */
  part(context: Context): { readonly listeners: ListenerInput[]; readonly routes: RouteInput[] } {
    const { listener, routesOf } = this.#options;
    this.#gather(context);
    const listeners: ListenerInput[] = [];
    const routes: RouteInput[] = [];
    for (const [id, door] of this.#doors) {
      const ingress = context.informer.get({ namespace: door.namespace, name: door.ingress });
      if (ingress === undefined || isDeleting(ingress)) continue;
      const own = { name: nameOf(context, door), host: listener.host, port: door.port };
      const all = routesOf(ingress, own, context);
      const usable = all.filter((route) => route.hosts?.[0] === all[0]?.hosts?.[0] && checkRoute(route) === "");
      if (usable.length > MOST_ROUTES_OF_DOOR || routes.length + usable.length > MOST_ROUTES) {
        this.#refused.set(id, `${usable.length} paths are too many beside the ${routes.length} of others`);
        continue;
      }
      listeners.push(own);
      for (const route of usable) routes.push({ ...route, id: `${route.id}/through/${door.service}`, hosts: ["*"] });
    }
    return { listeners, routes };
  }

  /** Opens and closes those of one Ingress as far as that can be done now; resolves with when to look again. */
  async tend(key: Key, ingress: Ingress | undefined, context: Context): Promise<number | undefined> {
    const { informers } = context.cluster;
    const id = `${key.namespace}/${key.name}`;
    const wanted = ingress === undefined ? [] : servicesThrough(informers, id);
    const waits: number[] = [];
    for (const service of wanted) {
      const wait = ingress === undefined ? undefined : await this.#open(service, ingress, context);
      if (wait !== undefined) waits.push(wait);
    }
    const names = new Set(wanted.map(({ metadata }) => metadata.name));
    for (const slice of doorsOf(informers, id)) {
      const service = slice.metadata.labels?.[SERVICE_LABEL] ?? "";
      const wait = names.has(service) ? undefined : await this.#close(slice, ingress, context);
      if (wait !== undefined) waits.push(wait);
    }
    const nowMs = context.clock.monotonicMs();
    for (const { namespace, ingress: name, leavesAtMs } of this.#doors.values())
      if (leavesAtMs !== undefined && namespace === key.namespace && name === key.name)
        waits.push(Math.max(RETRY_MS, leavesAtMs - nowMs));
    return waits.length === 0 ? undefined : Math.min(...waits);
  }

  /** The doors that are wanted, and those that are there since before. */
  #gather(context: Context): void {
    const { informers } = context.cluster;
    const nowMs = context.clock.monotonicMs();
    const slices = doorsOf(informers, ALL);
    for (const slice of slices) this.#recover(slice);
    const kept = new Set(
      slices.map(({ metadata }) => `${metadata.namespace ?? ""}/${metadata.labels?.[SERVICE_LABEL] ?? ""}`),
    );
    this.#refused.clear();
    for (const service of servicesThrough(informers, ALL)) {
      const { namespace = "", name, annotations = {} } = service.metadata;
      const id = `${namespace}/${name}`;
      const ingress = annotations[ARGOSY.through] ?? "";
      kept.add(id);
      const known = this.#doors.get(id);
      if (known === undefined) this.#add(id, { namespace, service: name, ingress }, context);
      else {
        known.ingress = ingress;
        delete known.leavesAtMs;
      }
    }
    for (const [id, door] of this.#doors) {
      // Service and slice may go at once, with their namespace.
      if (!kept.has(id)) door.leavesAtMs ??= nowMs + GRACE_MS;
      if (door.leavesAtMs === undefined || door.leavesAtMs > nowMs) continue;
      this.#doors.delete(id);
      this.#options.ports.free(door.port);
    }
  }

  #add(id: string, door: Omit<Door, "port">, { cluster }: Context): void {
    let own = 0;
    for (const { namespace } of this.#doors.values()) if (namespace === door.namespace) own++;
    const port = own < MOST_OF_NAMESPACE ? this.#claim(preferredPort(`${cluster.name}/${id}`)) : undefined;
    if (port === undefined) this.#refused.set(id, "the gateway has no port left for it");
    else this.#doors.set(id, { ...door, port });
  }

  #claim(preferred: number): number | undefined {
    const listeners = this.#options.gateway.lastState?.listeners ?? [];
    const busy = new Set(listeners.map(({ address }) => Number(address.split(":").at(-1))));
    return this.#options.ports.claim(preferred, busy);
  }

  /** A door of before a restart has the port that its slice says. */
  #recover({ metadata, ports }: EndpointSlice): void {
    const { namespace = "", labels = {} } = metadata;
    const service = labels[SERVICE_LABEL] ?? "";
    const port = ports?.[0]?.port;
    if (port === undefined || this.#doors.has(`${namespace}/${service}`)) return;
    const own = this.#options.ports.claim(port, new Set());
    if (own === undefined) return;
    this.#doors.set(`${namespace}/${service}`, { namespace, service, ingress: labels[ARGOSY.doorOf] ?? "", port: own });
  }

  async #open(service: Service, ingress: Ingress, context: Context): Promise<number | undefined> {
    const { gateway, address } = this.#options;
    const { namespace = "", name } = service.metadata;
    const door = this.#doors.get(`${namespace}/${name}`);
    if (address === undefined) {
      const message = `Service ${namespace}/${name} cannot lead through it: the gateway listens on every address, and which one pods reach is not known`;
      context.events.record(ingress, "Warning", "NoWayInside", message);
      return undefined;
    }
    const refused = this.#refused.get(`${namespace}/${name}`);
    if (refused !== undefined) {
      const message = `Service ${namespace}/${name} cannot lead through it: ${refused}`;
      context.events.record(ingress, "Warning", "NoWayInside", message);
      return FULL_AGAIN_MS;
    }
    if (door === undefined) return RETRY_MS;
    const report = gateway.lastState?.listeners.find((one) => one.name === nameOf(context, door));
    if (report?.taken === true) {
      const other = this.#claim(door.port + 1);
      if (other === undefined) return RETRY_MS;
      this.#options.ports.free(door.port);
      door.port = other;
    }
    if (report?.listening !== true || !report.address.endsWith(`:${door.port}`)) return RETRY_MS;
    try {
      await writeDoor(service, { door, address }, context);
    } catch (error) {
      if (!(error instanceof ApiError) || error.httpCode < 400 || error.httpCode >= 500) throw error;
      const message = `Service ${namespace}/${name} cannot lead through it: ${error.message}`;
      context.events.record(ingress, "Warning", "NoWayInside", message);
      return undefined;
    }
    if (Object.keys(service.spec.selector ?? {}).length === 0) await removeOthers(service, context);
    return undefined;
  }

  /** It goes when pods answer without it, or when it leads nowhere. */
  async #close(
    { metadata }: EndpointSlice,
    ingress: Ingress | undefined,
    context: Context,
  ): Promise<number | undefined> {
    const { namespace = "", name, labels = {} } = metadata;
    const { informers, client } = context.cluster;
    const service = labels[SERVICE_LABEL] ?? "";
    const others = slicesOf(namespace, service, informers).filter((slice) => !isDoor(slice));
    const isNeeded =
      ingress !== undefined &&
      informers.informer(ServiceKind).get({ namespace, name: service }) !== undefined &&
      !hasReady(others);
    if (isNeeded) return RETRY_MS;
    await client.resource(EndpointSliceKind).delete(name, { namespace });
    const door = this.#doors.get(`${namespace}/${service}`);
    if (door !== undefined) door.leavesAtMs = context.clock.monotonicMs() + GRACE_MS;
    return GRACE_MS;
  }
}

const nameOf = ({ cluster }: Context, { namespace, service }: Door): string =>
  `inside-${cluster.name}/${namespace}/${service}`;

const preferredPort = (id: string): number =>
  FIRST_PORT + (createHash("sha256").update(id).digest().readUInt32BE(0) % PORTS);

const ALL = "*";

function servicesThrough(informers: InformerSet, id: string): readonly Service[] {
  const services = informers.informer(ServiceKind);
  services.addIndex(THROUGH_INDEX, ({ metadata }) => {
    const ingress = metadata.annotations?.[ARGOSY.through];
    return ingress === undefined ? [] : [ALL, `${metadata.namespace ?? ""}/${ingress}`];
  });
  return services.byIndex(THROUGH_INDEX, id).filter((service) => !isDeleting(service));
}

function doorsOf(informers: InformerSet, id: string): readonly EndpointSlice[] {
  const slices = informers.informer(EndpointSliceKind);
  slices.addIndex(DOOR_INDEX, (slice) =>
    isDoor(slice) ? [ALL, `${slice.metadata.namespace ?? ""}/${slice.metadata.labels?.[ARGOSY.doorOf] ?? ""}`] : [],
  );
  return slices.byIndex(DOOR_INDEX, id);
}

async function writeDoor(
  service: Service,
  { door, address }: { readonly door: Door; readonly address: string },
  { cluster }: Context,
): Promise<void> {
  const { namespace = "", name: serviceName } = service.metadata;
  const name = `${serviceName}-door`;
  const labels = { [SERVICE_LABEL]: serviceName, [MANAGED_BY]: MANAGER, [ARGOSY.doorOf]: door.ingress };
  const wanted = {
    addressType: isIPv6(address) ? "IPv6" : "IPv4",
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports: (service.spec.ports ?? []).map(({ name: port = "" }) => ({ name: port, port: door.port, protocol: "TCP" })),
  };
  const found = cluster.informers.informer(EndpointSliceKind).get({ namespace, name });
  if (found !== undefined && found.metadata.labels?.[ARGOSY.doorOf] === door.ingress) {
    const { addressType, endpoints, ports } = found;
    if (equalJson(toJson({ addressType, endpoints, ports }), toJson(wanted))) return;
  }
  const metadata = { name, labels, ownerReferences: [toJson(ownerReferenceTo(service, false))] };
  const options = { namespace, fieldManager: FIELD_MANAGER, force: true };
  await cluster.client.resource(EndpointSliceKind).apply({ metadata, ...wanted }, options);
}

/** Slices and Endpoints that were kept while there was a selector are nobody's now, and lead past the gateway. */
async function removeOthers({ metadata }: Service, { cluster }: Context): Promise<void> {
  const { namespace = "", name } = metadata;
  const others = slicesOf(namespace, name, cluster.informers).filter((slice) => !isDoor(slice));
  if (others.length === 0) return;
  const endpoints = cluster.client.resource(EndpointsKind);
  if ((await endpoints.find(name, { namespace })) !== undefined) await endpoints.delete(name, { namespace });
  for (const slice of others)
    await cluster.client.resource(EndpointSliceKind).delete(slice.metadata.name, { namespace });
}

import {
  type BackendInput,
  checkRoute,
  type GatewayDriver,
  type ListenerInput,
  type RouteInput,
  type ShadowInput,
} from "../../dataplane/gateway/index.js";
import {
  type ControllerSpec,
  type InformerSet,
  type Key,
  type ReconcileContext,
  syncStatus,
} from "../../kernel/control/index.js";
import {
  type EndpointSlice,
  EndpointSliceKind,
  type Ingress,
  IngressKind,
  isDeleting,
  type KubeObject,
  type Service,
  ServiceKind,
} from "../../kernel/kinds/index.js";
import { isObject } from "../../kernel/schema/index.js";
import { derivedFrom } from "./derived.js";
import { type Built, GatewayWriter } from "./gateway-writer.js";
import { activated, activatorOf, routeOptions, startingAddresses } from "./ingress-activator.js";
import { DoorPorts, Doors, isDoor, throughOf } from "./ingress-doors.js";
import { type IngressPolicies, policiesIn } from "./ingress-policies.js";
import { ARGOSY } from "./names.js";

const NAME = "ingress-controller";
const CLASS = "argosy";
const SERVICE_LABEL = "kubernetes.io/service-name";
const SERVICE_INDEX = "fleet-service-name";

/** What an ingress controller works with. */
export interface IngressOptions {
  readonly gateway: GatewayDriver;
  /** The listener of this cluster's ingress. */
  readonly listener: ListenerInput;
  /** Address by which the cluster's pods reach what the gateway listens on; absent: not known. */
  readonly insideAddress?: string | undefined;
  /** Shared by all clusters of the gateway; absent: this is the only one. */
  readonly doorPorts?: DoorPorts;
}

type Context = ReconcileContext<Ingress>;
type Rule = NonNullable<NonNullable<Ingress["spec"]["rules"]>[number]["http"]>["paths"][number];
type IngressBackend = Rule["backend"];

/** What lasts from one look to the next. */
interface Worker {
  readonly context: Context;
  readonly writer: GatewayWriter<Compiled>;
  readonly doors: Doors;
}

function startWorker({ listener, gateway, insideAddress, doorPorts }: IngressOptions, context: Context): Worker {
  const doors = new Doors({
    gateway,
    listener,
    address: insideAddress,
    ports: doorPorts ?? new DoorPorts(),
    routesOf: (ingress, door, at) => routesOf(ingress, policiesIn(ingress), door, at),
  });
  const kinds = [IngressKind, ServiceKind, EndpointSliceKind];
  const compiled = derivedFrom(context.cluster.informers, kinds, context.signal, () => compileAll(listener, context));
  const build = (): Built<Compiled> => {
    const from = compiled();
    const inside = doors.part(context);
    const part = { listeners: [listener, ...inside.listeners], routes: [...from.routes, ...inside.routes] };
    return { part, from };
  };
  const source = `ingress-${context.cluster.name}`;
  return { context, doors, writer: new GatewayWriter(gateway, context.clock, source, build) };
}

/** Carries the Ingresses of class `argosy` of one cluster out: host and path to the ready pods of a Service. */
export function ingressController(options: IngressOptions): ControllerSpec<Ingress> {
  const { listener } = options;
  let worker: Worker | undefined;
  return {
    name: NAME,
    kind: IngressKind,
    watches: [
      {
        kind: ServiceKind,
        keys: (service, informers) => [
          ...ingressesOf(service.metadata.name, service.metadata.namespace, informers),
          ...throughOf(service, informers),
        ],
      },
      {
        kind: EndpointSliceKind,
        keys: (slice, informers) => [
          ...ingressesOf(slice.metadata.labels?.[SERVICE_LABEL], slice.metadata.namespace, informers),
          ...throughOf(slice, informers),
        ],
      },
    ],
    async reconcile(key, ingress, context) {
      if (worker === undefined || worker.context.signal.aborted) worker = startWorker(options, context);
      const inForce = await worker.writer.flush();
      const isCarried = ingress !== undefined && !isDeleting(ingress) && isOurs(ingress);
      const againMs = await worker.doors.tend(key, isCarried ? ingress : undefined, context);
      const result = againMs === undefined ? undefined : { requeueAfterMs: againMs };
      if (!isCarried) return result;
      if ((ingress.spec.tls ?? []).length > 0) {
        const message = "spec.tls is not carried out: this cluster's ingress has one certificate for its listener";
        context.events.record(ingress, "Warning", "TLSIgnored", message);
      }
      for (const message of inForce.faults.get(ingress.metadata.uid) ?? []) {
        context.events.record(ingress, "Warning", "RouteRefused", message);
      }
      const status = {
        loadBalancer: { ingress: [{ ip: listener.host, ports: [{ port: listener.port, protocol: "TCP" }] }] },
      };
      await syncStatus(context.cluster.client.resource(IngressKind), ingress, status, NAME);
      return result;
    },
  };
}

function isOurs(ingress: Ingress): boolean {
  return (ingress.spec.ingressClassName ?? ingress.metadata.annotations?.["kubernetes.io/ingress.class"]) === CLASS;
}

function ingressesOf(
  service: string | undefined,
  namespace: string | undefined,
  informers: InformerSet,
): readonly Key[] {
  const ingresses = informers.informer(IngressKind);
  ingresses.addIndex(SERVICE_INDEX, (ingress) =>
    servicesOf(ingress).map((name) => `${ingress.metadata.namespace ?? ""}/${name}`),
  );
  return ingresses.byIndex(SERVICE_INDEX, `${namespace ?? ""}/${service ?? ""}`).map(keyOf);
}

function keyOf(object: KubeObject): Key {
  return { namespace: object.metadata.namespace ?? "", name: object.metadata.name };
}

function servicesOf(ingress: Ingress): string[] {
  const backends = [
    ingress.spec.defaultBackend,
    ...(ingress.spec.rules ?? []).flatMap((rule) => (rule.http?.paths ?? []).map((path) => path.backend)),
  ];
  const named = backends.flatMap((backend) => (backend?.service?.name === undefined ? [] : [backend.service.name]));
  const shadows = policiesIn(ingress).shadows.map(({ service }) => service);
  return [...new Set([...named, ...Object.keys(weightsIn(ingress).weights ?? {}), ...shadows])];
}

/** All routes of the cluster, and what could not become one, by the Ingress' uid. */
interface Compiled {
  readonly routes: readonly RouteInput[];
  readonly faults: ReadonlyMap<string, readonly string[]>;
}

/** The oldest Ingress first: of two that claim the same host and path, the older one has it. */
function compileAll(listener: ListenerInput, context: Context): Compiled {
  const owners = new Map<string, Ingress>();
  const routes: RouteInput[] = [];
  const faults = new Map<string, readonly string[]>();
  for (const ingress of ingressesInOrder(context)) {
    const { fault: weightsFault } = weightsIn(ingress);
    const policies = policiesIn(ingress);
    const own: string[] = [...(weightsFault === undefined ? [] : [weightsFault]), ...policies.faults];
    const isInside = ingress.metadata.annotations?.[ARGOSY.insideOnly] === "true";
    for (const route of isInside ? [] : routesOf(ingress, policies, listener, context)) {
      const elder = owners.get(claimOf(route));
      const fault = elder === undefined ? checkRoute(route) : describeElder(route, elder);
      if (fault !== "") own.push(fault);
      else {
        owners.set(claimOf(route), ingress);
        routes.push(route);
      }
    }
    if (own.length > 0) faults.set(ingress.metadata.uid, own);
  }
  return { routes, faults };
}

function describeElder(route: RouteInput, { metadata }: Ingress): string {
  return `host ${route.hosts?.join() ?? "*"} path ${route.path ?? "/"} belongs to Ingress ${metadata.namespace ?? ""}/${metadata.name}, which is older`;
}

function ingressesInOrder(context: Context): readonly Ingress[] {
  const order = (ingress: Ingress): string =>
    `${ingress.metadata.creationTimestamp} ${ingress.metadata.namespace ?? ""}/${ingress.metadata.name}`;
  const ingresses = context.informer.list().filter((ingress) => isOurs(ingress) && !isDeleting(ingress));
  return [...ingresses].sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

function claimOf(route: RouteInput): string {
  return JSON.stringify([route.hosts, route.exact === true, (route.path ?? "/").replace(/\/+$/, "")]);
}

/** The routes of one Ingress, whether they can be carried out or not. */
function routesOf(
  ingress: Ingress,
  policies: IngressPolicies,
  listener: ListenerInput,
  context: Context,
): RouteInput[] {
  const { namespace = "", name } = ingress.metadata;
  const id = (rule: number | "default", path: number): string =>
    `ingress/${context.cluster.name}/${namespace}/${name}/${rule}/${path}`;
  const make = (
    routeId: string,
    host: string | undefined,
    path: Pick<Rule, "path" | "pathType">,
    backend: IngressBackend,
  ): RouteInput => ({
    id: routeId,
    listener: listener.name,
    hosts: [host === undefined || host === "" ? "*" : host.toLowerCase()],
    path: path.path === undefined || path.path === "" ? "/" : path.path,
    exact: path.pathType === "Exact",
    ...routeOptions(ingress),
    backends: backendsOf(ingress, backend, context),
    ...policies.route,
    ...(policies.shadows.length === 0
      ? {}
      : { shadows: policies.shadows.map((shadow) => shadowOf(ingress, backend, shadow, context)) }),
  });
  const routes = (ingress.spec.rules ?? []).flatMap((rule, ruleIndex) => {
    const paths = rule.http?.paths ?? [];
    const { defaultBackend } = ingress.spec;
    if (paths.length === 0 && defaultBackend !== undefined)
      return [make(id(ruleIndex, 0), rule.host, { path: "/", pathType: "Prefix" }, defaultBackend)];
    return paths.map((path, pathIndex) => make(id(ruleIndex, pathIndex), rule.host, path, path.backend));
  });
  const { defaultBackend } = ingress.spec;
  return defaultBackend === undefined
    ? routes
    : [...routes, make(id("default", 0), undefined, { path: "/", pathType: "Prefix" }, defaultBackend)];
}

/** One backend, or several where the annotation splits the requests to that Service. */
function backendsOf(ingress: Ingress, backend: IngressBackend, context: Context): BackendInput[] {
  const { weights } = weightsIn(ingress);
  const { service } = backend;
  if (service === undefined || weights === undefined || !Object.hasOwn(weights, service.name))
    return [backendOf(ingress, backend, context)];
  return Object.entries(weights).map(([name, weight]) => ({
    ...backendOf(ingress, { service: { ...service, name } }, context),
    weight,
  }));
}

/** A Service's pods as receivers of copies; the port is that of the rule's own Service. */
function shadowOf(
  ingress: Ingress,
  backend: IngressBackend,
  { service, percent }: IngressPolicies["shadows"][number],
  context: Context,
): ShadowInput {
  const of = { service: { ...backend.service, name: service } };
  const { addresses } = addressesOf(ingress.metadata.namespace ?? "", of, context);
  return { name: service, addresses, percent };
}

/** The weights of the annotation, or what is wrong with it. */
function weightsIn(ingress: Ingress): { readonly weights?: Readonly<Record<string, number>>; readonly fault?: string } {
  const text = ingress.metadata.annotations?.[ARGOSY.weights];
  if (text === undefined) return {};
  const fault = `annotation ${ARGOSY.weights} is ignored: it must be JSON like {"service-a":90,"service-b":10} with whole numbers from 0 to 1000000`;
  try {
    const value: unknown = JSON.parse(text);
    if (!isObject(value)) return { fault };
    const weights: Record<string, number> = {};
    for (const [name, weight] of Object.entries(value)) {
      if (typeof weight !== "number" || !Number.isInteger(weight) || weight < 0 || weight > 1_000_000) return { fault };
      weights[name] = weight;
    }
    return { weights };
  } catch {
    return { fault };
  }
}

function backendOf(ingress: Ingress, backend: IngressBackend, context: Context): BackendInput {
  const found = addressesOf(ingress.metadata.namespace ?? "", backend, context);
  const healthPath = ingress.metadata.annotations?.[ARGOSY.healthPath];
  const name = backend.service?.name ?? "resource";
  return {
    name,
    ...activated(activatorOf(ingress, name, context.cluster.name), found.starting, healthPath),
    addresses: found.addresses,
    ...(found.reason === "" ? {} : { reason: found.reason }),
    ...(healthPath === undefined ? {} : { health: { path: healthPath } }),
  };
}

/** host:port of each ready pod behind a Service's port, or why there is none. */
function addressesOf(
  namespace: string,
  backend: IngressBackend,
  context: Context,
): { readonly addresses: string[]; readonly starting: readonly string[]; readonly reason: string } {
  const none = (reason: string, starting: readonly string[] = []) => ({ addresses: [], starting, reason });
  if (backend.service === undefined) return none("the rule names a resource; only Services can be backends");
  const { name, port } = backend.service;
  const { informers } = context.cluster;
  const service = informers.informer(ServiceKind).get({ namespace, name });
  if (service === undefined) return none(`Service ${namespace}/${name} does not exist`);
  const servicePort = (service.spec.ports ?? []).find((candidate) =>
    port?.name === undefined ? candidate.port === port?.number : candidate.name === port.name,
  );
  if (servicePort === undefined)
    return none(`Service ${namespace}/${name} has no port ${port?.name ?? port?.number ?? ""}`);
  const slices = slicesOf(service, informers);
  const addresses = [...new Set(slices.flatMap((slice) => readyAddresses(slice, servicePort.name ?? "")))].sort();
  const starting = startingAddresses(slices, servicePort.name ?? "");
  if (addresses.length === 0) return none(`Service ${namespace}/${name} has no ready pod`, starting);
  return { addresses, starting, reason: "" };
}

function slicesOf(service: Service, informers: InformerSet): readonly EndpointSlice[] {
  const slices = informers.informer(EndpointSliceKind);
  slices.addIndex(SERVICE_INDEX, (slice) => [
    `${slice.metadata.namespace ?? ""}/${slice.metadata.labels?.[SERVICE_LABEL] ?? ""}`,
  ]);
  const own = slices.byIndex(SERVICE_INDEX, `${service.metadata.namespace ?? ""}/${service.metadata.name}`);
  // What comes from the gateway is not sent back to it.
  return own.filter((slice) => !isDoor(slice));
}

function readyAddresses(slice: EndpointSlice, portName: string): string[] {
  const port = (slice.ports ?? []).find((candidate) => (candidate.name ?? "") === portName)?.port;
  if (port === undefined) return [];
  return (slice.endpoints ?? []).flatMap((endpoint) => {
    const { ready, terminating } = endpoint.conditions ?? {};
    if (ready === false || terminating === true) return [];
    return endpoint.addresses
      .slice(0, 1)
      .map((address) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`));
  });
}

/** What an Ingress says, as the gateway's routes: hosts and paths to the ready pods of Services. */
import type { BackendInput, ListenerInput, RouteInput, ShadowInput } from "../../dataplane/gateway/index.js";
import type { ClusterAccess, InformerSet } from "../../kernel/control/index.js";
import {
  type EndpointSlice,
  EndpointSliceKind,
  type Ingress,
  type Service,
  ServiceKind,
} from "../../kernel/kinds/index.js";
import { isObject } from "../../kernel/schema/index.js";
import { activated, activatorOf, routeOptions, startingAddresses } from "./ingress-activator.js";
import { isDoor } from "./ingress-doors.js";
import { type IngressPolicies, policiesIn } from "./ingress-policies.js";
import { ARGOSY } from "./names.js";

/** Label of an EndpointSlice with its Service's name. */
export const SERVICE_LABEL = "kubernetes.io/service-name";
const SERVICE_INDEX = "fleet-service-name";

type Rule = NonNullable<NonNullable<Ingress["spec"]["rules"]>[number]["http"]>["paths"][number];
type IngressBackend = Rule["backend"];
/** Where Services and their pods are looked up. */
type Context = { readonly cluster: Pick<ClusterAccess, "name" | "informers"> };

/** The Services that an Ingress names anywhere. */
export function servicesOf(ingress: Ingress): string[] {
  const backends = [
    ingress.spec.defaultBackend,
    ...(ingress.spec.rules ?? []).flatMap((rule) => (rule.http?.paths ?? []).map((path) => path.backend)),
  ];
  const named = backends.flatMap((backend) => (backend?.service?.name === undefined ? [] : [backend.service.name]));
  const shadows = policiesIn(ingress).shadows.map(({ service }) => service);
  return [...new Set([...named, ...Object.keys(weightsIn(ingress).weights ?? {}), ...shadows])];
}

/** The routes of one Ingress, whether they can be carried out or not. */
export function routesOf(
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
export function weightsIn(ingress: Ingress): {
  readonly weights?: Readonly<Record<string, number>>;
  readonly fault?: string;
} {
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

/** The slices of a Service that name its pods. */
function slicesOf({ metadata: { namespace = "", name } }: Service, informers: InformerSet): readonly EndpointSlice[] {
  const slices = informers.informer(EndpointSliceKind);
  slices.addIndex(SERVICE_INDEX, (slice) => [
    `${slice.metadata.namespace ?? ""}/${slice.metadata.labels?.[SERVICE_LABEL] ?? ""}`,
  ]);
  const own = slices.byIndex(SERVICE_INDEX, `${namespace}/${name}`);
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

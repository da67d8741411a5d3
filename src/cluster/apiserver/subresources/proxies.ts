import { isIPv4 } from "node:net";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Connect } from "../../../kernel/netns/index.js";
import { badRequest, notFound, unavailable } from "../failures.js";
import { isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import { listPrefix, objectKey } from "../store/keys.js";
import type { SubresourceContext, SubresourceHandler } from "../types.js";
import type { NodeAgents } from "./node-agents.js";
import { type Destination, forward, forwardUpgrade, nodeAddress } from "./node-connection.js";

/** `pods/proxy`, `services/proxy`, `nodes/proxy`: HTTP to what runs in the cluster, through the API server. */
export function proxies(agents: NodeAgents, connect: Connect): SubresourceHandler[] {
  return [
    proxy("pods", (context) => ({ ...toPod(context), connect })),
    proxy("services", (context) => ({ ...toService(context), connect })),
    proxy("nodes", (context) => toNode(agents, context)),
  ];
}

interface Target {
  readonly scheme: "http" | "https";
  readonly name: string;
  readonly port: string;
}

type Place = Omit<Destination, "path">;

function proxy(plural: string, locate: (context: SubresourceContext) => Place): SubresourceHandler {
  const destination = (context: SubresourceContext): Destination => ({
    ...locate(context),
    path: pathBelowProxy(context),
  });
  return {
    path: `${plural}/proxy`,
    isLasting: true,
    handle: async (context) => forward(destination(context), context.request),
    upgrade: async (context) => forwardUpgrade(destination(context), { ...context.request, body: new Uint8Array() }),
  };
}

/** What follows `/proxy` in the path, as sent. */
export function pathBelowProxy({ request, info }: Pick<SubresourceContext, "request" | "info">): string {
  const start = request.path.split("/");
  const at = start.findIndex((segment, index) => segment === "proxy" && decode(start[index - 1] ?? "") === info.name);
  const rest = at < 0 ? "" : start.slice(at + 1).join("/");
  const query = request.query.toString();
  return `/${rest}${query === "" ? "" : `?${query}`}`;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** `name`, `name:port`, `https:name:port`. Throws 400. */
function targetOf(text: string, what: "node" | "pod" | "service"): Target {
  const parts = text.split(":");
  const [first = "", second = "", third = ""] = parts;
  if (parts.length <= 2) return { scheme: "http", name: first, port: second };
  if (parts.length === 3 && (first === "http" || first === "https" || first === ""))
    return { scheme: first === "https" ? "https" : "http", name: second, port: third };
  throw badRequest(`invalid ${what} request ${JSON.stringify(text.slice(0, 128))}`);
}

function toPod({ store, info }: SubresourceContext): Place {
  const target = targetOf(info.name, "pod");
  const pods = { group: "", plural: "pods" };
  const pod = store.get(objectKey(pods, info.namespace, target.name))?.value;
  if (pod === undefined) throw notFound(pods, target.name);
  const host = stringAt(objectAt(pod, "status"), "podIP");
  if (host === "" || isReserved(host)) throw badRequest("address not allowed");
  const port = target.port === "" ? (portsOf(pod)[0]?.port ?? 80) : (portNamed(portsOf(pod), target.port) ?? 0);
  if (port === 0) throw badRequest(`pod ${target.name} has no port ${JSON.stringify(target.port.slice(0, 64))}`);
  return { scheme: target.scheme, host, port };
}

interface NamedPort {
  readonly name: string;
  readonly port: number;
}

function portsOf(pod: JsonObject): NamedPort[] {
  const containers = objectAt(pod, "spec")["containers"];
  const all = Array.isArray(containers) ? containers.filter(isObject) : [];
  return all.flatMap((container) => numbered(container["ports"], "containerPort"));
}

function numbered(list: unknown, field: string): NamedPort[] {
  if (!Array.isArray(list)) return [];
  return list.filter(isObject).flatMap((item) => {
    const port = item[field];
    return typeof port === "number" ? [{ name: stringAt(item, "name"), port }] : [];
  });
}

function portNamed(ports: readonly NamedPort[], wanted: string): number | undefined {
  if (/^\d{1,5}$/.test(wanted)) return Number(wanted);
  return ports.find(({ name }) => name === wanted)?.port;
}

/** A ready address behind the Service, by its EndpointSlices. */
function toService(context: SubresourceContext): Place {
  const { store, info } = context;
  const target = targetOf(info.name, "service");
  const services = { group: "", plural: "services" };
  const service = store.get(objectKey(services, info.namespace, target.name))?.value;
  if (service === undefined) throw notFound(services, target.name);
  const shown = JSON.stringify(target.name);
  const ports = numbered(objectAt(service, "spec")["ports"], "port");
  const isNumber = /^\d+$/.test(target.port);
  const slices = slicesOf(context, target.name);
  const chosen =
    target.port === ""
      ? ports[0]
      : ports.find(({ name, port }) => (isNumber ? String(port) === target.port : name === target.port));
  if (isNumber && chosen === undefined) throw unavailable(`no service port ${target.port} found for service ${shown}`);
  // Nobody has said yet what stands behind it.
  if (slices.length === 0 && !hasEndpoints(context, target.name)) throw notFound(services, target.name);
  for (const slice of slices) {
    const port = numbered(slice["ports"], "port").find(({ name }) => name === chosen?.name)?.port;
    const host = readyAddress(slice);
    if (port !== undefined && host !== undefined) return { scheme: target.scheme, host, port };
  }
  throw unavailable(`no endpoints available for service ${shown}`);
}

function slicesOf({ store, info }: SubresourceContext, service: string): JsonObject[] {
  return store
    .list(listPrefix({ group: "discovery.k8s.io", plural: "endpointslices" }, info.namespace))
    .items.map(({ value }) => value)
    .filter((slice) => objectAt(objectAt(slice, "metadata"), "labels")["kubernetes.io/service-name"] === service);
}

function hasEndpoints({ store, info }: SubresourceContext, service: string): boolean {
  return store.get(objectKey({ group: "", plural: "endpoints" }, info.namespace, service)) !== undefined;
}

function readyAddress(slice: JsonObject): string | undefined {
  const endpoints = slice["endpoints"];
  const all = Array.isArray(endpoints) ? endpoints.filter(isObject) : [];
  return all
    .filter((endpoint) => objectAt(endpoint, "conditions")["ready"] !== false)
    .map((endpoint) => stringsAt(endpoint, "addresses")[0])
    .find((address): address is string => address !== undefined && !isReserved(address));
}

function toNode(agents: NodeAgents, { store, info }: SubresourceContext): Place {
  const target = targetOf(info.name, "node");
  const address = nodeAddress(store, target.name);
  if (target.port !== "" && Number(target.port) !== address.port)
    throw badRequest(`node ${target.name} may be reached at its agent's port ${address.port} only`);
  return { scheme: "https", ...address, agent: agents.pool() };
}

/** Addresses that no pod has and that must not be reached by way of this server: link-local (cloud metadata), this host, any, multicast. */
function isReserved(address: string): boolean {
  if (!isIPv4(address)) return /^(::1?|fe[89ab].*|ff.*|::ffff:.*)$/i.test(address);
  const [a = 0, b = 0] = address.split(".").map(Number);
  // 127.0.0.0/10 is the host's own; pods of a plain user have loopback addresses above it.
  return a === 0 || (a === 127 && b < 64) || (a === 169 && b === 254) || a >= 224;
}

import { isIP, isIPv4 } from "node:net";
import type { Clock, Random } from "../../../kernel/clock/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { follow } from "../auth/index.js";
import { internalError, invalid } from "../failures.js";
import { equalJson, isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import { listPrefix, objectKey } from "../store/keys.js";
import type { AdmissionPlugin, AdmissionRequest, Store, StoreEvent } from "../types.js";
import { type AddressRange, Pool, parseRange, toAddress, toNumber } from "./address-pool.js";

export interface ServiceAdmissionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly serviceCidr: string;
}

const services = { group: "", plural: "services" };
const nodePorts = { first: 30_000, size: 2768 };
/** Fields that mean nothing without a cluster address. */
const addressFields = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"];

/** Gives Services their cluster addresses and node ports, takes them back when they go, and keeps them over updates. */
export function serviceAllocation(options: ServiceAdmissionOptions): AdmissionPlugin & { close(): void } {
  const { store, random } = options;
  const range = parseRange(options.serviceCidr);
  const pools: Pools = { range, random, addresses: new Pool(options.clock), ports: new Pool(options.clock) };
  const readAll = () => {
    pools.addresses.clear();
    pools.ports.clear();
    for (const { key, value } of store.list(listPrefix(services, "")).items) note(pools, key, value, "take");
  };
  const apply = (event: StoreEvent) => {
    if (event.old !== undefined) note(pools, event.old.key, event.old.value, "release");
    if (event.type === "put") note(pools, event.now.key, event.now.value, "take");
  };
  const watch = follow(store, listPrefix(services, ""), {
    onEvents: (events) => events.forEach(apply),
    onGap: readAll,
  });
  readAll();
  return {
    name: "ServiceAllocation",
    close: () => watch.close(),
    mutate(request) {
      const { type, subresource, operation, object } = request;
      if (type.group !== "" || type.plural !== "services" || subresource !== "" || object === undefined) return;
      if (operation !== "CREATE" && operation !== "UPDATE") return;
      const spec = object["spec"];
      if (!isObject(spec)) return;
      const oldSpec = request.old === undefined ? undefined : objectAt(request.old, "spec");
      if (oldSpec !== undefined) keepAllotted(spec, oldSpec);
      dropMeaningless(spec, oldSpec);
      allocate(spec, { pools, request, owner: objectKey(services, request.namespace, request.name) });
    },
  };
}

interface Pools {
  readonly range: AddressRange;
  readonly random: Random;
  readonly addresses: Pool;
  readonly ports: Pool;
}

interface Work {
  readonly pools: Pools;
  readonly request: AdmissionRequest;
  readonly owner: string;
}

const needsAddress = (spec: JsonObject) => stringAt(spec, "type") !== "ExternalName";
function needsNodePorts(spec: JsonObject): boolean {
  const type = stringAt(spec, "type");
  return type === "NodePort" || (type === "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] !== false);
}
const needsHealthPort = (spec: JsonObject) =>
  stringAt(spec, "type") === "LoadBalancer" && stringAt(spec, "externalTrafficPolicy") === "Local";

/** Clients that send a Service without what was allotted to it keep that. */
function keepAllotted(spec: JsonObject, old: JsonObject): void {
  if (needsAddress(spec) && needsAddress(old)) {
    const sameList = equalJson(spec["clusterIPs"], old["clusterIPs"]);
    // clusterIP is the old name of the list's first entry: who changes it alone means the list too.
    if (sameList && stringAt(spec, "clusterIP") !== "" && stringAt(spec, "clusterIP") !== stringAt(old, "clusterIP"))
      spec["clusterIPs"] = [stringAt(spec, "clusterIP")];
    for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"])
      if (isUnset(spec[field])) setOrDrop(spec, field, old[field]);
  }
  if (needsNodePorts(spec) && needsNodePorts(old)) {
    const wanted = new Set(portsOf(spec).map((port) => port["nodePort"]));
    const known = new Map(portsOf(old).map((port) => [portId(port), port["nodePort"]]));
    for (const port of portsOf(spec)) {
      const kept = known.get(portId(port));
      if (isUnset(port["nodePort"]) && typeof kept === "number" && !wanted.has(kept)) port["nodePort"] = kept;
    }
  }
  if (needsHealthPort(spec) && needsHealthPort(old) && isUnset(spec["healthCheckNodePort"]))
    setOrDrop(spec, "healthCheckNodePort", old["healthCheckNodePort"]);
}

/** After a change of type, what the server had set for the old type goes, unless the client changed it too. */
function dropMeaningless(spec: JsonObject, old: JsonObject | undefined): void {
  if (old === undefined) return;
  const drop = (field: string) => {
    if (equalJson(spec[field], old[field]) || isUnset(spec[field])) delete spec[field];
  };
  const ended = (needs: (of: JsonObject) => boolean) => needs(old) && !needs(spec);
  if (ended(needsAddress)) for (const field of addressFields) drop(field);
  if (ended(needsNodePorts)) dropNodePorts(spec, old);
  if (ended(isExternal)) drop("externalTrafficPolicy");
  if (ended(needsHealthPort)) drop("healthCheckNodePort");
  if (ended((of) => stringAt(of, "type") === "LoadBalancer")) {
    drop("allocateLoadBalancerNodePorts");
    drop("loadBalancerClass");
  }
}

const isExternal = (spec: JsonObject) => ["NodePort", "LoadBalancer"].includes(stringAt(spec, "type"));

function dropNodePorts(spec: JsonObject, old: JsonObject): void {
  const known = new Map(portsOf(old).map((port) => [portId(port), port["nodePort"]]));
  for (const port of portsOf(spec)) if (known.get(portId(port)) === port["nodePort"]) delete port["nodePort"];
}

function allocate(spec: JsonObject, work: Work): void {
  if (needsAddress(spec)) {
    setFamilies(spec, work);
    allocateAddress(spec, work);
  }
  if (needsNodePorts(spec)) allocateNodePorts(spec, work);
  if (needsHealthPort(spec) && isUnset(spec["healthCheckNodePort"]))
    spec["healthCheckNodePort"] = promisePort(pickPort(work), work);
}

function setFamilies(spec: JsonObject, work: Work): void {
  const isHeadless = stringAt(spec, "clusterIP") === "None";
  const hasSelector = Object.keys(objectAt(spec, "selector")).length > 0;
  const policy = stringAt(spec, "ipFamilyPolicy");
  // A headless Service without selector lists addresses of other people's: of either family.
  if (isHeadless && !hasSelector && policy === "" && isUnset(spec["ipFamilies"])) {
    spec["ipFamilies"] = ["IPv4", "IPv6"];
    spec["ipFamilyPolicy"] = "RequireDualStack";
    return;
  }
  if (policy === "RequireDualStack" && !(isHeadless && !hasSelector))
    throw wrong(
      work,
      "spec.ipFamilyPolicy",
      `Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services`,
    );
  const families = stringsAt(spec, "ipFamilies");
  const index = families.indexOf("IPv6");
  if (index >= 0 && !(isHeadless && !hasSelector))
    throw wrong(work, `spec.ipFamilies[${index}]`, `Invalid value: "IPv6": not configured on this cluster`);
  if (families.length === 0) spec["ipFamilies"] = ["IPv4"];
  if (policy === "") spec["ipFamilyPolicy"] = "SingleStack";
}

function allocateAddress(spec: JsonObject, work: Work): void {
  const { pools, owner, request } = work;
  const asked = stringAt(spec, "clusterIP") || (stringsAt(spec, "clusterIPs")[0] ?? "");
  if (asked === "") {
    const value = pools.addresses.pick(pools.range.first, pools.range.size, pools.random);
    if (value === undefined) throw internalError(`failed to allocate a serviceIP: range ${pools.range.cidr} is full`);
    if (!request.dryRun) pools.addresses.promise(value, owner);
    spec["clusterIP"] = toAddress(value);
    spec["clusterIPs"] = [toAddress(value)];
    return;
  }
  if (stringAt(spec, "clusterIP") === "") spec["clusterIP"] = asked;
  if (isUnset(spec["clusterIPs"])) spec["clusterIPs"] = [asked];
  // What is no address is for validation to refuse; `None` needs none.
  if (asked === "None" || isIP(asked) === 0) return;
  const refuse = (why: string) =>
    wrong(work, "spec.clusterIPs", `Invalid value: ${JSON.stringify([asked])}: failed to allocate IP ${asked}: ${why}`);
  const value = isIPv4(asked) ? toNumber(asked) : -1;
  if (value < pools.range.first || value >= pools.range.first + pools.range.size)
    throw refuse("the provided network does not match the current range");
  if (!pools.addresses.isFree(value, owner)) throw refuse("provided IP is already allocated");
  if (!request.dryRun) pools.addresses.promise(value, owner);
}

function allocateNodePorts(spec: JsonObject, work: Work): void {
  for (const [index, port] of portsOf(spec).entries()) {
    const asked = port["nodePort"];
    if (typeof asked !== "number" || asked === 0) {
      port["nodePort"] = promisePort(pickPort(work), work);
      continue;
    }
    const refuse = (why: string) => wrong(work, `spec.ports[${index}].nodePort`, `Invalid value: ${asked}: ${why}`);
    const last = nodePorts.first + nodePorts.size - 1;
    if (asked < nodePorts.first || asked > last)
      throw refuse(`provided port is not in the valid range. The range of valid ports is ${nodePorts.first}-${last}`);
    if (!work.pools.ports.isFree(asked, work.owner)) throw refuse("provided port is already allocated");
    promisePort(asked, work);
  }
}

function pickPort({ pools }: Work): number {
  const port = pools.ports.pick(nodePorts.first, nodePorts.size, pools.random);
  if (port === undefined) throw internalError("failed to allocate a nodePort: range is full");
  return port;
}

function promisePort(port: number, { pools, owner, request }: Work): number {
  if (!request.dryRun) pools.ports.promise(port, owner);
  return port;
}

function note(pools: Pools, owner: string, service: JsonObject, what: "take" | "release"): void {
  const spec = objectAt(service, "spec");
  for (const address of stringsAt(spec, "clusterIPs"))
    if (isIPv4(address)) pools.addresses[what](toNumber(address), owner);
  const ports = [...portsOf(spec).map((port) => port["nodePort"]), spec["healthCheckNodePort"]];
  for (const port of ports) if (typeof port === "number" && port > 0) pools.ports[what](port, owner);
}

function portsOf(spec: JsonObject): JsonObject[] {
  const { ports } = spec;
  return Array.isArray(ports) ? ports.filter(isObject) : [];
}

function portId(port: JsonObject): string {
  return `${stringAt(port, "protocol") || "TCP"}/${JSON.stringify(port["port"])}`;
}

function isUnset(value: Json | undefined): boolean {
  return (
    value === undefined || value === null || value === "" || value === 0 || (Array.isArray(value) && value.length === 0)
  );
}

function setOrDrop(object: JsonObject, field: string, value: Json | undefined): void {
  if (value === undefined) delete object[field];
  else object[field] = structuredClone(value);
}

function wrong({ request }: Work, field: string, message: string) {
  return invalid({ group: "", kind: "Service" }, request.name, [{ reason: "FieldValueInvalid", message, field }]);
}

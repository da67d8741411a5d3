import { isIP, isIPv4 } from "node:net";
import type { Clock, Random } from "../../../kernel/clock/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { follow } from "../auth/index.js";
import { internalError, invalid } from "../failures.js";
import { equalJson, isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import { clusterAddressFaults } from "../native/service-addresses.js";
import { listPrefix, objectKey } from "../store/keys.js";
import type { AdmissionPlugin, AdmissionRequest, Store, StoreEvent } from "../types.js";
import { type AddressRange, isWithin, Pool, parseRange, toAddress, toNumber } from "./address-pool.js";

export interface ServiceAdmissionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  /** In this order. */
  readonly serviceCidrs: readonly string[];
}

const services = { group: "", plural: "services" };
const nodePorts = { first: 30_000, size: 2768 };
/** Fields that mean nothing without a cluster address. */
const addressFields = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];

/** Gives Services their cluster addresses and node ports, takes them back when they go, and keeps them over updates. */
export function serviceAllocation(options: ServiceAdmissionOptions): AdmissionPlugin & { close(): void } {
  const { store, random } = options;
  const ranges = options.serviceCidrs.map(parseRange);
  const pools: Pools = { ranges, random, addresses: new Pool(options.clock), ports: new Pool(options.clock) };
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
      if (oldSpec === undefined) alignNew(spec);
      else keepAllotted(spec, oldSpec);
      const owner = objectKey(services, request.namespace, request.name);
      allocate(spec, { pools, request, owner, ...(oldSpec === undefined ? {} : { old: oldSpec }) });
      dropMeaningless(spec, oldSpec);
    },
  };
}

interface Pools {
  readonly ranges: readonly AddressRange[];
  readonly random: Random;
  readonly addresses: Pool;
  readonly ports: Pool;
}

interface Work {
  readonly pools: Pools;
  readonly request: AdmissionRequest;
  readonly owner: string;
  /** The spec before; absent: the Service is new. */
  readonly old?: JsonObject;
}

const needsAddress = (spec: JsonObject) => stringAt(spec, "type") !== "ExternalName";
const mayHaveNodePorts = (spec: JsonObject) => ["NodePort", "LoadBalancer"].includes(stringAt(spec, "type"));
function needsNodePorts(spec: JsonObject): boolean {
  const type = stringAt(spec, "type");
  return type === "NodePort" || (type === "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] !== false);
}
const needsHealthPort = (spec: JsonObject) =>
  stringAt(spec, "type") === "LoadBalancer" && stringAt(spec, "externalTrafficPolicy") === "Local";

/** clusterIP is the old name of the list's first entry. */
function alignNew(spec: JsonObject): void {
  if (stringAt(spec, "clusterIP") !== "" && isUnset(spec["clusterIPs"]))
    spec["clusterIPs"] = [stringAt(spec, "clusterIP")];
}

/** Clients that send a Service without what was allotted to it keep that. */
function keepAllotted(spec: JsonObject, old: JsonObject): void {
  if (needsAddress(spec) && needsAddress(old))
    for (const field of ["clusterIP", "clusterIPs"]) if (isUnset(spec[field])) setOrDrop(spec, field, old[field]);
  if (mayHaveNodePorts(spec) && mayHaveNodePorts(old)) keepNodePorts(spec, old);
  if (needsHealthPort(spec) && needsHealthPort(old) && isUnset(spec["healthCheckNodePort"]))
    setOrDrop(spec, "healthCheckNodePort", old["healthCheckNodePort"]);
  const [now, before] = [stringAt(spec, "clusterIP"), stringAt(old, "clusterIP")];
  if (isUnset(spec["clusterIPs"]) && now === before) setOrDrop(spec, "clusterIPs", old["clusterIPs"]);
  // Who changes the first entry by its old name alone means the list too.
  if (now === before || !sameLists(spec["clusterIPs"], old["clusterIPs"])) return;
  if (now === "") delete spec["clusterIPs"];
  else spec["clusterIPs"] = [now];
}

function sameLists(a: Json | undefined, b: Json | undefined): boolean {
  return (isUnset(a) && isUnset(b)) || equalJson(a, b);
}

/** Ports of nodes go with the names of ports. */
function keepNodePorts(spec: JsonObject, old: JsonObject): void {
  const numbers = (of: JsonObject) => new Set(portsOf(of).map((port) => port["nodePort"]));
  const [now, before] = [numbers(spec), numbers(old)];
  const known = new Map(portsOf(old).map((port) => [stringAt(port, "name"), port["nodePort"]]));
  for (const port of portsOf(spec)) {
    const kept = known.get(stringAt(port, "name"));
    if (isUnset(port["nodePort"]) && typeof kept === "number" && !(now.has(kept) && before.has(kept)))
      port["nodePort"] = kept;
  }
}

/** After a change of type, what the server had set for the old type goes, unless the client changed it too. */
function dropMeaningless(spec: JsonObject, old: JsonObject | undefined): void {
  if (old === undefined) return;
  const drop = (field: string) => {
    if (equalJson(spec[field], old[field]) || isUnset(spec[field])) delete spec[field];
  };
  const ended = (needs: (of: JsonObject) => boolean) => needs(old) && !needs(spec);
  if (ended(needsAddress)) {
    const isSame = equalJson(spec["clusterIP"], old["clusterIP"]) && sameLists(spec["clusterIPs"], old["clusterIPs"]);
    for (const field of addressFields) if (!field.startsWith("clusterIP") || isSame) drop(field);
  }
  if (ended(mayHaveNodePorts)) dropNodePorts(spec, old);
  if (ended(isExternal)) drop("externalTrafficPolicy");
  if (ended(needsHealthPort)) drop("healthCheckNodePort");
  if (ended((of) => stringAt(of, "type") === "LoadBalancer")) {
    drop("allocateLoadBalancerNodePorts");
    drop("loadBalancerClass");
  }
}

const isExternal = (spec: JsonObject) =>
  mayHaveNodePorts(spec) || (stringAt(spec, "type") === "ClusterIP" && stringsAt(spec, "externalIPs").length > 0);

/** All go, or none, where there are others than there were. */
function dropNodePorts(spec: JsonObject, old: JsonObject): void {
  const known = new Set(portsOf(old).map((port) => port["nodePort"]));
  if (portsOf(spec).every((port) => isUnset(port["nodePort"]) || known.has(port["nodePort"])))
    for (const port of portsOf(spec)) delete port["nodePort"];
}

function allocate(spec: JsonObject, work: Work): void {
  const { old } = work;
  if (needsAddress(spec)) {
    setFamilies(spec, work);
    // An address is for a Service's whole life.
    if (old === undefined || !needsAddress(old)) allocateAddress(spec, work);
  }
  if (mayHaveNodePorts(spec)) allocateNodePorts(spec, work);
  if (needsHealthPort(spec) && (old === undefined || !needsHealthPort(old))) allocateHealthPort(spec, work);
}

function allocateHealthPort(spec: JsonObject, work: Work): void {
  const asked = spec["healthCheckNodePort"];
  if (typeof asked !== "number" || asked === 0) {
    spec["healthCheckNodePort"] = promisePort(pickPort(work), work);
    return;
  }
  const why = portFault(asked, work);
  if (why !== undefined) throw internalError(`failed to allocate requested HealthCheck NodePort ${asked}: ${why}`);
  promisePort(asked, work);
}

/** Why a node port cannot be had, or nothing. */
function portFault(port: number, { pools, owner }: Work): string | undefined {
  const last = nodePorts.first + nodePorts.size - 1;
  if (port < nodePorts.first || port > last)
    return `provided port is not in the valid range. The range of valid ports is ${nodePorts.first}-${last}`;
  return pools.ports.isFree(port, owner) ? undefined : "provided port is already allocated";
}

function setFamilies(spec: JsonObject, work: Work): void {
  const { old } = work;
  // A headless Service without selector lists addresses of other people's: of either family.
  const isOpen = stringAt(spec, "clusterIP") === "None" && Object.keys(objectAt(spec, "selector")).length === 0;
  if (stringAt(spec, "ipFamilyPolicy") === "" && spec["ipFamilyPolicy"] === undefined)
    spec["ipFamilyPolicy"] = stringAt(old ?? {}, "ipFamilyPolicy") || (isOpen ? "RequireDualStack" : "SingleStack");
  const { causes } = clusterAddressFaults(spec, old);
  if (causes.length > 0) throw invalid({ group: "", kind: "Service" }, work.request.name, causes);
  shrink(spec, old);
  const policy = stringAt(spec, "ipFamilyPolicy");
  const families = familiesOf(spec, work);
  const known = families.length === 0 ? ["IPv4"] : families;
  if (isOpen) {
    if (known.length < 2 && policy !== "SingleStack") known.push(known[0] === "IPv4" ? "IPv6" : "IPv4");
    spec["ipFamilies"] = known;
    return;
  }
  const missing: [string, string][] = known.flatMap((family, index): [string, string][] =>
    family === "IPv4" ? [] : [[`ipFamilies[${index}]`, `${JSON.stringify(family)}: not configured on this cluster`]],
  );
  if (policy === "RequireDualStack")
    missing.unshift(["ipFamilyPolicy", '"RequireDualStack": this cluster is not configured for dual-stack services']);
  refuseAll(missing, work);
  spec["ipFamilies"] = known;
}

/** The families that are asked for, and those of the addresses that are. */
function familiesOf(spec: JsonObject, work: Work): string[] {
  const policy = stringAt(spec, "ipFamilyPolicy");
  const [addresses, families] = [stringsAt(spec, "clusterIPs"), stringsAt(spec, "ipFamilies")];
  const faults: [string, string][] = [];
  const needsTwo = "must be 'RequireDualStack' or 'PreferDualStack' when multiple";
  if (policy === "SingleStack" && addresses.length === 2)
    faults.push(["ipFamilyPolicy", `"SingleStack": ${needsTwo} cluster IPs are specified`]);
  if (policy === "SingleStack" && families.length === 2)
    faults.push(["ipFamilyPolicy", `"SingleStack": ${needsTwo} IP families are specified`]);
  for (const [index, address] of addresses.entries()) {
    if (address === "None") break;
    if (index < families.length) continue;
    if (address.includes(":"))
      faults.push([`clusterIPs[${index}]`, `${JSON.stringify(addresses)}: IPv6 is not configured on this cluster`]);
    else families.push("IPv4");
  }
  refuseAll(faults, work);
  return families;
}

/** Who goes back to one family without naming the second one's parts gives them up. */
function shrink(spec: JsonObject, old: JsonObject | undefined): void {
  if (old === undefined || stringAt(spec, "ipFamilyPolicy") !== "SingleStack") return;
  for (const field of ["clusterIPs", "ipFamilies"])
    if (sameLists(spec[field], old[field]) && stringsAt(spec, field).length > 1)
      spec[field] = stringsAt(spec, field).slice(0, 1);
}

function refuseAll(faults: readonly (readonly [string, string])[], work: Work): void {
  if (faults.length === 0) return;
  const causes = faults.map(([field, message]) => ({
    reason: "FieldValueInvalid",
    message: `Invalid value: ${message}`,
    field: `spec.${field}`,
  }));
  throw invalid({ group: "", kind: "Service" }, work.request.name, causes);
}

function allocateAddress(spec: JsonObject, work: Work): void {
  const { pools, owner, request } = work;
  const asked = stringAt(spec, "clusterIP") || (stringsAt(spec, "clusterIPs")[0] ?? "");
  if (asked === "") {
    const value = pickAddress(pools);
    if (value === undefined)
      throw internalError(`failed to allocate a serviceIP: range ${cidrsOf(pools).join(", ")} is full`);
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
  if (!pools.ranges.some((range) => isWithin(range, value)))
    throw refuse(
      // As upstream: who only tries is asked about one range, who means it about all.
      request.dryRun
        ? `the provided IP (${asked}) is not in the valid range. The range of valid IPs is ${cidrsOf(pools).join(", ")}`
        : "the provided network does not match the current range",
    );
  if (!pools.addresses.isFree(value, owner)) throw refuse("provided IP is already allocated");
  if (!request.dryRun) pools.addresses.promise(value, owner);
}

const cidrsOf = ({ ranges }: Pools): string[] => ranges.map(({ cidr }) => cidr);

function pickAddress({ ranges, addresses, random }: Pools): number | undefined {
  for (const { first, size } of ranges) {
    const value = addresses.pick(first, size, random);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** Ports of one number share one of the nodes'. */
function allocateNodePorts(spec: JsonObject, work: Work): void {
  const before = new Set(portsOf(work.old ?? {}).map((port) => port["nodePort"]));
  const isNew = work.old === undefined;
  const shared = new Map<Json | undefined, number>();
  for (const [index, port] of portsOf(spec).entries()) {
    const asked = port["nodePort"];
    const isAsked = typeof asked === "number" && asked !== 0;
    if (!isAsked && !needsNodePorts(spec)) continue;
    const number = isAsked ? asked : isNew ? shared.get(port["port"]) : undefined;
    if (number === undefined) port["nodePort"] = promisePort(pickPort(work), work);
    else if (isAsked && !before.has(asked) && ![...shared.values()].includes(asked)) takePort(asked, index, work);
    else port["nodePort"] = number;
    if (!shared.has(port["port"]) && typeof port["nodePort"] === "number") shared.set(port["port"], port["nodePort"]);
  }
}

function takePort(asked: number, index: number, work: Work): void {
  const why = portFault(asked, work);
  if (why !== undefined) throw wrong(work, `spec.ports[${index}].nodePort`, `Invalid value: ${asked}: ${why}`);
  promisePort(asked, work);
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

import {
  type Container,
  type EnvVar,
  type Pod,
  parseQuantity,
  quantityToMillis,
  quantityToNumber,
  type Service,
} from "../../../kernel/kinds/index.js";
import { NodeError } from "../errors.js";

/** Reads what environment variables refer to. `undefined`: there is no such object. */
export interface EnvSources {
  configMap(namespace: string, name: string): Promise<Readonly<Record<string, string>> | undefined>;
  /** Decoded. */
  secret(namespace: string, name: string): Promise<Readonly<Record<string, string>> | undefined>;
}

export interface EnvContext {
  readonly pod: Pod;
  readonly container: Container;
  readonly podIp: string;
  readonly hostIp: string;
  /** What `hostname` says in the pod. */
  readonly hostname: string;
  readonly imageEnv: readonly (readonly [string, string])[];
  /** Services whose addresses are announced by variables. */
  readonly services: readonly Service[];
  readonly sources: EnvSources;
  /** For limits that are not set: the whole node. */
  readonly allocatable: { readonly cpuMillis: number; readonly memoryBytes: number };
}

/** The complete environment of a container. Throws `CreateContainerConfigError` naming what is missing. */
export async function resolveEnvironment(context: EnvContext): Promise<Map<string, string>> {
  const env = new Map<string, string>(context.imageEnv);
  env.set("HOSTNAME", context.hostname);
  for (const [name, value] of serviceVariables(context)) env.set(name, value);
  // Programs should bind this rather than every address: as a plain user pods share the machine's ports.
  env.set("POD_IP", context.podIp);
  const own = new Map<string, string>(env);
  for (const source of context.container.envFrom ?? []) {
    for (const [name, value] of await fromSource(source, context)) {
      env.set(name, value);
      own.set(name, value);
    }
  }
  for (const variable of context.container.env ?? []) {
    const value = await variableValue(variable, own, context);
    if (value === undefined) continue;
    env.set(variable.name, value);
    own.set(variable.name, value);
  }
  return env;
}

/** Expands `$(NAME)`; `$$` is a dollar, unknown names stay as they are. */
export function expandVariables(text: string, env: ReadonlyMap<string, string>): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (all: string, name: string | undefined) => {
    if (name === undefined) return "$";
    return env.get(name) ?? all;
  });
}

type EnvFrom = NonNullable<Container["envFrom"]>[number];

async function fromSource(source: EnvFrom, { pod, sources }: EnvContext): Promise<[string, string][]> {
  const namespace = pod.metadata.namespace ?? "default";
  const prefix = source.prefix ?? "";
  const pairs = (data: Readonly<Record<string, string>>): [string, string][] =>
    Object.entries(data).map(([key, value]): [string, string] => [`${prefix}${key}`, value]);
  if (source.configMapRef !== undefined) {
    const data = await sources.configMap(namespace, source.configMapRef.name ?? "");
    if (data === undefined)
      return missing(`configmap "${source.configMapRef.name}" not found`, source.configMapRef.optional);
    return pairs(data);
  }
  if (source.secretRef === undefined) return [];
  const data = await sources.secret(namespace, source.secretRef.name ?? "");
  if (data === undefined) return missing(`secret "${source.secretRef.name}" not found`, source.secretRef.optional);
  return pairs(data);
}

function missing(message: string, optional: boolean | undefined): [] {
  if (optional === true) return [];
  throw new NodeError("CreateContainerConfigError", message);
}

async function variableValue(
  variable: EnvVar,
  known: ReadonlyMap<string, string>,
  context: EnvContext,
): Promise<string | undefined> {
  const from = variable.valueFrom;
  if (from === undefined) return expandVariables(variable.value ?? "", known);
  if (from.fieldRef !== undefined) return fieldValue(from.fieldRef.fieldPath, context);
  if (from.resourceFieldRef !== undefined) return resourceValue(from.resourceFieldRef, context);
  const namespace = context.pod.metadata.namespace ?? "default";
  const ref = from.configMapKeyRef ?? from.secretKeyRef;
  if (ref === undefined)
    throw new NodeError(
      "CreateContainerConfigError",
      `variable ${variable.name} comes from ${Object.keys(from).join(", ") || "nowhere"}, which this node does not know`,
    );
  const isSecret = from.secretKeyRef !== undefined;
  const name = ref.name ?? "";
  const data = isSecret
    ? await context.sources.secret(namespace, name)
    : await context.sources.configMap(namespace, name);
  const kind = isSecret ? "secret" : "configmap";
  if (data === undefined) {
    missing(`${kind} "${name}" not found`, ref.optional);
    return undefined;
  }
  const value = data[ref.key];
  if (value === undefined)
    missing(`couldn't find key ${ref.key} in ${isSecret ? "Secret" : "ConfigMap"} ${namespace}/${name}`, ref.optional);
  return value;
}

/** The pod and addresses of the downward API. */
export interface DownwardContext {
  readonly pod: Pod;
  readonly podIp: string;
  readonly hostIp: string;
  readonly allocatable: { readonly cpuMillis: number; readonly memoryBytes: number };
}

/** A field of the downward API as text. */
export function fieldValue(path: string, { pod, podIp, hostIp }: Omit<DownwardContext, "allocatable">): string {
  const keyed = /^metadata\.(annotations|labels)\['(.*)'\]$/.exec(path);
  if (keyed?.[2] !== undefined) {
    return (keyed[1] === "labels" ? pod.metadata.labels : pod.metadata.annotations)?.[keyed[2]] ?? "";
  }
  const fields: Record<string, string> = {
    "metadata.name": pod.metadata.name,
    "metadata.namespace": pod.metadata.namespace ?? "default",
    "metadata.uid": pod.metadata.uid,
    "metadata.labels": formatMap(pod.metadata.labels),
    "metadata.annotations": formatMap(pod.metadata.annotations),
    "spec.nodeName": pod.spec.nodeName ?? "",
    "spec.serviceAccountName": pod.spec.serviceAccountName ?? "default",
    "status.podIP": podIp,
    "status.podIPs": podIp,
    "status.hostIP": hostIp,
    "status.hostIPs": hostIp,
  };
  const value = fields[path];
  if (value === undefined)
    throw new NodeError("CreateContainerConfigError", `the field "${path}" is not one that the downward API has`);
  return value;
}

function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}

interface ResourceRef {
  readonly containerName?: string;
  readonly resource: string;
  readonly divisor?: string | number;
}

/** A container's request or limit, divided and rounded up; an unset limit is the node's. */
export function resourceValue(ref: ResourceRef, context: DownwardContext & { readonly container?: Container }): string {
  const { pod } = context;
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const container =
    ref.containerName === undefined ? context.container : all.find((each) => each.name === ref.containerName);
  const [scope = "", ...rest] = ref.resource.split(".");
  const resource = rest.join(".");
  const set = scope === "limits" ? container?.resources?.limits : container?.resources?.requests;
  const found = set?.[resource] ?? (scope === "requests" ? container?.resources?.limits?.[resource] : undefined);
  const whole =
    scope === "limits"
      ? { cpu: `${context.allocatable.cpuMillis}m`, memory: String(context.allocatable.memoryBytes) }[resource]
      : "0";
  const quantity = parseQuantity(String(found ?? whole ?? "0"));
  const divisor = parseQuantity(ref.divisor === undefined || String(ref.divisor) === "0" ? "1" : String(ref.divisor));
  if (resource === "cpu") return String(Math.ceil(quantityToMillis(quantity) / Math.max(1, quantityToMillis(divisor))));
  return String(Math.ceil(quantityToNumber(quantity) / quantityToNumber(divisor)));
}

/** The variables that announce services: those of the pod's namespace (unless switched off), and always `kubernetes`. */
function serviceVariables({ pod, services }: EnvContext): [string, string][] {
  const namespace = pod.metadata.namespace ?? "default";
  const links = pod.spec.enableServiceLinks !== false;
  const isMaster = (service: Service): boolean =>
    service.metadata.namespace === "default" && service.metadata.name === "kubernetes";
  return services
    .filter((service) => isMaster(service) || (links && service.metadata.namespace === namespace))
    .filter((service) => (service.spec.clusterIP ?? "None") !== "None" && service.spec.clusterIP !== "")
    .flatMap(variablesOf);
}

function variablesOf(service: Service): [string, string][] {
  const name = service.metadata.name.toUpperCase().replaceAll("-", "_");
  const ip = service.spec.clusterIP ?? "";
  const ports = service.spec.ports ?? [];
  const first = ports[0];
  if (first === undefined) return [];
  const lines: [string, string][] = [
    [`${name}_SERVICE_HOST`, ip],
    [`${name}_SERVICE_PORT`, String(first.port)],
    [`${name}_PORT`, `${(first.protocol ?? "TCP").toLowerCase()}://${ip}:${first.port}`],
  ];
  for (const port of ports) {
    const protocol = port.protocol ?? "TCP";
    if (port.name !== undefined && port.name !== "") {
      lines.push([`${name}_SERVICE_PORT_${port.name.toUpperCase().replaceAll("-", "_")}`, String(port.port)]);
    }
    const prefix = `${name}_PORT_${port.port}_${protocol}`;
    lines.push([prefix, `${protocol.toLowerCase()}://${ip}:${port.port}`]);
    lines.push(
      [`${prefix}_PROTO`, protocol.toLowerCase()],
      [`${prefix}_PORT`, String(port.port)],
      [`${prefix}_ADDR`, ip],
    );
  }
  return lines;
}

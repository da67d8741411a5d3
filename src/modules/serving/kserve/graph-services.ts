/** The services of a graph's steps: where each is reached, and how it is. */
import { graphFaults, STEP_URLS } from "../../../dataplane/graph/index.js";
import type { ClusterAccess } from "../../../kernel/control/types.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { DeploymentKind, isConditionTrue } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, didYouMean, isObject, toJsonObject } from "../../../kernel/schema/index.js";
import { standingOf } from "../autoscaling/index.js";
import type { Fault } from "../diagnosis.js";
import { isBuiltInServer } from "../images.js";
import { isOpenTo } from "../inside.js";
import { KSERVE } from "./annotations.js";
import { COMPONENT_LABEL } from "./children.js";
import { completeInferenceService } from "./defaults.js";
import { wrongUrls } from "./graph-admission.js";
import type { InferenceGraph } from "./graph-kind.js";
import { type InferenceService, InferenceServiceKind } from "./inference-service-kind.js";
import { MAIN_CONTAINER } from "./validation.js";

/** A graph whose steps have addresses. */
export interface ResolvedGraph {
  /** The part of the spec that a router is given. */
  readonly spec: JsonObject;
  /** Why it cannot do its work yet; it may run meanwhile. */
  readonly waiting: Fault | undefined;
}

/** Whether a router that is given this spec asks a service over https. */
export const asksByHttps = (spec: JsonObject): boolean =>
  Object.values(asObject(spec["nodes"])).some((node) =>
    asObjects(asObject(node)["steps"]).some(({ serviceUrl }) => /^(https|grpcs):/i.test(asString(serviceUrl))),
  );

/** Gives every step its address; a fault where one has none. */
export function resolveGraph(graph: InferenceGraph, cluster: ClusterAccess): ResolvedGraph | Fault {
  const [wrong] = wrongUrls(toJsonObject(graph.spec));
  if (wrong !== undefined)
    return {
      reason: "InvalidServiceUrl",
      message: `${wrong.field}: ${wrong.url} is no address: ${STEP_URLS}`,
    };
  const namespace = graph.metadata.namespace ?? "";
  const services = cluster.informers.informer(InferenceServiceKind);
  const nodes: JsonObject = {};
  let waiting: Fault | undefined;
  for (const [name, { routerType, steps = [] }] of Object.entries(graph.spec.nodes)) {
    const resolved: JsonObject[] = [];
    for (const [index, step] of steps.entries()) {
      const { serviceName, ...rest } = step;
      if (serviceName === undefined || serviceName === "") {
        resolved.push(toJsonObject(step));
        continue;
      }
      const service = services.get({ namespace, name: serviceName });
      const field = `spec.nodes[${name}].steps[${index}].serviceName`;
      if (service === undefined) return unknownService(field, serviceName, services.list(namespace));
      const url = predictUrl(service, cluster);
      if (typeof url !== "string") return { reason: url.reason, message: `${field}: ${url.message}` };
      waiting ??= waitsFor(service, cluster);
      resolved.push({ ...toJsonObject(rest), serviceUrl: url });
    }
    nodes[name] = { routerType, steps: resolved };
  }
  const { timeout, routerTimeouts } = graph.spec;
  const spec: JsonObject = {
    nodes,
    ...(timeout === undefined ? {} : { timeout }),
    ...(routerTimeouts === undefined ? {} : { routerTimeouts: toJsonObject(routerTimeouts) }),
  };
  // Addresses are longer than names.
  const [fault] = graphFaults(spec);
  if (fault !== undefined)
    return { reason: "InvalidSpec", message: `with its services' addresses ${fault.field} ${fault.message}` };
  return { waiting, spec };
}

function unknownService(field: string, name: string, there: readonly InferenceService[]): Fault {
  const meant = didYouMean(
    name,
    there.map(({ metadata }) => metadata.name),
  );
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  return {
    reason: "ServiceNotFound",
    message: `${field}: there is no InferenceService ${name} in this namespace${hint}`,
  };
}

function waitsFor(service: InferenceService, cluster: ClusterAccess): Fault | undefined {
  const { name, namespace, generation = 0 } = service.metadata;
  const { conditions, observedGeneration = 0 } = service.status ?? {};
  const said = conditions?.find(({ type }) => type === "Ready");
  if (!isConditionTrue(conditions, "Ready") || observedGeneration < generation)
    return {
      reason: "ServiceNotReady",
      message: `InferenceService ${name} is not ready: ${said?.reason ?? "nothing is known of it"}: ${said?.message ?? ""}`,
    };
  const { informers } = cluster;
  // Whose Service leads through the gateway is woken by requests.
  if (isOpenTo(namespace ?? "", name, name, informers)) return undefined;
  const isAsleep = informers
    .informer(DeploymentKind)
    .list(namespace)
    .some((one) => one.metadata.labels?.[KSERVE.service] === name && standingOf(one)?.isAsleep === true);
  return isAsleep
    ? {
        reason: "ServiceAtZero",
        message: `InferenceService ${name} has no pod, and the gateway has no way in by which requests from inside of the cluster would wake it; give it minReplicas: 1`,
      }
    : undefined;
}

/** Where a service predicts, from inside of the cluster. Its name stays; the path follows its protocol and its model's name. */
function predictUrl(service: InferenceService, cluster: ClusterAccess): string | Fault {
  const { name, namespace = "" } = service.metadata;
  const completed = toJsonObject(service);
  completeInferenceService(completed);
  const spec = asObject(completed["spec"]);
  const entry = isObject(spec["transformer"]) ? spec["transformer"] : asObject(spec["predictor"]);
  const model = asObject(entry["model"]);
  const containers = asObjects(entry["containers"]);
  const main = containers.find((container) => container["name"] === MAIN_CONTAINER) ?? containers[0] ?? {};
  const given = asObjects(main["env"]).find((each) => each["name"] === "PROTOCOL")?.["value"];
  const saysH2c = asObjects(main["ports"]).some((port) => /^(h2c|grpc)(-|$)/.test(asString(port["name"])));
  const protocol = asString(model["protocolVersion"]) || asString(given) || (saysH2c ? "grpc-v2" : "v1");
  const modelName = namedIn(model) ?? namedIn(main) ?? name;
  const address = service.status?.address?.url ?? `http://${name}.${namespace}.svc.cluster.local`;
  const path = `/v2/models/${encodeURIComponent(modelName)}/infer`;
  if (protocol === "v1") return `${address}/v1/models/${encodeURIComponent(modelName)}:predict`;
  const component = isObject(spec["transformer"]) ? "transformer" : "predictor";
  if (protocol === "v2" || (protocol === "grpc-v2" && isOurServer(service, component, cluster)))
    return `${address}${path}`;
  if (protocol === "grpc-v2") return `${grpcAddress(address)}${path}`;
  return {
    reason: "UnsupportedProtocol",
    message: `InferenceService ${name} speaks ${protocol}; steps are asked by v1, v2 or grpc-v2`,
  };
}

/** The same address for gRPC, whose scheme has no port of its own. */
function grpcAddress(address: string): string {
  const { protocol, hostname, port } = new URL(address);
  const isSafe = protocol === "https:";
  return `${isSafe ? "grpcs" : "grpc"}://${hostname}:${port === "" ? (isSafe ? "443" : "80") : port}`;
}

/** Whether Argosy's model server runs in all of a component's pods; they may be still to come. */
function isOurServer({ metadata }: InferenceService, component: string, { informers }: ClusterAccess): boolean {
  const { name, namespace } = metadata;
  const deployments = informers.informer(DeploymentKind).list(namespace);
  return deployments.every(({ metadata: { labels = {} }, spec }) => {
    if (labels[KSERVE.service] !== name || labels[COMPONENT_LABEL] !== component) return true;
    const containers = spec.template.spec?.containers ?? [];
    const main = containers.find((container) => container.name === MAIN_CONTAINER) ?? containers[0];
    return main !== undefined && isBuiltInServer(toJsonObject(main));
  });
}

/** What `--model_name` or `--model-name` says. */
function namedIn(container: JsonObject): string | undefined {
  const args = Array.isArray(container["args"]) ? container["args"].map(asString) : [];
  for (const [index, arg] of args.entries()) {
    const match = /^--model[_-]name(?:=(.*))?$/.exec(arg);
    if (match !== null) return match[1] ?? args[index + 1];
  }
  return undefined;
}

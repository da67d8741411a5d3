/** Makes InferenceGraphs true in one cluster. */
import { ineffectiveFields } from "../../../dataplane/graph/index.js";
import { syncStatus } from "../../../kernel/control/index.js";
import type {
  ClusterAccess,
  ControllerSpec,
  InformerSet,
  Key,
  ReconcileContext,
  ReconcileResult,
} from "../../../kernel/control/types.js";
import type { Kind, KubeObject } from "../../../kernel/kinds/index.js";
import {
  apiVersionOf,
  controllerOf,
  DeploymentKind,
  HorizontalPodAutoscalerKind,
  IngressKind,
  PodKind,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { toJsonObject } from "../../../kernel/schema/index.js";
import { type ChildWriter, createChildWriter, isFault } from "../apply.js";
import { standingOf } from "../autoscaling/index.js";
import { hostOf, urlOf } from "../children.js";
import type { Fault } from "../diagnosis.js";
import { type Trust, trustOf } from "../store-trust.js";
import { asks, reconcileUnit, type UnitOutcome } from "../unit.js";
import { annotationOf, isClusterLocal, KSERVE, modeOf, OWN, saysYes } from "./annotations.js";
import { inferenceGraphFaults } from "./graph-admission.js";
import {
  GRAPH_LABEL,
  GRAPH_MANAGER,
  READY_PATH,
  routerDeployment,
  routerIngress,
  routerScaler,
  routerService,
  routerTemplate,
} from "./graph-children.js";
import { type InferenceGraph, InferenceGraphKind } from "./graph-kind.js";
import { asksByHttps, type ResolvedGraph, resolveGraph } from "./graph-services.js";
import { type GraphSeen, graphReadiness, graphStatus } from "./graph-status.js";
import { InferenceServiceKind } from "./inference-service-kind.js";
import { type Scaling, scalingOf } from "./scaling.js";
import { kserveRunsIn, standBackWatches } from "./stand-back.js";
import type { InferenceServiceOptions } from "./tools.js";

const UNSETTLED_MS = 500;
/** Many are looked at in turn. */
const UNSETTLED_EACH_MS = 5;
const SETTLED_MS = 10_000;
const CHILDREN: readonly Kind[] = [IngressKind, HorizontalPodAutoscalerKind, DeploymentKind, ServiceKind];
const BY_GRAPH = "inferencegraph-pods";

interface Tools extends InferenceServiceOptions {
  readonly context: ReconcileContext<InferenceGraph>;
  readonly writer: ChildWriter;
}

/** The controller of one cluster. */
export function inferenceGraphController(
  cluster: ClusterAccess,
  options: InferenceServiceOptions,
): ControllerSpec<InferenceGraph> {
  const writer = createChildWriter(cluster, { fieldManager: GRAPH_MANAGER, ownerLabel: GRAPH_LABEL });
  return {
    name: GRAPH_MANAGER,
    kind: InferenceGraphKind,
    owns: [DeploymentKind, ServiceKind, IngressKind, HorizontalPodAutoscalerKind],
    watches: [
      ...standBackWatches(InferenceGraphKind),
      {
        kind: PodKind,
        keys: ({ metadata }) => {
          const name = metadata.labels?.[GRAPH_LABEL];
          return name === undefined ? [] : [{ namespace: metadata.namespace ?? "", name }];
        },
      },
      { kind: InferenceServiceKind, keys: graphsWith },
    ],
    async reconcile(key, graph, context) {
      if (graph === undefined || graph.metadata.deletionTimestamp !== undefined) {
        writer.forget(key);
        return;
      }
      if (kserveRunsIn(context.cluster)) return;
      return reconcileGraph(graph, { context, writer, ...options });
    },
  };
}

/** The graphs that have a service among their steps. */
function graphsWith({ metadata }: KubeObject, informers: InformerSet): Key[] {
  const namespace = metadata.namespace ?? "";
  return informers
    .informer(InferenceGraphKind)
    .list(namespace)
    .filter(({ spec }) =>
      Object.values(spec.nodes).some(({ steps = [] }) =>
        steps.some(({ serviceName }) => serviceName === metadata.name),
      ),
    )
    .map((graph) => ({ namespace, name: graph.metadata.name }));
}

async function reconcileGraph(graph: InferenceGraph, tools: Tools): Promise<ReconcileResult> {
  const { address, context } = tools;
  const { name, namespace = "" } = graph.metadata;
  const isLocal = isClusterLocal(graph);
  const inside = `http://${name}.${namespace}.svc.cluster.local`;
  const none = { unit: undefined, fault: undefined, waiting: undefined, ignored: [], isStopped: false };
  const base: GraphSeen = {
    ...none,
    url: isLocal ? inside : urlOf(hostOf(name, namespace, address), address),
    mode: modeOf(graph.status?.deploymentMode) ?? modeOf(annotationOf(graph, KSERVE.deploymentMode)) ?? "Standard",
    nowMs: context.clock.now(),
  };
  if (saysYes(graph, KSERVE.stop)) {
    for (const kind of CHILDREN) await remove(kind, graph, tools);
    await report(graph, { ...base, isStopped: true }, tools);
    return {};
  }
  const plan = await planOf(graph, context.cluster);
  if ("reason" in plan) {
    const unit = await standingRouters(graph, base.url, tools);
    await report(graph, { ...base, ...(unit === undefined ? { fault: plan } : { unit, waiting: plan }) }, tools);
    return { requeueAfterMs: SETTLED_MS };
  }
  const scaling = scalingOf(graph, toJsonObject(graph.spec), base.mode, tools.hasKpa);
  const made = await makeRouters(graph, { plan, scaling, url: isLocal ? undefined : base.url }, tools);
  const ignored = [...plan.ignored, ...scaling.ignored.map((each) => `spec.${each}`)];
  const seen: GraphSeen = { ...base, ...made, waiting: plan.resolved.waiting, ignored };
  const fault = await report(graph, seen, tools);
  if (fault === undefined) return { requeueAfterMs: SETTLED_MS };
  const graphs = context.cluster.informers.informer(InferenceGraphKind).list().length;
  return { requeueAfterMs: Math.max(UNSETTLED_MS, UNSETTLED_EACH_MS * graphs) };
}

/** What routers are to be given. */
interface Plan {
  readonly resolved: ResolvedGraph;
  readonly trust: Trust | undefined;
  /** What is set and has no effect. */
  readonly ignored: readonly string[];
}

async function planOf(graph: InferenceGraph, cluster: ClusterAccess): Promise<Plan | Fault> {
  const [invalid] = inferenceGraphFaults(toJsonObject(graph));
  if (invalid !== undefined) return { reason: "InvalidSpec", message: `${invalid.field}: ${invalid.message}` };
  const resolved = resolveGraph(graph, cluster);
  if ("reason" in resolved) return resolved;
  const ignored = ineffectiveFields(toJsonObject(graph.spec));
  if (!asksByHttps(resolved.spec)) {
    const isNamed = annotationOf(graph, OWN.caBundle) !== undefined;
    const idle = isNamed ? [`metadata.annotations[${OWN.caBundle}] (no step is asked over https)`] : [];
    return { resolved, trust: undefined, ignored: [...ignored, ...idle] };
  }
  const trust = await trustOf(graph, cluster);
  return trust !== undefined && "reason" in trust ? trust : { resolved, trust, ignored };
}

/** The routers that run with what was known before, where the graph cannot be carried out as it is now. */
async function standingRouters(graph: InferenceGraph, url: string, tools: Tools): Promise<UnitOutcome | undefined> {
  const { name, namespace = "", uid } = graph.metadata;
  const deployment = tools.context.cluster.informers.informer(DeploymentKind).get({ namespace, name });
  if (deployment === undefined || controllerOf(deployment)?.uid !== uid) return undefined;
  const { replicas = 0, readyReplicas = 0, updatedReplicas = 0 } = deployment.status ?? {};
  const seen = { readyReplicas, totalReplicas: replicas };
  if (standingOf(deployment)?.isAsleep === true) return { ...seen, answers: true, settled: true, fault: undefined };
  const isAsked = readyReplicas > 0 && !url.includes(".svc.cluster.local");
  const fault = isAsked ? await asks(`${url}${READY_PATH}`, false, tools) : undefined;
  const isReady = readyReplicas > 0;
  return { ...seen, answers: isReady && fault === undefined, settled: isReady && updatedReplicas === replicas, fault };
}

/** Writes the children and looks at them. */
async function makeRouters(
  graph: InferenceGraph,
  { plan, scaling, url }: { plan: Plan; scaling: Scaling; url: string | undefined },
  tools: Tools,
): Promise<{ readonly unit: UnitOutcome; readonly fault: Fault | undefined }> {
  const { context, writer, address } = tools;
  const { name, namespace = "" } = graph.metadata;
  const built = routerTemplate(graph, plan.resolved.spec, plan.trust);
  const replicas = scaling.by === "nobody" ? scaling.replicas : undefined;
  const pods = context.cluster.informers.informer(PodKind);
  pods.addIndex(BY_GRAPH, ({ metadata }) => {
    const of = metadata.labels?.[GRAPH_LABEL];
    return of === undefined ? [] : [`${metadata.namespace ?? ""}/${of}`];
  });
  const unit = await reconcileUnit(
    {
      owner: graph,
      deployment: routerDeployment(graph, built, scaling, replicas),
      service: routerService(graph),
      ...(url === undefined ? {} : { ingress: routerIngress(graph, address, scaling.by === "kpa") }),
      built,
      url,
      pods: () => pods.byIndex(BY_GRAPH, `${namespace}/${name}`),
      given: replicas,
    },
    tools,
  );
  if (url === undefined) await remove(IngressKind, graph, tools);
  if (scaling.hpa === undefined) {
    await remove(HorizontalPodAutoscalerKind, graph, tools);
    return { unit, fault: undefined };
  }
  const scaler = await writer.write(HorizontalPodAutoscalerKind, graph, routerScaler(graph, scaling.hpa));
  return { unit, fault: isFault(scaler) ? scaler : undefined };
}

async function remove<T extends KubeObject>(
  kind: Kind<T>,
  { metadata }: InferenceGraph,
  { context }: Tools,
): Promise<void> {
  const { name, namespace = "", uid: owner } = metadata;
  const found = context.cluster.informers.informer(kind).get({ namespace, name });
  if (found === undefined || found.metadata.deletionTimestamp !== undefined || controllerOf(found)?.uid !== owner)
    return;
  await context.cluster.client
    .resource(kind)
    .delete(name, { namespace, propagationPolicy: "Background", preconditions: { uid: found.metadata.uid } });
}

/** Writes status, ledger and events; returns why the graph is not ready. */
async function report(graph: InferenceGraph, seen: GraphSeen, { context, ledger }: Tools): Promise<Fault | undefined> {
  const fault = graphReadiness(seen);
  const { name, namespace = "", generation = 0 } = graph.metadata;
  ledger.record({
    cluster: context.cluster.name,
    about: { apiVersion: apiVersionOf(InferenceGraphKind), kind: InferenceGraphKind.kind, namespace, name },
    topic: "readiness",
    rule: "ready when every router is of this generation and answered through the graph's address, and the service of each step is ready",
    inputs: { generation },
    outcome: fault === undefined ? `ready: it answers at ${seen.url}` : `not ready: ${fault.reason}: ${fault.message}`,
    winners: [],
    losers: [],
  });
  const before = graph.status?.conditions?.find(({ type }) => type === "Ready");
  await syncStatus(context.cluster.client.resource(InferenceGraphKind), graph, graphStatus(graph, seen), GRAPH_MANAGER);
  if (fault === undefined && before?.status !== "True")
    context.events.record(graph, "Normal", "Ready", `the graph answers at ${seen.url}`);
  else if (
    fault !== undefined &&
    before?.reason !== fault.reason &&
    !["Starting", "Stopped", "Loading"].includes(fault.reason)
  )
    context.events.record(graph, "Warning", fault.reason, fault.message);
  return fault;
}

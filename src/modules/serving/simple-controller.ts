/** Makes SimpleMLServices true in one cluster. */
import type { ApplyObject } from "../../kernel/client/types.js";
import { syncStatus } from "../../kernel/control/index.js";
import type { ClusterAccess, ControllerSpec, ReconcileContext, ReconcileResult } from "../../kernel/control/types.js";
import { InputError } from "../../kernel/errors/index.js";
import type { JsonObject, Pod, Service } from "../../kernel/kinds/index.js";
import { DeploymentKind, ownerReferenceTo, PodKind, ServiceKind } from "../../kernel/kinds/index.js";
import { asObject, asObjects, toJson, toJsonObject } from "../../kernel/schema/index.js";
import { createChildWriter } from "./apply.js";
import type { Fault } from "./diagnosis.js";
import { isBuiltInServer } from "./images.js";
import { DEFAULT_MODEL_PATH } from "./kinds.js";
import { addModel, type BuiltTemplate, completeMain } from "./pod-template.js";
import type { Probe } from "./probe.js";
import { checkSecret } from "./release.js";
import { conditionsSaying, says, saysHonored } from "./said.js";
import { NO_SCHEDULER, schedulerFor } from "./scheduler.js";
import type { SimpleMLService, SimpleMLServiceStatus } from "./simple-kind.js";
import { SimpleMLServiceKind } from "./simple-kind.js";
import { type StoreTrust, storeTrustOf } from "./store-trust.js";
import { reconcileUnit, type UnitOutcome, type UnitTools } from "./unit.js";

const NAME = "simplemlservice";
const LABEL = "tensorstack.dev/simplemlservice";
const PORT = 8080;
const UNSETTLED_MS = 500;

interface Tools extends UnitTools {
  readonly context: ReconcileContext<SimpleMLService>;
  readonly cacheHostPath: string | undefined;
}

/** The controller of one cluster. */
export function simpleMLServiceController(
  cluster: ClusterAccess,
  options: { readonly probe: Probe; readonly cacheHostPath: string | undefined },
): ControllerSpec<SimpleMLService> {
  const writer = createChildWriter(cluster, { fieldManager: NAME, ownerLabel: LABEL });
  return {
    name: NAME,
    kind: SimpleMLServiceKind,
    owns: [DeploymentKind, ServiceKind],
    watches: [
      {
        kind: PodKind,
        keys: ({ metadata }) => {
          const name = metadata.labels?.[LABEL];
          return name === undefined ? [] : [{ namespace: metadata.namespace ?? "", name }];
        },
      },
    ],
    async reconcile(key, service, context) {
      if (service === undefined || service.metadata.deletionTimestamp !== undefined) {
        writer.forget(key);
        return;
      }
      return reconcileSimple(service, { context, writer, ...options });
    },
  };
}

async function reconcileSimple(service: SimpleMLService, tools: Tools): Promise<ReconcileResult> {
  const trust = await storeTrustOf(
    service,
    { secret: service.spec.storage?.s3?.secretRef.name },
    tools.context.cluster,
  );
  const built = "reason" in trust ? trust : tryBuild(service, trust, tools);
  const outcome: Pick<UnitOutcome, "fault" | "settled"> =
    "reason" in built ? { fault: built, settled: false } : await makeTrue(service, built, tools);
  const fault =
    outcome.fault ?? (outcome.settled ? undefined : { reason: "Updating", message: "its pods are replaced" });
  await report(service, service.spec.replicas === 0 ? STOPPED : fault, tools);
  return fault === undefined ? {} : { requeueAfterMs: UNSETTLED_MS };
}

const STOPPED: Fault = { reason: "NoReplicas", message: "replicas is 0: no pods run" };

function tryBuild(service: SimpleMLService, trust: StoreTrust, tools: Tools): BuiltTemplate | Fault {
  try {
    return buildPods(service, trust, tools);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { reason: "InvalidSpec", message: `cluster ${tools.context.cluster.name}: ${error.message}` };
  }
}

function makeTrue(service: SimpleMLService, built: BuiltTemplate, tools: Tools): Promise<UnitOutcome> {
  const { name, namespace = "" } = service.metadata;
  const labels = { [LABEL]: name };
  const metadata: ApplyObject["metadata"] = {
    name,
    namespace,
    labels,
    ownerReferences: [toJson(ownerReferenceTo(service))],
  };
  const { replicas, strategy } = service.spec;
  return reconcileUnit(
    {
      owner: service,
      deployment: {
        metadata,
        spec: {
          replicas,
          selector: { matchLabels: labels },
          strategy: strategyOf(strategy),
          template: built.template,
        },
      },
      service: {
        metadata,
        spec: {
          type: service.spec.service?.type ?? "ClusterIP",
          selector: labels,
          ports: service.spec.service?.ports ?? [{ name: "http", port: 80, targetPort: built.port, protocol: "TCP" }],
        },
      },
      built,
      // It has no address outside of the cluster.
      url: undefined,
      given: replicas,
      pods: () => podsOf(service, tools),
      check: () => checkSecret(service, service.spec.storage, tools),
    },
    tools,
  );
}

/** Written whole, defaults too: what the API server fills in by itself is nobody's, and stays when another type forbids it. */
function strategyOf(given: unknown): JsonObject {
  const strategy = toJsonObject(given ?? {});
  const { type = "RollingUpdate" } = strategy;
  if (type !== "RollingUpdate") return strategy;
  const rollingUpdate = { maxSurge: "25%", maxUnavailable: "25%", ...asObject(strategy["rollingUpdate"]) };
  return { ...strategy, type, rollingUpdate };
}

const BY_SERVICE = "simplemlservice";

function podsOf({ metadata }: SimpleMLService, { context }: Tools): readonly Pod[] {
  const pods = context.cluster.informers.informer(PodKind);
  pods.addIndex(BY_SERVICE, (pod) => {
    const name = pod.metadata.labels?.[LABEL];
    return name === undefined ? [] : [`${pod.metadata.namespace ?? ""}/${name}`];
  });
  return pods.byIndex(BY_SERVICE, `${metadata.namespace ?? ""}/${metadata.name}`);
}

function buildPods(
  { metadata, spec }: SimpleMLService,
  trust: StoreTrust,
  { cacheHostPath, context }: Tools,
): BuiltTemplate {
  const pod = podSpecOf(metadata.name, spec);
  const containers = asObjects(pod["containers"]).map((container) => ({ ...container }));
  const [main] = containers;
  if (main === undefined) throw new InputError("custom.spec has no containers");
  const declared = asObjects(main["ports"]);
  const port = portOf(declared, spec);
  completeMain(main, port, isBuiltInServer(main));
  if (declared.length > 0) main["ports"] = [...declared];
  pod["containers"] = containers;
  const labels = { [LABEL]: metadata.name };
  const folder = cacheHostPath === undefined ? undefined : `${cacheHostPath}/${metadata.namespace ?? ""}`;
  addModel(pod, main, spec.storage, { labels, cacheHostPath: folder, trust });
  const scheduler = schedulerFor(spec.scheduler, context.cluster);
  if (scheduler !== undefined) pod["schedulerName"] = scheduler.name;
  const annotations = scheduler === undefined ? {} : { annotations: { ...scheduler.annotations } };
  return { template: { metadata: { labels, ...annotations }, spec: pod }, port, probePath: "/", anyAnswer: true };
}

/** Where the server is asked whether it is ready: its first port, or, for pods of the writer's own without any, where the Service leads. */
function portOf(declared: readonly JsonObject[], { custom, service }: SimpleMLService["spec"]): number {
  const [target] = custom === undefined ? [] : asObjects(toJson(service?.ports ?? []));
  const numbers = [declared[0]?.["containerPort"], target?.["targetPort"] ?? target?.["port"]];
  return numbers.find((one) => typeof one === "number") ?? PORT;
}

/** The one server that is asked for. Throws `InputError` when there are none, or several. */
function podSpecOf(name: string, { tensorflow, pytorch, custom, storage }: SimpleMLService["spec"]): JsonObject {
  const folder = storage?.s3?.mountPath ?? storage?.pvc?.mountPath ?? DEFAULT_MODEL_PATH;
  const container = (image: string, resources: unknown, args: string[]): JsonObject => ({
    containers: [{ name: "server", image, args, ...(resources === undefined ? {} : { resources: toJson(resources) }) }],
  });
  const found = [
    ...(tensorflow === undefined
      ? []
      : [
          container(tensorflow.image, tensorflow.resources, [
            ...[`--rest_api_port=${PORT}`, `--model_name=${name}`, `--model_base_path=${folder}`],
          ]),
        ]),
    ...(pytorch === undefined
      ? []
      : [
          container(pytorch.image, pytorch.resources, [
            ...["torchserve", "--start", "--foreground", `--model-store=${folder}`, `--models=${pytorch.modelsFlag}`],
          ]),
        ]),
    ...(custom === undefined ? [] : [toJsonObject(custom.spec)]),
  ];
  const [only, ...others] = found;
  if (only === undefined || others.length > 0)
    throw new InputError("give exactly one of tensorflow, pytorch and custom");
  return only;
}

async function report(service: SimpleMLService, fault: Fault | undefined, tools: Tools): Promise<void> {
  const { context } = tools;
  const { name, namespace = "", generation = 0 } = service.metadata;
  const seen = context.cluster.informers.informer(ServiceKind).get({ namespace, name });
  const pods = podsOf(service, tools);
  const isFetched = fault === undefined || (pods.length > 0 && pods.every(hasModel));
  const { scheduler } = service.spec;
  const isScheduled = scheduler?.t9kScheduler === undefined || schedulerFor(scheduler, context.cluster) !== undefined;
  const updates = [
    says("ModelDownloaded", isFetched ? undefined : fault, ["Downloaded", "the pods have it"]),
    says("Ready", fault, ["PodsReady", "every pod is ready"]),
    saysHonored(isScheduled ? [] : [NO_SCHEDULER]),
  ];
  const status: SimpleMLServiceStatus = {
    observedGeneration: generation,
    ...(seen === undefined ? {} : { address: addressOf(seen) }),
    conditions: conditionsSaying(service, updates, context.clock.now()),
  };
  await syncStatus(context.cluster.client.resource(SimpleMLServiceKind), service, status, NAME);
}

/** Its init containers have brought the model, or its own containers run, which come after them. */
function hasModel({ status }: Pod): boolean {
  const before = status?.initContainerStatuses ?? [];
  if (before.length === 0) return status?.phase !== undefined && status.phase !== "Pending";
  return before.every(({ state }) => state?.terminated?.exitCode === 0);
}

/** Where it answers: with the port, where that is not the one of `http://`. */
function addressOf(service: Service): NonNullable<SimpleMLServiceStatus["address"]> {
  const { name, namespace = "" } = service.metadata;
  const ports = portsOf(service);
  const [first] = ports;
  const isPlain = first === undefined || ports.some(({ port }) => port === 80);
  return { url: `http://${name}.${namespace}.svc.cluster.local${isPlain ? "" : `:${first.port}`}`, ports };
}

const portsOf = ({ spec }: Service): NonNullable<NonNullable<SimpleMLServiceStatus["address"]>["ports"]> =>
  asObjects(toJson(spec.ports ?? [])).flatMap(({ port, nodePort, protocol }) =>
    typeof port === "number"
      ? [
          {
            port,
            ...(typeof nodePort === "number" ? { nodePort } : {}),
            ...(typeof protocol === "string" ? { protocol } : {}),
          },
        ]
      : [],
  );

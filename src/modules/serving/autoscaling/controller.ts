import type {
  ClusterAccess,
  ControllerSpec,
  InformerSet,
  Key,
  ReconcileContext,
  ReconcileResult,
} from "../../../kernel/control/types.js";
import { messageOf } from "../../../kernel/errors/index.js";
import {
  controllerOf,
  type Deployment,
  DeploymentKind,
  HorizontalPodAutoscalerKind,
  isDeleting,
  type KubeObject,
  type Pod,
  PodKind,
} from "../../../kernel/kinds/index.js";
import type { Ledger } from "../../../stores/ledger/types.js";
import { handOver } from "./hand-over.js";
import { readHistory } from "./history.js";
import { hpaFor } from "./hpa.js";
import { writeLimits } from "./limits.js";
import type { LoadSource } from "./load.js";
import { AUTOSCALER, SCALING } from "./names.js";
import type { MetricQuery } from "./prometheus.js";
import { recordColdStart, recordScaling } from "./record.js";
import { type Look, readKept, renderKept, Scaler, type Sight } from "./scaler.js";
import { readSettings, type ScalingSettings } from "./settings.js";
import { templateName } from "./standing.js";
import { TICK_MS } from "./window.js";

/** What the autoscaler needs besides the cluster. */
export interface AutoscalerControllerOptions {
  readonly ledger: Ledger;
  /** Absent: nothing is counted, so nothing goes to zero and only PromQL scales. */
  readonly loads?: LoadSource;
  /** Absent: PromQL metrics cannot be asked. */
  readonly query?: MetricQuery;
}

type Context = ReconcileContext<Deployment>;

interface Memory {
  fingerprint: string;
  readonly scaler: Scaler;
  dueMs: number;
  historySlot: number;
}

/** Default of Deployments, in seconds. */
const PROGRESS_DEADLINE_S = 600;
const POD_INDEX = "autoscaler-selector";

/** Scales the Deployments of one cluster that are labelled for it. Decides every two seconds, and at once when a request meets no pod. */
export function autoscalerController(
  cluster: ClusterAccess,
  options: AutoscalerControllerOptions,
): ControllerSpec<Deployment> {
  const worker = new Worker(cluster, options);
  return {
    name: AUTOSCALER,
    kind: DeploymentKind,
    watches: [{ kind: PodKind, keys: (pod, informers) => deploymentsOf(pod, informers) }],
    concurrency: 4,
    reconcile: (key, deployment, context) => worker.reconcile(key, deployment, context),
  };
}

/** Scaled Deployments whose selector a pod matches. */
function deploymentsOf(pod: KubeObject, informers: InformerSet): readonly Key[] {
  const { namespace = "", labels = {} } = pod.metadata;
  const deployments = informers.informer(DeploymentKind);
  deployments.addIndex(POD_INDEX, (deployment) =>
    classOf(deployment) === undefined ? [] : [deployment.metadata.namespace ?? ""],
  );
  return deployments
    .byIndex(POD_INDEX, namespace)
    .filter((deployment) => isSelected(deployment, labels))
    .map(({ metadata }) => ({ namespace, name: metadata.name }));
}

function isSelected({ spec }: Deployment, labels: Readonly<Record<string, string>>): boolean {
  const wanted = Object.entries(spec.selector.matchLabels ?? {});
  return wanted.length > 0 && wanted.every(([name, value]) => labels[name] === value);
}

function classOf({ metadata }: Deployment): "kpa" | "hpa" | undefined {
  const value = metadata.labels?.[SCALING.autoscaler];
  return value === "kpa" || value === "hpa" ? value : undefined;
}

class Worker {
  readonly #cluster: ClusterAccess;
  readonly #options: AutoscalerControllerOptions;
  readonly #memories = new Map<string, Memory>();
  #listening: AbortSignal | undefined;

  constructor(cluster: ClusterAccess, options: AutoscalerControllerOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  async reconcile(
    key: Key,
    deployment: Deployment | undefined,
    context: Context,
  ): Promise<ReconcileResult | undefined> {
    const id = `${this.#cluster.name}/${key.namespace}/${key.name}`;
    const scaling = deployment === undefined || isDeleting(deployment) ? undefined : classOf(deployment);
    if (deployment === undefined || scaling === undefined) {
      this.#memories.delete(id);
      return undefined;
    }
    const { metadata } = deployment;
    const concurrency = Number(metadata.annotations?.[SCALING.containerConcurrency] ?? 0);
    const given = ownAnnotations(metadata.annotations);
    const { settings, faults } = readSettings(
      given,
      Number.isInteger(concurrency) && concurrency > 0 ? concurrency : 0,
    );
    for (const { annotation, message } of faults)
      context.events.record(
        deployment,
        "Warning",
        "InvalidScalingAnnotation",
        `${annotation}: ${message}; its default counts`,
      );
    if (scaling === "hpa" || settings.isHpa) {
      this.#memories.delete(id);
      return this.#useHpa(deployment, settings, context);
    }
    await this.#removeHpa(deployment);
    return this.#look(id, { deployment, settings, fingerprint: JSON.stringify([given, concurrency]) }, context);
  }

  /** Hears what the gateway counts, for as long as the controller runs. */
  #listen(context: Context): void {
    const { loads } = this.#options;
    if (loads === undefined || (this.#listening !== undefined && !this.#listening.aborted)) return;
    this.#listening = context.signal;
    this.#memories.clear();
    const stop = loads.onActivators((report) => {
      const nowMs = context.clock.now();
      for (const activator of report?.activators ?? []) {
        const memory = this.#memories.get(activator.name);
        const [cluster, namespace = "", name = ""] = activator.name.split("/");
        if (memory === undefined || cluster !== this.#cluster.name) continue;
        const deployment = context.informer.get({ namespace, name });
        memory.scaler.note(activator, nowMs, deployment?.status?.readyReplicas ?? 0);
        if (memory.scaler.isAwaited && (deployment?.spec.replicas ?? 1) === 0) memory.dueMs = 0;
        if (memory.dueMs === 0 || memory.scaler.coldStart.isRunning) context.enqueue({ namespace, name });
      }
    });
    context.signal.addEventListener("abort", stop, { once: true });
  }

  async #useHpa(deployment: Deployment, settings: ScalingSettings, context: Context): Promise<undefined> {
    const { namespace = "" } = deployment.metadata;
    const wanted = hpaFor(deployment, settings);
    const scalers = this.#cluster.client.resource(HorizontalPodAutoscalerKind);
    await scalers.apply(wanted, { namespace, fieldManager: AUTOSCALER, force: true });
    if (settings.bounds.minScale === 0)
      context.log.debug("an HPA never goes to zero", { deployment: deployment.metadata.name });
    await handOver(this.#cluster, deployment, Math.max(1, settings.bounds.minScale));
  }

  /** An HPA that was made here has no say where requests are counted. */
  async #removeHpa({ metadata }: Deployment): Promise<void> {
    const { name, namespace = "", uid: owner } = metadata;
    const found = this.#cluster.informers.informer(HorizontalPodAutoscalerKind).get({ namespace, name });
    if (found === undefined || isDeleting(found) || controllerOf(found)?.uid !== owner) return;
    const preconditions = { uid: found.metadata.uid };
    await this.#cluster.client.resource(HorizontalPodAutoscalerKind).delete(name, { namespace, preconditions });
  }

  async #look(
    id: string,
    { deployment, settings, fingerprint }: { deployment: Deployment; settings: ScalingSettings; fingerprint: string },
    context: Context,
  ): Promise<ReconcileResult> {
    this.#listen(context);
    const { clock } = context;
    const sight = sightOf(deployment, clock.now());
    const memory = this.#remember(id, { deployment, settings, fingerprint, sight });
    const { scaler } = memory;
    scaler.coldStart.seen(this.#podsOf(deployment, scaler), sight.nowMs);
    const leftMs = memory.dueMs - clock.monotonicMs();
    if (memory.dueMs > 0 && leftMs > 0 && !scaler.hasArrived(sight)) {
      await this.#tellColdStart(deployment, scaler);
      return { requeueAfterMs: leftMs };
    }
    await this.#measure(deployment, scaler, context);
    const look = scaler.look(sight);
    memory.dueMs = clock.monotonicMs() + TICK_MS;
    const cold = scaler.load.latest?.cold;
    if (cold !== undefined && look.replicas > 0 && sight.replicas === 0 && scaler.isAwaited)
      scaler.coldStart.asked(cold, sight.nowMs);
    await this.#write(deployment, memory, look);
    await this.#tellColdStart(deployment, scaler);
    return { requeueAfterMs: TICK_MS };
  }

  #remember(
    id: string,
    about: { deployment: Deployment; settings: ScalingSettings; fingerprint: string; sight: Sight },
  ): Memory {
    const { deployment, settings, fingerprint, sight } = about;
    const known = this.#memories.get(id);
    if (known !== undefined) {
      if (known.fingerprint === fingerprint) return known;
      known.scaler.adopt(settings, sight);
      return Object.assign(known, { fingerprint, dueMs: 0 });
    }
    const annotations = deployment.metadata.annotations ?? {};
    const history = readHistory(annotations[SCALING.history]);
    const scaler = new Scaler(settings, { sight, kept: readKept(annotations[SCALING.state]), history });
    const memory = { fingerprint, scaler, dueMs: 0, historySlot: history.slot };
    this.#memories.set(id, memory);
    return memory;
  }

  #podsOf({ metadata, spec }: Deployment, { coldStart }: Scaler): readonly Pod[] {
    if (!coldStart.isRunning) return [];
    const pods = this.#cluster.informers.informer(PodKind).list(metadata.namespace);
    const wanted = Object.entries(spec.selector.matchLabels ?? {});
    return pods.filter(
      (pod) => wanted.every(([name, value]) => pod.metadata.labels?.[name] === value) && !isDeleting(pod),
    );
  }

  async #measure(deployment: Deployment, { settings, load }: Scaler, context: Context): Promise<void> {
    if (settings.metric !== "promql" || settings.query === "") return;
    const { query } = this.#options;
    try {
      if (query === undefined) {
        const message = "there is no Prometheus to ask: start with ARGOSY_PROMETHEUS_URL set";
        context.events.record(deployment, "Warning", "MetricUnavailable", message);
        return;
      }
      load.noteValue(await query(settings.query, context.signal), context.clock.now());
    } catch (error) {
      context.events.record(deployment, "Warning", "MetricUnavailable", messageOf(error));
    }
  }

  /** One write for the number and what it stands on, and none where nothing changed. */
  async #write(deployment: Deployment, memory: Memory, look: Look): Promise<void> {
    const { name, namespace = "", annotations = {} } = deployment.metadata;
    const state = renderKept(look.state);
    const { history, settings } = memory.scaler;
    const isQuarterOver = settings.prewarm && history.slot !== memory.historySlot;
    const isSame = deployment.spec.replicas === look.replicas && annotations[SCALING.state] === state;
    await writeLimits(this.#cluster, deployment);
    if (isSame && !isQuarterOver) return;
    memory.historySlot = history.slot;
    const kept = { slots: history.slots, slot: history.slot };
    const written = {
      [SCALING.state]: state,
      ...(settings.prewarm ? { [SCALING.history]: JSON.stringify(kept) } : {}),
    };
    const wanted = { metadata: { name, namespace, annotations: written }, spec: { replicas: look.replicas } };
    const deployments = this.#cluster.client.resource(DeploymentKind);
    await deployments.apply(wanted, { namespace, fieldManager: AUTOSCALER, force: true });
    if (!isSame) recordScaling(this.#options.ledger, this.#cluster.name, deployment, look);
  }

  async #tellColdStart(deployment: Deployment, { coldStart, load, settings }: Scaler): Promise<void> {
    const parts = coldStart.result(load.latest?.cold, settings.coldStartBudgetMs);
    if (parts === undefined) return;
    recordColdStart(this.#options.ledger, this.#cluster.name, deployment, parts);
    const { name, namespace = "" } = deployment.metadata;
    const annotations = { [SCALING.coldStart]: JSON.stringify(parts) };
    const deployments = this.#cluster.client.resource(DeploymentKind);
    await deployments.patch(name, "merge", { metadata: { annotations } }, { namespace, fieldManager: AUTOSCALER });
  }
}

/** What users said, and not what was written here: a write must not look like a change of settings. */
function ownAnnotations(annotations: Readonly<Record<string, string>> = {}): Record<string, string> {
  const written: readonly string[] = [SCALING.state, SCALING.coldStart, SCALING.history];
  return Object.fromEntries(
    Object.entries(annotations).filter(
      ([name]) =>
        (name.startsWith("autoscaling.knative.dev/") || name.startsWith("serving.argosy.dev/")) &&
        !written.includes(name),
    ),
  );
}

function sightOf({ metadata, spec, status }: Deployment, nowMs: number): Sight {
  return {
    nowMs,
    replicas: spec.replicas ?? 1,
    readyReplicas: status?.readyReplicas ?? 0,
    updatedReplicas:
      (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) ? (status?.updatedReplicas ?? 0) : 0,
    template: templateName(spec.template),
    reachable: metadata.annotations?.[SCALING.reachable] !== "false",
    progressDeadlineMs: (spec.progressDeadlineSeconds ?? PROGRESS_DEADLINE_S) * 1000,
  };
}

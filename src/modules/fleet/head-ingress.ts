import type {
  BackendReport,
  GatewayDriver,
  GatewayState,
  ListenerInput,
  RouteInput,
} from "../../dataplane/gateway/index.js";
import {
  type ClusterAccess,
  type ControllerSpec,
  type Key,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../kernel/control/index.js";
import { findCondition, isDeleting, withCondition } from "../../kernel/kinds/index.js";
import type { Ledger } from "../../stores/ledger/index.js";
import { type Built, GatewayWriter } from "./gateway-writer.js";
import { backendStatusOf, type HeadPlan, type PlannedBackend, routeIdOf } from "./head-weights.js";
import {
  type ApplyOutcome,
  classOf,
  configMapOf,
  describeUnconnected,
  HeadApplier,
  type RenderedClass,
} from "./heads/applier.js";
import { type Compiled, HeadCompiler } from "./heads/compiler.js";
import {
  absenceOf,
  addressOf,
  assumedReport,
  builtinLimits,
  countedBy,
  countedIn,
  effectless,
  honouredOf,
  programmedAs,
  programmedIn,
  readinessOf,
  refusedAs,
  saidOf,
  trafficOf,
  weightsOf,
} from "./heads/conditions.js";
import { weightDecision } from "./heads/explaining.js";
import { inEffectOf } from "./heads/in-effect.js";
import { LoadMeter, type LoadSettings } from "./heads/load.js";
import { type ProxyReport, type ReadText, readText, reportOf } from "./heads/proxy-report.js";
import { HeadSecrets } from "./heads/secrets.js";
import { shadowLimits, shadowStatusesOf } from "./heads/shadowing.js";
import { headsOf, headsOfCluster, keyOf } from "./heads/watching.js";
import {
  ClusterKind,
  type ConditionDraft,
  type HeadBackendStatus,
  type HeadIngress,
  HeadIngressKind,
  type HeadIngressStatus,
  HyperMLServiceKind,
} from "./kinds.js";

const NAME = "head-ingress-controller";
/** Whose part of the gateway's table it is. */
const SOURCE = "head-ingress";
/** Finalizer of those that have objects in another cluster. */
const FINALIZER = "argosy.dev/head-ingress";
/** What was rendered, and the Secrets that are named, are looked at this often. */
const RENDERED_MS = 10_000;
const SECRETS_MS = 30_000;
/** Who tells how backends are is asked this often. */
const REPORT_MS = 3000;
/** Counters alone are written no more often than this. */
const COUNTERS_MS = 5000;

/** What a HeadIngress controller works with. */
export interface HeadIngressOptions {
  readonly gateway: GatewayDriver;
  readonly listener: ListenerInput;
  readonly tlsListener: Omit<ListenerInput, "tls"> | undefined;
  readonly ledger: Ledger;
  /** By name; undefined when it is not connected. */
  readonly members: (cluster: string) => ClusterAccess | undefined;
  readonly load?: LoadSettings;
  /** How programs that HeadIngresses are rendered for are asked; default: over HTTP. */
  readonly readText?: ReadText;
}

type Context = ReconcileContext<HeadIngress>;
type RouteReport = GatewayState["routes"][number];

/** Carries HeadIngresses out with the gateway, and reports what the gateway makes of them. */
export function headIngressController(options: HeadIngressOptions): ControllerSpec<HeadIngress> {
  let worker: HeadIngressWorker | undefined;
  return {
    name: NAME,
    kind: HeadIngressKind,
    concurrency: 8,
    watches: [
      { kind: HyperMLServiceKind, keys: (object, informers) => headsOf(object, informers) },
      { kind: ClusterKind, keys: headsOfCluster() },
    ],
    async reconcile(key, head, context) {
      if (worker === undefined || worker.context.signal.aborted) worker = new HeadIngressWorker(options, context);
      return worker.reconcile(key, head);
    },
  };
}

/** When what no informer tells of is looked at again: what a spec that is not carried lacked, and Secrets. */
function againFor({ spec: { tls, backendTLS } }: HeadIngress, refused: string): ReconcileResult | undefined {
  if (refused !== "") return { requeueAfterMs: RENDERED_MS };
  return tls === undefined && backendTLS === undefined ? undefined : { requeueAfterMs: SECRETS_MS };
}

class HeadIngressWorker {
  readonly context: Context;
  readonly #options: HeadIngressOptions;
  readonly #writer: GatewayWriter<ReadonlyMap<string, Compiled>>;
  readonly #compiler: HeadCompiler;
  readonly #applier: HeadApplier;
  readonly #secrets: HeadSecrets;
  readonly #load: LoadMeter;
  /** By route id: what was recorded last. */
  readonly #explained = new Map<string, string>();
  /** By route id: what the gateway last said, whole, and counters left out; when a status was last written; and whose counters are newer. */
  readonly #reports = new Map<string, object>();
  readonly #seen = new Map<string, string>();
  readonly #countedMs = new Map<string, number>();
  readonly #behind = new Set<string>();
  #wasSilent = false;
  #begun: Promise<void> | undefined;
  /** The listeners that there were last. */
  #listening = "";

  constructor(options: HeadIngressOptions, context: Context) {
    this.#options = options;
    this.context = context;
    this.#load = new LoadMeter(options.load);
    const { informers } = context.cluster;
    this.#secrets = new HeadSecrets(context, options.gateway, options.gateway.partOf(SOURCE));
    this.#compiler = new HeadCompiler(
      informers,
      {
        listenerOf: (head) =>
          head.spec.tls === undefined ? options.listener.name : (options.tlsListener?.name ?? "head-tls"),
        filesOf: (head) => this.#secrets.of(head).backend,
        latencyOf: (head) => this.#load.of(routeIdOf(head.metadata.namespace ?? "", head.metadata.name)).latencyMs,
        faultOf: (head, route) => this.#faultOf(head, route),
        staleOf: (head) => this.#secrets.staleOf(head),
        lackOf: ({ spec: { ingressCluster } }) =>
          ingressCluster === undefined || options.members(ingressCluster) !== undefined
            ? ""
            : describeUnconnected(ingressCluster),
      },
      context.signal,
    );
    this.#applier = new HeadApplier({
      of: (cluster) => (cluster === undefined ? context.cluster : options.members(cluster)),
    });
    this.#writer = new GatewayWriter(options.gateway, context.clock, SOURCE, () => this.#build());
    const stop = options.gateway.onState((state) => this.#onState(state));
    context.signal.addEventListener("abort", stop, { once: true });
  }

  async reconcile(key: Key, given: HeadIngress | undefined): Promise<ReconcileResult | undefined> {
    const { context } = this;
    const id = routeIdOf(key.namespace, key.name);
    await this.#begin();
    if (given !== undefined && !isDeleting(given)) await this.#lookAgain(given);
    const inForce = await this.#writer.flush();
    if (given === undefined || isDeleting(given)) {
      for (const map of [this.#seen, this.#countedMs, this.#reports, this.#explained]) map.delete(id);
      this.#load.forget(id);
      this.#behind.delete(id);
      if (given !== undefined) await this.#release(given);
      return undefined;
    }
    // Whoever reads the status acts on it: a cluster that is called drained loses what answers there.
    const compiled = inForce.get(given.metadata.uid);
    // Not in the informer any more: its deletion is on the way.
    if (compiled === undefined) return undefined;
    const { plan, fault, refused } = compiled;
    // What is carried is what is told of.
    const head = refused === "" ? given : { ...given, spec: compiled.head.spec };
    const state = this.#options.gateway.lastState;
    const route = state?.routes.find((report) => report.id === id);
    const clusters = this.#compiler.clusters();
    const isBuiltin = classOf(head) === "builtin";
    const outcome = await this.#render(head, compiled, fault);
    const told = await this.#ask(head, plan, outcome);
    const absence = absenceOf(fault, isBuiltin ? undefined : outcome);
    const reportOn = (backend: PlannedBackend): BackendReport | undefined =>
      isBuiltin
        ? route?.backends.find((report) => report.name === backend.name)
        : outcome?.rendered?.class === classOf(head)
          ? (told?.backends?.get(backend.name) ?? assumedReport(backend, plan.backends))
          : undefined;
    const backends = plan.backends.map((backend) =>
      backendStatusOf(
        backend,
        reportOn(backend),
        backend.cluster === undefined ? undefined : clusters.get(backend.cluster),
        absence,
      ),
    );
    if ((state !== undefined || !isBuiltin) && fault === "") this.#explain(head, plan, backends);
    const status = this.#statusOf(head, {
      compiled,
      state,
      report: route,
      backends,
      outcome,
      told,
    });
    this.#recordTransition(head, status);
    await syncStatus(context.cluster.client.resource(HeadIngressKind), head, status, NAME);
    this.#countedMs.set(id, context.clock.monotonicMs());
    // The driver tells within half a second; this is for the case that it was told before the route was known.
    if (isBuiltin && route === undefined && fault === "") return { requeueAfterMs: 500 };
    if (outcome !== undefined) return { requeueAfterMs: told?.backends === undefined ? RENDERED_MS : REPORT_MS };
    return againFor(head, refused);
  }

  /** Once, before the first table: what all of them name is read, so that none is left out of it only because others came first. */
  #begin(): Promise<void> {
    const all = (): readonly HeadIngress[] => this.context.cluster.informers.informer(HeadIngressKind).list();
    this.#begun ??= Promise.all(all().map((head) => this.#lookAgain(head))).then(
      () => undefined,
      (error: unknown) => {
        this.#begun = undefined;
        throw error;
      },
    );
    return this.#begun;
  }

  /** Looks at what no informer tells of: Secrets; of one whose spec is not carried, the connection that it lacked. */
  async #lookAgain(head: HeadIngress): Promise<void> {
    const former = this.#compiler.former(head);
    const isNew = await this.#secrets.refresh(head, former === undefined ? [head] : [head, former]);
    if (isNew || former !== undefined) this.#compiler.refresh();
  }

  /** Brings into the ingress cluster what the class wants there, and takes away what it does not. */
  async #render(head: HeadIngress, compiled: Compiled, fault: string): Promise<ApplyOutcome | undefined> {
    const kind = this.#renderedClassOf(head);
    if (kind === undefined || fault !== "") {
      if (head.status?.rendered !== undefined) await this.#release(head);
      return undefined;
    }
    if (head.spec.ingressCluster !== undefined) await this.#hold(head);
    const group = [...this.#compiler.all().values()].filter(
      (other) =>
        other.head.metadata.namespace === head.metadata.namespace &&
        this.#renderedClassOf(other.head) === kind &&
        other.head.spec.ingressCluster === head.spec.ingressCluster &&
        configMapOf(other.head, kind) === configMapOf(head, kind) &&
        other.fault === "",
    );
    return this.#applier.apply(kind, compiled, group);
  }

  /** What the program that it is rendered for tells. */
  async #ask(head: HeadIngress, plan: HeadPlan, outcome: ApplyOutcome | undefined): Promise<ProxyReport | undefined> {
    const kind = this.#renderedClassOf(head);
    if (kind === undefined || outcome?.condition.status !== "True") return undefined;
    const routeId = routeIdOf(head.metadata.namespace ?? "", head.metadata.name);
    const read = this.#options.readText ?? readText;
    return reportOf(kind, head, { routeId, plan: plan.backends, objects: outcome.objects ?? [], read });
  }

  #renderedClassOf(head: HeadIngress): RenderedClass | undefined {
    const { class: asked = "auto" } = head.spec;
    if (asked === "builtin") return undefined;
    if (asked !== "auto") return asked;
    // Once it was rendered clients may have moved there, and then nothing is left to measure here: only people take it back.
    const isThere = head.status?.rendered?.class === "haproxy";
    const { isHigh } = this.#load.of(routeIdOf(head.metadata.namespace ?? "", head.metadata.name));
    return isThere || isHigh ? "haproxy" : undefined;
  }

  /** Objects in another cluster are not removed by the hub's own collector. */
  async #hold(head: HeadIngress): Promise<void> {
    const { finalizers = [], name, namespace = "" } = head.metadata;
    if (finalizers.includes(FINALIZER)) return;
    const change = { metadata: { finalizers: [...finalizers, FINALIZER] } };
    await this.context.cluster.client.resource(HeadIngressKind).patch(name, "merge", change, { namespace });
  }

  async #release(head: HeadIngress): Promise<void> {
    await this.#applier.remove(head, []);
    const { finalizers = [], name, namespace = "" } = head.metadata;
    if (!finalizers.includes(FINALIZER)) return;
    const change = { metadata: { finalizers: finalizers.filter((one) => one !== FINALIZER) } };
    await this.context.cluster.client.resource(HeadIngressKind).patch(name, "merge", change, { namespace });
  }

  #faultOf(head: HeadIngress, { listener }: RouteInput): string {
    const fault = this.#secrets.faultOf(head);
    if (fault !== "" || classOf(head) !== "builtin") return fault;
    const listeners = this.#listenerNames();
    if (listeners.has(listener)) return "";
    return `spec.listener: the gateway has no listener "${listener}"; it has ${[...listeners].join(", ")}`;
  }

  #listenerNames(): ReadonlySet<string> {
    const { listener, tlsListener, gateway } = this.#options;
    return new Set([
      listener.name,
      ...(tlsListener === undefined ? [] : [tlsListener.name]),
      ...(gateway.lastState?.listeners ?? []).map((report) => report.name),
    ]);
  }

  #build(): Built<ReadonlyMap<string, Compiled>> {
    const all = this.#compiler.all();
    const carried = [...all.values()].filter(({ head, fault }) => classOf(head) === "builtin" && fault === "");
    const part = { listeners: this.#listeners(carried), routes: carried.map(({ route }) => route) };
    return { part, from: all };
  }

  /** The listener for TLS is there while a HeadIngress wants it, with the certificates of all. */
  #listeners(carried: readonly Compiled[]): readonly ListenerInput[] {
    const { listener, tlsListener } = this.#options;
    const names = this.#secrets.namesOf(carried);
    const [first] = names;
    if (tlsListener === undefined || first === undefined) return [listener];
    return [listener, { ...tlsListener, tls: { certFile: first.certFile, keyFile: first.keyFile, names } }];
  }

  #statusOf(head: HeadIngress, seen: Seen): HeadIngressStatus {
    const observedGeneration = head.metadata.generation ?? 0;
    const isBuiltin = classOf(head) === "builtin";
    const load = this.#load.of(routeIdOf(head.metadata.namespace ?? "", head.metadata.name));
    const shadows = shadowStatusesOf(classOf(head), head, seen.compiled.plan.shadows, seen.report?.shadows);
    // What nobody tells any more is not so any more.
    const before = head.status?.conditions?.filter(({ type }) => type !== "Observed" || seen.told !== undefined);
    const conditions = this.#draftsOf(head, seen).reduce<HeadIngressStatus["conditions"]>(
      (list, draft) => withCondition(list, { ...draft, observedGeneration }, this.context.clock.now()),
      before,
    );
    const rate = isBuiltin ? load.rate : (seen.told?.rate ?? 0);
    const address = addressOf(seen.compiled.route, seen.state, this.#options);
    const isCarried = seen.compiled.fault === "" && (isBuiltin || seen.outcome?.condition.status === "True");
    const inEffect = isCarried ? inEffectOf(seen.compiled.head) : head.status?.inEffect;
    return {
      observedGeneration,
      ...(address === undefined || !isBuiltin ? {} : { address }),
      ...(inEffect === undefined ? {} : { inEffect }),
      ...(seen.outcome?.rendered === undefined ? {} : { rendered: seen.outcome.rendered }),
      ...(rate > 0 ? { requestsPerSecond: Math.round(rate * 10) / 10 } : {}),
      backends: [...seen.backends],
      ...(shadows.length === 0 ? {} : { shadows }),
      summary: seen.backends.map((backend) => `${backend.name} ${backend.percent}%`).join(", "),
      ...(conditions === undefined ? {} : { conditions }),
    };
  }

  #draftsOf(head: HeadIngress, seen: Seen): ConditionDraft[] {
    const isBuiltin = classOf(head) === "builtin";
    const { fault, route } = seen.compiled;
    const carried = isBuiltin
      ? programmedIn(this.#options.gateway, seen.state, {
          fault,
          listener: seen.report === undefined ? undefined : route.listener,
        })
      : programmedAs(fault, seen.outcome, seen.told?.refusal);
    const programmed = refusedAs(carried, seen.compiled);
    const own = isBuiltin
      ? [...builtinLimits(head), ...shadowLimits("builtin", seen.compiled), ...this.#secrets.hiddenOf(seen.compiled)]
      : (seen.outcome?.limits ?? []);
    const limits = [...effectless(head, seen.compiled.plan), ...own];
    const load = this.#load.of(routeIdOf(head.metadata.namespace ?? "", head.metadata.name));
    const traffic = trafficOf(head, load, seen.outcome);
    return [
      programmed,
      readinessOf(carried, seen.compiled.plan, { backends: seen.backends, refused: programmed }),
      weightsOf(seen.backends),
      honouredOf(limits, seen.compiled.plan.faults),
      ...(seen.outcome === undefined ? [] : [seen.outcome.condition]),
      ...(seen.told === undefined ? [] : [seen.told.condition]),
      ...(traffic === undefined ? [] : [traffic]),
    ];
  }

  #explain(head: HeadIngress, plan: HeadPlan, backends: readonly HeadBackendStatus[]): void {
    const id = routeIdOf(head.metadata.namespace ?? "", head.metadata.name);
    const said = JSON.stringify(
      backends.map(({ name, url, weight, weightEffective, message }) => [name, url, weight, weightEffective, message]),
    );
    if (this.#explained.get(id) === said) return;
    this.#explained.set(id, said);
    this.#options.ledger.record(weightDecision(this.context.cluster.name, head, plan, backends));
  }

  #recordTransition(head: HeadIngress, status: HeadIngressStatus): void {
    const before = findCondition(head.status?.conditions, "Ready");
    const now = findCondition(status.conditions, "Ready");
    if (now === undefined || before?.reason === now.reason) return;
    this.context.events.record(head, now.reason === "Serving" ? "Normal" : "Warning", now.reason, now.message);
  }

  /** Wakes those HeadIngresses of which the gateway says something new. */
  #onState(state: GatewayState | undefined): void {
    const heads = this.context.cluster.informers.informer(HeadIngressKind);
    const listeners = [...this.#listenerNames()].join();
    if (listeners !== this.#listening) this.#compiler.refresh();
    this.#listening = listeners;
    if (state === undefined || this.#wasSilent) for (const head of heads.list()) this.context.enqueue(keyOf(head));
    this.#wasSilent = state === undefined;
    const now = this.context.clock.monotonicMs();
    for (const route of state?.routes ?? []) {
      const [kind, namespace, name] = route.id.split("/");
      if (kind !== "headingress" || namespace === undefined || name === undefined) continue;
      const head = heads.get({ namespace, name });
      if (this.#isNews(route, head, now)) this.context.enqueue({ namespace, name });
    }
  }

  #isNews(route: RouteReport, head: HeadIngress | undefined, nowMs: number): boolean {
    const { id } = route;
    const isSame = this.#reports.get(id) === route;
    this.#reports.set(id, route);
    // The driver hands out the same report until something is new; then only load falls, and counters are still to be written.
    if (isSame && this.#load.of(id).rate === 0 && !this.#behind.has(id)) return false;
    const isLoadNew = this.#load.note(route, nowMs);
    if (isLoadNew) this.#compiler.refresh();
    const said = saidOf(route);
    const isSaid = this.#seen.get(id) === said;
    this.#seen.set(id, said);
    const isCountNew = countedBy(route) !== countedIn(head?.status);
    const isDue = nowMs - (this.#countedMs.get(id) ?? 0) >= COUNTERS_MS;
    if (isCountNew && !isDue) this.#behind.add(id);
    else this.#behind.delete(id);
    return !isSaid || isLoadNew || (isCountNew && isDue);
  }
}

/** What a status is made of. */
interface Seen {
  readonly compiled: Compiled;
  readonly state: GatewayState | undefined;
  readonly report: RouteReport | undefined;
  readonly backends: readonly HeadBackendStatus[];
  readonly outcome: ApplyOutcome | undefined;
  readonly told: ProxyReport | undefined;
}

import {
  checkRoute,
  type GatewayDriver,
  type GatewayPart,
  type GatewayState,
  type ListenerInput,
  type RouteInput,
} from "../../dataplane/gateway/index.js";
import {
  type ControllerSpec,
  type InformerSet,
  type Key,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../kernel/control/index.js";
import { findCondition, isDeleting, type KubeObject, withCondition } from "../../kernel/kinds/index.js";
import type { Ledger } from "../../stores/ledger/index.js";
import { derivedFrom } from "./derived.js";
import { GatewayWriter } from "./gateway-writer.js";
import { backendStatusOf, type HeadPlan, planHead, routeIdOf, routeOf } from "./head-weights.js";
import {
  type Cluster,
  ClusterKind,
  type ConditionDraft,
  type HeadBackendStatus,
  type HeadIngress,
  HeadIngressKind,
  type HeadIngressStatus,
  HyperMLServiceKind,
} from "./kinds.js";

const NAME = "head-ingress-controller";
/** Counters alone are written no more often than this. */
const COUNTERS_MS = 5000;

/** What a HeadIngress controller works with. */
export interface HeadIngressOptions {
  readonly gateway: GatewayDriver;
  readonly listener: ListenerInput;
  readonly ledger: Ledger;
}

type Context = ReconcileContext<HeadIngress>;

/** Carries HeadIngresses out with the gateway, and reports what the gateway makes of them. */
export function headIngressController(options: HeadIngressOptions): ControllerSpec<HeadIngress> {
  let worker: HeadIngressWorker | undefined;
  return {
    name: NAME,
    kind: HeadIngressKind,
    concurrency: 8,
    watches: [
      { kind: HyperMLServiceKind, keys: (object, informers) => headsOf(object, informers) },
      { kind: ClusterKind, keys: (_cluster, informers) => informers.informer(HeadIngressKind).list().map(keyOf) },
    ],
    async reconcile(key, head, context) {
      if (worker === undefined || worker.context.signal.aborted) worker = new HeadIngressWorker(options, context);
      return worker.reconcile(key, head);
    },
  };
}

function headsOf(hyper: KubeObject, informers: InformerSet): readonly Key[] {
  const heads = informers.informer(HeadIngressKind).list(hyper.metadata.namespace);
  return heads.filter((head) => head.spec.hyperMLServiceRef?.name === hyper.metadata.name).map(keyOf);
}

function keyOf(object: KubeObject): Key {
  return { namespace: object.metadata.namespace ?? "", name: object.metadata.name };
}

/** What a HeadIngress comes to. */
interface Compiled {
  readonly plan: HeadPlan;
  readonly route: RouteInput;
  /** Why it gets no route; empty when it gets one. */
  readonly fault: string;
}

class HeadIngressWorker {
  readonly context: Context;
  readonly #options: HeadIngressOptions;
  readonly #writer: GatewayWriter;
  readonly #compiled: () => ReadonlyMap<string, Compiled>;
  /** By route id: what the gateway last said, counters left out; and when a status was last written. */
  readonly #seen = new Map<string, string>();
  readonly #countedMs = new Map<string, number>();
  #wasSilent = false;

  constructor(options: HeadIngressOptions, context: Context) {
    this.#options = options;
    this.context = context;
    const { informers } = context.cluster;
    this.#compiled = derivedFrom(informers, [HeadIngressKind, HyperMLServiceKind, ClusterKind], context.signal, () =>
      this.#compileAll(),
    );
    this.#writer = new GatewayWriter(options.gateway, context.clock, "head-ingress", () => this.#build());
    const stop = options.gateway.onState((state) => this.#onState(state));
    context.signal.addEventListener("abort", stop, { once: true });
  }

  async reconcile(key: Key, head: HeadIngress | undefined): Promise<ReconcileResult | undefined> {
    await this.#writer.flush();
    const { context } = this;
    const id = routeIdOf(key.namespace, key.name);
    if (head === undefined || isDeleting(head)) {
      this.#seen.delete(id);
      this.#countedMs.delete(id);
      return undefined;
    }
    const compiled = this.#compiled().get(head.metadata.uid);
    // Not in the informer any more: its deletion is on the way.
    if (compiled === undefined) return undefined;
    const { plan } = compiled;
    const fault = this.#faultOf(compiled);
    const state = this.#options.gateway.lastState;
    const route = state?.routes.find((report) => report.id === id);
    const clusters = this.#clusters();
    const backends = plan.backends.map((backend) =>
      backendStatusOf(
        backend,
        route?.backends.find((report) => report.name === backend.name),
        backend.cluster === undefined ? undefined : clusters.get(backend.cluster),
      ),
    );
    if (state !== undefined && fault === "") this.#explain(head, plan, backends);
    const status = this.#statusOf(head, { compiled, fault, state, isProgrammed: route !== undefined, backends });
    this.#recordTransition(head, status);
    await syncStatus(context.cluster.client.resource(HeadIngressKind), head, status, NAME);
    this.#countedMs.set(id, context.clock.monotonicMs());
    // A weight that was just changed is reported by the gateway's next observation; this is only for a lost one.
    return route === undefined && fault === "" ? { requeueAfterMs: 500 } : undefined;
  }

  #clusters(): ReadonlyMap<string, Cluster> {
    return new Map(
      this.context.cluster.informers
        .informer(ClusterKind)
        .list()
        .map((cluster) => [cluster.metadata.name, cluster]),
    );
  }

  #plan(head: HeadIngress): HeadPlan {
    const reference = head.spec.hyperMLServiceRef;
    const { informers } = this.context.cluster;
    const namespace = head.metadata.namespace ?? "";
    const hyper =
      reference === undefined
        ? undefined
        : informers.informer(HyperMLServiceKind).get({ namespace, name: reference.name });
    return planHead(head, hyper, this.#clusters());
  }

  /** What all HeadIngresses come to, the oldest first: of two that claim the same place, the older one has it. */
  #compileAll(): ReadonlyMap<string, Compiled> {
    const compiled = new Map<string, Compiled>();
    const owners = new Map<string, HeadIngress>();
    const heads = this.context.cluster.informers.informer(HeadIngressKind).list();
    for (const head of heads.filter((candidate) => !isDeleting(candidate)).sort(compareAge)) {
      const plan = this.#plan(head);
      const route = routeOf(head, plan, this.#options.listener.name);
      const elder = claimsOf(route).flatMap((claim) => owners.get(claim) ?? [])[0];
      const fault = elder === undefined ? checkRoute(route) : describeElder(elder);
      if (fault === "") for (const claim of claimsOf(route)) owners.set(claim, head);
      compiled.set(head.metadata.uid, { plan, route, fault });
    }
    return compiled;
  }

  #faultOf(compiled: Compiled): string {
    const { listener } = compiled.route;
    const listeners = new Set([
      this.#options.listener.name,
      ...(this.#options.gateway.lastState?.listeners ?? []).map((report) => report.name),
    ]);
    if (listeners.has(listener)) return compiled.fault;
    return `spec.listener: the gateway has no listener "${listener}"; it has ${[...listeners].join(", ")}`;
  }

  #build(): GatewayPart {
    const routes = [...this.#compiled().values()].flatMap((compiled) =>
      this.#faultOf(compiled) === "" ? [compiled.route] : [],
    );
    return { listeners: [this.#options.listener], routes };
  }

  #statusOf(
    head: HeadIngress,
    seen: {
      readonly compiled: Compiled;
      readonly fault: string;
      readonly state: GatewayState | undefined;
      readonly isProgrammed: boolean;
      readonly backends: readonly HeadBackendStatus[];
    },
  ): HeadIngressStatus {
    const observedGeneration = head.metadata.generation ?? 0;
    let conditions = head.status?.conditions;
    const programmed = this.#programmed(
      seen.fault,
      seen.state,
      seen.isProgrammed ? seen.compiled.route.listener : undefined,
    );
    for (const draft of [
      programmed,
      readinessOf(programmed, seen.compiled.plan, seen.backends),
      weightsOf(seen.backends),
    ]) {
      conditions = withCondition(conditions, { ...draft, observedGeneration }, this.context.clock.now());
    }
    const address = addressOf(seen.compiled.route, seen.state, this.#options.listener);
    return {
      observedGeneration,
      ...(address === undefined ? {} : { address }),
      backends: [...seen.backends],
      summary: seen.backends.map((backend) => `${backend.name} ${backend.percent}%`).join(", "),
      ...(conditions === undefined ? {} : { conditions }),
    };
  }

  /** `listener` is where the gateway carries the route; undefined when it does not yet. */
  #programmed(fault: string, state: GatewayState | undefined, listener: string | undefined): ConditionDraft {
    const draft = (reason: string, message: string): ConditionDraft => ({
      type: "Programmed",
      status: reason === "Programmed" ? "True" : "False",
      reason,
      message,
    });
    if (fault !== "") return draft("Invalid", fault);
    const { process } = this.#options.gateway;
    if (state === undefined)
      return draft(
        "GatewayDown",
        `the gateway does not answer: ${process.reason === "" ? "it has not been asked yet" : process.reason}`,
      );
    if (state.tableError !== "") return draft("TableRefused", state.tableError);
    if (listener === undefined) return draft("Pending", "the gateway has not taken the route over yet");
    const silent = state.listeners.find((report) => report.name === listener && !report.listening);
    if (silent !== undefined) return draft("NotListening", silent.reason);
    return draft("Programmed", "the gateway carries the route");
  }

  #explain(head: HeadIngress, plan: HeadPlan, backends: readonly HeadBackendStatus[]): void {
    const { apiVersion, kind, metadata } = head;
    const candidate = (backend: HeadBackendStatus) => ({
      name: backend.name,
      score: backend.weightEffective,
      reason: backend.message ?? `ready and answering: weight ${backend.weight} as asked`,
    });
    this.#options.ledger.record({
      cluster: this.context.cluster.name,
      about: {
        apiVersion,
        kind,
        name: metadata.name,
        ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      },
      topic: "weight",
      rule: "a backend gets the weight that was asked for if its model is delivered, ready and answers the gateway's checks; otherwise 0",
      inputs: {
        asked: Object.fromEntries(backends.map((backend) => [backend.name, backend.weight])),
        given: Object.fromEntries(plan.backends.map((backend) => [backend.name, backend.weightGiven])),
        urls: Object.fromEntries(backends.map((backend) => [backend.name, backend.url])),
      },
      outcome:
        backends.length === 0
          ? "no backend"
          : backends.map((backend) => `${backend.name} ${backend.weightEffective}`).join(", "),
      winners: backends.filter((backend) => backend.weightEffective > 0).map(candidate),
      losers: backends.filter((backend) => backend.weightEffective === 0).map(candidate),
    });
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
    if (state === undefined || this.#wasSilent) for (const head of heads.list()) this.context.enqueue(keyOf(head));
    this.#wasSilent = state === undefined;
    const now = this.context.clock.monotonicMs();
    for (const route of state?.routes ?? []) {
      const [kind, namespace, name] = route.id.split("/");
      if (kind !== "headingress" || namespace === undefined || name === undefined) continue;
      const said = JSON.stringify(
        route.backends.map(({ weight, weightEffective, share, healthy, answered, reason }) => [
          weight,
          weightEffective,
          share,
          healthy,
          answered,
          reason,
        ]),
      );
      const head = heads.get({ namespace, name });
      const requests = route.backends.reduce((sum, backend) => sum + backend.requests, 0);
      const reported = (head?.status?.backends ?? []).reduce((sum, backend) => sum + backend.requests, 0);
      const isCounting = requests !== reported && now - (this.#countedMs.get(route.id) ?? 0) >= COUNTERS_MS;
      if (this.#seen.get(route.id) !== said || isCounting) this.context.enqueue({ namespace, name });
      this.#seen.set(route.id, said);
    }
  }
}

function compareAge(a: HeadIngress, b: HeadIngress): number {
  const [first = "", second = ""] = [a, b].map(
    ({ metadata }) => `${metadata.creationTimestamp} ${metadata.namespace ?? ""}/${metadata.name}`,
  );
  return first < second ? -1 : 1;
}

/** The places that a route takes, each as one word. */
function claimsOf(route: RouteInput): string[] {
  return (route.hosts ?? ["*"]).map((host) => `${route.listener} ${host} ${(route.path ?? "/").replace(/\/+$/, "")}`);
}

function describeElder({ metadata }: HeadIngress): string {
  return `HeadIngress ${metadata.namespace ?? ""}/${metadata.name}, which is older, has the same listener, host and path`;
}

function readinessOf(
  programmed: ConditionDraft,
  plan: HeadPlan,
  backends: readonly HeadBackendStatus[],
): ConditionDraft {
  if (programmed.status !== "True")
    return { type: "Ready", status: "False", reason: programmed.reason, message: programmed.message };
  const short = backends.filter((backend) => backend.weightEffective < backend.weight);
  const why = [...plan.faults, ...short.map((backend) => `${backend.name}: ${backend.message ?? "no traffic"}`)].join(
    "; ",
  );
  const percents = backends
    .filter((backend) => backend.weightEffective > 0)
    .map((backend) => `${backend.name} ${backend.percent}%`);
  if (percents.length === 0)
    return { type: "Ready", status: "False", reason: "NoBackend", message: why === "" ? "there is no backend" : why };
  if (why !== "")
    return {
      type: "Ready",
      status: "True",
      reason: "Degraded",
      message: `requests go to ${percents.join(", ")}; ${why}`,
    };
  return { type: "Ready", status: "True", reason: "Serving", message: `requests go to ${percents.join(", ")}` };
}

/** True once every backend has the weight that was asked for. */
function weightsOf(backends: readonly HeadBackendStatus[]): ConditionDraft {
  const short = backends.filter((backend) => backend.weightEffective !== backend.weight);
  if (short.length === 0 && backends.length > 0) {
    return {
      type: "WeightsEffective",
      status: "True",
      reason: "AsAsked",
      message: "every backend has the weight that was asked for",
    };
  }
  const why = short.map(
    (backend) =>
      `${backend.name} has ${backend.weightEffective} of ${backend.weight}: ${backend.message ?? "no traffic"}`,
  );
  return {
    type: "WeightsEffective",
    status: "False",
    reason: "Differs",
    message: backends.length === 0 ? "there is no backend" : why.join("; "),
  };
}

function addressOf(route: RouteInput, state: GatewayState | undefined, listener: ListenerInput): string | undefined {
  const bound =
    state?.listeners.find((report) => report.name === route.listener)?.address ?? `${listener.host}:${listener.port}`;
  const scheme = route.listener === listener.name && listener.tls !== undefined ? "https" : "http";
  const host = route.hosts?.find((name) => !name.startsWith("*"));
  const authority = host === undefined ? bound : `${host}:${bound.split(":").at(-1)}`;
  return `${scheme}://${authority}${route.path ?? "/"}`;
}

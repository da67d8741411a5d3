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

class HeadIngressWorker {
  readonly context: Context;
  readonly #options: HeadIngressOptions;
  readonly #writer: GatewayWriter;
  /** By route id: what the gateway last said, counters left out; and when a status was last written. */
  readonly #seen = new Map<string, string>();
  readonly #countedMs = new Map<string, number>();
  #wasSilent = false;

  constructor(options: HeadIngressOptions, context: Context) {
    this.#options = options;
    this.context = context;
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
    const plan = this.#plan(head);
    const fault = this.#faultOf(head, plan);
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
    const status = this.#statusOf(head, { plan, fault, state, isProgrammed: route !== undefined, backends });
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
    const hyper =
      reference === undefined
        ? undefined
        : informers
            .informer(HyperMLServiceKind)
            .get({ namespace: head.metadata.namespace ?? "", name: reference.name });
    return planHead(head, hyper, this.#clusters());
  }

  /** Why a HeadIngress gets no route; empty when it gets one. */
  #faultOf(head: HeadIngress, plan: HeadPlan): string {
    const route = routeOf(head, plan, this.#options.listener.name);
    const listeners = [
      this.#options.listener.name,
      ...(this.#options.gateway.lastState?.listeners.map((listener) => listener.name) ?? []),
    ];
    if (!listeners.includes(route.listener))
      return `spec.listener: the gateway has no listener "${route.listener}"; it has ${listeners.join(", ")}`;
    const own = checkRoute(route);
    if (own !== "") return own;
    const elder = this.#inOrder().find((other) => isBefore(other, head) && overlaps(this.#routeOf(other), route));
    return elder === undefined
      ? ""
      : `HeadIngress ${elder.metadata.namespace}/${elder.metadata.name}, which is older, has the same listener, host and path`;
  }

  #routeOf(head: HeadIngress): RouteInput {
    return routeOf(head, this.#plan(head), this.#options.listener.name);
  }

  #inOrder(): readonly HeadIngress[] {
    const heads = this.context.cluster.informers
      .informer(HeadIngressKind)
      .list()
      .filter((head) => !isDeleting(head));
    return [...heads].sort((a, b) => (isBefore(a, b) ? -1 : 1));
  }

  #build(): GatewayPart {
    const routes = this.#inOrder().flatMap((head) => {
      const plan = this.#plan(head);
      return this.#faultOf(head, plan) === "" ? [routeOf(head, plan, this.#options.listener.name)] : [];
    });
    return { listeners: [this.#options.listener], routes };
  }

  #statusOf(
    head: HeadIngress,
    seen: {
      readonly plan: HeadPlan;
      readonly fault: string;
      readonly state: GatewayState | undefined;
      readonly isProgrammed: boolean;
      readonly backends: readonly HeadBackendStatus[];
    },
  ): HeadIngressStatus {
    const observedGeneration = head.metadata.generation ?? 0;
    let conditions = head.status?.conditions;
    const programmed = this.#programmed(seen.fault, seen.state, seen.isProgrammed);
    for (const draft of [programmed, readinessOf(programmed, seen.plan, seen.backends)]) {
      conditions = withCondition(conditions, { ...draft, observedGeneration }, this.context.clock.now());
    }
    const address = addressOf(this.#routeOf(head), seen.state, this.#options.listener);
    return {
      observedGeneration,
      ...(address === undefined ? {} : { address }),
      backends: [...seen.backends],
      summary: seen.backends.map((backend) => `${backend.name} ${backend.percent}%`).join(", "),
      ...(conditions === undefined ? {} : { conditions }),
    };
  }

  #programmed(fault: string, state: GatewayState | undefined, isProgrammed: boolean): ConditionDraft {
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
    if (!isProgrammed) return draft("Pending", "the gateway has not taken the route over yet");
    const listener = state.listeners.find((report) => !report.listening);
    if (listener !== undefined) return draft("NotListening", listener.reason);
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
        route.backends.map(({ weight, weightEffective, share, healthy, reason }) => [
          weight,
          weightEffective,
          share,
          healthy,
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

function isBefore(a: HeadIngress, b: HeadIngress): boolean {
  const [first, second] = [a, b].map(
    ({ metadata }) => `${metadata.creationTimestamp} ${metadata.namespace ?? ""}/${metadata.name}`,
  );
  return (first ?? "") < (second ?? "");
}

function overlaps(a: RouteInput, b: RouteInput): boolean {
  const path = (route: RouteInput): string => (route.path ?? "/").replace(/\/+$/, "");
  return (
    a.listener === b.listener &&
    path(a) === path(b) &&
    (a.hosts ?? ["*"]).some((host) => (b.hosts ?? ["*"]).includes(host))
  );
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

function addressOf(route: RouteInput, state: GatewayState | undefined, listener: ListenerInput): string | undefined {
  const bound =
    state?.listeners.find((report) => report.name === route.listener)?.address ?? `${listener.host}:${listener.port}`;
  const scheme = route.listener === listener.name && listener.tls !== undefined ? "https" : "http";
  const host = route.hosts?.find((name) => !name.startsWith("*"));
  const authority = host === undefined ? bound : `${host}:${bound.split(":").at(-1)}`;
  return `${scheme}://${authority}${route.path ?? "/"}`;
}

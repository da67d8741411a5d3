/** Asks what the gates of a rollout ask for, about the requests that a new revision answered since it has its share. */
import { countsByGateway, type GatewayState } from "../../../dataplane/gateway/index.js";
import type { ReconcileContext } from "../../../kernel/control/types.js";
import { ArgosyError, messageOf } from "../../../kernel/errors/index.js";
import {
  type Baseline,
  baselineOf,
  judge,
  judgeCounts,
  sinceFirst,
  sum,
  type Verdict,
} from "../../../kernel/gates/index.js";
import type { MetricQuery } from "../autoscaling/index.js";
import type { RolloutGate } from "./promotion-settings.js";

/** Who tells. */
export interface GateSources {
  /** The gateway's counts now. Rejects while it does not answer. */
  readonly gateway: (() => Promise<GatewayState>) | undefined;
  readonly query: MetricQuery | undefined;
}

/** What is watched. */
export interface Watched {
  /** Of the InferenceService. */
  readonly uid: string;
  /** Another one is another watch. */
  readonly mark: string;
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
  readonly revision: string;
  /** Ingresses by which clients come; the revision's own address is not among them. */
  readonly ingresses: readonly string[];
  /** The revision's Service behind them. */
  readonly backend: string;
  readonly gates: readonly RolloutGate[];
}

/** When and how each look is made. */
type Looking = Pick<ReconcileContext<never>, "clock" | "signal">;

/** How old the gateway's counts may be: all rollouts of a cluster share what is read, since it tells of every route. */
const SHARED_MS = 500;

/** The routes of one reading of the gateway, by their Ingress. */
type Routes = ReadonlyMap<string, readonly GatewayState["routes"][number][]>;

interface Reading {
  readonly atMs: number;
  readonly routes: Promise<Routes>;
}

/** The baselines of all watches of a cluster. They are in memory: after a restart a watch counts from there. */
export class GateWatch {
  readonly #sources: GateSources;
  readonly #baselines = new Map<string, Baseline>();
  /** `namespace/name` of those that have some, by which they are found when it is gone. */
  readonly #uids = new Map<string, Set<string>>();
  #reading: Reading | undefined;

  constructor(sources: GateSources) {
    this.#sources = sources;
  }

  forget(uid: string): void {
    this.#baselines.delete(uid);
  }

  /** An InferenceService is gone, and all its watches. */
  forgetAll({ namespace, name }: Pick<Watched, "namespace" | "name">): void {
    const id = `${namespace}/${name}`;
    for (const uid of this.#uids.get(id) ?? []) this.forget(uid);
    this.#uids.delete(id);
  }

  /** What each gate says. What cannot be asked makes a gate wait. */
  async look(watched: Watched, looking: Looking): Promise<Verdict[]> {
    const { uid, mark, gates, cluster } = watched;
    if (gates.length === 0) return [];
    const known = this.#baselines.get(uid);
    const baseline = known?.mark === mark ? known : baselineOf(mark);
    this.#baselines.set(uid, baseline);
    const id = `${watched.namespace}/${watched.name}`;
    this.#uids.set(id, (this.#uids.get(id) ?? new Set()).add(uid));
    const counts = gates.some(({ query }) => query === undefined)
      ? await this.#counts(watched, baseline, looking)
      : undefined;
    return Promise.all(
      gates.map(async (gate): Promise<Verdict> => {
        const { name, query } = gate;
        try {
          if (query !== undefined) return judge(gate, cluster, [await this.#ask(query, watched, looking.signal)], "");
          if (typeof counts === "string") return { name, cluster, verdict: "Waiting", message: counts };
          return judgeCounts(gate, cluster, counts ?? sum([]));
        } catch (error) {
          return { name, cluster, verdict: "Waiting", message: messageOf(error) };
        }
      }),
    );
  }

  async #counts({ cluster, namespace, ingresses, backend }: Watched, baseline: Baseline, { clock }: Looking) {
    const { gateway } = this.#sources;
    if (gateway === undefined) return "nobody counts requests here";
    // What a watch counts from must not be older than the watch.
    const oldestMs = clock.monotonicMs() - (baseline.read.has("gateway") ? SHARED_MS : 0);
    if (this.#reading === undefined || this.#reading.atMs < oldestMs)
      this.#reading = { atMs: clock.monotonicMs(), routes: gateway().then(routesOf) };
    let routes: Routes;
    try {
      routes = await this.#reading.routes;
    } catch (error) {
      this.#reading = undefined;
      return messageOf(error);
    }
    const parts = [...new Set(ingresses)]
      .flatMap((ingress) => routes.get(`ingress/${cluster}/${namespace}/${ingress}`) ?? [])
      .flatMap(({ id, backends }) =>
        backends
          .filter(({ name }) => name === backend)
          .map((report) => sinceFirst(baseline, "gateway", id, countsByGateway(report))),
      );
    baseline.read.add("gateway");
    return sum(parts);
  }

  async #ask(query: string, watched: Watched, signal: AbortSignal): Promise<number> {
    if (this.#sources.query === undefined) throw new NoPrometheus();
    const { cluster, namespace, name, revision } = watched;
    const values: Readonly<Record<string, string>> = { cluster, namespace, name, revision };
    const filled = query.replaceAll(/\$(cluster|namespace|name|revision)\b/g, (_all, key: string) => values[key] ?? "");
    return this.#sources.query(filled, signal);
  }
}

/** An id begins with `ingress/CLUSTER/NAMESPACE/NAME/`. */
function routesOf({ routes }: GatewayState): Routes {
  const found = new Map<string, GatewayState["routes"][number][]>();
  for (const route of routes) {
    const ingress = route.id.split("/", 4).join("/");
    const known = found.get(ingress);
    if (known === undefined) found.set(ingress, [route]);
    else known.push(route);
  }
  return found;
}

class NoPrometheus extends ArgosyError {
  constructor() {
    super("NoPrometheus", "the agent knows no Prometheus: start it with ARGOSY_PROMETHEUS_URL");
  }
}

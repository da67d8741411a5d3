import { type CountedByGateway, countsByGateway, type GatewayState } from "../../../dataplane/gateway/index.js";
import type { ClusterAccess } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import {
  type Baseline,
  baselineOf,
  type Counts,
  judge,
  judgeCounts,
  sinceFirst,
  sum,
} from "../../../kernel/gates/index.js";
import { shadowNameOf } from "../head-shadows.js";
import { routeIdOf } from "../head-weights.js";
import type { HeadIngress } from "../kinds.js";
import type { GateReport, GateSpec } from "./kind.js";
import { countsInMember, type PodCounts, type WatchedService } from "./model-servers.js";
import { type AskPrometheus, GateError } from "./prometheus.js";
import { type HubSide, ToldFigures } from "./told-figures.js";

/** What a wave is watched for. */
export interface Watch {
  /** Changes when there is something new to watch: revision, wave, step, since when. */
  readonly mark: string;
  readonly namespace: string;
  readonly name: string;
  readonly clusters: readonly string[];
  readonly gates: readonly GateSpec[];
  /** HeadIngresses that lead to it. */
  readonly heads: readonly HeadIngress[];
  /** During a step in shadow: the releases in a cluster that get copies; undefined where none does. */
  readonly triedIn: (cluster: string) => readonly string[] | undefined;
  /** Whether the cluster's agent fetches, so that the hub has no way in. */
  readonly isPull: (cluster: string) => boolean;
  /** The MLServices in a cluster; with a release, only that one is watched. */
  readonly servicesIn: (cluster: string) => readonly WatchedService[];
}

/** Who tells what gates ask for. */
export interface GateSources {
  readonly gateway: () => GatewayState | undefined;
  readonly members: (cluster: string) => ClusterAccess | undefined;
  readonly prometheus: AskPrometheus;
}

/** Asks what gates ask for, about what happened since a wave was ready. What it counted from is in memory: after a restart it counts from there. */
export class GateKeeper {
  readonly #sources: GateSources;
  readonly #told = new ToldFigures();
  /** By rollout: the mark, and what each source had counted by then. */
  readonly #baselines = new Map<string, Baseline>();

  constructor(sources: GateSources) {
    this.#sources = sources;
  }

  /** Forgets a rollout that is gone, or has nothing to watch. */
  forget(key: string): void {
    this.#baselines.delete(key);
    this.#told.forget(key);
  }

  /** What each gate says of each cluster now. Sources that do not answer make a gate wait. */
  async look(key: string, watch: Watch, hub: HubSide): Promise<GateReport[]> {
    const { signal } = hub;
    const known = this.#baselines.get(key);
    const baseline: Baseline = known?.mark === watch.mark ? known : baselineOf(watch.mark);
    this.#baselines.set(key, baseline);
    const counted = new Map<string, Promise<Counts>>();
    const count = (source: GateSpec["source"], cluster: string): Promise<Counts> => {
      const place = `${source} ${cluster}`;
      const pending =
        counted.get(place) ??
        (source === "Gateway"
          ? Promise.resolve(this.#fromGateway(cluster, watch, baseline))
          : this.#fromModelServers(cluster, watch, { key, baseline, hub }));
      counted.set(place, pending);
      return pending;
    };
    const questions = watch.gates.flatMap((gate) => watch.clusters.map((cluster) => ({ gate, cluster })));
    const reports = await Promise.all(
      questions.map(async ({ gate, cluster }): Promise<GateReport> => {
        try {
          if (gate.source === "Prometheus") return await this.#askPrometheus(gate, cluster, { watch, signal });
          return judgeCounts(gate, cluster, await count(gate.source, cluster));
        } catch (error) {
          return { name: gate.name, cluster, verdict: "Waiting", message: messageOf(error) };
        }
      }),
    );
    return reports;
  }

  #fromGateway(cluster: string, { heads, namespace, triedIn }: Watch, baseline: Baseline): Counts {
    const place = `gateway ${cluster}`;
    const routes = this.#sources.gateway()?.routes ?? [];
    const tried = triedIn(cluster)?.map((release) => shadowNameOf(cluster, release));
    const parts = heads.flatMap((head) => {
      const id = routeIdOf(namespace, head.metadata.name);
      const route = routes.find((one) => one.id === id);
      const reports: readonly CountedByGateway[] =
        tried === undefined
          ? (route?.backends ?? []).filter(({ name }) => name === cluster)
          : (route?.shadows ?? [])
              .filter(({ name }) => tried.includes(name))
              .map(({ answered, ...shadow }) => ({ ...shadow, requests: answered }));
      return reports.map((report) => sinceFirst(baseline, place, `${report.name} ${id}`, countsByGateway(report)));
    });
    baseline.read.add(place);
    return sum(parts);
  }

  async #fromModelServers(
    cluster: string,
    watch: Watch,
    { key, baseline, hub }: { readonly key: string; readonly baseline: Baseline; readonly hub: HubSide },
  ): Promise<Counts> {
    const place = `pods ${cluster}`;
    const pods = await this.#podsIn(cluster, watch, key, hub);
    const parts = pods.map(({ uid, counts }) => sinceFirst(baseline, place, uid, counts));
    baseline.read.add(place);
    if (parts.length === 0) throw new GateError(`cluster ${cluster} runs no model server of ${watch.name}`);
    return sum(parts);
  }

  async #podsIn(cluster: string, watch: Watch, key: string, hub: HubSide): Promise<readonly PodCounts[]> {
    const services = watch.servicesIn(cluster);
    const member = this.#sources.members(cluster);
    if (member !== undefined)
      return (await Promise.all(services.map((service) => countsInMember(member, service, hub.signal)))).flat();
    if (watch.isPull(cluster)) return this.#told.read(cluster, { rollout: key, services }, hub);
    throw new GateError(`cluster ${cluster} is not connected`);
  }

  async #askPrometheus(
    gate: GateSpec,
    cluster: string,
    { watch, signal }: { readonly watch: Watch; readonly signal: AbortSignal },
  ): Promise<GateReport> {
    if (gate.prometheus === undefined) throw new GateError("no prometheus.address and prometheus.query are given");
    const { address, query } = gate.prometheus;
    const values: Readonly<Record<string, string>> = { cluster, namespace: watch.namespace, name: watch.name };
    const filled = query.replaceAll(/\$(cluster|namespace|name)\b/g, (_whole, key: string) => values[key] ?? "");
    return judge(gate, cluster, await this.#sources.prometheus(address, filled, signal), "");
  }
}

import { type GatewayState, LATENCY_BOUNDS_MS } from "../../../dataplane/gateway/index.js";
import type { ClusterAccess } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { isDeleting, type Pod, PodKind } from "../../../kernel/kinds/index.js";
import { shadowNameOf } from "../head-shadows.js";
import { routeIdOf } from "../head-weights.js";
import type { HeadIngress } from "../kinds.js";
import { countsOfModelServer } from "./exposition.js";
import { type Counts, judge, judgeCounts, NO_COUNTS, since, sum } from "./gates.js";
import type { GateReport, GateSpec } from "./kind.js";
import { type AskPrometheus, GateError } from "./prometheus.js";

const MAX_PODS = 100;
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

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
  /** The MLServices in a cluster; with a release, only that one is watched. */
  readonly servicesIn: (cluster: string) => readonly WatchedService[];
}

/** An MLService that is watched. */
export interface WatchedService {
  readonly namespace: string;
  readonly name: string;
  readonly release: string | undefined;
}

/** What was counted when a watch began. */
interface Baseline {
  readonly mark: string;
  readonly counts: Map<string, Counts>;
  /** Until the first look is over: what is seen then was there before. */
  isFirst: boolean;
}

/** What the gateway counted of a backend, or of a shadow. */
interface Counted {
  readonly name: string;
  readonly byClass: Readonly<Record<string, number>>;
  readonly requests: number;
  readonly failures: number;
  readonly latency?: readonly number[];
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
  /** By rollout: the mark, and what each source had counted by then. */
  readonly #baselines = new Map<string, Baseline>();

  constructor(sources: GateSources) {
    this.#sources = sources;
  }

  /** Forgets a rollout that is gone, or has nothing to watch. */
  forget(key: string): void {
    this.#baselines.delete(key);
  }

  /** What each gate says of each cluster now. Sources that do not answer make a gate wait. */
  async look(key: string, watch: Watch, signal: AbortSignal): Promise<GateReport[]> {
    const known = this.#baselines.get(key);
    const baseline: Baseline =
      known?.mark === watch.mark ? known : { mark: watch.mark, counts: new Map<string, Counts>(), isFirst: true };
    this.#baselines.set(key, baseline);
    const counted = new Map<string, Promise<Counts>>();
    const count = (source: GateSpec["source"], cluster: string): Promise<Counts> => {
      const place = `${source} ${cluster}`;
      const pending =
        counted.get(place) ??
        (source === "Gateway"
          ? Promise.resolve(this.#fromGateway(cluster, watch, baseline))
          : this.#fromModelServers(cluster, watch, { baseline, signal }));
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
    baseline.isFirst = false;
    return reports;
  }

  #fromGateway(cluster: string, { heads, namespace, triedIn }: Watch, baseline: Baseline): Counts {
    const routes = this.#sources.gateway()?.routes ?? [];
    const tried = triedIn(cluster)?.map((release) => shadowNameOf(cluster, release));
    const parts = heads.flatMap((head) => {
      const id = routeIdOf(namespace, head.metadata.name);
      const route = routes.find((one) => one.id === id);
      const reports: readonly Counted[] =
        tried === undefined
          ? (route?.backends ?? []).filter(({ name }) => name === cluster)
          : (route?.shadows ?? [])
              .filter(({ name }) => tried.includes(name))
              .map(({ answered, ...shadow }) => ({ ...shadow, requests: answered }));
      return reports.map((report) => this.#countsOf(report, id, baseline));
    });
    return sum(parts);
  }

  #countsOf(report: Counted, id: string, baseline: Baseline): Counts {
    const { name, byClass, requests, failures, latency = [] } = report;
    const bad = (byClass["5xx"] ?? 0) + (byClass["other"] ?? 0);
    const within = LATENCY_BOUNDS_MS.map((boundMs, index) => ({
      boundMs,
      count: latency.slice(0, index + 1).reduce((total, count) => total + count, 0),
    }));
    // An attempt that got no answer is the cluster's, also where another answered in its place.
    return sinceFirst(baseline, `gateway ${name} ${id}`, {
      requests: requests + failures,
      good: requests - bad,
      within,
    });
  }

  async #fromModelServers(
    cluster: string,
    { name, servicesIn }: Watch,
    { baseline, signal }: { readonly baseline: Baseline; readonly signal: AbortSignal },
  ): Promise<Counts> {
    const member = this.#sources.members(cluster);
    if (member === undefined) throw new GateError(`cluster ${cluster} is not connected`);
    const pods = await Promise.all(servicesIn(cluster).map((service) => podsOf(member, service, signal)));
    const parts = await Promise.all(
      pods.flat().map(async ({ metadata }) => {
        const path = `/api/v1/namespaces/${metadata.namespace ?? ""}/pods/${metadata.name}/proxy/metrics`;
        const answer = await member.client.transport.request({ method: "GET", path, signal });
        const page = await textOf(answer.body);
        if (answer.status !== 200)
          throw new GateError(`pod ${metadata.name} in cluster ${cluster} answered ${answer.status} on /metrics`);
        return sinceFirst(baseline, `pod ${cluster} ${metadata.uid}`, countsOfModelServer(page));
      }),
    );
    if (parts.length === 0) throw new GateError(`cluster ${cluster} runs no model server of ${name}`);
    return sum(parts);
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

async function podsOf(
  member: ClusterAccess,
  { namespace, name, release }: WatchedService,
  signal: AbortSignal,
): Promise<Pod[]> {
  const own = release === undefined ? "" : `,tensorstack.dev/mlservice-release=${release}`;
  const labelSelector = `tensorstack.dev/mlservice=${name}${own}`;
  const { items } = await member.client.resource(PodKind).list({ namespace, labelSelector, limit: MAX_PODS, signal });
  return items.filter((pod) => pod.status?.phase === "Running" && !isDeleting(pod));
}

/** What was counted since the watch began. */
function sinceFirst(baseline: Baseline, place: string, now: Counts): Counts {
  const { counts, isFirst } = baseline;
  const before = counts.get(place) ?? (isFirst ? now : NO_COUNTS);
  // A source that began anew counts from nothing.
  counts.set(place, now.requests < before.requests ? NO_COUNTS : before);
  return since(now, before);
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of body) {
    size += piece.length;
    if (size > MAX_PAGE_BYTES) throw new GateError(`a page of metrics is longer than ${MAX_PAGE_BYTES} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

import { findCondition, isDeleting } from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { madeSpec, wantsIngress } from "../head-maker.js";
import { type HeadPlan, planHead } from "../head-weights.js";
import { assumedReport } from "../heads/conditions.js";
import { describeUnknownCluster, type PlannedObject, planParts, qualified } from "../hyper-plan.js";
import type { Cluster, HeadIngress, HyperMLService, Work } from "../kinds.js";
import { ARGOSY, clusterOfSpace } from "../names.js";
import { manifestsInForce, type ObjectChange, previewOf, type WavePreview } from "../rollout/preview.js";
import { rolloutOf } from "../rollout/targets.js";
import type { FleetCopy } from "./copy.js";

/** What would become of a HyperMLService in one cluster. */
export interface ServiceInCluster {
  readonly cluster: string;
  /** The wave of its HyperRollout in which it is given what is new; absent: there is none, all clusters are given it at once. */
  readonly wave?: string;
  /** Its wave begins when it is promoted. */
  readonly needsApproval?: boolean;
  /** Objects that come, change or go. */
  readonly changes: readonly ObjectChange[];
  /** Why nothing, or not everything, of it is carried out; empty: all of it is. */
  readonly refused: readonly string[];
  /** Share of the requests to its public address, in percent; absent: it has no public address. */
  readonly percent?: number;
  /** Why it gets fewer requests than its weight asks for. */
  readonly why?: string;
}

/** What would become of a HyperMLService. */
export interface ServiceOutcome {
  readonly namespace: string;
  readonly name: string;
  /** Why nothing of its spec is carried out. */
  readonly refused: readonly string[];
  /** The HyperRollout that rules it. */
  readonly rollout?: string;
  /** Clusters for which anything would be otherwise: as it is, and as it would be; one of both is absent for a cluster that comes or goes. */
  readonly clusters: readonly {
    readonly cluster: string;
    readonly before?: ServiceInCluster;
    readonly after?: ServiceInCluster;
  }[];
}

/** Tells for each HyperMLService what a change of the hub would mean, by the code that plans, orders and weighs it. */
export function serviceOutcomes(before: FleetCopy, changed: FleetCopy): ServiceOutcome[] {
  const [was, is] = [new ServiceWorld(before), new ServiceWorld(changed)];
  const outcomes: ServiceOutcome[] = [];
  for (const service of changed.services) {
    const old = before.services.find((one) => keyOf(one) === keyOf(service));
    const [then, now] = [old === undefined ? undefined : was.view(old), is.view(service)];
    const rows = (view: ServiceView | undefined): ReadonlyMap<string, ServiceInCluster> =>
      new Map((view?.clusters ?? []).map((row) => [row.cluster, row]));
    const [olds, news] = [rows(then), rows(now)];
    const clusters = [...new Set([...olds.keys(), ...news.keys()])].sort().flatMap((cluster) => {
      const [a, b] = [olds.get(cluster), news.get(cluster)];
      if (equalJson(toJson(a ?? null), toJson(b ?? null))) return [];
      return [{ cluster, ...(a === undefined ? {} : { before: a }), ...(b === undefined ? {} : { after: b }) }];
    });
    if (clusters.length === 0 && equalJson(toJson(then?.refused ?? []), toJson(now.refused))) continue;
    const { namespace = "", name } = service.metadata;
    const rollout = now.rollout === undefined ? {} : { rollout: now.rollout };
    outcomes.push({ namespace, name, refused: now.refused, ...rollout, clusters });
  }
  return outcomes;
}

const keyOf = ({ metadata: { namespace = "", name } }: HyperMLService): string => `${namespace}/${name}`;

interface ServiceView {
  readonly refused: readonly string[];
  readonly rollout: string | undefined;
  readonly clusters: readonly ServiceInCluster[];
}

/** HyperMLServices as a copy of the hub makes them. */
class ServiceWorld {
  readonly #copy: FleetCopy;
  readonly #clusters: ReadonlyMap<string, Cluster>;
  readonly #works = new Map<string, Work[]>();
  /** Whose an object of a cluster is, by both. */
  readonly #owners = new Map<string, string>();

  constructor(copy: FleetCopy) {
    this.#copy = copy;
    this.#clusters = new Map(copy.clusters.map((cluster) => [cluster.metadata.name, cluster]));
    for (const work of copy.works) {
      const uid = work.metadata.labels?.[ARGOSY.ownerUid] ?? "";
      if (isDeleting(work)) continue;
      const own = this.#works.get(uid);
      if (own === undefined) this.#works.set(uid, [work]);
      else own.push(work);
      for (const [cluster, manifests] of manifestsInForce([work]))
        for (const { apiVersion, kind, metadata } of manifests)
          this.#owners.set(JSON.stringify([cluster, apiVersion, kind, nameOf(metadata)]), ownerOf(work));
    }
  }

  view(service: HyperMLService): ServiceView {
    const { namespace = "", name, uid } = service.metadata;
    const parts = { metadata: service.metadata, workloads: service.spec.workloads };
    const { objects, faults } = planParts(parts);
    const refused = faults.map(({ field, message }) => `${field}: ${message}`);
    const rollout = rolloutOf(namespace, name, this.#copy.rollouts);
    const inForce = manifestsInForce(this.#works.get(uid) ?? []);
    const standing = rollout === undefined ? {} : { rollout: rollout.metadata.name };
    const traffic = this.#traffic(service, objects);
    const waves = previewOf(parts, inForce, {
      waves: rollout?.spec.waves,
      labelsOf: (cluster) => this.#clusters.get(cluster)?.metadata.labels,
    });
    const rows = waves.flatMap((wave) =>
      wave.clusters.map(({ cluster, changes }): ServiceInCluster => {
        const own = objects.filter((object) => object.cluster === cluster);
        return {
          cluster,
          ...(rollout === undefined ? {} : { wave: wave.name, needsApproval: wave.needsApproval }),
          ...this.#delivery({ service, own, changes, isFaulty: refused.length > 0, isHeld: inForce.has(cluster) }),
          ...(traffic.get(cluster) ?? {}),
        };
      }),
    );
    return { refused, rollout: standing.rollout, clusters: rows };
  }

  /** What of the changes is carried out in a cluster. */
  #delivery({ service, own, changes, isFaulty, isHeld }: Asked): Pick<ServiceInCluster, "changes" | "refused"> {
    const name = own[0]?.cluster ?? "";
    if (isFaulty) return { changes: [], refused: ["the spec is not carried out, everything stays as it was"] };
    if (name === "") return { changes, refused: [] };
    const cluster = this.#clusters.get(name);
    if (cluster === undefined)
      return { changes: [], refused: [describeUnknownCluster(name, [...this.#clusters.keys()])] };
    if (isDeleting(cluster)) {
      const gone = isHeld
        ? own.map((object): ObjectChange => ({ what: "remove", ...placeOf(object), fields: [] }))
        : [];
      return { changes: gone, refused: [`cluster ${name} is being removed`] };
    }
    const refused = own.flatMap((object) => this.#foreign(object, service));
    const ready = findCondition(cluster.status?.conditions, "Ready");
    if (ready !== undefined && ready.status !== "True")
      refused.push(`nothing reaches it: ${ready.message}; what it has goes on`);
    return { changes, refused };
  }

  /** That somebody else delivers an object to the cluster already. */
  #foreign({ cluster, apiVersion, kind, namespace, name }: PlannedObject, service: HyperMLService): string[] {
    const owner = this.#owners.get(JSON.stringify([cluster, apiVersion, kind, `${namespace}/${name}`]));
    if (owner === undefined || owner === `HyperMLService ${keyOf(service)}`) return [];
    return [`${kind} ${qualified({ namespace, name })} is delivered there by ${owner}`];
  }

  /** Shares of its public address, once everything is ready. */
  #traffic(service: HyperMLService, objects: readonly PlannedObject[]): ReadonlyMap<string, Share> {
    const head = this.#headOf(service);
    if (head === undefined) return new Map();
    const reached = objects.filter((object) => {
      const cluster = this.#clusters.get(object.cluster);
      return cluster !== undefined && !isDeleting(cluster);
    });
    const { backends }: HeadPlan = planHead(head, onceReady(service, reached), this.#clusters);
    return new Map(
      backends.map((backend) => {
        const percent = Math.round(assumedReport(backend, backends).share * 10_000) / 100;
        return [
          backend.cluster ?? backend.name,
          { percent, ...(backend.message === "" ? {} : { why: backend.message }) },
        ];
      }),
    );
  }

  #headOf(service: HyperMLService): HeadIngress | undefined {
    const { namespace = "", name } = service.metadata;
    const found = this.#copy.heads.find(
      ({ metadata, spec }) => metadata.namespace === namespace && spec.hyperMLServiceRef?.name === name,
    );
    if (found !== undefined || !wantsIngress(service)) return found;
    return {
      apiVersion: "argosy.dev/v1alpha1",
      kind: "HeadIngress",
      metadata: { name, namespace, uid: "", resourceVersion: "", creationTimestamp: "" },
      spec: madeSpec(service),
    };
  }
}

type Share = Pick<ServiceInCluster, "percent" | "why">;

interface Asked {
  readonly service: HyperMLService;
  readonly own: readonly PlannedObject[];
  readonly changes: WavePreview["clusters"][number]["changes"];
  readonly isFaulty: boolean;
  /** It has objects of the service. */
  readonly isHeld: boolean;
}

/** With models that are still to come, as if they answered: what is ready already is taken as it is. */
function onceReady(service: HyperMLService, objects: readonly PlannedObject[]): HyperMLService {
  const rows = service.status?.aggregatedStatus ?? [];
  const missing = objects.filter(
    ({ cluster, kind, name }) =>
      kind === "MLService" &&
      !rows.some((row) => row.cluster === cluster && row.resource.kind === kind && row.resource.name === name),
  );
  const added = missing.map(({ cluster, apiVersion, kind, name, namespace }) => ({
    cluster,
    applied: true,
    appliedMessage: "",
    reason: "",
    resource: { apiVersion, kind, name, namespace },
    status: {
      address: { url: `http://${name}.${namespace}.${cluster}` },
      conditions: [{ type: "Ready", status: "True", message: "" }],
    },
  }));
  return { ...service, status: { ...service.status, aggregatedStatus: [...rows, ...added] } };
}

function placeOf({ kind, namespace, name }: PlannedObject): Pick<ObjectChange, "kind" | "namespace" | "name"> {
  return { kind, namespace, name };
}

function nameOf(metadata: unknown): string {
  const { namespace = "", name = "" } = Object(metadata);
  return `${namespace}/${name}`;
}

function ownerOf({ metadata }: Work): string {
  const { annotations = {}, namespace = "" } = metadata;
  const owner = annotations[ARGOSY.ownerName];
  if (owner !== undefined) return `HyperMLService ${annotations[ARGOSY.ownerNamespace] ?? ""}/${owner}`;
  return `Work ${metadata.name} of cluster ${clusterOfSpace(namespace) ?? ""}`;
}

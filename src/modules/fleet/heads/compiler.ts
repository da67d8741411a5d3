import { checkRoute, type RouteInput } from "../../../dataplane/gateway/index.js";
import type { InformerSet } from "../../../kernel/control/index.js";
import { isDeleting, type Kind } from "../../../kernel/kinds/index.js";
import { type BackendFiles, type HeadPlan, planHead, routeOf } from "../head-weights.js";
import {
  type Cluster,
  ClusterKind,
  type HeadIngress,
  HeadIngressKind,
  type HyperMLService,
  HyperMLServiceKind,
} from "../kinds.js";
import { formerOf, lossOf } from "./in-effect.js";

/** What a HeadIngress comes to. */
export interface Compiled {
  /** With the spec that is carried: the present one, or the last one that could be. */
  readonly head: HeadIngress;
  readonly plan: HeadPlan;
  readonly route: RouteInput;
  /** Why it gets no route; empty when it gets one. */
  readonly fault: string;
  /** Why it is not its present spec that is carried; empty when it is. */
  readonly refused: string;
  /** What is wrong now with the Secrets that it names, while it is carried all the same; empty: nothing. */
  readonly stale: string;
}

interface Cached {
  readonly head: HeadIngress;
  readonly hyper: HyperMLService | undefined;
  readonly mark: string;
  readonly plan: HeadPlan;
  readonly route: RouteInput;
  readonly fault: string;
  readonly claims: readonly string[];
}

/** What a compiler asks for besides the informers. */
export interface CompilerSources {
  /** The listener for a HeadIngress that names none. */
  readonly listenerOf: (head: HeadIngress) => string;
  readonly filesOf: (head: HeadIngress) => BackendFiles;
  readonly latencyOf: (head: HeadIngress) => ReadonlyMap<string, number>;
  /** What whoever carries it has against it, or lacks for it; empty: nothing. */
  readonly faultOf: (head: HeadIngress, route: RouteInput) => string;
  /** What is wrong with its Secrets while it is carried all the same; empty: nothing. */
  readonly staleOf: (head: HeadIngress) => string;
  /** Where it is to be rendered and cannot be now; empty: nowhere. */
  readonly lackOf: (head: HeadIngress) => string;
}

/**
 * Routes of all HeadIngresses, the oldest first: of two that claim the same place, the older one has it. Only what changed is
 * made anew, and a route that says the same stays the same object.
 */
export class HeadCompiler {
  readonly #informers: InformerSet;
  readonly #sources: CompilerSources;
  readonly #cache = new Map<string, Cached>();
  /** By uid: as each was carried last. */
  readonly #carried = new Map<string, HeadIngress>();
  readonly #marks = new Map<string, ClusterMarks>();
  /** Counted up with every change of what plans look at in a cluster: where it is and whether it takes requests; how much room it has. */
  #places = 0;
  #capacity = 0;
  #clusters: ReadonlyMap<string, Cluster> | undefined;
  #kept: ReadonlyMap<string, Compiled> | undefined;

  constructor(informers: InformerSet, sources: CompilerSources, signal: AbortSignal) {
    this.#informers = informers;
    this.#sources = sources;
    const kinds: readonly Kind[] = [HeadIngressKind, HyperMLServiceKind];
    const undo = kinds.map((kind) => informers.informer(kind).onChange(() => this.refresh()));
    const clusters = informers.informer(ClusterKind);
    undo.push(clusters.onChange((now, old) => this.#note((now ?? old)?.metadata.name ?? "", now)));
    for (const cluster of clusters.list()) this.#note(cluster.metadata.name, cluster);
    for (const stop of undo) signal.addEventListener("abort", stop, { once: true });
  }

  /** Heartbeats of clusters concern nobody. */
  #note(name: string, cluster: Cluster | undefined): void {
    this.#clusters = undefined;
    const before = this.#marks.get(name);
    const now = cluster === undefined ? undefined : marksOf(cluster);
    if (now === undefined) this.#marks.delete(name);
    else this.#marks.set(name, now);
    if (before?.place !== now?.place) this.#places += 1;
    if (before?.capacity !== now?.capacity) this.#capacity += 1;
    if (before?.place !== now?.place || before?.capacity !== now?.capacity) this.refresh();
  }

  /** Something else than an object changed. */
  refresh(): void {
    this.#kept = undefined;
  }

  /** By uid. */
  all(): ReadonlyMap<string, Compiled> {
    this.#kept ??= this.#compileAll();
    return this.#kept;
  }

  clusters(): ReadonlyMap<string, Cluster> {
    this.#clusters ??= new Map(
      this.#informers
        .informer(ClusterKind)
        .list()
        .map((cluster) => [cluster.metadata.name, cluster]),
    );
    return this.#clusters;
  }

  #compileAll(): ReadonlyMap<string, Compiled> {
    const compiled = new Map<string, Compiled>();
    const owners = new Map<string, HeadIngress>();
    const clusters = this.clusters();
    const heads = this.#informers
      .informer(HeadIngressKind)
      .list()
      .filter((head) => !isDeleting(head));
    const used = new Set<string>();
    const look = (head: HeadIngress, key: string): Cached & Compiled => {
      used.add(key);
      const made = this.#compile(head, key, clusters);
      const elder = made.claims.flatMap((claim) => owners.get(claim) ?? [])[0];
      const fault = elder === undefined ? made.fault : describeElder(elder);
      return {
        ...made,
        head,
        fault: fault === "" ? this.#sources.faultOf(head, made.route) : fault,
        refused: "",
        stale: "",
      };
    };
    for (const head of heads.sort(compareAge)) {
      const { uid } = head.metadata;
      const present = look(head, uid);
      const refused = present.fault || lossOf(present, present.plan) || this.#sources.lackOf(head);
      const former = refused === "" ? undefined : this.former(head);
      const before = former === undefined ? undefined : look(former, `${uid} before`);
      const isBetter = before !== undefined && before.fault === "" && lossOf(before, before.plan) === "";
      const made = isBetter ? { ...before, refused } : present;
      if (made.fault === "") {
        for (const claim of made.claims) owners.set(claim, head);
        this.#carried.set(uid, made.head);
      }
      compiled.set(uid, {
        head: made.head,
        plan: made.plan,
        route: made.route,
        fault: made.fault,
        refused: made.refused,
        stale: this.#sources.staleOf(made.head),
      });
    }
    for (const key of this.#cache.keys()) if (!used.has(key)) this.#cache.delete(key);
    for (const uid of this.#carried.keys()) if (!compiled.has(uid)) this.#carried.delete(uid);
    return compiled;
  }

  /** As it was carried last, if that was with another spec: here, or, after a start, as its status says. */
  former(head: HeadIngress): HeadIngress | undefined {
    const carried = this.#carried.get(head.metadata.uid);
    if (carried === undefined) return formerOf(head);
    return carried.metadata.generation === head.metadata.generation ? undefined : carried;
  }

  #compile(head: HeadIngress, key: string, clusters: ReadonlyMap<string, Cluster>): Cached {
    const { namespace = "" } = head.metadata;
    const { hyperMLServiceRef, weighting } = head.spec;
    const hyper =
      hyperMLServiceRef === undefined
        ? undefined
        : this.#informers.informer(HyperMLServiceKind).get({ namespace, name: hyperMLServiceRef.name });
    const latencyMs = weighting?.by === "Latency" ? this.#sources.latencyOf(head) : new Map<string, number>();
    const files = this.#sources.filesOf(head);
    const listener = this.#sources.listenerOf(head);
    const mark = JSON.stringify([
      head.metadata.generation,
      hyperMLServiceRef === undefined ? "" : this.#places,
      weighting?.by === "FreeCapacity" ? this.#capacity : "",
      [...latencyMs],
      files,
      listener,
    ]);
    const cached = this.#cache.get(key);
    // Of the objects only the status of a HeadIngress itself can change without a change of its generation, and that is not looked at.
    if (cached?.mark === mark && cached.hyper === hyper) return cached;
    const plan = planHead(head, hyper, clusters, { latencyMs });
    const made = routeOf(head, plan, listener, files);
    const isSame = cached !== undefined && JSON.stringify(cached.route) === JSON.stringify(made);
    const route = isSame ? cached.route : made;
    const fault = isSame ? cached.fault : checkRoute(made);
    const entry = { head, hyper, mark, plan, route, fault, claims: isSame ? cached.claims : claimsOf(head, made) };
    this.#cache.set(key, entry);
    return entry;
  }
}

/** What of a cluster plans look at, each as one word. */
export interface ClusterMarks {
  readonly place: string;
  readonly capacity: string;
}

/** What of a cluster plans of HeadIngresses look at. */
export function marksOf(cluster: Cluster): ClusterMarks {
  const { metadata, status } = cluster;
  return {
    place: JSON.stringify([metadata.annotations, isDeleting(cluster), status?.remedyActions]),
    capacity: JSON.stringify(status?.resourceSummary ?? {}),
  };
}

function compareAge(a: HeadIngress, b: HeadIngress): number {
  const [first = "", second = ""] = [a, b].map(
    ({ metadata }) => `${metadata.creationTimestamp} ${metadata.namespace ?? ""}/${metadata.name}`,
  );
  return first < second ? -1 : 1;
}

/** The places that a route takes at who carries it, each as one word. */
function claimsOf({ spec }: HeadIngress, route: RouteInput): string[] {
  const { class: asked = "auto", ingressCluster = "" } = spec;
  const carrier = asked === "auto" || asked === "builtin" ? "" : `${asked}/${ingressCluster}`;
  const path = (route.path ?? "/").replace(/\/+$/, "");
  return (route.hosts ?? ["*"]).map((host) => `${carrier} ${route.listener} ${host} ${path}`);
}

function describeElder({ metadata }: HeadIngress): string {
  return `HeadIngress ${metadata.namespace ?? ""}/${metadata.name}, which is older, has the same listener, host and path`;
}

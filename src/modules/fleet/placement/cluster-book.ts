import type { ClusterAccess, Informer } from "../../../kernel/control/index.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { type Cluster, ClusterKind } from "../kinds.js";
import { factsOf } from "./facts.js";
import { Promises } from "./promises.js";
import { Residents } from "./residents.js";
import type { ClusterFacts } from "./types.js";

/** How much a change of a cluster matters: to who may be there at all, or only to how much room there is. */
export type ClusterChange = "place" | "room";

type Handler = (now: ClusterFacts | undefined, old: ClusterFacts | undefined, what: ClusterChange) => void;

/** What is known of all clusters, ready for placement. */
export class ClusterBook {
  /** Room that was given away and that clusters do not show as used yet. */
  readonly promises = new Promises();
  /** Which groups of workloads are where. */
  readonly residents = new Residents();
  readonly #informer: Informer<Cluster>;
  readonly #facts = new Map<string, ClusterFacts>();
  readonly #seen = new Map<string, Cluster>();
  readonly #handlers = new Set<Handler>();
  readonly #recall: (promises: Promises, signal: AbortSignal) => Promise<void>;
  #recalled: Promise<void> | undefined;
  #list: readonly ClusterFacts[] | undefined;

  /** `recall` promises again what was promised before this process started. */
  constructor(hub: ClusterAccess, recall: (promises: Promises, signal: AbortSignal) => Promise<void> = async () => {}) {
    this.#recall = recall;
    this.#informer = hub.informers.informer(ClusterKind);
    this.#informer.onChange((now, old) => this.#take(now, old));
    for (const cluster of this.#informer.list()) this.#take(cluster, undefined);
  }

  /** Resolves when all clusters are known, and what they were promised; to be awaited before the first decision. */
  async synced(signal: AbortSignal): Promise<void> {
    await this.#informer.synced(signal);
    this.#recalled ??= this.#recall(this.promises, signal);
    await this.#recalled;
  }

  /** All clusters. */
  get list(): readonly ClusterFacts[] {
    this.#list ??= [...this.#facts.values()];
    return this.#list;
  }

  /** All clusters by name. */
  get byName(): ReadonlyMap<string, ClusterFacts> {
    return this.#facts;
  }

  /** Calls `handler` after changes that placement may depend on. Returns its removal. */
  onChange(handler: Handler): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  #take(now: Cluster | undefined, old: Cluster | undefined): void {
    const name = (now ?? old)?.metadata.name;
    if (name === undefined) return;
    const before = this.#facts.get(name);
    const seen = this.#seen.get(name);
    if (now === undefined) {
      this.#facts.delete(name);
      this.#seen.delete(name);
      this.#list = undefined;
      this.#tell(undefined, before, "place");
      return;
    }
    const what = seen === undefined || before === undefined ? "place" : difference(now, seen);
    this.#seen.set(name, now);
    if (what === undefined) return;
    const facts = { ...factsOf(now), promised: this.promises.in(name), residents: this.residents.in(name) };
    this.promises.see(name, before?.capacity?.used ?? new Map(), facts.capacity?.used ?? new Map());
    this.#facts.set(name, facts);
    this.#list = undefined;
    this.#tell(facts, before, what);
  }

  #tell(now: ClusterFacts | undefined, old: ClusterFacts | undefined, what: ClusterChange): void {
    for (const handler of this.#handlers) handler(now, old, what);
  }
}

function difference(now: Cluster, old: Cluster): ClusterChange | undefined {
  const isSame = (a: unknown, b: unknown): boolean => a === b || equalJson(a ?? null, b ?? null);
  const placeOf = ({ metadata, spec, status }: Cluster): unknown[] => [
    metadata.labels,
    metadata.deletionTimestamp,
    spec,
    status?.apiEnablements,
    status?.conditions?.find(({ type }) => type === "CompleteAPIEnablements")?.status,
  ];
  const before = placeOf(old);
  if (!placeOf(now).every((part, index) => isSame(part, before[index]))) return "place";
  return isSame(now.status?.resourceSummary, old.status?.resourceSummary) ? undefined : "room";
}

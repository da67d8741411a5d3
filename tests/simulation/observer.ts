import type { Clock } from "../../src/kernel/clock/index.js";
import type { ClusterAccess, Informer } from "../../src/kernel/control/index.js";
import { findCondition, type JsonObject, type Kind, type KubeObject } from "../../src/kernel/kinds/index.js";
import { asObject, asObjects, asString, isObject } from "../../src/kernel/schema/index.js";
import { ClusterKind, HyperMLServiceKind, WorkKind } from "../../src/modules/fleet/index.js";
import type { SimulatedMember } from "./member.js";

type Seen = KubeObject & {
  readonly spec?: JsonObject;
  readonly status?: {
    readonly conditions?: readonly {
      type: string;
      status: string;
      observedGeneration?: number;
      lastTransitionTime?: string;
    }[];
  };
};
const bindings: Kind<Seen> = {
  group: "work.karmada.io",
  version: "v1alpha2",
  kind: "ResourceBinding",
  plural: "resourcebindings",
  namespaced: true,
};
const as = (kind: Kind): Kind<Seen> => kind as unknown as Kind<Seen>;

/** How long a hub may take to hear that a member is gone, or is back. */
const HEARS_OF_LOSS_MS = 10_000;
/** Until it believes that a member is well again, and how long it may take one for lost that only lost some answers. */
const HEARS_OF_RETURN_MS = 15_000;
const KEPT_LIES = 20;
const SPACE = "karmada-es-";

/** What the hub says, beside what is so. It reads with clients of its own, and knows the members from inside. */
export class Observer {
  /** Statuses that said what was not so. */
  readonly lies: string[] = [];
  lieCount = 0;
  readonly #works: Informer<Seen>;
  readonly #bindings: Informer<Seen>;
  readonly #hypers: Informer<Seen>;
  readonly #clusters: Informer<Seen>;
  readonly #members: ReadonlyMap<string, SimulatedMember>;
  readonly #clock: Clock;
  /** When whoever cannot be reached was lost, and when whoever can be reached came back. */
  readonly #lostMs = new Map<string, number>();
  readonly #backMs = new Map<string, number>();
  readonly #doubtful = new Set<string>();
  /** Since when there is a hub; undefined: there is none. */
  hubSinceMs: number | undefined;
  /** Until when what is in members may differ from what was told, because somebody there changes it. */
  meddledUntilMs = 0;
  /** Works that are not applied, or on their way out. */
  readonly #open = new Map<string, Seen>();
  /** Works whose objects some members refuse. */
  unapplied = 0;

  constructor(hub: ClusterAccess, members: ReadonlyMap<string, SimulatedMember>, clock: Clock) {
    this.#members = members;
    this.#clock = clock;
    this.#works = hub.informers.informer(as(WorkKind));
    this.#bindings = hub.informers.informer(bindings);
    this.#hypers = hub.informers.informer(as(HyperMLServiceKind));
    this.#clusters = hub.informers.informer(as(ClusterKind));
    this.#works.onChange((now, old) => {
      const { namespace = "", name } = (now ?? old)?.metadata ?? { name: "" };
      const key = `${namespace}/${name}`;
      this.#open.delete(key);
      if (now === undefined) return;
      if (isDeleting(now) || !isTrue(now, "Applied")) this.#open.set(key, now);
      this.#checkWork(now);
    });
  }

  async synced(): Promise<void> {
    for (const informer of [this.#works, this.#bindings, this.#hypers, this.#clusters]) await informer.synced();
  }

  setReachable(member: string, isReachable: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    if (isReachable) this.#lostMs.delete(member);
    else if (!this.#lostMs.has(member)) this.#lostMs.set(member, nowMs);
    this.#backMs.set(member, nowMs);
  }

  /** Of ways that lose or spoil much, nobody can say how a member is. */
  setDoubtful(member: string, isDoubtful: boolean): void {
    if (isDoubtful) this.#doubtful.add(member);
    else this.#doubtful.delete(member);
    this.#backMs.set(member, this.#clock.monotonicMs());
  }

  get works(): readonly Seen[] {
    return this.#works.list();
  }

  get applied(): number {
    return this.works.length - [...this.#open.values()].filter((work) => !isTrue(work, "Applied")).length;
  }

  get notReady(): number {
    return this.#clusters
      .list()
      .filter(({ status }) => findCondition(status?.conditions as never, "Ready")?.status !== "True").length;
  }

  /** Clusters are called ready or not as they are, after a while. */
  checkClusters(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.hubSinceMs === undefined) return;
    for (const { metadata, status } of this.#clusters.list()) {
      const { name } = metadata;
      const told = status?.conditions?.find(({ type }) => type === "Ready");
      if (told === undefined || this.#doubtful.has(name)) continue;
      const lostMs = this.#lostMs.get(name);
      const sinceMs = Math.max(this.hubSinceMs, lostMs ?? this.#backMs.get(name) ?? 0);
      const toldMs = this.#clock.now() - Date.parse(told.lastTransitionTime ?? "");
      if (lostMs !== undefined && nowMs - sinceMs > HEARS_OF_LOSS_MS && told.status === "True")
        this.#lie(`Cluster ${name} is said to be ready, ${nowMs - lostMs} ms after it was lost`);
      const isLate = nowMs - sinceMs > HEARS_OF_RETURN_MS && toldMs > HEARS_OF_RETURN_MS;
      if (lostMs === undefined && isLate && told.status !== "True")
        this.#lie(`Cluster ${name} is said to be ${told.status}, ${nowMs - sinceMs} ms after it can be reached`);
    }
  }

  /** What is not yet as it was declared; empty: everything is. */
  gaps(wanted: {
    readonly bound: number;
    readonly hyper: number;
    readonly isStale: (manifest: JsonObject) => boolean;
  }): string[] {
    const gaps: string[] = [];
    const works = this.works;
    if (this.#open.size !== this.unapplied)
      gaps.push(`${this.#open.size} of ${works.length} works are not applied: ${some([...this.#open.values()])}`);
    const leaving = this.#clusters.list().filter(isDeleting);
    if (leaving.length > 0) gaps.push(`${leaving.length} Clusters are still leaving: ${some(leaving)}`);
    const bound = this.#bindings.list();
    if (bound.length !== wanted.bound) gaps.push(`${bound.length} bindings instead of ${wanted.bound}`);
    const open = bound.filter((binding) => isDeleting(binding) || !isTrue(binding, "Scheduled"));
    if (open.length > 0) gaps.push(`${open.length} bindings have no place: ${some(open)}`);
    if (this.unapplied === 0) {
      const missing = bound.filter((binding) => !isTrue(binding, "FullyApplied"));
      if (missing.length > 0) gaps.push(`${missing.length} bindings are not fully applied: ${some(missing)}`);
    }
    const hypers = this.#hypers.list();
    if (hypers.length !== wanted.hyper) gaps.push(`${hypers.length} HyperMLServices instead of ${wanted.hyper}`);
    const partial = hypers.filter((hyper) => !isTrue(hyper, "FullyApplied", true) || !isTrue(hyper, "Ready", true));
    if (this.unapplied === 0 && partial.length > 0)
      gaps.push(`${partial.length} HyperMLServices are not applied and ready: ${some(partial)}`);
    if (gaps.length > 0) return gaps;
    const stale = works.filter((work) => contentOf(work).manifests.some(wanted.isStale));
    return stale.length > 0
      ? [`${stale.length} works have earlier forms of their objects: ${some(stale)}`]
      : this.#differences(works);
  }

  /** Works with what is in the members, both ways. */
  #differences(works: readonly Seen[]): string[] {
    const differences: string[] = [];
    const wanted = new Map<string, Set<string>>();
    for (const work of works) {
      const { member, manifests } = contentOf(work);
      if (member === undefined) continue;
      for (const manifest of manifests) {
        const list = wanted.get(member) ?? new Set();
        wanted.set(member, list.add(nameOf(manifest)));
        if (isTrue(work, "Applied") && this.#isMissing(member, manifest))
          differences.push(`${member} has ${nameOf(manifest)} not as its Work says`);
      }
    }
    for (const [name, member] of this.#members) {
      if (this.#lostMs.has(name)) continue;
      for (const object of member.delivered())
        if (wanted.get(name)?.has(nameOf(object)) !== true)
          differences.push(`${name} has ${nameOf(object)}, and no Work says so`);
    }
    return differences;
  }

  #checkWork(work: Seen): void {
    if (isDeleting(work) || !isTrue(work, "Applied", true)) return;
    if (this.#clock.monotonicMs() < this.meddledUntilMs) return;
    const { member, manifests } = contentOf(work);
    if (member === undefined) return;
    for (const manifest of manifests)
      if (this.#isMissing(member, manifest))
        this.#lie(`${work.metadata.name} says Applied, and ${member} has ${nameOf(manifest)} not so`);
  }

  #isMissing(member: string, manifest: JsonObject): boolean {
    const { namespace = "", name = "" } = asObject(manifest["metadata"]) as { namespace?: string; name?: string };
    const object = this.#members
      .get(member)
      ?.find(asString(manifest["apiVersion"]), asString(manifest["kind"]), namespace, name);
    if (this.#members.get(member) === undefined) return false;
    return object === undefined || !includes(object, manifest);
  }

  #lie(text: string): void {
    this.lieCount += 1;
    if (this.lies.length < KEPT_LIES) this.lies.push(`at ${this.#clock.monotonicMs()} ms: ${text}`);
  }
}

/** Whether a condition is True, of the present content where it says of which. */
function isTrue(object: Seen, type: string, isStrict = false): boolean {
  const condition = object.status?.conditions?.find((candidate) => candidate.type === type);
  const { observedGeneration } = condition ?? {};
  const isFresh = observedGeneration === undefined ? !isStrict : observedGeneration === object.metadata.generation;
  return condition?.status === "True" && isFresh;
}

const isDeleting = ({ metadata }: Seen): boolean => metadata.deletionTimestamp !== undefined;
const some = (list: readonly Seen[]): string =>
  list
    .slice(0, 3)
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)
    .join(", ");

function contentOf({ metadata, spec }: Seen): {
  readonly member: string | undefined;
  readonly manifests: readonly JsonObject[];
} {
  const { namespace = "" } = metadata;
  const member = namespace.startsWith(SPACE) ? namespace.slice(SPACE.length) : undefined;
  return { member, manifests: asObjects(asObject(spec?.["workload"])["manifests"]) };
}

function nameOf(object: JsonObject): string {
  const { namespace, name } = asObject(object["metadata"]);
  return `${asString(object["kind"])} ${asString(namespace)}/${asString(name)}`;
}

/** Whether an object says everything that a manifest says. */
function includes(actual: unknown, wanted: unknown): boolean {
  if (wanted === undefined) return true;
  if (Array.isArray(wanted))
    return (
      Array.isArray(actual) &&
      actual.length === wanted.length &&
      wanted.every((item, index) => includes(actual[index], item))
    );
  if (!isObject(wanted)) return actual === wanted || (wanted === null && actual === undefined);
  return (
    isObject(actual) &&
    Object.entries(wanted).every(
      ([name, value]) => name === "status" || name === "creationTimestamp" || includes(actual[name], value),
    )
  );
}

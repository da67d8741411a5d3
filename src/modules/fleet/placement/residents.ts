import type { GroupResidents } from "./types.js";

/** Groups that keep to the same clusters, or apart, of the objects of a binding: names with their namespace. */
export type GroupNames = readonly string[];

interface Resident {
  readonly groups: GroupNames;
  readonly clusters: readonly string[];
}

/** Which groups of workloads are in which clusters: as decided, whether that is written yet or not. */
export class Residents {
  readonly #byUid = new Map<string, Resident>();
  readonly #views = new Map<string, View>();

  /** Who is in a cluster; the same object for good. */
  in(cluster: string): GroupResidents {
    return this.#view(cluster);
  }

  /** An object of these groups is in these clusters, and nowhere else. Returns whether it left one. */
  settle(uid: string, groups: GroupNames, clusters: readonly string[]): boolean {
    const before = this.#byUid.get(uid);
    if (groups.length === 0 && before === undefined) return false;
    for (const cluster of before?.clusters ?? []) this.#view(cluster).remove(uid, before?.groups ?? []);
    if (groups.length === 0) this.#byUid.delete(uid);
    else this.#byUid.set(uid, { groups, clusters: [...clusters] });
    for (const cluster of clusters) this.#view(cluster).add(uid, groups);
    return before?.clusters.some((cluster) => groups.length === 0 || !clusters.includes(cluster)) === true;
  }

  #view(cluster: string): View {
    const known = this.#views.get(cluster);
    if (known !== undefined) return known;
    const view = new View();
    this.#views.set(cluster, view);
    return view;
  }
}

class View implements GroupResidents {
  readonly #groups = new Map<string, Set<string>>();

  has(group: string, exceptUid: string): boolean {
    const uids = this.#groups.get(group);
    return uids !== undefined && (uids.size > 1 || !uids.has(exceptUid));
  }

  add(uid: string, groups: GroupNames): void {
    for (const group of groups) this.#groups.set(group, (this.#groups.get(group) ?? new Set()).add(uid));
  }

  remove(uid: string, groups: GroupNames): void {
    for (const group of groups) {
      const uids = this.#groups.get(group);
      uids?.delete(uid);
      if (uids?.size === 0) this.#groups.delete(group);
    }
  }
}

import type { Ranked } from "./rank.js";

/** Clusters that have something in common: a region, a zone, the value of a label. */
export interface Group {
  readonly name: string;
  /** Best first. */
  readonly members: readonly Ranked[];
  /** What it is worth; see `worthOf`. */
  readonly worth: number;
}

/** How many groups may be taken, and how many clusters they must have together. */
export interface GroupBounds {
  readonly least: number;
  readonly most: number;
  readonly clusters: number;
}

/** What replicas a placement wants, as far as the worth of a group goes. */
export interface Wanted {
  readonly replicas: number;
  readonly isDivided: boolean;
  readonly minGroups: number;
  readonly minClusters: number;
}

/** A replica counts for more than all the scores of clusters. */
const UNIT = 1000;

/**
 * Duplicated: how many clusters have room for all replicas, then their score. Divided: how much of its share of the replicas the best clusters
 * of the group have room for, then their score.
 */
export function worthOf(members: readonly Ranked[], { replicas, isDivided, minGroups, minClusters }: Wanted): number {
  const sum = (list: readonly Ranked[], of: (one: Ranked) => number): number =>
    list.reduce((total, one) => total + of(one), 0);
  const score = ({ candidate }: Ranked): number => candidate.score;
  if (!isDivided) {
    const fitting = members.filter(({ available }) => available >= replicas);
    return fitting.length === 0 ? 0 : fitting.length * UNIT + Math.floor(sum(fitting, score) / fitting.length);
  }
  const share = Math.ceil(replicas / Math.max(1, minGroups));
  let [room, count] = [0, 0];
  for (const { available } of members) {
    room += available;
    count += 1;
    if (count >= Math.max(minClusters, minGroups) && room >= share) break;
  }
  const counted = room < share ? members : members.slice(0, count);
  return Math.min(room, share) * UNIT + Math.floor(sum(counted, score) / counted.length);
}

interface Choice {
  readonly groups: readonly Group[];
  readonly worth: number;
  readonly clusters: number;
}

/** With more groups than this not every choice is looked at: there are too many. */
const MOST_SEARCHED = 12;

/**
 * The groups to take: the choice that is worth most, then the one with most clusters; of a choice and a part of it that would do as well, the part.
 * `undefined`: no choice has clusters enough.
 */
export function chooseGroups(groups: readonly Group[], bounds: GroupBounds): readonly Group[] | undefined {
  if (groups.length > MOST_SEARCHED) return bestFirst(groups, bounds);
  const choices = choicesOf(groups, bounds)
    .map(
      (taken): Choice => ({
        groups: taken.toSorted(byWorth),
        worth: total(taken, "worth"),
        clusters: total(taken, "clusters"),
      }),
    )
    .toSorted((a, b) => b.worth - a.worth || b.clusters - a.clusters);
  let [best] = choices;
  for (const choice of choices) if (best !== undefined && isBeginning(choice, best)) best = choice;
  return best?.groups;
}

const total = (groups: readonly Group[], what: "worth" | "clusters"): number =>
  groups.reduce((sum, { worth, members }) => sum + (what === "worth" ? worth : members.length), 0);
const byWorth = (a: Group, b: Group): number => b.worth - a.worth || (a.name < b.name ? -1 : 1);
const isBeginning = (part: Choice, whole: Choice): boolean =>
  part.groups.length < whole.groups.length && part.groups.every(({ name }, at) => whole.groups[at]?.name === name);

/** Every choice that is just enough, the small groups first. */
function choicesOf(groups: readonly Group[], { least, most, clusters }: GroupBounds): readonly (readonly Group[])[] {
  const order = groups.toSorted(
    (a, b) => a.members.length - b.members.length || b.worth - a.worth || (a.name < b.name ? -1 : 1),
  );
  const found: Group[][] = [];
  const extend = (taken: readonly Group[], from: number): void => {
    if (taken.length >= Math.max(1, least) && taken.length <= most && total(taken, "clusters") >= clusters)
      found.push([...taken]);
    else if (taken.length < most)
      for (const [index, group] of order.entries()) if (index >= from) extend([...taken, group], index + 1);
  };
  extend([], 0);
  return found;
}

function bestFirst(groups: readonly Group[], { least, most, clusters }: GroupBounds): readonly Group[] | undefined {
  const order = groups.toSorted(byWorth);
  for (let count = Math.max(1, least); count <= Math.min(most, order.length); count += 1) {
    const taken = order.slice(0, count);
    if (total(taken, "clusters") >= clusters) return taken;
  }
  return undefined;
}

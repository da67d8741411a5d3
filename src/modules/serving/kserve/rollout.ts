/** Which Deployments a component has, of which revision, and who gets which share. Pure. */

/** A Deployment of a component as it was found. */
export interface FoundVariant {
  readonly deployment: string;
  /** Name of the revision it runs. */
  readonly revision: string;
  /** What its pods are made from. */
  readonly hash: string;
}

/** What is wanted of a component. */
export interface RolloutWish {
  /** Name of the component's Service, and of its first Deployment. */
  readonly base: string;
  readonly hash: string;
  /** `canaryTrafficPercent`; absent: everything to the newest. */
  readonly percent: number | undefined;
  /** The newest revision that had all the traffic. */
  readonly rolledOut: string | undefined;
  /** The newest revision there ever was. */
  readonly created: string | undefined;
}

/** A Deployment as it should be. */
export interface PlannedVariant {
  readonly deployment: string;
  readonly revision: string;
  /** It runs what the component asks for now; the other one stays as it was made. */
  readonly isLatest: boolean;
}

/** The Deployments of a component; those that are found and not among them go. */
export interface RolloutPlan {
  readonly latest: PlannedVariant;
  /** Has the traffic until the latest one may have it. */
  readonly previous: PlannedVariant | undefined;
}

/** Who gets which share, and what that means. */
export interface RolloutShares {
  readonly latest: number;
  readonly previous: number;
  /** The latest one has all the traffic because it should: from now on it is the one that is rolled out. */
  readonly isRolledOut: boolean;
  readonly reason: string;
}

/** Number of a revision's name; 0 for other names. */
const numberOf = (revision: string | undefined): number => Number(/-(\d{5,})$/.exec(revision ?? "")?.[1] ?? 0);

/** Name of the revision after those. */
export function nextRevision(base: string, names: readonly (string | undefined)[]): string {
  const next = Math.max(0, ...names.map(numberOf)) + 1;
  return `${base}-${String(next).padStart(5, "0")}`;
}

/**
 * The latest revision runs in a Deployment of its own while another one is to keep a share; else it replaces, pod by pod, what the
 * component's one Deployment runs.
 */
export function planRollout(wish: RolloutWish, found: readonly FoundVariant[]): RolloutPlan {
  const { base, hash, percent } = wish;
  const rolledOut = found.find(({ revision }) => revision === wish.rolledOut);
  const current = found.find((variant) => variant.hash === hash);
  const next = (): string => nextRevision(base, [wish.created, ...found.map(({ revision }) => revision)]);
  const asLatest = (deployment: string, revision: string): PlannedVariant => ({ deployment, revision, isLatest: true });
  if (current !== undefined) {
    const other = rolledOut !== undefined && rolledOut !== current ? rolledOut : undefined;
    return {
      latest: asLatest(current.deployment, current.revision),
      previous: other === undefined ? undefined : { ...place(other), isLatest: false },
    };
  }
  const isCanary = percent !== undefined && percent < 100 && rolledOut !== undefined;
  if (!isCanary) {
    // In place: what was rolled out, or whatever there is.
    const inPlace = rolledOut ?? found[0];
    const pending = found.find((variant) => variant !== inPlace);
    // A canary that is changed and promoted at once takes the change; the one that has the traffic keeps it until then.
    if (rolledOut !== undefined && pending !== undefined)
      return { latest: asLatest(pending.deployment, next()), previous: { ...place(rolledOut), isLatest: false } };
    return { latest: asLatest(inPlace?.deployment ?? base, next()), previous: undefined };
  }
  const canary = found.find((variant) => variant !== rolledOut);
  const revision = next();
  return {
    latest: asLatest(canary?.deployment ?? revision, revision),
    previous: { ...place(rolledOut), isLatest: false },
  };
}

const place = ({ deployment, revision }: FoundVariant) => ({ deployment, revision });

/** Only what answers gets a share, and what had the traffic keeps it until then. */
export function shareTraffic(
  plan: RolloutPlan,
  { percent, answers }: { readonly percent: number | undefined; readonly answers: boolean },
): RolloutShares {
  const { latest, previous } = plan;
  if (previous === undefined)
    return { latest: 100, previous: 0, isRolledOut: answers, reason: `${latest.revision} is the only revision` };
  if (!answers)
    return {
      latest: 0,
      previous: 100,
      isRolledOut: false,
      reason: `${latest.revision} does not answer yet, so ${previous.revision} keeps the traffic`,
    };
  const share = percent ?? 100;
  return share >= 100
    ? { latest: 100, previous: 0, isRolledOut: true, reason: `${latest.revision} answers and is rolled out` }
    : {
        latest: share,
        previous: 100 - share,
        isRolledOut: false,
        reason: `${latest.revision} is the canary and gets ${share} %, ${previous.revision} the rest`,
      };
}

/** The share that a status tells of the first of two revisions, as a share of what the two of them have: canaries may have some besides. */
export function shareBefore(
  traffic: readonly { readonly revisionName?: string | undefined; readonly percent?: number | undefined }[],
  revisions: readonly [latest: string, previous: string | undefined],
): number {
  const [latest = 0, previous = 0] = revisions.map(
    (name) => traffic.find(({ revisionName }) => revisionName === name)?.percent ?? 0,
  );
  return latest === 0 ? 0 : Math.round((100 * latest) / (latest + previous));
}

/** Pods of the latest revision and of the one beside it. */
export interface RolloutReplicas {
  readonly latest: number;
  readonly previous: number;
  /** Why the latest one may not start. */
  readonly fault?: string;
}

/** So many pods that there are never more than `replicas + surge`: the previous revision makes room, and keeps one at least. */
export function divideReplicas(replicas: number, percent: number, surge: number): RolloutReplicas {
  const wanted = percent >= 100 ? replicas : Math.max(1, Math.ceil((replicas * percent) / 100));
  const room = replicas + surge - 1;
  if (room < 1)
    return {
      latest: 0,
      previous: replicas,
      fault: `a canary needs a pod besides the ${replicas} of the revision before it, and this rollout may have none: set the annotation serving.argosy.dev/surge to "1"`,
    };
  const latest = Math.min(wanted, room);
  return { latest, previous: Math.min(replicas, replicas + surge - latest) };
}

/** Pods that a Deployment may have now: as many as are wanted, as far as those of the others leave room; none that it has is taken for that. */
export function allowedPods(
  wanted: number,
  { has, others, budget }: { readonly has: number; readonly others: number; readonly budget: number },
): number {
  return Math.max(Math.min(has, wanted), Math.min(wanted, Math.max(0, budget - others)));
}

/** How many more pods than `replicas` a rollout may have: what the annotation says (`2`, `25%`), else one; none where pods hold GPUs. */
export function surgeOf(annotation: string | undefined, replicas: number, holdsGpus: boolean): number {
  const match = /^(\d+)(%?)$/.exec(annotation ?? "");
  if (match?.[1] === undefined) return holdsGpus ? 0 : 1;
  const figure = Number(match[1]);
  return match[2] === "%" ? Math.ceil((replicas * figure) / 100) : figure;
}

import type { Deployment, ReplicaSet } from "../../../kernel/kinds/index.js";
import { resolveIntOrPercent } from "../shared/intstr.js";
import { byAge, maxAnnotation, notedSize, sizeOf, total, withReplicas } from "./annotations.js";

/** A Deployment with its ReplicaSets: the one of its present template, and the others. */
export interface Rollout {
  readonly deployment: Deployment;
  readonly current: ReplicaSet | undefined;
  readonly old: readonly ReplicaSet[];
  /** The current set was made just now. */
  readonly isNew?: boolean;
}

/** A size that a set is to get. */
export interface Resize {
  readonly set: ReplicaSet;
  readonly size: number;
}

/** All sets, the current one last. */
export function allSets(rollout: Rollout): readonly ReplicaSet[] {
  return rollout.current === undefined ? rollout.old : [...rollout.old, rollout.current];
}

/** How many pods a Deployment wants. */
export function wanted(deployment: Deployment): number {
  return deployment.spec.replicas ?? 1;
}

/** Whether pods are replaced one after another; otherwise all old ones go first. */
export function isRolling(deployment: Deployment): boolean {
  return deployment.spec.strategy?.type !== "Recreate";
}

/** Pods above and below the wanted number during a roll-out. Never both 0, or nothing could move. */
export function fenceposts(deployment: Deployment): { readonly surge: number; readonly unavailable: number } {
  if (!isRolling(deployment)) return { surge: 0, unavailable: 0 };
  const { maxSurge = "25%", maxUnavailable = "25%" } = deployment.spec.strategy?.rollingUpdate ?? {};
  const replicas = wanted(deployment);
  const surge = resolveIntOrPercent(maxSurge, replicas, "up");
  const unavailable = Math.min(resolveIntOrPercent(maxUnavailable, replicas, "down"), Math.max(replicas, 1));
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}

/** Most pods at once. */
export function maxPods(deployment: Deployment): number {
  return wanted(deployment) === 0 ? 0 : wanted(deployment) + fenceposts(deployment).surge;
}

/** Size of the current set now: grows as far as the surge allows. */
export function nextCurrentSize(rollout: Rollout): number {
  const { deployment, current } = rollout;
  const size = current === undefined ? 0 : sizeOf(current);
  if (!isRolling(deployment)) return wanted(deployment);
  if (size > wanted(deployment)) return wanted(deployment);
  const room = wanted(deployment) + fenceposts(deployment).surge - total(allSets(rollout), sizeOf);
  return room <= 0 ? size : size + Math.min(room, wanted(deployment) - size);
}

const available = (set: ReplicaSet): number => set.status?.availableReplicas ?? 0;

/**
 * Which old sets shrink now in a rolling update: first pods that are not available anyway, then as many available ones as
 * keeps the wanted number minus `maxUnavailable`.
 */
export function shrinkOld(rollout: Rollout): readonly Resize[] {
  const { deployment, current } = rollout;
  const minAvailable = wanted(deployment) - fenceposts(deployment).unavailable;
  const currentUnavailable = current === undefined ? 0 : sizeOf(current) - available(current);
  let mayGo = total(allSets(rollout), sizeOf) - minAvailable - currentUnavailable;
  const sizes = new Map(rollout.old.toSorted(byAge).map((set) => [set, sizeOf(set)]));
  for (const [set, size] of sizes) {
    const unhealthy = Math.min(Math.max(mayGo, 0), Math.max(size - available(set), 0));
    sizes.set(set, size - unhealthy);
    mayGo -= unhealthy;
  }
  let spare = Math.min(total(allSets(rollout), available) - minAvailable, mayGo);
  for (const [set, size] of sizes) {
    const healthy = Math.min(Math.max(spare, 0), size);
    sizes.set(set, size - healthy);
    spare -= healthy;
  }
  return [...sizes].filter(([set, size]) => size !== sizeOf(set)).map(([set, size]) => ({ set, size }));
}

/**
 * Sizes when the wanted number itself changed, or the roll-out is paused: one active set takes it all; several share the
 * difference by their sizes, so that a roll-out in progress keeps its proportions.
 */
export function scaleProportionally(rollout: Rollout): readonly Resize[] {
  const { deployment, current } = rollout;
  const active = withReplicas(allSets(rollout));
  const only = active.length <= 1 ? (active[0] ?? current ?? rollout.old.toSorted(byAge).at(-1)) : undefined;
  if (only !== undefined) return [{ set: only, size: wanted(deployment) }];
  if (current !== undefined && sizeOf(current) === wanted(deployment) && available(current) === wanted(deployment)) {
    return withReplicas(rollout.old).map((set) => ({ set, size: 0 }));
  }
  if (!isRolling(deployment)) return [];
  const toAdd = maxPods(deployment) - total(active, sizeOf);
  const ordered = active.toSorted((a, b) => sizeOf(b) - sizeOf(a) || (toAdd > 0 ? byAge(b, a) : byAge(a, b)));
  let added = 0;
  const sizes = ordered.map((set) => {
    const share = toAdd === 0 ? 0 : shareOf(set, deployment, toAdd - added);
    added += share;
    return { set, size: sizeOf(set) + share };
  });
  // What rounding left over goes to the largest.
  return sizes.map(({ set, size }, index) => ({ set, size: index === 0 ? Math.max(0, size + toAdd - added) : size }));
}

function shareOf(set: ReplicaSet, deployment: Deployment, left: number): number {
  const size = sizeOf(set);
  if (size === 0 || left === 0) return 0;
  const noted = notedSize(set, maxAnnotation) ?? deployment.status?.replicas ?? 0;
  const fraction =
    wanted(deployment) === 0 ? -size : noted === 0 ? 0 : Math.round((size * maxPods(deployment)) / noted) - size;
  return left > 0 ? Math.min(Math.max(fraction, 0), left) : Math.max(Math.min(fraction, 0), left);
}

import { type Deployment, isDeleting, type ReplicaSet } from "../../../kernel/kinds/index.js";

/** Annotations by which revisions and sizes are remembered (upstream's names, which kubectl reads). */
export const revisionAnnotation = "deployment.kubernetes.io/revision";
export const historyAnnotation = "deployment.kubernetes.io/revision-history";
export const desiredAnnotation = "deployment.kubernetes.io/desired-replicas";
export const maxAnnotation = "deployment.kubernetes.io/max-replicas";

const notCopied: ReadonlySet<string> = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  revisionAnnotation,
  historyAnnotation,
  desiredAnnotation,
  maxAnnotation,
  "deprecated.deployment.rollback.to",
]);
const maxHistoryLength = 2000;

/** The revision of a ReplicaSet; 0 when it has none. */
export function revisionOf(set: ReplicaSet): number {
  const revision = Number(set.metadata.annotations?.[revisionAnnotation] ?? 0);
  return Number.isInteger(revision) ? revision : 0;
}

/** A size that was noted on a ReplicaSet. */
export function notedSize(set: ReplicaSet, annotation: string): number | undefined {
  const size = Number(set.metadata.annotations?.[annotation] ?? Number.NaN);
  return Number.isInteger(size) ? size : undefined;
}

/** Annotations that a Deployment hands down to its ReplicaSets. */
export function inheritedAnnotations(deployment: Deployment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(deployment.metadata.annotations ?? {}).filter(([name]) => !notCopied.has(name)),
  );
}

/** Annotations of the newest ReplicaSet at `revision`; an earlier revision of its own goes into the history. */
export function annotationsAt(set: ReplicaSet, deployment: Deployment, revision: number): Record<string, string> {
  const annotations = { ...set.metadata.annotations, ...inheritedAnnotations(deployment) };
  const before = revisionOf(set);
  if (before >= revision) return annotations;
  annotations[revisionAnnotation] = String(revision);
  if (before === 0) return annotations;
  const history = (annotations[historyAnnotation] ?? "").split(",").filter((entry) => entry !== "");
  history.push(String(before));
  while (history.join(",").length > maxHistoryLength) history.shift();
  annotations[historyAnnotation] = history.join(",");
  return annotations;
}

/** Oldest first; ties by name, so that the order is always the same. */
export function byAge(a: ReplicaSet, b: ReplicaSet): number {
  const difference = Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp);
  if (difference !== 0) return difference;
  return a.metadata.name < b.metadata.name ? -1 : 1;
}

/** Sets that want pods. */
export function withReplicas(sets: readonly ReplicaSet[]): readonly ReplicaSet[] {
  return sets.filter((set) => sizeOf(set) > 0);
}

/** How many pods a set wants. */
export function sizeOf(set: ReplicaSet): number {
  return set.spec.replicas ?? 1;
}

/** Sum over sets. */
export function total(sets: readonly ReplicaSet[], count: (set: ReplicaSet) => number): number {
  return sets.reduce((sum, set) => sum + count(set), 0);
}

/** Sets beyond the history limit that want and have no pods, oldest revision first. */
export function beyondHistory(old: readonly ReplicaSet[], limit: number): readonly ReplicaSet[] {
  const candidates = old
    .filter((set) => !isDeleting(set))
    .toSorted((a, b) => revisionOf(a) - revisionOf(b) || byAge(a, b));
  return candidates.slice(0, Math.max(0, candidates.length - limit)).filter((set) => {
    const isSeen = (set.metadata.generation ?? 0) <= (set.status?.observedGeneration ?? 0);
    return sizeOf(set) === 0 && (set.status?.replicas ?? 0) === 0 && isSeen;
  });
}

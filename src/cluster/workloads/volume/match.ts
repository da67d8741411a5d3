import {
  isDeleting,
  labelSelectorMatches,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import { nodeTermMatches } from "../scheduler/node-filters.js";

/** How much a claim asks for, or a volume has, in billionths of a byte. */
export function amountOf(list: Readonly<Record<string, string>> | undefined): bigint {
  return tryParseQuantity(list?.["storage"] ?? "")?.nanos ?? 0n;
}

/** Whether a volume is reserved for this very claim. */
export function isReservedFor({ spec }: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  const { claimRef } = spec;
  return (
    claimRef?.name === metadata.name &&
    claimRef.namespace === metadata.namespace &&
    ((claimRef.uid ?? "") === "" || claimRef.uid === metadata.uid)
  );
}

/** Whether a volume can be reached from a node. */
export function isReachable(volume: PersistentVolume, node: Node): boolean {
  const terms = volume.spec.nodeAffinity?.required?.nodeSelectorTerms;
  return terms === undefined || terms.some((term) => nodeTermMatches(term, node));
}

/** Whether a volume that is free, or reserved for it, gives a claim what it asks for. */
function suits(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  const { spec } = volume;
  const isFree = spec.claimRef === undefined || isReservedFor(volume, claim);
  return (
    isFree &&
    !isDeleting(volume) &&
    (spec.storageClassName ?? "") === (claim.spec.storageClassName ?? "") &&
    (spec.volumeMode ?? "Filesystem") === (claim.spec.volumeMode ?? "Filesystem") &&
    (claim.spec.accessModes ?? []).every((mode) => spec.accessModes?.includes(mode) === true) &&
    amountOf(spec.capacity) >= amountOf(claim.spec.resources?.requests) &&
    (claim.spec.selector === undefined || labelSelectorMatches(claim.spec.selector, volume.metadata.labels))
  );
}

/** The volume for a claim: one that is reserved for it, then the smallest that suits. `node`: it must be reached from there. */
export function volumeFor(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  node?: Node,
): PersistentVolume | undefined {
  const [best] = volumes
    .filter((volume) => suits(volume, claim) && (node === undefined || isReachable(volume, node)))
    .toSorted((a, b) => {
      const reserved = Number(isReservedFor(b, claim)) - Number(isReservedFor(a, claim));
      if (reserved !== 0) return reserved;
      const [left, right] = [amountOf(a.spec.capacity), amountOf(b.spec.capacity)];
      if (left !== right) return left < right ? -1 : 1;
      return a.metadata.name < b.metadata.name ? -1 : 1;
    });
  return best;
}

import { findCondition, isDeleting } from "../../../kernel/kinds/index.js";
import type { AggregatedItem, BindingSpec } from "../bindings/kinds.js";
import type { ConditionDraft, Work } from "../kinds.js";
import { clusterOfSpace } from "../names.js";

/** What the members tell of a binding's object, by its Works; those that are on their way out say nothing any more. */
export function aggregatedItems(works: readonly Work[]): AggregatedItem[] {
  return works
    .filter((work) => !isDeleting(work))
    .flatMap((work) => {
      const clusterName = clusterOfSpace(work.metadata.namespace ?? "");
      return clusterName === undefined ? [] : [itemOf(work, clusterName)];
    })
    .toSorted((a, b) => (a.clusterName < b.clusterName ? -1 : a.clusterName > b.clusterName ? 1 : 0));
}

function itemOf(work: Work, clusterName: string): AggregatedItem {
  const applied = findCondition(work.status?.conditions, "Applied");
  if (applied?.status !== "True") {
    const appliedMessage = applied?.message ?? "";
    return { clusterName, ...(appliedMessage === "" ? {} : { appliedMessage }), health: "Unknown" };
  }
  const told = work.status?.manifestStatuses?.[0];
  const health = told?.health === "Healthy" || told?.health === "Unhealthy" ? told.health : "Unknown";
  return { clusterName, ...(told?.status === undefined ? {} : { status: told.status }), applied: true, health };
}

/** Clusters that a binding's object is to be in: where it was placed, where it is needed, and where it still has to go from. */
export function expectedClusters(spec: BindingSpec): Set<string> {
  const evicting = (spec.gracefulEvictionTasks ?? []).filter(
    ({ purgeMode }) => purgeMode !== "Immediately" && purgeMode !== "Directly",
  );
  return new Set([
    ...(spec.clusters ?? []).map(({ name }) => name),
    ...(spec.requiredBy ?? []).flatMap(({ clusters = [] }) => clusters.map(({ name }) => name)),
    ...evicting.map(({ fromCluster }) => fromCluster),
  ]);
}

/** The condition FullyApplied. */
export function fullyApplied(spec: BindingSpec, items: readonly AggregatedItem[]): ConditionDraft {
  const expected = expectedClusters(spec);
  const isWhole =
    expected.size > 0 &&
    expected.size === items.length &&
    items.every(({ applied, clusterName }) => applied === true && expected.has(clusterName));
  return isWhole
    ? {
        type: "FullyApplied",
        status: "True",
        reason: "FullyAppliedSuccess",
        message: "All works have been successfully applied",
      }
    : {
        type: "FullyApplied",
        status: "False",
        reason: "FullyAppliedFailed",
        message: "Failed to apply all works, see status.aggregatedStatus for details",
      };
}

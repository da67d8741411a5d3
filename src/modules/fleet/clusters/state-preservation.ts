import { isLabelValue } from "../../../kernel/kinds/index.js";
import { isObject, JsonPath, showJson } from "../../../kernel/schema/index.js";
import type { BindingSpec, ResourceBinding } from "../bindings/kinds.js";
import type { EvictionTask } from "./eviction.js";

type Rules = NonNullable<NonNullable<NonNullable<BindingSpec["failover"]>["cluster"]>["statePreservation"]>["rules"];

/** What of an object's state in a cluster is carried over as labels, or why it cannot be. */
export type PreservedState = { readonly labels: Readonly<Record<string, string>> } | { readonly fault: string };

/** Reads the state that an object has in a cluster, by the rules of its policy. */
export function preservedState(binding: ResourceBinding, cluster: string, rules: Rules): PreservedState {
  const item = binding.status?.aggregatedStatus?.find(({ clusterName }) => clusterName === cluster);
  const status = isObject(item?.status) ? item.status : {};
  const labels: Record<string, string> = {};
  for (const { aliasLabelName, jsonPath } of rules) {
    const path = JsonPath.parse(jsonPath);
    if (path === undefined) return { fault: `${jsonPath}, where its state is to be read, is no JSONPath` };
    const [value, ...more] = path.read(status);
    if (value === undefined) return { fault: `its status in ${cluster} has nothing at ${jsonPath}` };
    const text = more.length === 0 ? showJson(value) : "";
    if (!isLabelValue(text) || text === "")
      return { fault: `what its status in ${cluster} has at ${jsonPath} is no value of a label` };
    labels[aliasLabelName] = text;
  }
  return { labels };
}

/** The parts of an eviction's task that carry state over. */
export function stateOf(
  binding: ResourceBinding,
  labels: Readonly<Record<string, string>>,
): Pick<EvictionTask, "preservedLabelState" | "clustersBeforeFailover"> {
  if (Object.keys(labels).length === 0) return {};
  return {
    preservedLabelState: { ...labels },
    clustersBeforeFailover: (binding.spec.clusters ?? []).map(({ name }) => name),
  };
}

/**
 * Labels that an object is given in a cluster that it came to because another one failed: only where the old object is removed at once, so that its
 * state is the last; and not in clusters that it was in before.
 */
export function labelsCarriedTo(cluster: string, { gracefulEvictionTasks = [] }: BindingSpec): Record<string, string> {
  const task = gracefulEvictionTasks.at(-1);
  const isFinal = task?.purgeMode === "Directly" || task?.purgeMode === "Immediately";
  if (task === undefined || !isFinal || (task.clustersBeforeFailover ?? []).includes(cluster)) return {};
  return { ...task.preservedLabelState };
}

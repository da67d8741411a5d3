import { type LabelSelector, labelSelectorMatches, type Node, type Pod } from "../../../kernel/kinds/index.js";

/** A node and the pods that count on it. */
export interface NodeView {
  readonly node: Node;
  readonly pods: readonly Pod[];
}

/** Why a node cannot take a pod. */
export interface Obstacle {
  readonly reasons: readonly string[];
  /** Nothing that runs there could change it by leaving. */
  readonly isFinal: boolean;
}

/** An obstacle that stays whoever leaves. */
export function finalObstacle(reason: string): Obstacle {
  return { reasons: [reason], isFinal: true };
}

/** The cluster as one decision sees it. */
export interface Snapshot {
  readonly nodes: readonly NodeView[];
  /** Pods for which room is being made, by node: it is not for lesser ones. */
  readonly nominated: ReadonlyMap<string, readonly Pod[]>;
  /** Labels of a namespace, for terms that select namespaces. */
  readonly namespaceLabels: (namespace: string) => Readonly<Record<string, string>> | undefined;
}

/** The part of a node that a topology key names; `undefined` when the node lacks the label. */
export function domainOf(node: Node, topologyKey: string): string | undefined {
  return node.metadata.labels?.[topologyKey];
}

/** A term of pod affinity as the wire has it. */
export interface AffinityTerm {
  readonly topologyKey: string;
  readonly labelSelector?: LabelSelector;
  readonly namespaces?: readonly string[];
  readonly namespaceSelector?: LabelSelector;
  readonly matchLabelKeys?: readonly string[];
  readonly mismatchLabelKeys?: readonly string[];
}

/** A selector narrowed to the values that `pod` itself has under these label keys. */
export function narrowed(
  selector: LabelSelector | undefined,
  pod: Pod,
  keys: { readonly match?: readonly string[]; readonly mismatch?: readonly string[] },
): LabelSelector | undefined {
  if (selector === undefined) return undefined;
  const labels = pod.metadata.labels ?? {};
  const terms = (names: readonly string[] | undefined, operator: string) =>
    (names ?? []).flatMap((key) => (labels[key] === undefined ? [] : [{ key, operator, values: [labels[key]] }]));
  return {
    ...selector,
    matchExpressions: [
      ...(selector.matchExpressions ?? []),
      ...terms(keys.match, "In"),
      ...terms(keys.mismatch, "NotIn"),
    ],
  };
}

/** Whether `other` is one of the pods that a term of `owner` means. */
export function termMatches(term: AffinityTerm, owner: Pod, other: Pod, snapshot: Snapshot): boolean {
  const namespace = other.metadata.namespace ?? "";
  const { namespaces = [], namespaceSelector } = term;
  const isOwnNamespace =
    namespaces.length === 0 && namespaceSelector === undefined && namespace === owner.metadata.namespace;
  const isNamed = namespaces.includes(namespace);
  const isSelected =
    namespaceSelector !== undefined &&
    labelSelectorMatches(namespaceSelector, snapshot.namespaceLabels(namespace) ?? {});
  if (!isOwnNamespace && !isNamed && !isSelected) return false;
  const keys = {
    ...(term.matchLabelKeys ? { match: term.matchLabelKeys } : {}),
    ...(term.mismatchLabelKeys ? { mismatch: term.mismatchLabelKeys } : {}),
  };
  return labelSelectorMatches(narrowed(term.labelSelector, owner, keys), other.metadata.labels);
}

import type { Key, WatchSpec } from "../../../kernel/control/index.js";
import {
  controllerOf,
  type Kind,
  type KubeObject,
  type LabelSelector,
  labelSelectorMatches,
} from "../../../kernel/kinds/index.js";

/** Wakes every owner in the namespace whose selector matches an orphan of `kind`, so that it can be adopted. */
export function orphanWatch<Owner extends KubeObject>(
  kind: Kind,
  ownerKind: Kind<Owner>,
  selectorOf: (owner: Owner) => LabelSelector | undefined,
): WatchSpec {
  return {
    kind,
    keys(object, informers): readonly Key[] {
      if (controllerOf(object) !== undefined || object.metadata.labels === undefined) return [];
      const namespace = object.metadata.namespace ?? "";
      return informers
        .informer(ownerKind)
        .list(namespace)
        .filter((owner) => labelSelectorMatches(selectorOf(owner), object.metadata.labels))
        .map((owner) => ({ namespace, name: owner.metadata.name }));
    },
  };
}

import { isDeleting } from "../../kernel/kinds/index.js";
import type { PlannedObject } from "./hyper-plan.js";
import type { Work } from "./kinds.js";
import { ARGOSY, executionSpaceOf } from "./names.js";
import { workNameOf } from "./policies/marks.js";

/** What there is to know about a Work's name. */
export interface NameBook {
  /** The Work of a name in a hub namespace, whoever's it is. */
  readonly standing: (namespace: string, name: string) => Work | undefined;
  /** uid of the HyperMLService. */
  readonly owner: string;
}

const OF_BINDINGS = ["resourcebinding.karmada.io/permanent-id", "clusterresourcebinding.karmada.io/permanent-id"];

/**
 * Objects of one cluster with the names that Karmada's own bindings would give their Works: by no other does it find the Work of an object that somebody deleted
 * in the member. An object whose name belongs to somebody else (a policy's, another HyperMLService's) keeps the planned one, and so does one whose Work has that
 * already. Pure.
 */
export function namedAsKarmada(objects: readonly PlannedObject[], { standing, owner }: NameBook): PlannedObject[] {
  const taken = new Set<string>();
  return objects.map((object) => {
    const namespace = executionSpaceOf(object.cluster);
    const workName = workNameOf(object.kind, object.namespace, object.name);
    const isOurs = (work: Work | undefined): boolean => work?.metadata.labels?.[ARGOSY.ownerUid] === owner;
    const there = standing(namespace, workName);
    // One that is being removed is waited for under its name.
    const isFree = there === undefined || isDeleting(there) || (isOurs(there) && !isBindings(there));
    const isNamed = isOurs(standing(namespace, object.workName));
    if (!isFree || isNamed || taken.has(workName)) return object;
    taken.add(workName);
    return { ...object, workName };
  });
}

function isBindings({ metadata }: Work): boolean {
  return OF_BINDINGS.some((label) => metadata.labels?.[label] !== undefined);
}

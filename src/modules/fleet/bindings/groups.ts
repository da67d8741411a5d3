import type { KubeObject } from "../../../kernel/kinds/index.js";
import type { GroupNames } from "../placement/residents.js";
import type { BindingSpec } from "./kinds.js";

type Groups = NonNullable<BindingSpec["workloadAffinityGroups"]>;

/** The groups that a template is in by its labels; `undefined`: in none. */
export function groupsOf(template: KubeObject, placement: BindingSpec["placement"]): Groups | undefined {
  const { affinity, antiAffinity } = placement?.workloadAffinity ?? {};
  const groupBy = (key: string | undefined): string | undefined => {
    const value = key === undefined ? undefined : template.metadata.labels?.[key];
    return key === undefined || value === undefined ? undefined : `${key}=${value}`;
  };
  const [together, apart] = [groupBy(affinity?.groupByLabelKey), groupBy(antiAffinity?.groupByLabelKey)];
  if (together === undefined && apart === undefined) return undefined;
  return {
    ...(together === undefined ? {} : { affinityGroup: together }),
    ...(apart === undefined ? {} : { antiAffinityGroup: apart }),
  };
}

/** The groups of a binding, with its namespace: groups of different namespaces have nothing to do with each other. */
export function placeGroupsOf({ resource, workloadAffinityGroups }: BindingSpec): {
  readonly together: string | undefined;
  readonly apart: string | undefined;
} {
  const { affinityGroup = "", antiAffinityGroup = "" } = workloadAffinityGroups ?? {};
  const space = resource.namespace ?? "";
  return {
    together: affinityGroup === "" ? undefined : `together ${space} ${affinityGroup}`,
    apart: antiAffinityGroup === "" ? undefined : `apart ${space} ${antiAffinityGroup}`,
  };
}

/** The same as a list. */
export function groupNamesOf(spec: BindingSpec): GroupNames {
  const { together, apart } = placeGroupsOf(spec);
  return [together, apart].filter((group) => group !== undefined);
}

import {
  type OwnerReference,
  ownerReferenceTo,
  type Pod,
  type PodTemplateSpec,
  type StatefulSet,
} from "../../../kernel/kinds/index.js";
import { podFromTemplate } from "../shared/pods.js";
import { revisionLabel } from "../shared/revisions.js";

const namePattern = /^(.+)-(\d{1,9})$/;

/** The ordinal in a pod's name, if the pod is named as one of the set's. */
export function ordinalOf(set: StatefulSet, pod: Pod): number | undefined {
  const [, parent, ordinal] = namePattern.exec(pod.metadata.name) ?? [];
  return parent === set.metadata.name && ordinal !== undefined ? Number(ordinal) : undefined;
}

/** First and one past the last ordinal. */
export function ordinals(set: StatefulSet): { readonly first: number; readonly end: number } {
  const first = set.spec.ordinals?.start ?? 0;
  return { first, end: first + (set.spec.replicas ?? 1) };
}

type ClaimTemplate = NonNullable<StatefulSet["spec"]["volumeClaimTemplates"]>[number];

/** Name of the claim that a pod's volume uses; it stays when the pod goes. */
export function claimName(set: StatefulSet, template: ClaimTemplate, ordinal: number): string {
  return `${template.metadata?.name ?? ""}-${set.metadata.name}-${ordinal}`;
}

/**
 * Who takes a claim along when it goes (KEP-1847): the set, or the pod of an ordinal that is scaled away, or nobody.
 * `condemned`: the pod, where it is one of those.
 */
export function claimOwners(set: StatefulSet, condemned: Pod | undefined): readonly OwnerReference[] {
  const { whenDeleted, whenScaled } = set.spec.persistentVolumeClaimRetentionPolicy ?? {};
  if (whenScaled === "Delete" && condemned !== undefined) return [ownerReferenceTo(condemned)];
  return whenDeleted === "Delete" ? [ownerReferenceTo(set)] : [];
}

/** The claims of one ordinal as they are to be. */
export function claimsFor(set: StatefulSet, ordinal: number) {
  const owners = claimOwners(set, undefined);
  return (set.spec.volumeClaimTemplates ?? []).map((template) => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      name: claimName(set, template, ordinal),
      namespace: set.metadata.namespace ?? "",
      labels: { ...template.metadata?.labels, ...set.spec.selector.matchLabels },
      annotations: { ...template.metadata?.annotations },
      ...(owners.length === 0 ? {} : { ownerReferences: [...owners] }),
    },
    spec: { ...template.spec },
  }));
}

/** The pod of one ordinal, made from the template of a revision. */
export function podFor(
  set: StatefulSet,
  ordinal: number,
  revision: { readonly name: string; readonly template: PodTemplateSpec },
) {
  const { template } = revision;
  const name = `${set.metadata.name}-${ordinal}`;
  const claims = (set.spec.volumeClaimTemplates ?? []).map((claim) => ({
    name: claim.metadata?.name ?? "",
    persistentVolumeClaim: { claimName: claimName(set, claim, ordinal) },
  }));
  const replaced = new Set(claims.map((volume) => volume.name));
  const volumes = [...(template.spec?.volumes ?? []).filter((volume) => !replaced.has(volume.name)), ...claims];
  return podFromTemplate(template, set, {
    name,
    generateName: `${set.metadata.name}-`,
    labels: {
      "statefulset.kubernetes.io/pod-name": name,
      "apps.kubernetes.io/pod-index": String(ordinal),
      [revisionLabel]: revision.name,
    },
    spec: { hostname: name, subdomain: set.spec.serviceName, ...(volumes.length > 0 ? { volumes } : {}) },
  });
}

import { fnv1a } from "../placement/hash.js";

/** Labels and annotations by which templates, bindings and Works say what they come from (Karmada's names). */
export const CLAIM = {
  namespaced: {
    id: "propagationpolicy.karmada.io/permanent-id",
    name: "propagationpolicy.karmada.io/name",
    namespace: "propagationpolicy.karmada.io/namespace",
    finalizer: "karmada.io/propagation-policy-controller",
  },
  cluster: {
    id: "clusterpropagationpolicy.karmada.io/permanent-id",
    name: "clusterpropagationpolicy.karmada.io/name",
    finalizer: "karmada.io/cluster-propagation-policy-controller",
  },
} as const;

/** Marks of bindings and of the Works that are made of them. */
export const BINDING = {
  finalizer: "karmada.io/binding-controller",
  clusterFinalizer: "karmada.io/cluster-resource-binding-controller",
  /** Label of a binding and of its Works. */
  id: "resourcebinding.karmada.io/permanent-id",
  clusterId: "clusterresourcebinding.karmada.io/permanent-id",
  /** Annotations of a Work. */
  name: "resourcebinding.karmada.io/name",
  namespace: "resourcebinding.karmada.io/namespace",
  clusterName: "clusterresourcebinding.karmada.io/name",
  /** Annotation of a binding whose object takes others along: which, as JSON. */
  dependencies: "resourcebinding.karmada.io/dependencies",
  /** Annotation of a binding: the placement of its last decision, as JSON. */
  appliedPlacement: "policy.karmada.io/applied-placement",
  /** Annotation of a binding: the wish for a fresh placement (`spec.rescheduleTriggeredAt`) that its clusters are the answer to. */
  rescheduled: "argosy.dev/rescheduled-at",
  /** Annotation of a binding: clusters, by comma, that failed while its object was there and are not trusted again yet. */
  lost: "argosy.dev/lost-clusters",
  /** Label of a Work and of its manifest. */
  workId: "work.karmada.io/permanent-id",
  /** Annotations of a delivered object. */
  templateUid: "resourcetemplate.karmada.io/uid",
} as const;

/** Clusters that a binding's annotations say it lost by their failure. */
export function lostClustersOf(annotations: Readonly<Record<string, string>> | undefined): string[] {
  return (annotations?.[BINDING.lost] ?? "").split(",").filter((name) => name !== "");
}

/** Label of a binding that goes where another one is: which one, by a hash; its value is that one's identifier. */
export function dependedByLabel(namespace: string, name: string): string {
  return `${DEPENDED_BY}${safeDigits(String(fnv1a(`${namespace}/${name}`)))}`;
}

/** What those labels begin with. */
export const DEPENDED_BY = "resourcebinding.karmada.io/depended-by-";

/** Name of the binding of an object: `web-deployment`. */
export function bindingNameOf(kind: string, name: string): string {
  return `${name}-${kind}`.toLowerCase().replaceAll(":", ".");
}

/** Name of the Work of an object, the same in each cluster: `web-675fb5c89f`. */
export function workNameOf(kind: string, namespace: string, name: string): string {
  const safe = name.replaceAll(":", ".").toLowerCase();
  const whole = [...(namespace === "" ? [] : [namespace]), safe, kind].join("-").toLowerCase();
  return `${safe}-${safeDigits(String(fnv1a(whole)))}`;
}

/** Without vowels and look-alikes, as Kubernetes writes hashes in names. */
function safeDigits(text: string): string {
  const alphabet = "bcdfghjklmnpqrstvwxz2456789";
  return Array.from(text, (digit) => alphabet[digit.charCodeAt(0) % alphabet.length]).join("");
}

/** Namespaces that are the control plane's own: nothing in them is propagated. */
export function isReservedSpace(namespace: string): boolean {
  return namespace.startsWith("karmada-") || namespace.startsWith("kube-");
}

/** Objects that every namespace of every cluster has of its own: those of the hub are not for members. */
export function isClustersOwn({ kind, name }: { readonly kind: string; readonly name: string }): boolean {
  return (kind === "ConfigMap" && name === "kube-root-ca.crt") || (kind === "ServiceAccount" && name === "default");
}

import { ApiError, messageOf } from "../../../kernel/errors/index.js";
import { findCondition, type KubeObject } from "../../../kernel/kinds/index.js";
import type { Work } from "../kinds.js";
import { ManifestError, NoKindError, type Target } from "../member-apply.js";
import { ARGOSY, KARMADA } from "../names.js";
import { describeRefusal } from "../refusal.js";

/** How the delivery of a Work speaks of what went wrong. */
export interface DeliveryWords {
  /** An object is there already that is somebody else's. */
  foreign(object: KubeObject, target: Target, cluster: string): string;
  /** The member did not take the object; `target` is absent where the member could not say what the manifest is. */
  refusal(error: unknown, target: Target | undefined, cluster: string): string;
}

/** Whether a Work is of a HyperMLService, which speaks to people; those of bindings and of others are told in Karmada's words. */
export function isOfHyper(work: Work): boolean {
  return work.metadata.labels?.[ARGOSY.ownerUid] !== undefined;
}

/** The words for a Work. */
export function wordsFor(work: Work): DeliveryWords {
  return isOfHyper(work) ? own : karmada;
}

const own: DeliveryWords = {
  foreign(object, target, cluster) {
    const other = object.metadata.annotations?.[KARMADA.workName];
    const whose =
      other === undefined
        ? "not made by Argosy"
        : `delivered by Work ${object.metadata.annotations?.[KARMADA.workNamespace] ?? ""}/${other}`;
    return `${target.kind.kind} ${object.metadata.name} already exists in cluster ${cluster} and is ${whose}; it is left alone (annotation ${KARMADA.conflictResolution}: overwrite would take it over)`;
  },
  refusal: describeRefusal,
};

const karmada: DeliveryWords = {
  foreign: (_object, { kind, namespace, name }, cluster) =>
    `resource(kind=${kind.kind}, ${namespace}/${name}) already exists in the cluster ${cluster} and the ${KARMADA.conflictResolution} strategy value is empty, Karmada will not manage this resource`,
  refusal(error) {
    if (error instanceof NoKindError) return `no matches for kind "${error.kind}" in version "${error.apiVersion}"`;
    return error instanceof ApiError || error instanceof ManifestError ? error.message : messageOf(error);
  },
};

const TWO_HUBS = "two hubs deliver to this cluster";

/** An object that another hub took over: said, and not fought for. */
export function takenWords({ kind, namespace, name }: Target, cluster: string): string {
  const where = namespace === "" ? name : `${namespace}/${name}`;
  return `${kind.kind} ${where} was taken over by another hub: ${TWO_HUBS} ${cluster}; it is left as it is until the object is removed there, or one of the hubs lets the cluster go`;
}

/** Whether a Work tells that another hub took its object. */
export function tellsOfTwoHubs(work: Work): boolean {
  return findCondition(work.status?.conditions, "Applied")?.message.includes(TWO_HUBS) === true;
}

/** Several errors in one line, each once; as Karmada joins them. */
export function joinErrors(errors: readonly string[]): string {
  const each = [...new Set(errors)];
  return each.length === 1 ? (each[0] ?? "") : `[${each.join(", ")}]`;
}

import { labelSelectorMatches } from "../../../kernel/kinds/index.js";
import type { PropagationSpec, ResourceSelector } from "./kinds.js";

/** An object as policies see it. */
export interface Subject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A propagation policy of either scope. */
export interface Policy {
  /** `NAMESPACE/NAME`; without namespace `/NAME`. */
  readonly key: string;
  readonly isCluster: boolean;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Its permanent identifier, by which it claims. */
  readonly id: string;
  readonly createdAt: string;
  readonly generation: number;
  readonly isDeleting: boolean;
  readonly spec: PropagationSpec;
}

/** How closely a selector means an object. */
const RANK = { none: -1, all: 0, label: 1, name: 2 } as const;

/** Greater means more closely; below 0: not at all. A policy of a namespace means only objects there. */
export function selectorRank(selector: ResourceSelector, subject: Subject): number {
  if (selector.apiVersion !== subject.apiVersion || selector.kind !== subject.kind) return RANK.none;
  if ((selector.namespace ?? "") !== "" && selector.namespace !== subject.namespace) return RANK.none;
  if ((selector.name ?? "") !== "") return selector.name === subject.name ? RANK.name : RANK.none;
  if (selector.labelSelector === undefined) return RANK.all;
  return labelSelectorMatches(selector.labelSelector, subject.labels) ? RANK.label : RANK.none;
}

/** The closest of a policy's selectors. */
export function policyRank(policy: Policy, subject: Subject): number {
  if (policy.isDeleting || (!policy.isCluster && policy.namespace !== subject.namespace)) return RANK.none;
  return Math.max(RANK.none, ...policy.spec.resourceSelectors.map((selector) => selectorRank(selector, subject)));
}

/** The best of these for an object: priority, then how closely it is meant, then the name. */
function bestOf(policies: readonly Policy[], subject: Subject): Policy | undefined {
  let best: { readonly policy: Policy; readonly rank: number } | undefined;
  for (const policy of policies) {
    const rank = policyRank(policy, subject);
    if (rank === RANK.none) continue;
    if (best === undefined || isBefore({ policy, rank }, best)) best = { policy, rank };
  }
  return best?.policy;
}

type Ranked = { readonly policy: Policy; readonly rank: number };

function isBefore(a: Ranked, b: Ranked): boolean {
  const difference = a.policy.spec.priority - b.policy.spec.priority || a.rank - b.rank;
  return difference > 0 || (difference === 0 && a.policy.name < b.policy.name);
}

/**
 * The policy that an object belongs to. One that claimed it keeps it as long as it means it, unless another preempts: one of the same
 * scope with a greater priority, or one of the namespace whatever the priority of a policy of the whole cluster.
 */
export function choosePolicy(
  policies: readonly Policy[],
  subject: Subject,
  claimant: Policy | undefined,
): Policy | undefined {
  if (claimant === undefined || policyRank(claimant, subject) === RANK.none) {
    return (
      bestOf(
        policies.filter(({ isCluster }) => !isCluster),
        subject,
      ) ??
      bestOf(
        policies.filter(({ isCluster }) => isCluster),
        subject,
      )
    );
  }
  const rivals = policies.filter(
    (policy) =>
      policy.spec.preemption === "Always" &&
      (policy.isCluster === claimant.isCluster ? policy.spec.priority > claimant.spec.priority : claimant.isCluster),
  );
  return (
    bestOf(
      rivals.filter(({ isCluster }) => !isCluster),
      subject,
    ) ??
    bestOf(rivals, subject) ??
    claimant
  );
}

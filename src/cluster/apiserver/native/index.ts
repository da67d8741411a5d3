/**
 * What the kinds of Kubernetes do beyond their schemas: defaults, validation, immutable fields, status, columns. Tables
 * by kind, read by the registry. In: nothing. Out: `behaviours`. May use: the registry's vocabulary (faults, names, readers).
 */
import type { BehaviourTable } from "../registry/behaviour.js";
import { pathSegmentFaults } from "../registry/names.js";

/** Names of RBAC objects may hold anything that a path can. */
const rbac = { nameFaults: pathSegmentFaults };

/** Behaviour of native kinds by `group/Kind`. */
export const behaviours: BehaviourTable = {
  "rbac.authorization.k8s.io/ClusterRole": rbac,
  "rbac.authorization.k8s.io/ClusterRoleBinding": rbac,
  "rbac.authorization.k8s.io/Role": rbac,
  "rbac.authorization.k8s.io/RoleBinding": rbac,
};

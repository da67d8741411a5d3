/**
 * The fleet: model services in several clusters. In: HyperMLServices, HeadIngresses and Clusters in the hub, Ingresses
 * everywhere, connections to the members. Out: Works, objects in the members, statuses, the gateway's routes, weight decisions
 * in the ledger. May use: kernel, stores/ledger, dataplane/gateway (its driver).
 */

export { ClusterResourceBindingKind, ResourceBindingKind } from "./bindings/kinds.js";
export { clusterIdentity } from "./clusters/identity.js";
export {
  awaitReady,
  forgetHub,
  type Hub,
  isMember,
  joinCluster,
  leaveCluster,
  listClusters,
  setCordon,
} from "./clusters/joining.js";
export { specPartsOf } from "./hyper-plan.js";
export {
  type Cluster,
  ClusterKind,
  HeadIngressKind,
  type HyperMLService,
  HyperMLServiceKind,
  WorkKind,
} from "./kinds.js";
export { createFleetModule, DELIVERY_RULES, PROPAGATION_RULES, TEMPLATE_RULES } from "./module.js";
export { ClusterPropagationPolicyKind, PropagationPolicyKind } from "./policies/kinds.js";
export { bindingNameOf } from "./policies/marks.js";
export {
  agentAccountOf,
  authorityHash,
  CLUSTER_INFO,
  CLUSTER_SPACE,
  CREDENTIAL_SECONDS,
  enrolCluster,
  followedByAgent,
  HUB_SECRET,
  type HubCredential,
  keepCredential,
  publishClusterInfo,
  pullControllers,
  readCredential,
  registerMember,
  registrationToken,
  requestToken,
  revokeCluster,
} from "./pull/index.js";
export { RevisionContentsKind } from "./rollout/contents-kind.js";
export { type HyperRollout, HyperRolloutKind } from "./rollout/kind.js";
export {
  changedFields,
  type FieldChange,
  manifestsInForce,
  manifestsOf,
  previewOf,
  type WavePreview,
} from "./rollout/preview.js";
export { readRevision } from "./rollout/revisions.js";
export { rolloutOf } from "./rollout/targets.js";
export {
  labelled,
  leaving,
  lost,
  type NewCluster,
  type TaintChange,
  tainted,
  withCluster,
  withNewCluster,
  withReplicas,
} from "./what-if/changes.js";
export { type FleetCopy, readFleet } from "./what-if/copy.js";
export type { ServiceOutcome } from "./what-if/services.js";
export { type Outcome, type Simulation, simulate } from "./what-if/simulate.js";
export { revisedObject, withTyped } from "./what-if/typed.unsafe.js";

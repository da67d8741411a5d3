/**
 * The fleet: model services in several clusters. In: HyperMLServices, HeadIngresses and Clusters in the hub, Ingresses
 * everywhere, connections to the members. Out: Works, objects in the members, statuses, the gateway's routes, weight decisions
 * in the ledger. May use: kernel, stores/ledger, dataplane/gateway (its driver).
 */

export type { Cluster, HeadIngress, HyperMLService, Work } from "./kinds.js";
export { ClusterKind, HeadIngressKind, HyperMLServiceKind, WorkKind } from "./kinds.js";
export { createFleetModule, DELIVERY_RULES, type FleetOptions } from "./module.js";
export { ARGOSY as FLEET_MARKS, executionSpaceOf } from "./names.js";

/**
 * The fleet: model services in several clusters. In: HyperMLServices, HeadIngresses and Clusters in the hub, Ingresses
 * everywhere, connections to the members. Out: Works, objects in the members, statuses, the gateway's routes, weight decisions
 * in the ledger. May use: kernel, stores/ledger, dataplane/gateway (its driver).
 */

export {
  awaitReady,
  forgetHub,
  type Hub,
  joinCluster,
  leaveCluster,
  listClusters,
  setCordon,
} from "./clusters/joining.js";
export { ClusterKind, HyperMLServiceKind } from "./kinds.js";
export { createFleetModule, DELIVERY_RULES, PROPAGATION_RULES } from "./module.js";

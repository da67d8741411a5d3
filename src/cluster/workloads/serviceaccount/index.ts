/**
 * What every namespace has from the start: the `default` ServiceAccount and the cluster's CA certificate. Also the upkeep of
 * aggregated ClusterRoles and the end of old Events. In: Namespaces, ClusterRoles. Out: those objects. May use: kernel.
 */
export { clusterRoleAggregation } from "./cluster-role.controller.js";
export { eventCleaner } from "./event.controller.js";
export { rootCaPublisher } from "./root-ca.controller.js";
export { serviceAccountController } from "./service-account.controller.js";
export { tokenSecrets } from "./token.controller.js";

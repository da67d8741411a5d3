/**
 * Members that fetch their Works themselves (`syncMode: Pull`). In: an administrator's access to the hub for enrolment; later the hub with the member's own small
 * rights, and the member. Out: Clusters, accounts and rights in the hub; in the member what its Works say. May use: kernel, the fleet's delivery.
 */
export { followedByAgent, pullControllers } from "./agent.js";
export { enrolCluster, registrationToken, revokeCluster } from "./enrolment.js";
export { agentAccountOf, CLUSTER_SPACE, HUB_SECRET } from "./names.js";
export {
  authorityHash,
  CLUSTER_INFO,
  CREDENTIAL_SECONDS,
  type HubCredential,
  keepCredential,
  publishClusterInfo,
  readCredential,
  registerMember,
} from "./registering.js";
export { requestToken } from "./tokens.js";

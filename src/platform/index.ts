/**
 * The composition root: which clusters, identities, modules, stores and ports make one running Argosy. In: a data directory and the
 * members wanted. Out: a running platform, its addresses and kubeconfig in that directory. May use: everything below.
 */

export { type Addresses, type ClusterAddress, readAddresses } from "./addresses.js";
/** @public scripts/kinds-reference.mjs describes them. */
export {
  type Agent,
  type AgentOptions,
  describeKinds,
  describeRights,
  type ListenAddress,
  ownKinds,
  startAgent,
} from "./agent.js";
export { type NodeCredentials, writeNodeCredentials } from "./agent-credentials.js";
export { agentDeployment } from "./agent-deployment.js";
export type { PullRights } from "./agent-manifests.js";
export { type BackupContent, backUp, restore } from "./backup.js";
export { diagnoseMachine, type Finding } from "./diagnosis.js";
export { DirectoryInUseError, type Layout, layoutOf, makeDirectory, runningProcess } from "./layout.js";
export { ownImageNames, writeOwnImages } from "./oci/own-images.js";
export { type PlatformPart, parseParts, platformParts } from "./parts.js";
export { type MemberOptions, type Platform, type PlatformOptions, startPlatform } from "./platform.js";
export { stopRemains } from "./remains.js";
export { type NodeRuntime, nodeRuntimes, parseRuntime } from "./runtime.js";
export { readSecurity, type SecurityOptions } from "./security.js";
export { productVersion, type Versions } from "./version.js";

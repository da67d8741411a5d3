/**
 * The node: what kubelet, kube-proxy and a container runtime are, for pods that run on this machine. In: pods bound to the
 * node, services, images by name. Out: running containers, statuses, logs, exec and port-forward, ClusterIPs that answer.
 * Parts: `pods` (workers), `runtime` (processes, podman's containers, or a simulation), `isolation` (what the machine can),
 * `network`, `policy` (who may call which pod), `volumes`, `probes`, `images`, `endpoint`, `proxy`. May use: kernel.
 */

export { createNodeAgent, type EndpointOptions, type NodeAgent, type NodeAgentOptions } from "./agent.js";
export {
  type DirectoryImage,
  type ImageCatalogue,
  type ImageCatalogueOptions,
  type ImageEntry,
  imageCatalogue,
  type OciImage,
  type ProgramImage,
  type ResolvedImage,
} from "./images/catalogue.js";
export {
  detectIsolation,
  type Isolation,
  type IsolationCapability,
  type IsolationMode,
  isolationRefusal,
} from "./isolation/detect.js";
export type { NodeCapacity } from "./machine.js";
export {
  createPodNetwork,
  isolationIn,
  networkFileOf,
  type PodNetwork,
  type PodNetworkKind,
  podHostAddresses,
  podNetworkKind,
} from "./network/index.js";
export { createPolicyKeeper, type PolicyKeeper, type PolicyKeeperOptions } from "./policy/keeper.js";
export { createServiceProxy, type ServiceProxy, type ServiceProxyOptions } from "./proxy/service-proxy.js";
export { PodmanEngine, type PodmanEngineOptions } from "./runtime/podman/engine.js";
export { type PodmanRuntimeOptions, podmanRuntime } from "./runtime/podman/podman.js";
export { findPodman, type PodmanMissing, type PodmanPrograms } from "./runtime/podman/programs.js";
export { type ProcessRuntimeOptions, processRuntime } from "./runtime/process.js";
export {
  type SimulatedBehaviour,
  type SimulatedRuntime,
  type SimulatedRuntimeOptions,
  simulatedImages,
  simulatedRuntime,
} from "./runtime/simulated.js";
export type { PodRuntime } from "./runtime/types.js";

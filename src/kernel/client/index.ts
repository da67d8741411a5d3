/**
 * The API client. In: a transport (HTTP to a real or embedded API server, or in-process) and an identity. Out: typed calls,
 * watches, informers that never give up, exec, logs and port-forward. May use: clock, errors, http1, kinds, log.
 */

export { createClient } from "./client.js";
export { UnavailableError } from "./failures.js";
export { type FieldFault, fieldFaults } from "./field-faults.js";
export { type Credentials, type HttpTransportOptions, httpTransport } from "./http-transport.js";
export { createInformerSet, type Followed, type WatchedInformers } from "./informer-set.js";
export { type ClusterContext, inClusterContext, loadKubeconfig, parseKubeconfig } from "./kubeconfig.js";
export {
  attach,
  exec,
  podLogs,
  portForward,
} from "./streams.js";
export * from "./types.js";
export { openWebSocket } from "./websocket.js";

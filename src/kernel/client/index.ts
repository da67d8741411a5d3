/**
 * The API client. In: a transport (HTTP to a real or embedded API server, or in-process) and an identity. Out: typed calls,
 * watches, informers that never give up, exec, logs and port-forward. May use: clock, errors, kinds, log.
 */

export { type ClientOptions, createClient } from "./client.js";
export { UnavailableError } from "./failures.js";
export { type HttpTransportOptions, httpTransport } from "./http-transport.js";
export { createInformerSet, type InformerSetOptions } from "./informer-set.js";
export { type ClusterContext, inClusterContext, loadKubeconfig, parseKubeconfig } from "./kubeconfig.js";
export {
  attach,
  type ExecOptions,
  type ExecResult,
  exec,
  type LogOptions,
  type PortForward,
  podLogs,
  portForward,
} from "./streams.js";
export * from "./types.js";
export { openWebSocket, type WebSocketOptions } from "./websocket.js";

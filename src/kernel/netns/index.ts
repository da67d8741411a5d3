/**
 * Sockets in another network namespace. In: how to enter it (a command, or the file of a network that a user holds). Out: connected
 * and listening sockets that live there and belong to this process. `main` is the helper that makes them. May use: assets,
 * errors, files.
 */

export { ConnectingAgent } from "./connecting-agent.js";
export {
  enterHolder,
  isInRange,
  liveNetwork,
  type NamespaceNetwork,
  NetworkFile,
  readNetworkFile,
  writeNetworkFile,
} from "./network-file.js";
export { type Connect, connectDirectly, NetworkSockets } from "./network-sockets.js";
export { SocketMaker } from "./socket-maker.js";

/**
 * The built-in gateway: a process of its own that takes requests from clients to backends. In: `table.json` of its directory
 * (listeners, routes, weighted backends), HTTP/1.1 requests. Out: the backends' answers, state and metrics on a unix socket.
 * `gatewayDriver` is the control plane's side of it. May use: the kernel.
 */

export type { ActivatorReport, ActivatorsReport } from "./activator-report.js";
export type { ActivatorInput } from "./activator-table.js";
export { type CountedByGateway, countsByGateway } from "./counts.js";
export { type GatewayDriver, type GatewayPart, gatewayDriver, gatewayPorts } from "./driver.js";
export { runGateway, runningGateway } from "./gateway.js";
export { splitAddress } from "./place-table.js";
export type { BackendReport, GatewayState, ShadowReport } from "./state.js";
export {
  type BackendInput,
  checkRoute,
  type ListenerInput,
  type NamedCertificate,
  type RouteInput,
  type ShadowInput,
} from "./table.js";

/**
 * Northbound: the one HTTPS address for clients of all modules' routes (tracking, the decision ledger, …).
 *
 * In: HTTP requests with bearer tokens. Out: answers of the routes, for callers whom the hub knows and allows; clear JSON
 * refusals for the others; metrics. May use: kernel, stores.
 */
export { type Authority, hubAuthority, type Permission, type User } from "./authority.js";
export { decisionRoutes } from "./decisions.js";
export {
  createNorthbound,
  createRouteServer,
  type Northbound,
  type NorthboundOptions,
  type RouteServerOptions,
} from "./server.js";

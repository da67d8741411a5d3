import type { Clock } from "../../kernel/clock/types.js";
import type { Logger } from "../../kernel/log/types.js";
import type { Http2Front } from "./http2-front.js";
import type { Routing } from "./routing.js";

/** Limits on what clients may do; generous for honest ones. */
export interface ClientLimits {
  /** A head must be complete this long after its first byte. */
  readonly headMs: number;
  /** A connection without a request is closed after this. */
  readonly keepAliveMs: number;
  readonly maxConnections: number;
  /** Body bytes kept so that a request can be sent again. */
  readonly replayBytes: number;
}

export const DEFAULT_LIMITS: ClientLimits = {
  headMs: 10_000,
  keepAliveMs: 60_000,
  maxConnections: 16_384,
  replayBytes: 65_536,
};

/** What connections, exchanges, checks and the admin interface share. */
export interface GatewayCore {
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: ClientLimits;
  readonly routing: Routing;
  /** Monotonic milliseconds, refreshed by the sweep (every 200 ms): cheap, and exact enough for deadlines. */
  nowMs: number;
  readonly http2: Http2Front;
  /** What has a deadline besides clients' connections: connections within this process, of streams of HTTP/2 clients; copies for shadows. */
  readonly timed: Set<{ readonly deadlineMs: number; onDeadline(): void }>;
  /** The process is about to end: no connection is kept alive. */
  isDraining: boolean;
  readonly totals: {
    connections: number;
    refusedConnections: number;
    badRequests: number;
    unrouted: number;
    clientAborts: number;
  };
}

/** A listener as its connections see it. */
export interface ListenerState {
  readonly name: string;
  readonly isSecure: boolean;
  readonly trustForwarded: boolean;
  isClosed: boolean;
}

import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { DEFAULT_CIPHERS, type TLSSocket } from "node:tls";
import type { Clock } from "../../../kernel/clock/index.js";
import { readByStream } from "../../../kernel/https/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import type { ApiRequest, ApiResponse, Upgraded } from "../types.js";
import { listenError } from "./errors.js";
import { serve } from "./http.js";
import { Http2Lanes } from "./http2-lane.js";
import { Lane, type LaneHost } from "./lane.js";
import { continueInTurn, noteDue } from "./turns.js";
import { serveUpgrade } from "./upgrades.js";
import { Waiting } from "./waiting.js";

/** What a listener hands requests to. */
export interface ListenerTarget {
  handle(request: ApiRequest): Promise<ApiResponse>;
  upgrade(request: ApiRequest): Promise<Upgraded>;
}

export interface ListenerOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly certPem: string;
  readonly keyPem: string;
  /** Client certificates must come from here. */
  readonly caPem: string;
  readonly target: ListenerTarget;
  readonly clock: Clock;
  readonly log: Logger;
  /** After how many milliseconds of silence a session over HTTP/2 is asked whether anyone is there; 15,000 unless told. */
  readonly quietMs?: number;
}

/** Bodies come within what upstream gives a whole request; large answers may go over slow lines. */
const bodyPatience = { limitMs: 60_000, maxBytes: 256 * 1024 * 1024 };
const answerPatience = { limitMs: 600_000, maxBytes: 1024 * 1024 * 1024 };
/** How long a new connection may take to send its first bytes; and clients keep connections between requests for a minute and more. */
const firstBytesMs = 32_000;
const nextRequestMs = 75_000;

/** An open HTTPS port, HTTP/2 and HTTP/1.1. */
export interface Listener {
  readonly host: string;
  readonly port: number;
  /** For new connections. */
  setCertificate(certPem: string, keyPem: string): void;
  /** Stops listening and cuts what is open. */
  close(): Promise<void>;
}

/** Opens the port. Throws `ListenError` when the address is taken or forbidden. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const { target, clock, log, host, port } = options;
  const waits = {
    bodies: new Waiting(clock, bodyPatience),
    answers: new Waiting(clock, answerPatience),
    first: new Waiting(clock, { limitMs: firstBytesMs, maxBytes: 0 }),
    next: new Waiting(clock, { limitMs: nextRequestMs, maxBytes: 0 }),
  };
  const server = createServer({
    ALPNProtocols: ["h2", "http/1.1"],
    cert: options.certPem,
    key: options.keyPem,
    ca: options.caPem,
    requestCert: true,
    // A stranger's certificate makes its bearer a stranger, not an outcast: tokens still count.
    rejectUnauthorized: false,
    minVersion: "TLSv1.2",
    // The cheaper of two that are both beyond reach, as most servers order them.
    ciphers: `TLS_AES_128_GCM_SHA256:${DEFAULT_CIPHERS}`,
    honorCipherOrder: true,
  });
  server.on("request", (request, response) => {
    noteDue(request.socket, response);
    void serve({ request, response }, (asked) => target.handle(asked), log, waits); // answers its own failures
  });
  server.on("checkContinue", (request, response) => {
    continueInTurn(response, () => server.emit("request", request, response));
  });
  server.on("upgrade", (request, socket: Duplex, head: Buffer) => {
    void serveUpgrade({ request, socket, head }, (asked) => target.upgrade(asked), log); // answers its own failures
  });
  const shared = { handle: (asked: ApiRequest) => target.handle(asked), waits, log, date: dates(clock) };
  const multiplexed = new Http2Lanes({ ...shared, clock, quietMs: options.quietMs ?? 15_000 });
  layLanes(server, shared, multiplexed);
  const closeAll = trackConnections(server);
  server.setTimeout(0);
  Object.assign(server, { keepAliveTimeout: nextRequestMs, headersTimeout: firstBytesMs, requestTimeout: 65_000 });
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (error) {
    throw listenError(error, { host, port });
  }
  server.on("error", (error) => log.warn("listener failed", { err: error.message }));
  return {
    host,
    port: portOf(server, port),
    setCertificate: (cert, key) => server.setSecureContext({ cert, key, ca: options.caPem }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        multiplexed.close();
        closeAll();
        for (const waiting of Object.values(waits)) waiting.close();
      }),
  };
}

/** Connections over HTTP/1.1 begin on a lane; node's own listeners get those that leave it. */
function layLanes(server: Server, host: Omit<LaneHost, "takeOver">, multiplexed: Http2Lanes): void {
  const event = "secureConnection";
  const own = server.listeners(event);
  const takeOver = (socket: TLSSocket): void => {
    for (const listener of own) Reflect.apply(listener, server, [socket]);
    readByStream(socket);
  };
  server.removeAllListeners(event);
  server.on(event, (socket: TLSSocket) => {
    if (socket.alpnProtocol === "h2") multiplexed.take(socket);
    else new Lane(socket, { ...host, takeOver });
  });
}

/** The date as a head has it, made once a second. */
function dates(clock: Clock): () => string {
  let second = Number.NaN;
  let text = "";
  return () => {
    const now = Math.floor(clock.now() / 1000);
    if (now !== second) text = new Date(now * 1000).toUTCString();
    second = now;
    return text;
  };
}

function portOf(server: Server, asked: number): number {
  const address: AddressInfo | string | null = server.address();
  return typeof address === "object" && address !== null ? address.port : asked;
}

/** Keeps what is open, so that closing need not wait for clients. */
function trackConnections(server: Server): () => void {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    socket.setNoDelay(true);
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}

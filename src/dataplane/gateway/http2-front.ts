import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { normalisePath } from "../../kernel/http1/index.js";
import type { GatewayCore, ListenerState } from "./core.js";
import { Http2Exchange } from "./http2-exchange.js";
import { Http2OverHttp1 } from "./http2-over-http1.js";

const MAX_STREAMS = 256;

/** The clients that speak HTTP/2: each stream becomes an exchange. */
export class Http2Front {
  readonly #core: () => GatewayCore;
  readonly #server: Http2Server;

  /** `core` is asked for on use: it holds this. */
  constructor(core: () => GatewayCore) {
    this.#core = core;
    this.#server = createServer({ settings: { maxConcurrentStreams: MAX_STREAMS }, maxSessionMemory: 64 });
    // Faults of clients are the clients' affair.
    this.#server.on("sessionError", () => undefined);
    this.#server.on("error", () => undefined);
  }

  /** Takes a connection over. What was read of it must have been put back. `undefined` when it is gone already. */
  take(socket: Socket, listener: ListenerState): ServerHttp2Session | undefined {
    let taken: ServerHttp2Session | undefined;
    this.#server.once("session", (session) => {
      taken = session;
      const address = socket.remoteAddress?.replace(/^::ffff:/, "") ?? "unknown";
      session.on("stream", (stream, headers) => this.#begin(stream, headers, { address, listener }));
      session.on("error", () => undefined);
      // The socket stays open for writing by itself; who ends it cannot be told from one that is gone, as with HTTP/1.1.
      socket.once("end", () => session.destroy());
    });
    this.#server.emit("connection", socket);
    return taken;
  }

  #begin(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    client: { readonly address: string; readonly listener: ListenerState },
  ): void {
    stream.on("error", () => undefined);
    const authority = headers[":authority"] ?? headers.host ?? "";
    const target = normalisePath(headers[":path"] ?? "/");
    const host = authority.replace(/:\d*$/, "").toLowerCase();
    const route = this.#core().routing.find(client.listener.name, host, target);
    if (headers[":method"] === "CONNECT") stream.close(constants.NGHTTP2_REFUSED_STREAM);
    else if (route !== undefined && (route.table.protocol === "h2" || isGrpc(headers)))
      new Http2Exchange(this.#core(), { route, stream, headers, authority, target, ...client }).start();
    else new Http2OverHttp1(this.#core(), { stream, headers, authority, target, ...client }).start();
  }
}

/** There is no gRPC over HTTP/1.1: whoever is asked for it speaks HTTP/2 too, at the same port. */
const isGrpc = (headers: IncomingHttpHeaders): boolean =>
  headers[":method"] === "POST" && /^application\/grpc($|[+;])/.test(headers["content-type"] ?? "");

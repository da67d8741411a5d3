import type { ClientRequestArgs } from "node:http";
import { Agent } from "node:https";
import { type Duplex, PassThrough } from "node:stream";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { ArgosyError, messageOf } from "../errors/index.js";
import type { Connect } from "./network-sockets.js";

/** Keeps HTTPS connections that are made by `connect`. */
export class ConnectingAgent extends Agent {
  readonly #connect: Connect;
  readonly #tls: ConnectionOptions;

  constructor(connect: Connect, tls: ConnectionOptions) {
    super({ keepAlive: true });
    this.#connect = connect;
    this.#tls = tls;
  }

  override createConnection(
    options: ClientRequestArgs,
    done?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | undefined {
    const servername = "servername" in options && typeof options.servername === "string" ? options.servername : "";
    const host = options.host ?? "";
    this.#connect(host, Number(options.port ?? 443)).then(
      (socket) => {
        // A kept connection whose other end is gone must not look usable.
        socket.allowHalfOpen = false;
        done?.(null, connectTls({ ...this.#tls, host, servername, socket }));
      },
      (error: unknown) =>
        done?.(
          error instanceof Error ? error : new ArgosyError("ConnectFailed", messageOf(error)),
          new PassThrough().destroy(),
        ),
    );
    return undefined;
  }
}

import { createServer, type IncomingMessage } from "node:http";
import { type Duplex as ByteDuplex, duplexPair } from "node:stream";
import { type Duplex, openWebSocket } from "../../../kernel/client/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import type { ApiRequest, Upgraded } from "../types.js";
import { serveUpgrade } from "./upgrades.js";

/** Where the upgrade goes. */
export interface UpgradeTarget {
  readonly upgrade: (request: ApiRequest) => Promise<Upgraded>;
  readonly log: Logger;
}

/** Opens a WebSocket to a server in this process over a pair of streams: both ends are those of real sockets. */
export function openLocalWebSocket(
  target: UpgradeTarget,
  path: string,
  protocols: readonly string[],
  options: { readonly headers: Readonly<Record<string, string>>; readonly signal?: AbortSignal },
): Promise<Duplex> {
  const [near, far] = duplexPair();
  const server = createServer();
  server.on("upgrade", (request: IncomingMessage, socket: ByteDuplex, head: Buffer) => {
    void serveUpgrade({ request, socket, head }, target.upgrade, target.log); // answers its own failures
  });
  server.emit("connection", far);
  return openWebSocket(`ws://in-process${path}`, protocols, {
    headers: options.headers,
    tls: { rejectUnauthorized: true },
    createConnection: () => near,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

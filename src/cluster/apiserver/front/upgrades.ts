import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import type { Logger } from "../../../kernel/log/index.js";
import { failureResponse } from "../server/respond.js";
import type { ApiRequest, Upgraded } from "../types.js";
import { toApiRequest } from "./http.js";
import { answersOut } from "./turns.js";

const nothing = new Uint8Array();

/** Serves a request with an `upgrade` header: writes the 101 (or the refusal) and joins the two streams. Never rejects. */
export async function serveUpgrade(
  exchange: { readonly request: IncomingMessage; readonly socket: Duplex; readonly head: Buffer },
  upgrade: (request: ApiRequest) => Promise<Upgraded>,
  log: Logger,
): Promise<void> {
  const { request, socket, head } = exchange;
  const gone = new AbortController();
  socket.once("close", () => gone.abort());
  socket.on("error", () => gone.abort());
  const asked = toApiRequest(request, nothing, gone);
  try {
    await answersOut(socket);
    const { headers, socket: peer } = await upgrade(asked);
    if (socket.destroyed) {
      peer.destroy();
      return;
    }
    writeHead(socket, 101, headers);
    if (head.byteLength > 0) peer.write(head);
    join(socket, peer);
  } catch (error) {
    const { status, headers, body } = failureResponse(error, log, asked);
    const bytes = body instanceof Uint8Array ? body : nothing;
    writeHead(socket, status, { ...headers, connection: "close", "content-length": String(bytes.byteLength) });
    socket.end(bytes);
  }
}

function writeHead(socket: Duplex, status: number, headers: Readonly<Record<string, string>>): void {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value.replace(/[\r\n]+/g, " ")}`);
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("\r\n")}\r\n\r\n`);
}

/** Both ways, each with its own back-pressure; the end of one is the end of the other. */
function join(a: Duplex, b: Duplex): void {
  a.pipe(b);
  b.pipe(a);
  const finish = (): void => {
    a.destroy();
    b.destroy();
  };
  for (const stream of [a, b]) {
    stream.once("close", finish);
    stream.once("error", finish);
  }
}

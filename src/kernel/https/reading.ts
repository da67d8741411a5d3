import type { TLSSocket } from "node:tls";

/**
 * Lets node's HTTP server read a connection by its stream, as it does where another reads along, and not past it: after its own
 * listener for `secureConnection`. Past the stream, a server that stops reading (of a client that asks again before it took a long
 * answer) still gets what TLS had decrypted by then, fails on it and ends the connection without a word
 * (`HPE_PAUSED`, seen in node 20).
 */
export function readByStream(socket: TLSSocket): void {
  socket.on("data", nothing);
  socket.off("data", nothing);
}

function nothing(): void {
  // being there is enough
}

/**
 * The helper that makes sockets in the network namespace that it was started in, and hands them to its parent over the IPC
 * channel: a socket stays in the namespace that it was made in, whoever holds it. It ends with its parent.
 */
import { createSocket } from "node:dgram";
import { createServer, Socket } from "node:net";
import { ArgosyError } from "../errors/index.js";
import { parseRequest, type SocketRequest } from "./protocol.js";

const connectTimeoutMs = 10_000;

process.on("message", (message: unknown) => {
  const request = parseRequest(message);
  if (request !== undefined) carryOut(request);
});
process.on("disconnect", () => process.exit(0));

function carryOut(request: SocketRequest): void {
  if (request.kind === "connect") connect(request);
  else if (request.kind === "listen") listen(request);
  else bindDatagrams(request);
}

function refuse({ id }: SocketRequest, error: Error): void {
  const code = "code" in error && typeof error.code === "string" ? error.code : "EFAILED";
  process.send?.({ id, code, message: error.message });
}

function connect(request: SocketRequest): void {
  const { id, host, port } = request;
  const socket = new Socket({ allowHalfOpen: true });
  const failed = (error: Error): void => refuse(request, error);
  socket.once("error", failed);
  // Not one byte may be read here: it would be lost to whom the socket is for.
  socket.pause();
  socket.setTimeout(connectTimeoutMs, () =>
    socket.destroy(new ArgosyError("ETIMEDOUT", `connect ETIMEDOUT ${host}:${port}`)),
  );
  socket.connect({ host, port }, () => {
    socket.setTimeout(0);
    socket.off("error", failed);
    socket.on("error", () => undefined);
    process.send?.({ id }, socket);
  });
}

function listen(request: SocketRequest): void {
  const { id, host, port } = request;
  // Connections are the parent's to accept; one that comes before the parent has the socket is as if it had come earlier still.
  const server = createServer((socket) => socket.resetAndDestroy());
  const failed = (error: Error): void => refuse(request, error);
  server.once("error", failed);
  server.listen({ host, port, backlog: 1024 }, () => {
    server.off("error", failed);
    process.send?.({ id }, server, undefined, () => server.close());
  });
}

function bindDatagrams(request: SocketRequest): void {
  const { id, host, port } = request;
  const socket = createSocket("udp4");
  const failed = (error: Error): void => refuse(request, error);
  socket.once("error", failed);
  socket.bind({ address: host, port }, () => {
    socket.off("error", failed);
    process.send?.({ id }, socket, undefined, () => socket.close());
  });
}

import type { Server, Socket } from "node:net";

/** Binds a server to an address of this process's own network. Rejects with the socket's error (EACCES, EADDRINUSE, …). */
export function listenDirectly(server: Server, ip: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: ip, port, backlog: 1024 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Carries bytes both ways until both sides have ended; a broken side resets the other. */
export function joinSockets(client: Socket, upstream: Socket): void {
  upstream.on("error", () => {
    upstream.destroy();
    client.resetAndDestroy();
  });
  upstream.on("close", () => {
    if (!client.writableEnded) client.destroySoon();
  });
  client.once("close", () => upstream.destroy());
  client.pipe(upstream);
  upstream.pipe(client);
}

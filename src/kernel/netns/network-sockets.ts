import { connect, type Server, type Socket } from "node:net";
import { ArgosyError } from "../errors/index.js";
import { enterHolder, NetworkFile } from "./network-file.js";
import { SocketMaker } from "./socket-maker.js";

/** Opens a connection; rejects with an error whose `code` is the system's (`ECONNREFUSED`). Half-open connections stay open. */
export type Connect = (host: string, port: number) => Promise<Socket>;

/** A connection from this process's own network. */
export function connectDirectly(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

/** The addresses of this machine and those of a network that a file describes, which may come and go, reached alike. */
export class NetworkSockets {
  readonly #file: NetworkFile;
  readonly #maker: SocketMaker;

  constructor(path: string) {
    this.#file = new NetworkFile(path);
    this.#maker = new SocketMaker(() => {
      const { network } = this.#file;
      if (network === undefined) throw new ArgosyError("ENETUNREACH", `there is no pod network: ${path} is missing`);
      return enterHolder(network);
    });
  }

  /** Whether an address is one of the network's. */
  covers(host: string): boolean {
    return this.#file.covers(host);
  }

  async connect(host: string, port: number): Promise<Socket> {
    if (!this.covers(host)) return connectDirectly(host, port);
    const socket = await this.#maker.connect(host, port);
    socket.allowHalfOpen = true;
    return socket;
  }

  /** Lets the server accept connections to an address of the network. */
  listen(server: Server, host: string, port: number): Promise<void> {
    return this.#maker.listen(server, host, port);
  }

  /** The maker of sockets in the network. */
  get maker(): SocketMaker {
    return this.#maker;
  }

  close(): void {
    this.#maker.close();
  }
}

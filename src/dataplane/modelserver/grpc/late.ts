/** Connections that speak HTTP/2, from the first one on: what answers them is loaded then. */
import type { Socket } from "node:net";
import type { Http2Front } from "./front.js";

/** Stands before an `Http2Front`. */
export class LateHttp2 {
  readonly #open: () => Promise<Http2Front>;
  #opening: Promise<void> | undefined;
  #front: Http2Front | undefined;
  #isDraining = false;
  #isDestroyed = false;

  constructor(open: () => Promise<Http2Front>) {
    this.#open = open;
  }

  /** Takes a connection over, with what was read of it already. */
  take(socket: Socket, first: Buffer): void {
    if (this.#front !== undefined) {
      this.#front.take(socket, first);
      return;
    }
    // Until somebody listens, a fault only ends the connection.
    const ignore = (): void => undefined;
    socket.on("error", ignore);
    socket.pause();
    this.#opening ??= this.#open().then((front) => {
      this.#front = front;
    });
    this.#opening.then(
      () => {
        if (socket.destroyed) return;
        if (this.#isDestroyed) socket.destroy();
        else {
          this.#front?.take(socket, first);
          if (this.#isDraining) this.#front?.drain();
          socket.off("error", ignore);
        }
      },
      () => socket.destroy(),
    );
  }

  /** As the front's. */
  drain(): void {
    this.#isDraining = true;
    this.#front?.drain();
  }

  /** As the front's. */
  destroy(): void {
    this.#isDestroyed = true;
    this.#front?.destroy();
  }
}

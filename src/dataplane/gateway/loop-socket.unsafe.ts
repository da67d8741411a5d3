import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/** One end of a connection within this process. */
export class LoopSocket extends Duplex {
  readonly remoteAddress: string;
  #peer: LoopSocket | undefined;
  #waiting: (() => void) | undefined;

  constructor(remoteAddress: string) {
    super({ allowHalfOpen: true });
    this.remoteAddress = remoteAddress;
  }

  /** Two ends; what is written into one is read from the other. */
  static pair(remoteAddress: string): readonly [LoopSocket, LoopSocket] {
    const near = new LoopSocket(remoteAddress);
    const far = new LoopSocket(remoteAddress);
    near.#peer = far;
    far.#peer = near;
    return [near, far];
  }

  /** As the program's sockets are: it has what `ClientConnection` uses of one. */
  get asSocket(): Socket {
    return this as unknown as Socket;
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  override _read(): void {
    const resume = this.#waiting;
    this.#waiting = undefined;
    resume?.();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const peer = this.#peer;
    if (peer === undefined || peer.destroyed) done(null);
    else if (peer.push(chunk)) done(null);
    else peer.#waiting = () => done(null);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#peer?.push(null);
    done(null);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const peer = this.#peer;
    if (peer !== undefined && !peer.destroyed) setImmediate(() => peer.destroy());
    done(error);
  }
}

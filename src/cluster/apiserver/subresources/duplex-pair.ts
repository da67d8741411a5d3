import { Duplex } from "node:stream";

/** Two ends of a pipe in this process: what is written to one is read from the other, as slowly as it is read. */
export function duplexPair(): [Duplex, Duplex] {
  const ends: [End, End] = [new End(), new End()];
  ends[0].peer = ends[1];
  ends[1].peer = ends[0];
  return ends;
}

class End extends Duplex {
  peer: End | undefined;
  #taken: (() => void) | undefined;

  override _read(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    taken?.();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: () => void): void {
    if (this.peer === undefined || this.peer.destroyed) done();
    else this.peer.accept(chunk, done);
  }

  override _final(done: () => void): void {
    this.peer?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { peer } = this;
    this.peer = undefined;
    if (peer !== undefined && !peer.destroyed) peer.destroy();
    this.#taken?.();
    done(error);
  }

  /** Takes a chunk from the other end; `done` when there is room for more. */
  accept(chunk: Uint8Array, done: () => void): void {
    if (this.push(chunk)) done();
    else this.#taken = done;
  }
}

/** Reading along on a connection: its bytes are looked at on their way, and never held up or changed. */

import type { PayloadLog } from "./log.js";
import { Http1Tap } from "./tap-http1.js";
import { Http2Tap } from "./tap-http2.js";

/** Follows the bytes of one connection. Nothing that it sees makes it throw. */
export interface Tap {
  fromClient(chunk: Buffer): void;
  fromServer(chunk: Buffer): void;
  /** Nothing comes from the server any more. */
  serverEnded(): void;
  /** The connection is over. */
  closed(): void;
}

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** A tap for HTTP/1.1, or for HTTP/2 with prior knowledge: the first bytes say which. */
export function createTap(log: PayloadLog): Tap {
  let tap: Tap | undefined;
  let first: Buffer | undefined;
  let isOff = false;
  /** Whatever is wrong here is no reason to touch the connection. */
  const guarded = (look: () => void): void => {
    if (isOff) return;
    try {
      look();
    } catch {
      isOff = true;
      log.skip();
      end();
    }
  };
  /** What was gathered makes room for others. */
  const end = (): void => {
    try {
      tap?.closed();
    } catch {
      // It is counted already.
    }
  };
  const raw: Tap = {
    fromClient(chunk) {
      if (tap !== undefined) {
        tap.fromClient(chunk);
        return;
      }
      const bytes = first === undefined ? chunk : Buffer.concat([first, chunk]);
      const text = bytes.toString("latin1", 0, Math.min(bytes.length, PREFACE.length));
      first = bytes;
      if (text.length < PREFACE.length && PREFACE.startsWith(text)) return;
      tap = text === PREFACE ? new Http2Tap(log) : new Http1Tap(log);
      first = undefined;
      tap.fromClient(text === PREFACE ? bytes.subarray(PREFACE.length) : bytes);
    },
    fromServer: (chunk) => tap?.fromServer(chunk),
    serverEnded: () => tap?.serverEnded(),
    closed: () => tap?.closed(),
  };
  return {
    fromClient: (chunk) => guarded(() => raw.fromClient(chunk)),
    fromServer: (chunk) => guarded(() => raw.fromServer(chunk)),
    serverEnded: () => guarded(() => raw.serverEnded()),
    closed: () => guarded(() => raw.closed()),
  };
}

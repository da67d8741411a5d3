import type { ServerHttp2Session } from "node:http2";

/**
 * Ends a session over HTTP/2 whose client does not answer: each quiet time it is asked with a ping, which is to come back within
 * another one. Clients may be gone without a word. And where a client breaks the protocol, nghttp2 says so and reads no further;
 * node leaves it there, and the connection, which may well be closed by then, would be held for good.
 */
export function endUnanswering(session: ServerHttp2Session, quietMs: number): void {
  let isAsked = false;
  const onQuiet = (): void => {
    if (session.destroyed) return;
    if (isAsked) {
      session.destroy();
      return;
    }
    isAsked = true;
    session.ping(() => {
      isAsked = false;
    });
    session.setTimeout(quietMs, onQuiet);
  };
  session.setTimeout(quietMs, onQuiet);
}

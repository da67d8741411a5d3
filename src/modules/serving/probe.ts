/** Asking a model through its own address. */
import { request } from "undici";
import { messageOf } from "../../kernel/errors/index.js";

/** What came back: a status, or why there was none. */
export type ProbeResult =
  | {
      readonly status: number;
      readonly body: string;
      /** The answer is a gateway's own, which gives this reason: no backend spoke. */
      readonly gateway?: string;
    }
  | { readonly error: string };

/** GETs a URL the way a client of the service would. Never rejects. */
export type Probe = (url: string, signal: AbortSignal) => Promise<ProbeResult>;

/** A probe that sends each request to `addressOf(host)` (`127.0.0.1:8081`; absent: where DNS says) with the URL's Host. */
export function createHttpProbe(addressOf: (host: string) => string | undefined, timeoutMs = 3_000): Probe {
  return async (url, signal) => {
    const target = new URL(url);
    const address = addressOf(target.hostname) ?? target.host;
    try {
      const answer = await request(`${target.protocol}//${address}${target.pathname}${target.search}`, {
        // It must neither wake a model nor count as load.
        headers: { host: target.host, "x-argosy-probe": "readiness" },
        signal,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      const gateway = answer.headers["x-argosy-gateway"];
      const body = (await answer.body.text()).slice(0, 500);
      return { status: answer.statusCode, body, ...(typeof gateway === "string" ? { gateway } : {}) };
    } catch (error) {
      return { error: messageOf(error) };
    }
  };
}

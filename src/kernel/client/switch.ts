import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import { failureFrom, UnavailableError } from "./failures.js";
import type { Switched, TransportRequest } from "./types.js";

const maxRefusalBytes = 64 * 1024;
const handshakeMs = 30_000;

/** Where an upgrade goes, and with which TLS settings. */
export interface SwitchTarget {
  readonly url: URL;
  readonly tls: Readonly<Record<string, unknown>>;
  /** Say who asks. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Sends an upgrade on over a connection of its own and hands over what is left of that after the 101. Throws the refusal as an `ApiError`. */
export function switchProtocols(target: SwitchTarget, request: Omit<TransportRequest, "body">): Promise<Switched> {
  const { url, tls } = target;
  const about = `upgrade of ${url.pathname}`;
  return new Promise((resolve, reject) => {
    const repeated = Object.entries(request.repeatedHeaders ?? {}).map(([name, values]) => [name, [...values]]);
    const options = {
      method: request.method,
      headers: { ...request.headers, ...Object.fromEntries(repeated), ...target.headers },
      // What an upgrade began is nobody else's: the connection is not one of a pool.
      agent: false,
      timeout: handshakeMs,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    };
    const outgoing = url.protocol === "http:" ? httpRequest(url, options) : httpsRequest(url, { ...options, ...tls });
    outgoing.on("upgrade", (response: IncomingMessage, socket: Duplex, head: Buffer) => {
      if ("setTimeout" in socket && typeof socket.setTimeout === "function") socket.setTimeout(0);
      if (head.length > 0) socket.unshift(head);
      resolve({ headers: headersOf(response), socket });
    });
    outgoing.on("response", (response) => {
      textOf(response).then((text) => reject(failureFrom(statusOf(response), text, about)), reject);
    });
    outgoing.on("timeout", () =>
      outgoing.destroy(new UnavailableError(`${about}: no answer for ${handshakeMs / 1000} s`)),
    );
    outgoing.on("error", (error) =>
      reject(new UnavailableError(`${about} failed: ${error.message}`, { cause: error })),
    );
    outgoing.end();
  });
}

/** A success without an upgrade is none. */
function statusOf({ statusCode = 500 }: IncomingMessage): number {
  return statusCode < 400 ? 502 : statusCode;
}

function headersOf({ headers }: IncomingMessage): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) flat[name] = typeof value === "string" ? value : value.join(", ");
  return flat;
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response) if (text.length < maxRefusalBytes) text += chunk;
  return text;
}

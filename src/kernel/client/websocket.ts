import type { IncomingMessage } from "node:http";
import type { Duplex as ByteDuplex } from "node:stream";
import { type RawData, WebSocket } from "ws";
import { abortReason } from "../clock/index.js";
import { failureFrom, UnavailableError } from "./failures.js";
import { createMessageQueue } from "./message-queue.js";
import type { Duplex } from "./types.js";

/** Connection settings of a WebSocket. */
export interface WebSocketOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly servername?: string;
    readonly rejectUnauthorized: boolean;
  };
  readonly signal?: AbortSignal;
  /** The bytes' way where it is no TCP connection. */
  readonly createConnection?: () => ByteDuplex;
}

const maxMessageBytes = 16 * 1024 * 1024;
const maxRefusalBytes = 64 * 1024;

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

function readRefusal(response: IncomingMessage, about: string): Promise<Error> {
  return new Promise((resolve) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      if (text.length < maxRefusalBytes) text += chunk;
    });
    const done = (): void => resolve(failureFrom(response.statusCode ?? 500, text, about));
    response.on("end", done);
    response.on("error", done);
  });
}

/** Opens a WebSocket with one of `protocols`. Rejects with the server's Status when it refuses the upgrade. */
export function openWebSocket(url: string, protocols: readonly string[], options: WebSocketOptions): Promise<Duplex> {
  const about = `upgrade of ${new URL(url).pathname}`;
  const { signal } = options;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, [...protocols], {
      headers: options.headers,
      ...options.tls,
      ...(options.createConnection === undefined ? {} : { createConnection: options.createConnection }),
      maxPayload: maxMessageBytes,
      perMessageDeflate: false,
      handshakeTimeout: 30_000,
    });
    const queue = createMessageQueue({ onFull: () => socket.pause(), onDrained: () => socket.resume() });
    const onAbort = (): void => {
      const reason = signal === undefined ? undefined : abortReason(signal);
      socket.terminate();
      queue.end(reason);
      reject(reason ?? new UnavailableError(`${about} was aborted`));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    socket.on("unexpected-response", (_request, response) => {
      // A refusal is read to its end, so that the caller sees the Status and not a broken socket.
      readRefusal(response, about)
        .then(reject, reject)
        .finally(() => socket.terminate());
    });
    socket.on("message", (data) => queue.push(bytesOf(data)));
    socket.on("error", (error) => {
      const failure = new UnavailableError(`${about} failed: ${error.message}`, { cause: error });
      queue.end(failure);
      reject(failure);
    });
    socket.on("close", () => {
      signal?.removeEventListener("abort", onAbort);
      queue.end();
    });
    socket.on("open", () =>
      resolve({
        protocol: socket.protocol,
        messages: queue.messages,
        send: (data) => socket.send(data, { binary: true }, () => undefined),
        close: (code = 1000) => socket.close(code),
      }),
    );
  });
}

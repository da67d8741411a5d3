import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type RawData, WebSocket } from "ws";
import type { Destination } from "../node-connection.js";
import { type SpdyStream, serveSpdy } from "./session.js";

const maxBufferedBytes = 1 << 20;
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;
const closeChannel = 255;

/** A stream of exec and attach, by the name that the client gives it. */
export type CommandStream = keyof typeof channels;

/** The streams that a client opens for a request whose query, as node agents know it, is this one. */
export function commandStreams(query: URLSearchParams): CommandStream[] {
  const isTerminal = query.has("tty");
  const wanted: CommandStream[] = ["error"];
  if (query.has("input")) wanted.push("stdin");
  if (query.has("output")) wanted.push("stdout");
  if (query.has("error") && !isTerminal) wanted.push("stderr");
  if (isTerminal) wanted.push("resize");
  return wanted;
}

/**
 * Connects to a node's agent for exec or attach; nothing is read before `serveRemoteCommand`. Rejects with the error of the
 * connection, or with what `refuse` makes of an answer that is no upgrade.
 */
export function connectCommand(
  { host, port, path, agent }: Destination,
  refuse: (answer: IncomingMessage) => Promise<Error>,
): Promise<WebSocket> {
  const address = host.includes(":") ? `[${host}]` : host;
  const options = { ...(agent === undefined ? {} : { agent }), perMessageDeflate: false, handshakeTimeout: 30_000 };
  const node = new WebSocket(`wss://${address}:${port}${path}`, ["v5.channel.k8s.io"], options);
  return new Promise((resolve, reject) => {
    node.on("error", reject);
    node.on("unexpected-response", (_request, answer: IncomingMessage) => {
      refuse(answer).then(reject, reject);
    });
    node.once("open", () => {
      node.pause();
      resolve(node);
    });
  });
}

/**
 * Exec and attach as kubectl before 1.30 speaks them (`v4.channel.k8s.io` over SPDY/3.1): each stream of the client is a channel
 * of the node's WebSocket. Resolves when the client is gone.
 */
export async function serveRemoteCommand(
  socket: Duplex,
  node: WebSocket,
  wanted: readonly CommandStream[],
): Promise<void> {
  const streams = new Map<string, SpdyStream>();
  let delivered = Promise.resolve();
  node.on("message", (data) => {
    node.pause();
    delivered = delivered.then(async () => {
      const message = bytesOf(data);
      const name = wanted.find((each) => channels[each] === message[0]);
      if (name !== undefined) await streams.get(name)?.send(message.subarray(1));
      node.resume();
    });
  });
  node.on("close", () => {
    void delivered.then(() => Promise.all([...streams.values()].map((stream) => stream.finish())));
  });
  try {
    await serveSpdy(socket, {
      onStream(stream) {
        const name = wanted.find((each) => each === stream.headers.get("streamtype"));
        if (name === undefined || streams.has(name)) return stream.reset();
        streams.set(name, stream);
        // What the program says waits until there is a stream for all of it.
        if (streams.size === wanted.length) node.resume();
      },
      async onData(stream, data) {
        if (stream === streams.get("stdin")) await sendOn(node, channels.stdin, data);
        else if (stream === streams.get("resize")) await sendOn(node, channels.resize, data);
      },
      onEnd(stream) {
        if (stream !== streams.get("stdin") || node.readyState !== WebSocket.OPEN) return;
        node.send(Buffer.from([closeChannel, channels.stdin]));
      },
    });
  } finally {
    node.terminate();
  }
}

/** Resolves at once while the node keeps up, else when the bytes are on their way. */
function sendOn(node: WebSocket, channel: number, data: Uint8Array): Promise<void> {
  if (node.readyState !== WebSocket.OPEN) return Promise.resolve();
  return new Promise((resolve) => {
    const isSlow = node.bufferedAmount >= maxBufferedBytes;
    node.send(Buffer.concat([Buffer.from([channel]), data]), () => resolve());
    if (!isSlow) resolve();
  });
}

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

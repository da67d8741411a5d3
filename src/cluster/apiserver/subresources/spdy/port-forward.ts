import type { Duplex } from "node:stream";
import { type RawData, WebSocket } from "ws";
import { messageOf } from "../../../../kernel/errors/index.js";
import type { Destination } from "../node-connection.js";
import { type SpdyStream, serveSpdy } from "./session.js";

const maxBufferedBytes = 1 << 20;
const closeChannel = 255;
/** As v4.channel.k8s.io, and a message on channel 255 ends one direction of a channel. */
const nodeProtocol = "half-close.channel.argosy.dev";

/** The streams of one forwarded connection: kubectl opens an error stream and a data stream with the same request id. */
interface Pair {
  error?: SpdyStream;
  data?: SpdyStream;
  socket?: WebSocket;
  /** What came before the node's socket was open; more than a little is refused. */
  readonly waiting: Uint8Array[];
  waitingBytes: number;
}

/**
 * Port-forward as kubectl speaks it (`portforward.k8s.io` over SPDY/3.1), carried on to the node's agent, where every
 * connection is a WebSocket. `destination` gives the agent's address for a port.
 */
export async function servePortForward(socket: Duplex, destination: (port: number) => Destination): Promise<void> {
  const pairs = new Map<string, Pair>();
  const pairOf = (stream: SpdyStream): Pair => {
    const id = idOf(stream);
    const pair = pairs.get(id) ?? { waiting: [], waitingBytes: 0 };
    pairs.set(id, pair);
    return pair;
  };
  await serveSpdy(socket, {
    onStream(stream) {
      const pair = pairOf(stream);
      if (stream.headers.get("streamtype") === "error") pair.error = stream;
      else pair.data = stream;
      const port = Number(stream.headers.get("port"));
      if (!Number.isInteger(port) || port < 1 || port > 65_535) return stream.reset();
      if (pair.error === undefined || pair.data === undefined) return;
      dial(pair, destination(port)).on("close", () => void pairs.delete(idOf(stream)));
    },
    async onData(stream, data) {
      const pair = pairOf(stream);
      if (stream !== pair.data) return;
      if (pair.socket?.readyState === WebSocket.OPEN) await sendOn(pair.socket, data);
      else if (pair.waitingBytes + data.length > maxBufferedBytes) stream.reset();
      else {
        pair.waitingBytes += data.length;
        pair.waiting.push(Buffer.from(data));
      }
    },
    onEnd(stream, isReset) {
      const pair = pairOf(stream);
      if (isReset) pair.socket?.terminate();
      else if (stream === pair.data) endInput(pair);
    },
  });
}

function idOf(stream: SpdyStream): string {
  return stream.headers.get("requestid") ?? stream.headers.get("port") ?? "";
}

/** The client sends no more: the node closes that direction when all before it is through. */
function endInput({ socket, waiting }: Pair): void {
  const message = Buffer.from([closeChannel, 0]);
  if (socket?.readyState === WebSocket.OPEN) socket.send(message);
  else socket?.once("open", () => waiting.length === 0 && socket.send(message));
}

function dial(pair: Pair, { host, port, path, agent }: Destination): WebSocket {
  const address = host.includes(":") ? `[${host}]` : host;
  const options = { ...(agent === undefined ? {} : { agent }), perMessageDeflate: false, handshakeTimeout: 30_000 };
  const node = new WebSocket(`wss://${address}:${port}${path}`, [nodeProtocol], options);
  pair.socket = node;
  const heads = new Set<number>();
  let problem = "";
  const deliver = async (message: Buffer): Promise<void> => {
    const channel = message[0] ?? 0;
    if (channel === closeChannel) return pair.data?.finish();
    // The first message of each channel repeats the port.
    if (!heads.has(channel)) return void heads.add(channel);
    if (channel === 0) await pair.data?.send(message.subarray(1));
    else await pair.error?.send(message.subarray(1));
  };
  node.on("open", () => {
    for (const chunk of pair.waiting.splice(0)) sendOn(node, chunk).catch(() => node.terminate());
  });
  node.on("message", (data) => {
    node.pause();
    deliver(bytesOf(data)).then(
      () => node.resume(),
      () => node.terminate(),
    );
  });
  node.on("error", (error) => {
    problem = messageOf(error);
  });
  node.on("close", () => void hangUp(pair, problem));
  return node;
}

/** Says what went wrong, if anything, and ends both streams. */
async function hangUp(pair: Pair, problem: string): Promise<void> {
  if (problem !== "") await pair.error?.send(Buffer.from(`error forwarding port: ${problem}`));
  await pair.error?.finish();
  await pair.data?.finish();
}

function sendOn(node: WebSocket, data: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const message = Buffer.concat([Buffer.from([0]), data]);
    if (node.bufferedAmount < maxBufferedBytes) {
      node.send(message, () => undefined);
      resolve();
    } else node.send(message, () => resolve());
  });
}

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

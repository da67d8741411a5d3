import type { IncomingMessage } from "node:http";
import type { Duplex, Readable, Writable } from "node:stream";
import { type RawData, type WebSocket, WebSocketServer } from "ws";
import type { Clock } from "../../../kernel/clock/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { NodeError } from "../errors.js";
import type { PodManager } from "../pods/manager.js";
import type { ExecSession, PodRuntime, TerminalSize } from "../runtime/types.js";
import { findContainer, findPod } from "./find.js";

/** First byte of a message: which stream it belongs to. */
const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
const execProtocols = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/** What the API server speaks when it carries kubectl's streams on: as v4, and 255 ends one direction of a channel. */
const halfCloseProtocol = "half-close.channel.argosy.dev";
/** As kubelet: clients that offer v5 for port-forward too get v4. */
const forwardProtocols = [halfCloseProtocol, "v4.channel.k8s.io", "portforward.k8s.io"];
/** More than this waits in memory only while the peer is slow; the program is paused meanwhile. */
const maxBufferedBytes = 1024 * 1024;

/** A client with a terminal says its size at once; one without says none. */
const sizeWaitMs = 200;

interface Place {
  readonly pods: PodManager;
  readonly runtime: PodRuntime;
  readonly clock: Clock;
}

/** exec, attach and portForward over WebSockets with Kubernetes' channel protocols. */
export class StreamServer {
  readonly #place: Place;
  readonly #sockets: WebSocketServer;

  constructor(place: Place) {
    this.#place = place;
    this.#sockets = new WebSocketServer({
      noServer: true,
      maxPayload: 16 * 1024 * 1024,
      perMessageDeflate: false,
      handleProtocols: (offered, { url = "" }) =>
        (url.startsWith("/portForward/") ? forwardProtocols : execProtocols).find((each) => offered.has(each)) ?? false,
    });
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#prepare(request).then(
      (serve) => this.#sockets.handleUpgrade(request, socket, head, (connection) => void serve(connection)),
      (error: unknown) => refuse(socket, error),
    );
  }

  close(): void {
    for (const connection of this.#sockets.clients) connection.terminate();
    this.#sockets.close();
  }

  /** Everything that can be refused is refused before the upgrade, with an HTTP status. */
  async #prepare(request: IncomingMessage): Promise<(connection: WebSocket) => Promise<void>> {
    const url = new URL(request.url ?? "/", "https://node");
    const [kind = "", namespace = "", podName = "", containerName = ""] = url.pathname
      .split("/")
      .filter((each) => each !== "")
      .map(decodeURIComponent);
    const query = url.searchParams;
    if (kind === "portForward") {
      const pod = findPod(this.#place.pods, namespace, podName);
      const ports = query.getAll("port").map(Number);
      if (ports.length === 0) throw new NodeError("BadRequest", "no port was asked for");
      return (connection) =>
        forwardPorts(connection, ports, (port) => this.#place.runtime.dial(pod.metadata.uid, port));
    }
    const found = findContainer(this.#place, { namespace, pod: podName, container: containerName });
    const record = found.records.at(-1);
    if (record?.state !== "running")
      throw new NodeError("BadRequest", `container "${containerName}" of pod "${podName}" is not running`);
    const stdin = query.get("input") === "1";
    const { runtime, clock } = this.#place;
    if (kind === "attach") {
      const session = await runtime.attach(record, { stdin });
      return (connection) => serveSession(connection, () => Promise.resolve(session), { isAttached: true });
    }
    const tty = query.get("tty") === "1";
    const command = query.getAll("command");
    const start = (size: TerminalSize | undefined): Promise<ExecSession> =>
      runtime.exec(record, { command, tty, stdin, ...(size === undefined ? {} : { size }) });
    return (connection) =>
      serveSession(connection, start, { isAttached: false, ...(tty ? { sizeWithin: clock } : {}) });
  }
}

function refuse(socket: Duplex, error: unknown): void {
  const code = error instanceof NodeError && error.code === "NotFound" ? 404 : error instanceof NodeError ? 400 : 500;
  const text = messageOf(error);
  socket.end(
    `HTTP/1.1 ${code} Refused\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
  );
}

interface ServeOptions {
  /** The program goes on when the client leaves, and its output may have no end. */
  readonly isAttached: boolean;
  /** Wait a moment for the client's terminal size before the program starts. */
  readonly sizeWithin?: Clock;
}

async function serveSession(
  connection: WebSocket,
  start: (size: TerminalSize | undefined) => Promise<ExecSession>,
  { isAttached, sizeWithin }: ServeOptions,
): Promise<void> {
  const early: Buffer[] = [];
  const keep = (data: RawData): number => early.push(bytesOf(data));
  connection.on("message", keep);
  const size = sizeWithin === undefined ? undefined : await firstSize(connection, sizeWithin);
  let session: ExecSession;
  try {
    session = await start(size);
  } catch (error) {
    send(connection, channel.error, Buffer.from(JSON.stringify(failure(messageOf(error)))));
    connection.close(1000);
    return;
  }
  connection.off("message", keep);
  for (const message of early) receive(message, session);
  connection.on("message", (data) => receive(bytesOf(data), session));
  connection.on("close", () => session.kill());
  connection.on("error", () => session.kill());
  if (connection.readyState !== connection.OPEN) session.kill();
  await pumpSession(connection, session, isAttached);
}

function firstSize(connection: WebSocket, clock: Clock): Promise<TerminalSize | undefined> {
  return new Promise((resolve) => {
    const found = (data: RawData): void => {
      const message = bytesOf(data);
      if (message[0] === channel.resize) done(sizeOf(message));
    };
    const done = (size?: TerminalSize): void => {
      timer.cancel();
      connection.off("message", found);
      resolve(size);
    };
    const timer = clock.setTimer(sizeWaitMs, () => done());
    connection.on("message", found);
    connection.once("close", () => done());
  });
}

async function pumpSession(connection: WebSocket, session: ExecSession, isAttached: boolean): Promise<void> {
  const outputs = [pump(session.stdout, connection, channel.stdout)];
  if (session.stderr !== undefined) outputs.push(pump(session.stderr, connection, channel.stderr));
  const code = await session.exited;
  if (!isAttached) await Promise.all(outputs);
  else await outputs[0];
  // As upstream: attaching went well whatever the program ended with; that stands in the pod's status.
  send(connection, channel.error, Buffer.from(JSON.stringify(exitStatus(isAttached ? 0 : code))));
  connection.close(1000);
}

/** metav1.Status with the exit code, as clients parse it from the error channel. */
function exitStatus(code: number): object {
  if (code === 0) return { metadata: {}, status: "Success" };
  return {
    metadata: {},
    status: "Failure",
    message: `command terminated with non-zero exit code: exit status ${code}`,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(code) }] },
  };
}

/** metav1.Status for a program that could not be started. */
function failure(message: string): object {
  return { metadata: {}, status: "Failure", message, reason: "InternalError", code: 500 };
}

function receive(message: Buffer, session: ExecSession): void {
  const rest = message.subarray(1);
  if (message[0] === channel.stdin) session.stdin?.write(rest);
  else if (message[0] === channel.close && rest[0] === channel.stdin) session.stdin?.end();
  else if (message[0] === channel.resize) {
    const size = sizeOf(message);
    if (size !== undefined) session.resize(size);
  }
}

function sizeOf(message: Buffer): TerminalSize | undefined {
  const text = message.subarray(1).toString("utf8");
  const width = /"Width"\s*:\s*(\d{1,5})/.exec(text)?.[1];
  const height = /"Height"\s*:\s*(\d{1,5})/.exec(text)?.[1];
  return width === undefined || height === undefined ? undefined : { columns: Number(width), rows: Number(height) };
}

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

function send(connection: WebSocket, number: number, data: Uint8Array): void {
  if (connection.readyState !== connection.OPEN) return;
  connection.send(Buffer.concat([Buffer.from([number]), data]));
}

/** Copies a stream to a channel, as slowly as the peer takes it. */
function pump(source: Readable, connection: WebSocket, number: number): Promise<void> {
  return new Promise((resolve) => {
    source.on("data", (chunk: Buffer) => {
      if (connection.readyState !== connection.OPEN) return;
      source.pause();
      const isSlow = connection.bufferedAmount > maxBufferedBytes;
      connection.send(Buffer.concat([Buffer.from([number]), chunk]), () => source.resume());
      if (!isSlow) source.resume();
    });
    source.on("end", resolve);
    source.on("error", () => resolve());
    source.on("close", resolve);
  });
}

/**
 * Two channels a port: data and errors; each begins with the port number (little endian). A client that cannot be told
 * which stream ended sees the end of the connection, as kubelet makes it.
 */
async function forwardPorts(
  connection: WebSocket,
  ports: readonly number[],
  dial: (port: number) => Promise<Duplex>,
): Promise<void> {
  const canHalfClose = connection.protocol === halfCloseProtocol;
  const targets = new Map<number, Writable>();
  const waiting = new Map<number, Buffer[]>();
  connection.on("message", (data) => {
    const message = bytesOf(data);
    const number = message[0] ?? 0;
    if (canHalfClose && number === channel.close) {
      targets.get(message[1] ?? -1)?.end();
      return;
    }
    const target = targets.get(number);
    if (target !== undefined) target.write(message.subarray(1));
    else waiting.set(number, [...(waiting.get(number) ?? []), message.subarray(1)]);
  });
  const opened: Duplex[] = [];
  connection.on("close", () => {
    for (const stream of opened) stream.destroy();
  });
  for (const [index, port] of ports.entries()) {
    const head = Buffer.alloc(2);
    head.writeUInt16LE(port);
    send(connection, index * 2, head);
    send(connection, index * 2 + 1, head);
    try {
      const stream = await dial(port);
      opened.push(stream);
      stream.on("error", () => undefined);
      targets.set(index * 2, stream);
      for (const chunk of waiting.get(index * 2) ?? []) stream.write(chunk);
      void pump(stream, connection, index * 2).then(() => {
        if (canHalfClose) send(connection, channel.close, Buffer.from([index * 2]));
        if (!canHalfClose || opened.every((each) => each.readableEnded || each.destroyed)) connection.close(1000);
      });
    } catch (error) {
      send(connection, index * 2 + 1, Buffer.from(messageOf(error)));
      connection.close(1000);
    }
  }
}

import { Socket } from "node:net";
import { ArgosyError } from "../../kernel/errors/index.js";

// What node's own sockets have inside. Streams cost more than twice the system calls' bookkeeping (bench/gateway.ts), so the usual
// short message is handed to the handle itself. Whatever is not as expected falls back to the stream: the assertions of this file
// are checked where they are made.

/** A request to the handle; the same object serves again and again while writes finish at once. */
interface WriteRequest {
  oncomplete?: (status: number) => void;
}

interface Handle {
  readonly writeQueueSize: number;
  writeLatin1String(request: WriteRequest, text: string): number;
}

interface Insides {
  _handle?: Partial<Handle> | null;
  _server?: unknown;
  server?: unknown;
}

let RequestClass: (new () => WriteRequest) | undefined;
let spare: WriteRequest | undefined;
/** The class of handles of plain TCP sockets. */
let PlainHandle: unknown;

/**
 * Writes Latin-1 text as `Socket.write` does and with the same answer; a `drain` event follows a `false`. For plain sockets
 * this goes to the handle without a stream in between; libuv keeps both ways in one order.
 */
export function writeText(socket: Socket, text: string): boolean {
  const handle = (socket as unknown as Insides)._handle;
  if (handle === undefined || handle === null || socket.writableLength > 0 || socket.connecting || !socket.writable)
    return socket.write(text, "latin1");
  if (RequestClass === undefined) {
    learn(handle);
    return socket.write(text, "latin1");
  }
  if (!isKnown(handle)) return socket.write(text, "latin1");
  spare ??= new RequestClass();
  const fault = handle.writeLatin1String(spare, text);
  if (fault !== 0) {
    socket.destroy(new ArgosyError("WriteFailed", `a write failed (${fault})`));
    return false;
  }
  if (handle.writeQueueSize === 0) return true;
  const request = spare;
  spare = undefined;
  request.oncomplete = (status) => {
    if (status < 0) socket.destroy(new ArgosyError("WriteFailed", `a write failed (${status})`));
    else if (!socket.destroyed) socket.emit("drain");
  };
  return false;
}

/** The class of node's write requests is not to be had by name: the next ordinary write shows one. */
function learn(handle: Partial<Handle>): void {
  const { writeLatin1String } = handle;
  if (typeof writeLatin1String !== "function" || Object.hasOwn(handle, "writeLatin1String")) return;
  handle.writeLatin1String = function learning(request: WriteRequest, text: string): number {
    delete handle.writeLatin1String;
    if (isPlain(handle)) {
      RequestClass = request.constructor as new () => WriteRequest;
      PlainHandle = handle.constructor;
    }
    return writeLatin1String.call(handle, request, text);
  };
}

function isKnown(handle: Partial<Handle>): handle is Handle {
  return handle.constructor === PlainHandle;
}

/** A TCP handle; TLS has another class, whose writes are not at an end when they return. */
function isPlain(handle: Partial<Handle>): handle is Handle {
  return handle.constructor?.name === "TCP" && typeof handle.writeQueueSize === "number";
}

/**
 * The same connection as a socket that reads into `buffer` and calls back, instead of allocating for each read. The given socket
 * must be fresh from a server with `pauseOnConnect`; it is not to be used again. `undefined` where node's insides are not as expected.
 */
export function receivingInto(
  socket: Socket,
  buffer: Buffer,
  receive: (length: number) => boolean,
): Socket | undefined {
  const old = socket as unknown as Insides;
  const handle = old._handle;
  if (handle === undefined || handle === null || !isPlain(handle)) return undefined;
  const { server } = old;
  old._handle = null;
  const options = {
    handle,
    allowHalfOpen: true,
    readable: true,
    writable: true,
    onread: { buffer, callback: receive },
  };
  const socketOfHandle = new Socket(options as unknown as ConstructorParameters<typeof Socket>[0]);
  // The server counts its connections by it.
  Object.assign(socketOfHandle, { server, _server: server });
  return socketOfHandle;
}

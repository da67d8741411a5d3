import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { abortReason, onAbort } from "../clock/index.js";
import { ArgosyError } from "../errors/index.js";
import { type Http2Answer, Http2Client, type Http2Request } from "../http2/index.js";
import { type ClientTarget, hostOf, PROBE_MS, portOf, servernameOf } from "./target.js";

/** How often a request is sent again that a server says it has not seen. */
const MAX_UNSEEN = 3;

/**
 * Exchanges over HTTP/2 with one server, where it agrees to that: as many on a connection as it takes, all of one turn in one write. Most
 * servers of one address agree or none does, so it is asked until it once does not.
 */
export class Http2Pool {
  readonly #target: ClientTarget;
  readonly #clients = new Set<Http2Client>();
  #opening: Promise<void> | undefined;
  #closed: Error | undefined;
  #isRefused: boolean;

  constructor(target: ClientTarget) {
    this.#target = target;
    this.#isRefused = target.url.protocol !== "https:";
  }

  /** The server speaks HTTP/1.1 alone. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /**
   * Asks, and waits for the whole answer. `undefined`: the server does not speak HTTP/2, and was asked nothing. Rejects with what the connection
   * failed with, or why the signal was aborted.
   */
  async send(request: Http2Request, signal: AbortSignal | undefined): Promise<Http2Answer | undefined> {
    for (let unseen = 0; ; ) {
      if (this.#closed !== undefined) throw this.#closed;
      if (signal?.aborted === true) throw abortReason(signal);
      if (this.#isRefused) return undefined;
      const client = this.#ready();
      if (client === undefined) {
        await this.#waitForOpen(signal);
        continue;
      }
      const answer = await exchange(client, request, signal, unseen < MAX_UNSEEN);
      if (answer !== "unseen") return answer;
      unseen++;
    }
  }

  #ready(): Http2Client | undefined {
    for (const client of this.#clients) if (client.canTake) return client;
    return undefined;
  }

  #waitForOpen(signal: AbortSignal | undefined): Promise<void> {
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    const opening = this.#opening;
    if (signal === undefined) return opening;
    return new Promise((resolve, reject) => {
      const unlink = onAbort(signal, () => reject(abortReason(signal)));
      opening.then(resolve, reject).finally(unlink);
    });
  }

  async #open(): Promise<void> {
    const socket = await this.#connect();
    if (this.#closed !== undefined) {
      socket.destroy();
      throw this.#closed;
    }
    if (socket.alpnProtocol !== "h2") {
      this.#isRefused = true;
      socket.destroy();
      return;
    }
    const client = new Http2Client(socket, { onClose: () => this.#clients.delete(client) });
    this.#clients.add(client);
    socket.setTimeout(this.#target.idleMs, () => {
      if (client.isIdle) client.retire();
    });
    socket.unref();
  }

  #connect(): Promise<TLSSocket> {
    const { url, tls = {}, connectMs } = this.#target;
    const options: ConnectionOptions = {
      ...tls,
      host: hostOf(url),
      port: portOf(url),
      servername: servernameOf(url, tls),
    };
    return new Promise((resolve, reject) => {
      const socket = connect({ ...options, ALPNProtocols: ["h2", "http/1.1"] });
      socket.setNoDelay(true);
      socket.setKeepAlive(true, PROBE_MS);
      socket.setTimeout(connectMs, () =>
        socket.destroy(new ArgosyError("ConnectTimeout", `no connection to ${url.host} within ${connectMs} ms`)),
      );
      const onClose = (): void => reject(new ArgosyError("ECONNRESET", "the other side closed the connection"));
      socket.once("error", reject);
      socket.once("close", onClose);
      socket.once("secureConnect", () => {
        socket.setTimeout(0);
        socket.removeAllListeners("timeout");
        socket.off("error", reject);
        socket.off("close", onClose);
        resolve(socket);
      });
    });
  }

  /** No more requests; what is under way ends as it would have. */
  retire(): void {
    this.#closed ??= new ArgosyError("Closed", "the client is closed");
    for (const client of this.#clients) client.retire();
  }

  /** No more requests; what is under way fails with `reason`. */
  destroy(reason: Error): void {
    this.#closed ??= reason;
    for (const client of this.#clients) client.destroy(reason);
  }
}

/** `unseen`: the server has not looked at it. */
function exchange(
  client: Http2Client,
  request: Http2Request,
  signal: AbortSignal | undefined,
  mayRepeat: boolean,
): Promise<Http2Answer | "unseen"> {
  return new Promise((resolve, reject) => {
    let unlink: (() => void) | undefined;
    const under = client.exchange(request, {
      onAnswer(answer) {
        unlink?.();
        resolve(answer);
      },
      onFailure(error, isUnseen) {
        unlink?.();
        if (isUnseen && mayRepeat) resolve("unseen");
        else reject(error);
      },
    });
    if (signal === undefined) return;
    unlink = onAbort(signal, () => {
      under.cancel();
      reject(abortReason(signal));
    });
  });
}

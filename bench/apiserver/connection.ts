/** The one client of all measurements: HTTP/1.1 over TLS on a kept connection, one request at a time. */
import { connect, type TLSSocket } from "node:tls";

/** Where a server listens and who is let through. */
export interface Address {
  readonly port: number;
  readonly token: string;
  /** Absent: the server's certificate is its own and is not checked. */
  readonly caPem?: string;
}

/** One kept connection. Fails the whole measurement when it breaks. */
export class Connection {
  readonly #socket: TLSSocket;
  readonly #token: string;
  #chunks: Buffer[] = [];
  #size = 0;
  #wanted = 0;
  #isChunked = false;
  #bodyStart = 0;
  #status = 0;
  #settle: ((status: number) => void) | undefined;
  /** Set: everything that arrives goes here, as it comes. */
  onData: ((chunk: Buffer) => void) | undefined;
  /** Of the last answer; of a chunked one with the marks between chunks. */
  body: Buffer = Buffer.alloc(0);

  private constructor(socket: TLSSocket, token: string) {
    this.#socket = socket;
    this.#token = token;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => (this.onData === undefined ? this.#read(chunk) : this.onData(chunk)));
    socket.on("error", (error) => {
      throw error;
    });
  }

  static open(address: Address): Promise<Connection> {
    const trust = address.caPem === undefined ? { rejectUnauthorized: false } : { ca: address.caPem };
    return new Promise((resolve, reject) => {
      const socket = connect(
        { host: "127.0.0.1", port: address.port, servername: "localhost", ALPNProtocols: ["http/1.1"], ...trust },
        () => {
          socket.removeListener("error", reject);
          resolve(new Connection(socket, address.token));
        },
      );
      socket.once("error", reject);
    });
  }

  /** Sends a request whose answer `onData` reads. */
  start(method: string, path: string): void {
    this.#socket.write(this.#head(method, path, ""));
  }

  /** Resolves with the status when the whole answer is there. */
  send(method: string, path: string, body = ""): Promise<number> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#socket.write(this.#head(method, path, body));
    });
  }

  #head(method: string, path: string, body: string): string {
    const content =
      body === "" ? "" : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`;
    return `${method} ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${this.#token}\r\nuser-agent: bench\r\n${content}\r\n${body}`;
  }

  #read(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#bodyStart === 0 && !this.#readHead()) return;
    if (this.#isChunked ? !this.#hasLastChunk() : this.#size < this.#wanted) return;
    this.body = Buffer.concat(this.#chunks).subarray(this.#bodyStart);
    this.#chunks = [];
    this.#size = 0;
    this.#bodyStart = 0;
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(this.#status);
  }

  #hasLastChunk(): boolean {
    const last = this.#chunks.at(-1) ?? Buffer.alloc(0);
    const tail = last.length >= 7 || this.#chunks.length < 2 ? last : Buffer.concat(this.#chunks.slice(-8));
    return tail.subarray(-7).toString("latin1") === "\r\n0\r\n\r\n";
  }

  #readHead(): boolean {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    const [first = Buffer.alloc(0)] = this.#chunks;
    const end = first.indexOf("\r\n\r\n");
    if (end < 0) return false;
    const head = first.toString("latin1", 0, end);
    this.#status = Number(head.slice(9, 12));
    this.#bodyStart = end + 4;
    this.#isChunked = /transfer-encoding: chunked/i.test(head);
    this.#wanted = end + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    return true;
  }

  close(): void {
    this.#socket.destroy();
  }
}

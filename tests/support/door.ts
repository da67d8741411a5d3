import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { Agent, type Dispatcher, request } from "undici";
import { systemClock } from "../../src/kernel/clock/index.js";
import { createAuthority } from "../../src/kernel/identity/index.js";

/** What a door makes of a request; `pass`: it reaches the server behind. */
export type Behaviour =
  | "pass"
  /** Nothing comes back. */
  | "silent"
  /** The answer comes so much later. */
  | { readonly lateMs: number }
  /** Something else is answered. */
  | { readonly status: number; readonly body: string; readonly headers?: Record<string, string> }
  /** The server's own answer, broken off in the middle. */
  | "half";

/** A write that was let through to the server, and what it answered. */
export interface LetThrough {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly status: number;
  /** The resourceVersion of what was answered. */
  readonly version: string;
}

/** An API server's address behind which somebody plays tricks. */
export class Door {
  /** What happens to each request; default: all pass. */
  behave: (request: { readonly method: string; readonly path: string; readonly body: string }) => Behaviour = () =>
    "pass";
  readonly writes: LetThrough[] = [];
  readonly #server: Server;
  readonly #agent: Agent;
  readonly #sockets = new Set<Socket>();
  readonly caPem: string;
  readonly url: string;

  private constructor(server: Server, caPem: string, agent: Agent) {
    this.#server = server;
    this.#agent = agent;
    this.caPem = caPem;
    this.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  /** Opens one in front of a server whose authority is `caPem`. */
  static async open(target: { readonly server: string; readonly caPem: string }): Promise<Door> {
    const authority = await createAuthority({ name: "door", clock: systemClock });
    const { certPem, keyPem } = await authority.issueServer(["127.0.0.1"]);
    const agent = new Agent({ connect: { ca: target.caPem }, bodyTimeout: 0 });
    const server = createServer({ cert: certPem, key: keyPem });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const door = new Door(server, authority.caPem, agent);
    server.on("request", (asked, answer) => {
      const chunks: Buffer[] = [];
      asked.on("data", (chunk: Buffer) => chunks.push(chunk));
      asked.on("error", () => answer.destroy());
      asked.on("end", () => {
        const { method = "GET", url: path = "/", headers } = asked;
        const sent = { method, path, headers: headers as Record<string, string>, body: Buffer.concat(chunks) };
        door.#pass(target.server, sent, answer).catch(() => answer.destroy());
      });
    });
    return door;
  }

  /** Ends all connections, as a restart of what is between would. */
  breakConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.breakConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.#agent.destroy();
  }

  async #pass(
    server: string,
    sent: { method: string; path: string; headers: Record<string, string>; body: Buffer },
    answer: import("node:http").ServerResponse,
  ): Promise<void> {
    const { method, path, body } = sent;
    const text = body.toString("utf8");
    const behaviour = this.behave({ method, path, body: text });
    if (behaviour === "silent") return;
    if (typeof behaviour === "object" && "status" in behaviour) {
      answer
        .writeHead(behaviour.status, { "content-type": "application/json", ...behaviour.headers })
        .end(behaviour.body);
      return;
    }
    if (typeof behaviour === "object") await systemClock.sleep(behaviour.lateMs);
    const { host: _host, connection: _connection, "content-length": _length, ...headers } = sent.headers;
    const stop = new AbortController();
    answer.once("close", () => stop.abort());
    const got: Dispatcher.ResponseData = await request(`${server}${path}`, {
      method: method as Dispatcher.HttpMethod,
      headers,
      dispatcher: this.#agent,
      signal: stop.signal,
      ...(body.length === 0 ? {} : { body }),
    });
    const { "transfer-encoding": _encoding, connection: _kept, ...more } = got.headers;
    answer.writeHead(got.statusCode, more as Record<string, string>);
    if (method === "GET" && behaviour !== "half") {
      for await (const piece of got.body) answer.write(piece);
      answer.end();
      return;
    }
    const whole = await got.body.text();
    if (method !== "GET")
      this.writes.push({ method, path, body: text, status: got.statusCode, version: versionIn(whole) });
    if (behaviour === "half") answer.write(whole.slice(0, whole.length / 2), () => answer.destroy());
    else answer.end(whole);
  }
}

function versionIn(body: string): string {
  try {
    return (JSON.parse(body) as { metadata?: { resourceVersion?: string } }).metadata?.resourceVersion ?? "";
  } catch {
    return "";
  }
}

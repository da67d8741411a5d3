import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import type { Clock } from "../../../kernel/clock/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { readByStream } from "../../../kernel/https/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { NodeError } from "../errors.js";
import type { PodManager } from "../pods/manager.js";
import type { PodRuntime } from "../runtime/types.js";
import { findContainer } from "./find.js";
import { serveLogs } from "./logs.js";
import { StreamServer } from "./streams.js";
import { UsageSummary } from "./summary.js";

export interface NodeEndpointOptions {
  readonly pods: PodManager;
  readonly runtime: PodRuntime;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeName: string;
  readonly certPem: string;
  readonly keyPem: string;
  readonly clientCaPem: string;
  /** Common name that may call. */
  readonly caller: string;
}

/** Longer than the API server keeps connections that it does not use: it never sends on one that is just being closed. */
const keepAliveMs = 90_000;

/** kubelet's HTTPS endpoint: logs, exec, attach, port-forward and figures, for the API server alone. */
export class NodeEndpoint {
  readonly #options: NodeEndpointOptions;
  readonly #server: Server;
  readonly #streams: StreamServer;
  readonly #summary: UsageSummary;
  readonly #sockets = new Set<Duplex>();

  constructor(options: NodeEndpointOptions) {
    this.#options = options;
    this.#streams = new StreamServer(options);
    this.#summary = new UsageSummary(options);
    this.#server = createServer({
      cert: options.certPem,
      key: options.keyPem,
      ca: options.clientCaPem,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: "TLSv1.2",
    });
    this.#server.keepAliveTimeout = keepAliveMs;
    this.#server.on("secureConnection", readByStream);
    this.#server.on("request", (request, response) => void this.#answer(request, response));
    this.#server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#upgrade(request, socket, head),
    );
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("tlsClientError", () => undefined);
  }

  /** Resolves with the port. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", (error) =>
        reject(
          new NodeError("ListenFailed", `the node's endpoint cannot listen on ${host}:${port}: ${error.message}`, {
            cause: error,
          }),
        ),
      );
      this.#server.listen({ host, port }, () => {
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
      this.#server.unref();
    });
  }

  close(): Promise<void> {
    this.#streams.close();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  /** 401 without a certificate of the cluster, 403 with another's than the API server's. */
  #refusal(request: IncomingMessage): { code: number; message: string } | undefined {
    const { socket } = request;
    // A resumed TLS session counts as authorized even where there never was a certificate: look at the certificate itself.
    const certificate = socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined;
    if (certificate === undefined) return { code: 401, message: "Unauthorized" };
    const name = certificate.toLegacyObject().subject.CN;
    return name === this.#options.caller ? undefined : { code: 403, message: `Forbidden (user=${String(name)})` };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "https://node");
    try {
      const refusal = url.pathname === "/healthz" ? undefined : this.#refusal(request);
      if (refusal !== undefined) return send(response, refusal.code, refusal.message);
      await this.#route(url, request, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else send(response, error instanceof NodeError && error.code === "NotFound" ? 404 : 500, messageOf(error));
    }
  }

  async #route(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [first = "", namespace = "", pod = "", container = ""] = url.pathname
      .split("/")
      .filter((each) => each !== "")
      .map(decodeURIComponent);
    if (request.method !== "GET" && request.method !== "POST") return send(response, 405, "method not allowed");
    switch (first) {
      case "healthz":
        return send(response, 200, "ok");
      case "containerLogs":
        return serveLogs(findContainer(this.#options, { namespace, pod, container }), url.searchParams, {
          ...this.#options,
          response,
          waiting:
            this.#options.pods.find(namespace, pod)?.runner(container)?.view().waiting?.reason ?? "ContainerCreating",
        });
      case "pods":
        return sendJson(response, {
          kind: "PodList",
          apiVersion: "v1",
          metadata: {},
          items: this.#options.pods.pods(),
        });
      case "stats":
        return sendJson(response, await this.#summary.read());
      case "exec":
      case "attach":
      case "portForward":
        return send(response, 400, "this needs an upgrade to a WebSocket (v5.channel.k8s.io)");
      default:
        return send(response, 404, "404 page not found");
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    const refusal = this.#refusal(request);
    if (refusal !== undefined) {
      socket.end(
        `HTTP/1.1 ${refusal.code} Refused\r\nContent-Length: ${refusal.message.length}\r\nConnection: close\r\n\r\n${refusal.message}`,
      );
      return;
    }
    this.#streams.upgrade(request, socket, head);
  }
}

function send(response: ServerResponse, code: number, text: string): void {
  response.writeHead(code, { "content-type": "text/plain; charset=utf-8" });
  response.end(text);
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { messageOf } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Connect } from "../../../kernel/netns/index.js";
import { lookUp } from "../auth/index.js";
import { badRequest, failure, internalError, notFound, unavailable, unexplained } from "../failures.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import type { ApiResponse, Store, Upgraded } from "../types.js";

/** By what the API server shows itself to node agents, and trusts them. */
export interface NodeCredentials {
  readonly caPem: string;
  readonly clientCertPem: string;
  readonly clientKeyPem: string;
}

/** One address to forward a request to. */
export interface Destination {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  /** Absolute, with its query. */
  readonly path: string;
  /** For node agents: the cluster's credentials. Absent: plain TLS without verification of the peer, as upstream's proxies do. */
  readonly agent?: Agent;
  /** For pods: how they are reached. */
  readonly connect?: Connect;
}

export interface Forwarded {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
}

const addressOrder = ["InternalIP", "Hostname", "InternalDNS", "ExternalIP", "ExternalDNS"];
const maxRefusalBytes = 64 * 1024;
/** Never forwarded: they are between the client and this server, or about this one connection. */
const ownHeaders = new Set([
  "authorization",
  "host",
  "connection",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "content-length",
  "upgrade",
  "expect",
  "cookie",
]);

/** A keep-alive pool of connections to node agents, verified both ways by the cluster's authority. */
export function nodeAgentPool(credentials: NodeCredentials): Agent {
  return new Agent({
    keepAlive: true,
    maxSockets: 256,
    ca: credentials.caPem,
    cert: credentials.clientCertPem,
    key: credentials.clientKeyPem,
    minVersion: "TLSv1.2",
  });
}

/** Where a node's agent listens. Throws 404 without the node (called by what was asked for, as upstream), 500 or 503 when it says no address or port. */
export function nodeAddress(store: Store, name: string, asked = "nodes"): { host: string; port: number } {
  const node = lookUp(store, "", "nodes", { namespace: "", name });
  if (node === undefined) throw notFound({ group: "", plural: asked }, name);
  const status = objectAt(node, "status");
  const given = status["addresses"];
  const addresses = Array.isArray(given) ? given.filter(isObject) : [];
  const host = addressOrder
    .map((type) => addresses.find((address) => address["type"] === type))
    .find((address): address is JsonObject => address !== undefined && stringAt(address, "address") !== "");
  const port = objectAt(objectAt(status, "daemonEndpoints"), "kubeletEndpoint")["Port"];
  if (host === undefined) throw unexplained("no preferred addresses found; known addresses: []");
  if (typeof port !== "number" || port <= 0 || port > 65_535)
    throw unavailable(`node ${name} says no port of its agent (status.daemonEndpoints.kubeletEndpoint.Port)`);
  return { host: stringAt(host, "address"), port };
}

/**
 * Sends a request on and streams the answer back, as slowly as the client reads it. Throws 500, 503. What was to be read over a
 * connection that the peer was just closing, unused for long, is asked for again.
 */
export async function forward(destination: Destination, request: Forwarded): Promise<ApiResponse> {
  const stream = await streamTo(destination);
  return new Promise((resolve, reject) => {
    const outgoing = open(destination, { ...request, headers: passedHeaders(request.headers) }, stream);
    const abort = () => outgoing.destroy();
    request.signal.addEventListener("abort", abort, { once: true });
    let isAnswered = false;
    outgoing.on("response", (response) => {
      isAnswered = true;
      response.on("close", () => request.signal.removeEventListener("abort", abort));
      resolve({
        status: response.statusCode ?? 502,
        headers: answeredHeaders(response.headers),
        body: bytesOf(response),
      });
    });
    outgoing.on("error", (error) => {
      request.signal.removeEventListener("abort", abort);
      const wasClosed = !isAnswered && !request.signal.aborted && outgoing.reusedSocket && isReset(error);
      if (wasClosed && request.method === "GET") resolve(forward(destination, request));
      else reject(unreachable(destination, error));
    });
    outgoing.end(request.body);
  });
}

/** Asks for an upgrade and hands over the raw stream. A refusal is thrown as an `ApiError` with the peer's words. */
export async function forwardUpgrade(destination: Destination, request: Forwarded): Promise<Upgraded> {
  const stream = await streamTo(destination);
  return new Promise((resolve, reject) => {
    const headers = { ...passedHeaders(request.headers), ...upgradeHeaders(request.headers) };
    // What is begun by an upgrade may not be begun twice: a connection of its own cannot be one that is just being closed.
    const outgoing = open({ ...destination, ...alone(destination) }, { ...request, headers }, stream);
    const abort = () => outgoing.destroy();
    request.signal.addEventListener("abort", abort, { once: true });
    const settle = () => request.signal.removeEventListener("abort", abort);
    outgoing.on("upgrade", (response: IncomingMessage, socket: Duplex, head: Buffer) => {
      settle();
      if (head.length > 0) socket.unshift(head);
      resolve({ headers: switchedHeaders(response.headers), socket });
    });
    outgoing.on("response", (response) => {
      settle();
      refusalOf(destination, response).then(reject, reject);
    });
    outgoing.on("error", (error) => {
      settle();
      reject(unreachable(destination, error));
    });
    outgoing.end();
  });
}

/** What a peer says that does not upgrade. */
export async function refusalOf(destination: Destination, answer: IncomingMessage): Promise<Error> {
  return readText(answer).then(
    (text) => refusal(answer.statusCode ?? 500, text),
    (error: unknown) => unreachable(destination, error),
  );
}

/** The connection to a pod; `undefined`: the request makes its own. Throws 500. */
async function streamTo(destination: Destination): Promise<Duplex | undefined> {
  const { scheme, host, port, connect } = destination;
  if (connect === undefined) return undefined;
  const socket = await connect(host, port).catch((error: unknown) => {
    throw unreachable(destination, error);
  });
  return scheme === "https" ? connectTls({ socket, rejectUnauthorized: false }) : socket;
}

function isReset(error: Error): boolean {
  return "code" in error && (error.code === "ECONNRESET" || error.code === "EPIPE");
}

/** The same credentials, without the pool. */
function alone({ agent }: Destination): Partial<Destination> {
  return agent === undefined ? {} : { agent: new Agent({ ...agent.options, keepAlive: false }) };
}

function open(destination: Destination, { method, headers }: Pick<Forwarded, "method" | "headers">, stream?: Duplex) {
  const { scheme, host, port, path, agent } = destination;
  const common = {
    ...{ host, port, path, method, headers },
    ...(stream === undefined ? {} : { createConnection: () => stream }),
  };
  if (scheme === "http") return httpRequest(common);
  return httpsRequest(agent === undefined ? { ...common, rejectUnauthorized: false } : { ...common, agent });
}

/** Headers that are neither about this connection nor say who asks. */
export function passedHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const isOwn =
      ownHeaders.has(name) ||
      name.startsWith("impersonate-") ||
      name.startsWith("sec-websocket-") ||
      name.startsWith(":");
    if (!isOwn) passed[name] = value;
  }
  return passed;
}

/** The handshake, without the subprotocol in which browsers hide their token. */
export function upgradeHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const passed: Record<string, string> = { connection: "Upgrade", upgrade: headers["upgrade"] ?? "websocket" };
  for (const [name, value] of Object.entries(headers))
    if (name.startsWith("sec-websocket-") || name === "x-stream-protocol-version") passed[name] = value;
  const protocols = (headers["sec-websocket-protocol"] ?? "").split(",").map((protocol) => protocol.trim());
  const kept = protocols.filter(
    (protocol) => protocol !== "" && !protocol.startsWith("base64url.bearer.authorization."),
  );
  if (kept.length > 0) passed["sec-websocket-protocol"] = kept.join(", ");
  else delete passed["sec-websocket-protocol"];
  return passed;
}

function answeredHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || ownHeaders.has(name) || name === "set-cookie") continue;
    passed[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return passed;
}

/** Of a 101, what the handshake is made of. */
export function switchedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const isHandshake = name === "connection" || name === "upgrade" || name.startsWith("sec-websocket-");
    if (typeof value === "string" && (isHandshake || name === "x-stream-protocol-version")) passed[name] = value;
  }
  return passed;
}

async function* bytesOf(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  for await (const chunk of response) if (chunk instanceof Uint8Array) yield chunk;
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytesOf(response)) {
    size += chunk.length;
    if (size <= maxRefusalBytes) chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8").trim();
}

function refusal(code: number, text: string) {
  if (code < 300) return internalError("the peer answered without the upgrade that was asked for");
  const message = messageIn(text);
  if (code === 400) return badRequest(message);
  return failure(code, code === 404 ? "NotFound" : code === 403 ? "Forbidden" : "InternalError", message);
}

/** The message of a Status, or the plain text that it is. */
function messageIn(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return stringAt(value, "message") || text;
  } catch {
    // no Status
  }
  return text;
}

function unreachable({ scheme, host, port, path }: Destination, error: unknown) {
  const where = `${scheme}://${host}:${port}${path.split("?")[0] ?? ""}`;
  return internalError(`error dialing backend: ${JSON.stringify(where)}: ${messageOf(error)}`, error);
}

import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { messageOf } from "../../../kernel/errors/index.js";
import { NodeError } from "../errors.js";

/** Opens a connection; rejects with the system's error. */
export type Dial = (host: string, port: number) => Promise<Duplex>;

/** One request as kubelet makes it. */
export interface HttpCheck {
  readonly url: URL;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** `kube-probe/1.34`. */
  readonly userAgent: string;
  readonly timeoutMs: number;
  readonly connect: Dial;
}

/** What came back in the end: redirects to the same host are followed. */
export interface HttpAnswer {
  readonly status: number;
  /** At most its first 10 KiB; read only where the answer leads to another host. */
  readonly body: string;
}

const maxRedirects = 10;
const maxBody = 10 * 1024;
const redirecting = new Set([301, 302, 303, 307, 308]);

/** Asks; certificates are not checked. Throws a `NodeError` worded as Go's client words it. */
export async function askHttp(check: HttpCheck): Promise<HttpAnswer> {
  const signal = AbortSignal.timeout(check.timeoutMs);
  let { url } = check;
  try {
    for (let hops = 0; hops < maxRedirects; hops += 1) {
      const response = await send(url, check, signal);
      const status = response.statusCode ?? 0;
      const { location } = response.headers;
      const next = redirecting.has(status) && location !== undefined ? new URL(location, url) : undefined;
      const isOver = next === undefined || next.hostname !== check.url.hostname;
      const body = isOver && status >= 300 && status < 400 ? await bodyOf(response) : "";
      response.destroy();
      if (isOver) return { status, body };
      url = next;
    }
  } catch (error) {
    const cause = signal.aborted
      ? "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
      : describeConnection(error, url.hostname, portOf(url));
    throw new NodeError("ProbeFailed", `Get "${textOf(url)}": ${cause}`, { cause: error });
  }
  throw new NodeError("ProbeFailed", `Get "${textOf(url)}": stopped after ${maxRedirects} redirects`);
}

async function send(url: URL, check: HttpCheck, signal: AbortSignal): Promise<IncomingMessage> {
  const make = url.protocol === "https:" ? httpsRequest : httpRequest;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const path = `${url.pathname}${url.search}`;
  const socket = await withinTime(check.connect(host, portOf(url)), signal);
  const stream = url.protocol === "https:" ? secured(socket, host) : socket;
  return new Promise((resolve, reject) => {
    const options = {
      host,
      port: portOf(url),
      path,
      headers: headersOf(check),
      createConnection: () => stream,
      signal,
    };
    const request = make(options, resolve);
    request.on("error", reject);
    request.end();
  });
}

/** Certificates are not checked: the pod is asked by its address. */
function secured(socket: Duplex, host: string): Duplex {
  return connectTls({ socket, rejectUnauthorized: false, ...(isIP(host) === 0 ? { servername: host } : {}) });
}

/** Rejects when the time is over; a connection that comes later is closed. */
export function withinTime(connecting: Promise<Duplex>, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const over = (): void => {
      connecting.then(
        (socket) => socket.destroy(),
        () => undefined,
      );
      reject(new NodeError("Timeout", "i/o timeout"));
    };
    if (signal.aborted) return over();
    signal.addEventListener("abort", over, { once: true });
    connecting.then(
      (socket) => {
        signal.removeEventListener("abort", over);
        resolve(socket);
      },
      (error: unknown) => {
        signal.removeEventListener("abort", over);
        reject(error instanceof Error ? error : new NodeError("ConnectFailed", String(error)));
      },
    );
  });
}

/** The user's headers, several of a name too; an empty User-Agent or Accept takes the usual one away. */
function headersOf({ headers, userAgent }: HttpCheck): Record<string, string | string[]> {
  const result = new Map<string, string | string[]>();
  for (const [name, value] of headers) {
    const key = name.toLowerCase();
    const before = result.get(key);
    result.set(
      key,
      before === undefined || key === "host" ? value : [...(Array.isArray(before) ? before : [before]), value],
    );
  }
  for (const [name, usual] of [
    ["user-agent", userAgent],
    ["accept", "*/*"],
  ] as const) {
    if (!result.has(name)) result.set(name, usual);
    else if (result.get(name) === "") result.delete(name);
  }
  result.set("connection", "close");
  return Object.fromEntries(result);
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) {
    text += String(chunk);
    if (text.length >= maxBody) break;
  }
  return text.slice(0, maxBody);
}

function portOf(url: URL): number {
  return url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
}

function textOf(url: URL): string {
  return `${url.protocol}//${url.hostname}:${portOf(url)}${url.pathname}${url.search}`;
}

/** A failed connection in Go's words. */
export function describeConnection(error: unknown, host: string, port: number): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const known: Readonly<Record<string, string>> = {
    ECONNREFUSED: "connect: connection refused",
    EHOSTUNREACH: "connect: no route to host",
    ENETUNREACH: "connect: network is unreachable",
    ETIMEDOUT: "i/o timeout",
  };
  const words = typeof code === "string" ? known[code] : undefined;
  if (words !== undefined) return `dial tcp ${host}:${port}: ${words}`;
  return code === "ECONNRESET" ? "EOF" : messageOf(error);
}

/** Services that answer as told, and routers in front of them, for tests. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { systemClock } from "../../kernel/clock/index.js";
import type { Json } from "../../kernel/kinds/object.js";
import { silentLogger } from "../../kernel/log/index.js";
import { atEnd } from "../../testing/at-end.js";
import { readGraph } from "./read.js";
import { type RouterOptions, runRouter } from "./router.js";

/** What a service was sent. */
export interface Seen {
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A service that answers as told; `seen` is what it was sent, `sockets` over how many connections. */
export async function serve(answer: (response: ServerResponse, seen: Seen) => void) {
  const seen: Seen[] = [];
  let sockets = 0;
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (piece) => (body += String(piece)));
    request.on("end", () => {
      const one = { url: request.url ?? "", headers: request.headers, body };
      seen.push(one);
      answer(response, one);
    });
  });
  server.on("connection", () => sockets++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: `http://127.0.0.1:${port}/predict?a=1`, seen, sockets: () => sockets };
}

/** A router of a spec, and what posts to it. */
export async function route(spec: Json, more: Partial<RouterOptions> = {}) {
  const graph = readGraph(JSON.parse(JSON.stringify(spec)));
  const options = { graph, name: "t/g", host: "127.0.0.1", port: 0, clock: systemClock, log: silentLogger };
  const router = await runRouter({ ...options, drainDelayMs: 0, drainTimeoutMs: 0, ...more });
  atEnd(() => router.close());
  const url = `http://127.0.0.1:${router.port}`;
  const post = async (body: string | Uint8Array, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${url}/v1/models/g:predict`, { method: "POST", body: Buffer.from(body), headers });
    return { status: answer.status, headers: answer.headers, body: await answer.text() };
  };
  return { router, url, post };
}

/** A graph of one node. */
export const root = (routerType: string, ...steps: Json[]): Json => ({ nodes: { root: { routerType, steps } } });
/** Answers `{"a":1}`. */
export const ok = (response: ServerResponse): void =>
  void response.setHeader("content-type", "application/json").end('{"a":1}');

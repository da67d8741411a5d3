/** For tests: web servers on the loopback, and what a fetch needs. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { seededRandom, systemClock } from "../../../kernel/clock/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import type { FetchOptions } from "./fetch.js";

/** Run after each test. */
export const closers: (() => unknown)[] = [];

export interface Asked {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly url: URL;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface TestServer {
  readonly url: string;
  readonly host: string;
  readonly asked: Asked[];
}

/** Node takes what stores refuse: more than one Host. */
export function refuses({ rawHeaders }: IncomingMessage, response: ServerResponse): boolean {
  const isOne = rawHeaders.filter((each, index) => index % 2 === 0 && each.toLowerCase() === "host").length === 1;
  if (!isOne) response.writeHead(400).end("more than one Host");
  return !isOne;
}

/** A server that answers as it is told, and remembers what it was asked. */
export async function startServer(
  answer: (asked: Asked, response: ServerResponse, server: TestServer) => void | Promise<void>,
): Promise<TestServer> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    if (refuses(request, response)) return;
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url: path = "", headers } = request;
      const one = { method, path, url: new URL(path, started.url), headers, body: Buffer.concat(chunks).toString() };
      asked.push(one);
      void answer(one, response, started);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  const address = server.address();
  const host = `127.0.0.1:${typeof address === "object" ? (address?.port ?? 0) : 0}`;
  const started: TestServer = { url: `http://${host}`, host, asked };
  return started;
}

/** Sends content as servers of files do: whole, or the part that is asked for. */
export function sendContent(
  { headers }: Asked,
  response: ServerResponse,
  content: Buffer,
  more: Record<string, string> = {},
): void {
  const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
  if (range === null) return void response.writeHead(200, { "content-length": content.length, ...more }).end(content);
  const [from, to] = [Number(range[1]), Math.min(Number(range[2]), content.length - 1)];
  if (from >= content.length)
    return void response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
  const part = content.subarray(from, to + 1);
  response
    .writeHead(206, {
      "content-length": part.length,
      "content-range": `bytes ${from}-${to}/${content.length}`,
      ...more,
    })
    .end(part);
}

export const sendJson = (response: ServerResponse, value: unknown, status = 200): void =>
  void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));

/** A fetch into a folder of its own that does not wait between tries. */
export async function fetchOptions(
  uri: string,
  env: FetchOptions["env"] = {},
): Promise<FetchOptions & { readonly folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), "fetch-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  return {
    ...{ folder, uri, env, destination: join(folder, "model"), cache: join(folder, "cache"), log: silentLogger },
    clock: { ...systemClock, sleep: () => Promise.resolve() },
    random: seededRandom(1),
    ...{ partBytes: 1000, parallel: 3, stallMs: 2_000 },
  };
}

export const contentOf = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, index) => (index * 7919) % 251));

export const digestOf = (algorithm: string, content: Buffer, encoding: "hex" | "base64" = "hex"): string =>
  createHash(algorithm).update(content).digest(encoding);

type Entry = Parameters<ReturnType<typeof pack>["entry"]>[0];

/** A tar archive in gzip. */
export async function tarOf(...entries: readonly (readonly [entry: Entry, content?: string])[]): Promise<Buffer> {
  const tar = pack();
  for (const [entry, content = ""] of entries) tar.entry(entry, content);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) if (chunk instanceof Buffer) chunks.push(chunk);
  return gzipSync(Buffer.concat(chunks));
}

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { InputError } from "../../kernel/errors/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { type Gateway, runGateway } from "./gateway.js";
import type { ListenerInput, RouteInput } from "./table.js";

/** For tests: things to be closed at the end of one, in reverse order. */
export class Cleanup {
  readonly #tasks: (() => Promise<unknown>)[] = [];

  add(task: () => Promise<unknown>): void {
    this.#tasks.unshift(task);
  }

  async run(): Promise<void> {
    for (const task of this.#tasks.splice(0)) await task();
  }
}

/** For tests: a temporary directory. */
export async function temporaryDirectory(cleanup: Cleanup): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "argosy-gateway-"));
  cleanup.add(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** For tests: an HTTP backend on a port of its own. */
export interface FakeBackend {
  readonly address: string;
  readonly port: number;
  readonly server: Server;
  /** Requests seen, health checks left out. */
  requests: number;
  close(): Promise<void>;
}

export async function fakeBackend(cleanup: Cleanup, listener: RequestListener, port = 0): Promise<FakeBackend> {
  const server = createServer((request, response) => {
    if (request.headers["x-argosy-check"] === undefined) backend.requests++;
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", () => resolve()));
  const bound = server.address();
  const actual = typeof bound === "object" && bound !== null ? bound.port : 0;
  const backend: FakeBackend = {
    address: `127.0.0.1:${actual}`,
    port: actual,
    server,
    requests: 0,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  cleanup.add(() => backend.close());
  return backend;
}

/** For tests: a gateway in this process, with one listener `head` on a free port. */
export async function startGateway(
  cleanup: Cleanup,
  routes: readonly RouteInput[],
  options: {
    readonly listener?: Partial<ListenerInput>;
    readonly limits?: Record<string, number>;
    readonly directory?: string;
    readonly podNetworkFile?: string;
  } = {},
): Promise<{
  gateway: Gateway;
  directory: string;
  port: number;
  setRoutes: (routes: readonly RouteInput[]) => Promise<string>;
}> {
  const directory = options.directory ?? (await temporaryDirectory(cleanup));
  const listeners = [{ name: "head", host: "127.0.0.1", port: 0, ...options.listener }];
  const setRoutes = (next: readonly RouteInput[]): Promise<void> =>
    writeFile(join(directory, "table.json"), JSON.stringify({ version: 1, listeners, routes: next }));
  await setRoutes(routes);
  const gateway = await runGateway({
    directory,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...(options.podNetworkFile === undefined ? {} : { podNetworkFile: options.podNetworkFile }),
  });
  cleanup.add(() => gateway.close(0));
  const port = Number(gateway.state().listeners[0]?.address.split(":").at(-1));
  return {
    gateway,
    directory,
    port,
    async setRoutes(next) {
      await setRoutes(next);
      return gateway.reload();
    },
  };
}

/** For tests: an answer as the client saw it. */
export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** For tests: sends bytes as they are and returns everything that came until the peer ended or `isEnough`. */
export function exchangeBytes(
  port: number,
  bytes: string | readonly string[],
  isEnough: (text: string) => boolean = () => false,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket: Socket = connect({ port, host: "127.0.0.1" });
    socket.on("connect", () => {
      const pieces = typeof bytes === "string" ? [bytes] : [...bytes];
      const next = (): void => {
        const piece = pieces.shift();
        if (piece === undefined) return;
        socket.write(piece, "latin1", () => setImmediate(next));
      };
      next();
    });
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (isEnough(text)) socket.destroy();
    });
    socket.on("error", (error) => (text === "" ? reject(error) : resolve(text)));
    socket.on("close", () => resolve(text));
  });
}

/** For tests: one request on a connection of its own. */
export async function ask(
  port: number,
  path: string,
  options: {
    readonly method?: string;
    readonly host?: string;
    readonly body?: string;
    readonly headers?: readonly string[];
  } = {},
): Promise<Answer> {
  const { method = "GET", host = "example.org", body, headers = [] } = options;
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, "Connection: close", ...headers];
  if (body !== undefined) lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
  return parseAnswer(await exchangeBytes(port, `${lines.join("\r\n")}\r\n\r\n${body ?? ""}`));
}

/** For tests: the first answer in a byte stream; chunked bodies are put together. */
export function parseAnswer(text: string): Answer {
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...fields] = text.slice(0, end).split("\r\n");
  if (end < 0) throw new InputError(`no answer in ${JSON.stringify(text.slice(0, 200))}`);
  const headers = new Map(
    fields.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  const raw = text.slice(end + 4);
  return {
    status: Number(statusLine.split(" ")[1]),
    headers,
    body: headers.get("transfer-encoding") === "chunked" ? joinChunks(raw) : raw,
  };
}

function joinChunks(raw: string): string {
  let body = "";
  let position = 0;
  for (;;) {
    const lineEnd = raw.indexOf("\r\n", position);
    const size = Number.parseInt(raw.slice(position, lineEnd), 16);
    if (lineEnd < 0 || !(size > 0)) return body;
    body += raw.slice(lineEnd + 2, lineEnd + 2 + size);
    position = lineEnd + 2 + size + 2;
  }
}

/** For tests: waits until a condition holds, looking every few milliseconds. */
export async function eventually(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let attempt = 0; attempt < 2000; attempt++) {
    if (await condition()) return;
    await systemClock.sleep(10);
  }
  throw new InputError(`never came true: ${what}`);
}

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type Agent, createServer, type IncomingMessage, type RequestListener, request } from "node:http";
import { type RequestOptions, request as requestTls } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { RouteInput } from "../../../dataplane/gateway/index.js";
import { toJsonObject } from "../../../kernel/schema/index.js";
import { freePort } from "../../../testing/ports.js";
import { eventually } from "../fixture.js";
import { headOf } from "../json.unsafe.js";
import type { HeadIngress } from "../kinds.js";
import { renderHaproxy } from "./haproxy.js";
import { renderNginx } from "./nginx.js";
import type { HeadRoute } from "./rendering.js";

/** Programs that HeadIngresses are rendered for. */
export const PROGRAMS = ["nginx", "haproxy"] as const;
/** One of them. */
export type Program = (typeof PROGRAMS)[number];

/** Why a program cannot be driven here; undefined: it can. */
export const lacking = (program: Program): string | undefined =>
  spawnSync(program, ["-v"]).error === undefined
    ? undefined
    : `${program} is not installed (Debian: apt-get install ${program === "nginx" ? "nginx-light" : program})`;

/** What is to be ended after a test. */
export const closing: (() => unknown)[] = [];
/** Ends what was begun, the last first. */
export async function closeAll(): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close();
}

/** A request as a model saw it. */
export interface Seen {
  readonly name: string;
  readonly url: string;
  readonly host: string;
  readonly forwarded: string;
}

/** A model that answers with its name, or as it is told. */
export async function model(name: string, listener?: RequestListener) {
  const seen: Seen[] = [];
  const server = createServer((incoming, response) => {
    if (incoming.headers["x-argosy-check"] !== undefined) {
      response.end();
      return;
    }
    seen.push({
      name,
      url: incoming.url ?? "",
      host: incoming.headers.host ?? "",
      forwarded: `${String(incoming.headers["x-forwarded-host"])} ${String(incoming.headers["x-forwarded-proto"])}`,
    });
    if (listener !== undefined) listener(incoming, response);
    else incoming.on("data", () => undefined).on("end", () => response.end(name));
  });
  const upgraded = new Set<{ destroy(): void }>();
  server.on("upgrade", (_incoming, socket) => {
    upgraded.add(socket);
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    socket.on("data", (piece: Buffer) => socket.write(piece));
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const bound = server.address();
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
      for (const socket of upgraded) socket.destroy();
    });
  closing.push(stop);
  return { name, seen, stop, address: `127.0.0.1:${typeof bound === "object" ? bound?.port : 0}` };
}

/** A HeadIngress with its route. */
export function headRoute(id: string, route: Partial<RouteInput>, spec: Partial<HeadIngress["spec"]> = {}): HeadRoute {
  return {
    head: headOf(
      toJsonObject({
        apiVersion: "argosy.dev/v1alpha1",
        kind: "HeadIngress",
        metadata: { name: id, namespace: "demo" },
        spec,
      }),
    ),
    route: { id: `headingress/demo/${id}`, listener: "head", backends: [], ...route },
  };
}

/** Files of Secrets, by their names and keys. */
export type Secrets = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** The real program with the rendered configuration; resolves when it listens. */
export async function start(program: Program, routes: readonly HeadRoute[], secrets: Secrets = {}) {
  const directory = mkdtempSync(join(tmpdir(), "argosy-proxy-"));
  closing.push(() => rmSync(directory, { recursive: true, force: true }));
  // nginx' workers are another user's.
  chmodSync(directory, 0o755);
  const [port, tlsPort] = [await freePort(), await freePort()];
  const settings = { listen: `127.0.0.1:${port}`, listenTls: `127.0.0.1:${tlsPort}`, directory };
  const rendered = program === "nginx" ? renderNginx(routes, settings) : renderHaproxy(routes, settings);
  const { limits } = rendered;
  // In a pod the Secrets are mounted there.
  const text = rendered.text.replaceAll("/etc/argosy/tls", join(directory, "tls"));
  for (const [name, files] of Object.entries(secrets)) {
    mkdirSync(join(directory, "tls", name), { recursive: true });
    for (const [key, content] of Object.entries(files)) writeFileSync(join(directory, "tls", name, key), content);
  }
  const file = join(directory, "proxy.conf");
  writeFileSync(file, text);
  const check = program === "nginx" ? ["-t", "-c", file] : ["-c", "-f", file];
  const checked = spawnSync(program, check, { encoding: "utf8" });
  expect(`${checked.status} ${checked.status === 0 ? "" : `${checked.stderr}\n${text}`}`).toBe("0 ");
  const child: ChildProcess = spawn(
    program,
    program === "nginx" ? ["-g", "daemon off;", "-c", file] : ["-db", "-f", file],
    {
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  closing.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    // Its workers end with it: they see that it is gone.
    child.kill(program === "nginx" ? "SIGTERM" : "SIGKILL");
    await gone;
  });
  await eventually(
    () => answers(routes.some(({ head }) => head.spec.tls === undefined) ? port : tlsPort),
    (is) => is,
    `${program} listens`,
  );
  return { port, tlsPort, limits, text };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** One request in clear text. */
export function ask(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string; agent?: Agent } = {},
) {
  return new Promise<{ status: number; body: string; headers: Record<string, string | string[] | undefined> }>(
    (resolve, reject) => {
      const call = request(
        {
          port,
          host: "127.0.0.1",
          path,
          method: options.method ?? "GET",
          headers: { host: "any.example.org", ...options.headers },
          agent: options.agent ?? false,
        },
        (response) => {
          let body = "";
          response.on("data", (piece: Buffer) => {
            body += piece.toString();
          });
          response.on("end", () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }));
        },
      );
      call.on("error", reject);
      call.end(options.body);
    },
  );
}

/** One request over TLS; its body is not of interest. */
export function askTls(host: string, path: string, to: RequestOptions): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", servername: host, agent: false, path, headers: { host }, ...to };
    requestTls(options, (response) => response.resume().on("end", () => resolve(response)))
      .on("error", reject)
      .end();
  });
}

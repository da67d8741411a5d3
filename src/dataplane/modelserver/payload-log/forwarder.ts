/** A payload log beside a server of somebody else: connections are passed on byte by byte, and read along. */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../../kernel/clock/types.js";
import { InputError, messageOf } from "../../../kernel/errors/index.js";
import { createHttp1Server, type Http1Server } from "../../../kernel/http1/index.js";
import type { PayloadLog } from "./log.js";
import { createTap } from "./tap.js";

/** Where it listens, and who is behind it. */
export interface ForwarderOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly upstream: { readonly host: string; readonly port: number };
  /** Where its counters are asked for, at `/metrics`; absent: nowhere. */
  readonly metricsPort?: number;
  readonly clock: Clock;
  readonly payloads: PayloadLog;
}

/** A running forwarder. */
export interface Forwarder {
  readonly port: number;
  readonly metricsPort: number | undefined;
  /** Takes connections for a moment longer, so that routers notice; lets those there end for a while; delivers what is to be delivered. Milliseconds. */
  close(times: { readonly delayMs: number; readonly drainMs: number; readonly deliverMs: number }): Promise<void>;
}

/** Starts one; resolves when it listens. Throws `InputError` when the port is taken. */
export async function startForwarder(options: ForwarderOptions): Promise<Forwarder> {
  const { host, upstream, clock, payloads } = options;
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    open.add(client);
    client.on("close", () => open.delete(client));
    forward(client, upstream, payloads);
  });
  const port = await listen(server, options.port, host);
  const metrics = await startMetrics(options);
  return {
    port,
    metricsPort: metrics?.port,
    async close({ delayMs, drainMs, deliverMs }) {
      if (delayMs > 0) await clock.sleep(delayMs);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const timer = clock.setTimer(drainMs, () => {
        for (const client of open) client.destroy();
      });
      await closed;
      timer.cancel();
      await metrics?.server.close(0);
      await payloads.close(deliverMs);
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(new InputError(`cannot listen on ${host}:${port}: ${messageOf(error)}`, { cause: error })),
    );
    server.listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

async function startMetrics({
  metricsPort,
  host,
  clock,
  payloads,
}: ForwarderOptions): Promise<{ server: Http1Server; port: number } | undefined> {
  if (metricsPort === undefined) return undefined;
  const type = "text/plain; version=0.0.4; charset=utf-8";
  const server = createHttp1Server({
    clock,
    answer: ({ target }) =>
      target === "/metrics"
        ? { status: 200, type, body: payloads.render() }
        : { status: 404, body: '{"error": "there is nothing at this path"}' },
    fail: (error) => ({ status: 500, body: JSON.stringify({ error: messageOf(error) }) }),
  });
  return { server, port: await server.listen(metricsPort, host) };
}

/** Passes everything on, as fast as the other side takes it; an end of one side is passed on as one. */
function forward(client: Socket, { host, port }: ForwarderOptions["upstream"], payloads: PayloadLog): void {
  const server = connect({ host, port, allowHalfOpen: true, noDelay: true });
  const tap = createTap(payloads);
  client.on("data", (chunk: Buffer) => {
    if (!server.write(chunk)) client.pause();
    tap.fromClient(chunk);
  });
  server.on("data", (chunk: Buffer) => {
    if (!client.write(chunk)) server.pause();
    tap.fromServer(chunk);
  });
  server.on("drain", () => client.resume());
  client.on("drain", () => server.resume());
  client.on("end", () => server.end());
  server.on("end", () => {
    tap.serverEnded();
    client.end();
  });
  const over = (): void => {
    client.destroy();
    server.destroy();
  };
  for (const socket of [client, server]) socket.on("error", over);
  // What is written already still leaves when the other side ended in order.
  server.on("close", (hadError) => {
    if (hadError) over();
  });
  client.on("close", () => {
    server.destroy();
    tap.closed();
  });
}

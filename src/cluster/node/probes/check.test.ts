import { createServer as createHttp } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { createServer, type Server } from "node:net";
import { afterEach, expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import type { Container } from "../../../kernel/kinds/index.js";
import { connectDirectly } from "../../../kernel/netns/index.js";
import { type ProbeAction, runCheck } from "./check.js";
import { Prober } from "./prober.js";

const servers: { close(): unknown }[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

function listening(server: Pick<Server, "listen" | "address" | "close">): Promise<number> {
  servers.push(server);
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port)),
  );
}

const container: Container = { name: "main", image: "x", ports: [{ name: "web", containerPort: 1 }] };
const check = (action: ProbeAction, timeoutMs = 2_000) =>
  runCheck(action, {
    container,
    podIp: "127.0.0.1",
    timeoutMs,
    connect: connectDirectly,
    exec: (command) =>
      Promise.resolve(command[0] === "slow" ? undefined : { code: command[0] === "ok" ? 0 : 1, output: "said" }),
  });

test("HTTP answers from 200 to 399 are good; headers and path are sent", async () => {
  const port = await listening(
    createHttp((request, response) => {
      response.statusCode = request.url === "/ok" && request.headers["x-a"] === "1" ? 302 : 503;
      response.end();
    }),
  );

  expect(await check({ httpGet: { port, path: "ok", httpHeaders: [{ name: "X-A", value: "1" }] } })).toMatchObject({
    ok: true,
  });
  expect(await check({ httpGet: { port, path: "/no" } })).toEqual({
    ok: false,
    message: "HTTP probe failed with statuscode: 503",
  });
});

test("connections and refusals are told apart", async () => {
  const port = await listening(createServer((socket) => socket.end()));

  expect(await check({ tcpSocket: { port } })).toEqual({ ok: true, message: "" });
  expect((await check({ tcpSocket: { port: "web" } })).message).toBe(
    "dial tcp 127.0.0.1:1: connect: connection refused",
  );
});

test("commands are judged by exit code and time", async () => {
  expect(await check({ exec: { command: ["ok"] } })).toMatchObject({ ok: true });
  expect(await check({ exec: { command: ["bad"] } })).toEqual({ ok: false, message: "said" });
  expect((await check({ exec: { command: ["slow"] } })).message).toContain("timed out after 2s");
});

test("redirects are followed on the same host only; elsewhere they are good with a warning", async () => {
  const asked: string[] = [];
  const port = await listening(
    createHttp((request, response) => {
      asked.push(request.url ?? "");
      const to: Record<string, string> = { "/a": "/b", "/away": "http://elsewhere.invalid/", "/loop": "/loop" };
      const location = to[request.url ?? ""];
      response.writeHead(location === undefined ? 200 : 302, location === undefined ? {} : { location });
      response.end("body");
    }),
  );

  expect(await check({ httpGet: { port, path: "/a" } })).toEqual({ ok: true, message: "" });
  expect(asked).toEqual(["/a", "/b"]);
  expect(await check({ httpGet: { port, path: "/away" } })).toEqual({
    ok: true,
    isWarning: true,
    message: "Probe terminated redirects, Response body: body",
  });
  expect(await check({ httpGet: { port, path: "/loop" } })).toEqual({
    ok: false,
    message: `Get "http://127.0.0.1:${port}/loop": stopped after 10 redirects`,
  });
});

test("headers: kubelet's own, several of a name, Host, and none where an empty one takes it away", async () => {
  let seen: Record<string, unknown> = {};
  const port = await listening(
    createHttp((request, response) => {
      seen = { ...request.headers, raw: request.rawHeaders.filter((each) => each.toLowerCase() === "x-a").length };
      response.end();
    }),
  );

  await check({ httpGet: { port } });
  expect(seen).toMatchObject({ "user-agent": "kube-probe/1.34", accept: "*/*", connection: "close" });
  await check({
    httpGet: {
      port,
      httpHeaders: [
        { name: "X-A", value: "1" },
        { name: "X-A", value: "2" },
        { name: "Host", value: "shop" },
        { name: "Accept", value: "" },
      ],
    },
  });
  expect(seen).toMatchObject({ host: "shop", raw: 2 });
  expect(seen).not.toHaveProperty("accept");
});

test("what cannot be asked is an error, not a failure", async () => {
  expect(await check({ httpGet: { port: "no-such" } })).toEqual({
    ok: false,
    isError: true,
    message: 'container "main" has no port named "no-such"',
  });
  expect(await check({ tcpSocket: { port: 70_000 } })).toMatchObject({ ok: false, isError: true });
});

test("a server that does not answer in time fails with Go's words", async () => {
  const port = await listening(createServer(() => undefined));

  expect((await check({ httpGet: { port } }, 50)).message).toBe(
    `Get "http://127.0.0.1:${port}/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
  );
});

interface HealthServer {
  readonly body?: Buffer;
  readonly trailers?: Record<string, string>;
  readonly status?: number;
  readonly silent?: boolean;
}

/** A gRPC server that answers by the name of the service asked for. */
async function healthServer(answers: Record<string, HealthServer>): Promise<number> {
  const server = createHttp2();
  server.on("stream", (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const message = Buffer.concat(chunks).subarray(5);
      const name = message.subarray(message.length > 129 ? 3 : 2).toString();
      const answer = headers[":path"] === "/grpc.health.v1.Health/Check" ? answers[name.slice(0, 8)] : undefined;
      if (answer === undefined) return stream.close();
      if (answer.silent === true) return;
      stream.on("wantTrailers", () => stream.sendTrailers(answer.trailers ?? { "grpc-status": "0" }));
      stream.respond(
        { ":status": answer.status ?? 200, "content-type": "application/grpc" },
        { waitForTrailers: true },
      );
      stream.end(answer.body);
    });
  });
  return listening(server);
}

const serving = (value: number): Buffer => Buffer.from([0, 0, 0, 0, 2, 0x08, value]);

test("gRPC health: what the service says, in kubelet's words", async () => {
  const port = await healthServer({
    "": { body: serving(1) },
    good: { body: serving(1) },
    evil: { body: serving(2) },
    unset: { body: Buffer.alloc(5) },
    nowhere: { trailers: { "grpc-status": "5", "grpc-message": "unknown%20service" } },
    old: { trailers: { "grpc-status": "12", "grpc-message": "unknown method" } },
    page: { status: 404 },
    xxxxxxxx: { body: serving(1) },
    silent: { silent: true },
  });
  const message = async (service: string): Promise<string> => (await check({ grpc: { port, service } }, 400)).message;

  expect(await check({ grpc: { port } })).toEqual({ ok: true, message: "" });
  expect(await check({ grpc: { port, service: "good" } })).toEqual({ ok: true, message: "" });
  expect(await check({ grpc: { port, service: "x".repeat(300) } })).toEqual({ ok: true, message: "" });
  expect(await message("evil")).toBe('service unhealthy (responded with "NOT_SERVING")');
  expect(await message("unset")).toBe('service unhealthy (responded with "UNKNOWN")');
  expect(await message("nowhere")).toBe(
    "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
  );
  expect(await message("old")).toContain("does not implement the grpc health protocol");
  expect(await message("page")).toContain("does not implement the grpc health protocol");
  expect(await message("silent")).toBe("timeout: health rpc did not complete within 0.4s");
});

test("gRPC health: nobody there, and somebody who speaks something else", async () => {
  const port = await listening(createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));

  expect((await check({ grpc: { port: 1 } }, 1_000)).message).toBe(
    'timeout: failed to connect service "127.0.0.1:1" within 1s: context deadline exceeded',
  );
  expect((await check({ grpc: { port } }, 1_000)).ok).toBe(false);
});

test("thresholds count regular checks only; the first success is found early", async () => {
  const clock = virtualClock(0);
  let ok = false;
  const told: string[] = [];
  const prober = new Prober({
    kind: "readiness",
    probe: { periodSeconds: 10, failureThreshold: 2 },
    clock,
    check: () => Promise.resolve({ ok, message: "no" }),
    onFailure: () => told.push(`failure ${clock.now()}`),
    onRemark: () => undefined,
    onVerdict: (verdict) => told.push(`${verdict} ${clock.now()}`),
  });
  prober.start();

  await clock.advance(300);
  ok = true;
  await clock.advance(400);
  ok = false;
  await clock.advance(30_000);
  prober.stop();

  expect(told).toEqual(["true 350", "failure 10000", "failure 20000", "false 20000", "failure 30000"]);
});

test("checks that could not be made count neither way", async () => {
  const clock = virtualClock(0);
  const told: string[] = [];
  const prober = new Prober({
    kind: "liveness",
    probe: { periodSeconds: 10, failureThreshold: 1 },
    clock,
    check: () => Promise.resolve({ ok: false, message: "no such port", isError: true }),
    onFailure: () => told.push("failure"),
    onRemark: ({ message }) => told.push(message),
    onVerdict: (verdict) => told.push(String(verdict)),
  });
  prober.start();

  await clock.advance(15_000);
  prober.stop();

  expect(told).toEqual(["no such port", "no such port"]);
});

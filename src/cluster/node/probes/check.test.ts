import { createServer as createHttp } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { createServer, type Server } from "node:net";
import { afterEach, expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import type { Container } from "../../../kernel/kinds/index.js";
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
const check = (action: ProbeAction) =>
  runCheck(action, {
    container,
    podIp: "127.0.0.1",
    timeoutMs: 2_000,
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

  expect(await check({ httpGet: { port, path: "ok", httpHeaders: [{ name: "X-A", value: "1" }] } })).toEqual({
    ok: true,
    message: "",
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

test("gRPC health is asked by service name", async () => {
  const server = createHttp2();
  const asked: string[] = [];
  server.on("stream", (stream) => {
    stream.on("data", (chunk: Buffer) => asked.push(chunk.subarray(7).toString()));
    stream.respond({ ":status": 200, "content-type": "application/grpc" });
    stream.on("end", () => stream.end(Buffer.from([0, 0, 0, 0, 2, 0x08, asked.at(-1) === "good" ? 1 : 2])));
  });
  const port = await listening(server);

  expect(await check({ grpc: { port, service: "good" } })).toEqual({ ok: true, message: "" });
  expect(await check({ grpc: { port, service: "evil" } })).toMatchObject({ ok: false });
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

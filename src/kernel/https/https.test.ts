import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, request } from "node:https";
import { createConnection } from "node:net";
import { text } from "node:stream/consumers";
import { connect } from "node:tls";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../clock/index.js";
import { type Authority, createAuthority } from "../identity/index.js";
import { silentLogger } from "../log/index.js";
import { createHttpsServer, type HttpsServer } from "./index.js";

let authority: Authority;
let ca: string;
let certificate: { readonly certPem: string; readonly keyPem: string };

beforeAll(async () => {
  authority = await createAuthority({ clock: systemClock, name: "test" });
  ca = authority.caPem;
  certificate = await authority.issueServer(["127.0.0.1"]);
});

function serverOf(answer: (request: IncomingMessage, response: ServerResponse) => void, port = 0): HttpsServer {
  const server = createHttpsServer({
    ...certificate,
    port,
    clock: systemClock,
    log: silentLogger,
    idleMs: 10_000,
    answer,
  });
  onTestFinished(() => server.close());
  return server;
}

/** On a connection of its own, unless an agent keeps one. */
function get(url: string, agent?: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request(url, { ca, agent: agent ?? false }, (response) => resolve(text(response)));
    call.once("error", reject).end();
  });
}

test("it answers on the address it names, and a second one there is told that the port is taken", async () => {
  const server = serverOf((_request, response) => response.end("here"));
  const { url, port } = await server.start();

  expect(url).toBe(`https://127.0.0.1:${port}`);
  expect(await get(url)).toBe("here");
  await expect(serverOf(() => undefined, port).start()).rejects.toMatchObject({
    code: "PortInUse",
    message: expect.stringContaining(`127.0.0.1:${port}`),
  });
});

test("malformed calls and plain text end their connection, not the server", async () => {
  const server = serverOf((_request, response) => response.end("here"));
  const { url, port } = await server.start();

  const socket = connect({ port, host: "127.0.0.1", ca });
  await once(socket, "secureConnect");
  socket.on("error", () => undefined).end("no HTTP at all\r\n\r\n");
  await once(socket.resume(), "close");

  const plain = createConnection({ port, host: "127.0.0.1" });
  plain.on("error", () => undefined).end("GET / HTTP/1.1\r\n\r\n");
  await once(plain.resume(), "close");

  expect(await get(url)).toBe("here");
});

test("a client that asks again before it took a long answer is answered, however its next request comes", async () => {
  const server = serverOf(
    (call, response) => void text(call).then((body) => response.end(body || "x".repeat(2_000_000))),
  );
  const { port } = await server.start();
  const socket = connect({ port, host: "127.0.0.1", ca });
  await once(socket, "secureConnect");
  const body = "y".repeat(40_000);
  // Each write is a record of TLS; all of them arrive together.
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  socket.write(`PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`);
  socket.write(body);
  const answers = await text(socket);

  expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 200"]);
  expect(answers.endsWith(body)).toBe(true);
});

test("a renewed certificate is what new connections see; those that are open go on", async () => {
  const server = serverOf((_request, response) => response.end("here"));
  const { url, port } = await server.start();
  const seen = async (): Promise<string> => {
    const socket = connect({ port, host: "127.0.0.1", ca });
    await once(socket, "secureConnect");
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.end();
    return fingerprint256;
  };
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const before = await seen();
  expect(await get(url, agent)).toBe("here");

  const renewed = await authority.issueServer(["127.0.0.1"]);
  server.setCertificate(renewed.certPem, renewed.keyPem);

  expect(await seen()).toBe(new X509Certificate(renewed.certPem).fingerprint256);
  expect(await seen()).not.toBe(before);
  expect(await get(url, agent)).toBe("here");
});

test("closing waits for the call that runs", async () => {
  let finish: () => void = () => undefined;
  let arrived: () => void = () => undefined;
  const running = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const server = serverOf((_request, response) => {
    finish = () => response.end("done");
    arrived();
  });
  const { url } = await server.start();

  const answer = get(url);
  await running;
  const closed = server.close();
  finish();

  expect(await answer).toBe("done");
  await closed;
  await expect(get(url)).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

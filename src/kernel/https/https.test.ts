import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { request } from "node:https";
import { createConnection } from "node:net";
import { text } from "node:stream/consumers";
import { connect } from "node:tls";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../clock/index.js";
import { createAuthority } from "../identity/index.js";
import { silentLogger } from "../log/index.js";
import { createHttpsServer, type HttpsServer } from "./index.js";

let ca: string;
let certificate: { readonly certPem: string; readonly keyPem: string };

beforeAll(async () => {
  const authority = await createAuthority({ clock: systemClock, name: "test" });
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

/** On a connection of its own. */
function get(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request(url, { ca, agent: false }, (response) => resolve(text(response)));
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

import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import type { ApiResponse } from "../types.js";
import { type Destination, forward, forwardUpgrade, nodeAgentPool } from "./node-connection.js";

/** A node's agent that closes every connection on which it is asked again; what it was asked, as "METHOD, so many on its connection". */
async function forgetfulAgent(): Promise<{ destination: Destination; asked: string[] }> {
  const authority = await createAuthority({ clock: systemClock, name: "stale" });
  const { certPem, keyPem } = await authority.issueServer(["127.0.0.1"]);
  const client = await authority.issueClient("kube-apiserver", []);
  const asked: string[] = [];
  const counts = new WeakMap<object, number>();
  const count = (method: string | undefined, socket: object): number => {
    const number = (counts.get(socket) ?? 0) + 1;
    counts.set(socket, number);
    asked.push(`${method}, ${number}`);
    return number;
  };
  const server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    if (count(request.method, request.socket) === 1) response.end("here");
    else request.socket.destroy();
  });
  server.on("upgrade", (request, socket) => {
    if (count(request.method, request.socket) > 1) socket.destroy();
    else socket.end("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const agent = nodeAgentPool({ caPem: authority.caPem, clientCertPem: client.certPem, clientKeyPem: client.keyPem });
  onTestFinished(() => {
    agent.destroy();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { destination: { scheme: "https", host: "127.0.0.1", port, path: "/logs", agent }, asked };
}

const request = (method: string) => ({
  method,
  headers: {},
  body: new Uint8Array(),
  signal: new AbortController().signal,
});

async function textOf({ body }: ApiResponse): Promise<string> {
  let text = "";
  if (!(body instanceof Uint8Array)) for await (const piece of body) text += Buffer.from(piece).toString();
  // The pool has the connection again once its answer is over.
  await new Promise((resolve) => setImmediate(resolve));
  return text;
}

test("what was to be read over a connection that is just being closed is asked for again, on another", async () => {
  const { destination, asked } = await forgetfulAgent();
  const texts = [];
  for (let round = 0; round < 2; round++) texts.push(await textOf(await forward(destination, request("GET"))));

  expect(texts).toEqual(["here", "here"]);
  expect(asked).toEqual(["GET, 1", "GET, 2", "GET, 1"]);
});

test("what may not be done twice is not sent twice", async () => {
  const { destination, asked } = await forgetfulAgent();
  await textOf(await forward(destination, request("GET")));

  await expect(forward(destination, request("POST"))).rejects.toThrow(/error dialing backend: .*\/logs/);
  expect(asked).toEqual(["GET, 1", "POST, 2"]);
});

test("an upgrade has a connection of its own", async () => {
  const { destination, asked } = await forgetfulAgent();
  await textOf(await forward(destination, request("GET")));
  const { socket } = await forwardUpgrade(destination, request("GET"));
  socket.destroy();

  expect(asked).toEqual(["GET, 1", "GET, 1"]);
});

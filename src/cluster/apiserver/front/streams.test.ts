import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { Agent, request } from "node:https";
import { connect, type TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { startListening } from "./listening.fixture.js";

const { clock, server, url } = await startListening();

const collection = "/api/v1/namespaces/default/configmaps";
const authorization = (): string => `Bearer ${server.adminToken}`;

let made = 0;
let version = "";
async function create(payload = "x"): Promise<string> {
  const name = `c-${++made}`;
  const { status, body } = await server.handle({
    method: "POST",
    path: collection,
    query: new URLSearchParams(),
    headers: { authorization: authorization(), "content-type": "application/json" },
    body: Buffer.from(
      JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { payload: `${payload}ü` } }),
    ),
    signal: new AbortController().signal,
  });
  if (status !== 201 || !(body instanceof Uint8Array)) throw new Error(`answered ${status}`);
  version = /"resourceVersion":"(\d+)"/.exec(Buffer.from(body).toString())?.[1] ?? "";
  return name;
}

const namesIn = (text: string): string[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => (JSON.parse(line) as { object: { metadata: { name: string } } }).object.metadata.name);

async function text(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** From now on, for ten seconds of the server's clock. */
const fromNow = async (): Promise<string> => {
  await create();
  return `${collection}?watch=1&timeoutSeconds=10&resourceVersion=${version}`;
};

test("over HTTP/1.1 a crowd gets every event in order; the connection serves on after the end", async () => {
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false, maxSockets: 40 });
  const path = await fromNow();
  const get = async (of: string): Promise<[IncomingMessage, boolean]> => {
    const asked = request(`${url}${of}`, { agent, headers: { authorization: authorization() } }).end();
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    return [answer, asked.reusedSocket];
  };
  const answers = await Promise.all(Array.from({ length: 40 }, () => get(path)));
  const texts = answers.map(([answer]) => text(answer));
  const names = [await create(), await create("y".repeat(20_000)), await create()];
  await clock.advance(11_000);

  for (const each of await Promise.all(texts)) expect(namesIn(each)).toEqual(names);
  expect(answers[0]?.[0].headers["transfer-encoding"]).toBe("chunked");
  const [next, isReused] = await get("/version");
  expect(await text(next)).toContain("gitVersion");
  expect(isReused).toBe(true);
  agent.destroy();
});

async function openSocket(): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port), rejectUnauthorized: false });
  await once(socket, "secureConnect");
  return socket;
}

test("over HTTP/1.0 the lines come bare, up to the end of the connection", async () => {
  const path = await fromNow();
  const socket = await openSocket();
  socket.write(`GET ${path} HTTP/1.0\r\nAuthorization: ${authorization()}\r\n\r\n`);
  const [head] = (await once(socket, "data")) as [Buffer];
  const rest = text(socket);
  const names = [await create(), await create()];
  await clock.advance(11_000);

  expect(head.toString()).not.toMatch(/transfer-encoding/i);
  expect(namesIn(await rest)).toEqual(names);
});

test("over HTTP/2 each stream gets every event in order and ends by itself", async () => {
  const session = connectHttp2(url, { rejectUnauthorized: false });
  const path = await fromNow();
  const streams = Array.from({ length: 40 }, () => session.request({ ":path": path, authorization: authorization() }));
  await Promise.all(streams.map((stream) => once(stream, "response")));
  const texts = streams.map((stream) => text(stream));
  const names = [await create(), await create("y".repeat(20_000)), await create()];
  await clock.advance(11_000);

  for (const each of await Promise.all(texts)) expect(namesIn(each)).toEqual(names);
  session.destroy();
});

test("a watcher that reads late holds up nobody, and gets everything in order", async () => {
  const path = await fromNow();
  const [late, neighbour] = [await openSocket(), await openSocket()];
  for (const socket of [late, neighbour])
    socket.write(`GET ${path} HTTP/1.0\r\nAuthorization: ${authorization()}\r\n\r\n`);
  await Promise.all([once(late, "data"), once(neighbour, "data")]);
  late.pause();
  const heard = text(neighbour);
  const large = "z".repeat(900_000);
  const names: string[] = [];
  for (let count = 0; count < 14; count++) names.push(await create(large));
  await clock.advance(11_000);

  expect(namesIn(await heard)).toEqual(names);
  expect(namesIn(await text(late))).toEqual(names);
});

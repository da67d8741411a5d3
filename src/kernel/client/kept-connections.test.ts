import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { KeptConnections } from "./kept-connections.js";

const servers: Server[] = [];
const clients: KeptConnections[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** A server that is told each request's bytes, and the number of its connection. */
async function scripted(
  onRequest: (socket: Socket, request: string, connection: number) => void,
): Promise<KeptConnections> {
  let connections = 0;
  const server = createServer((socket) => {
    const number = ++connections;
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => onRequest(socket, chunk.toString("latin1"), number));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const client = new KeptConnections({ url, tls: {}, connectTimeoutMs: 5000, idleMs: 5000 });
  clients.push(client);
  return client;
}

const get = (client: KeptConnections, path = "/a", signal?: AbortSignal) =>
  client.send({ method: "GET", path, ...(signal === undefined ? {} : { signal }) }, path, "Bearer t");

test("requests are written whole, and what is answered is whole, its fields by lower-case names", async () => {
  const answer = "HTTP/1.1 201 Created\r\nX-One: 1\r\nx-one: 2\r\ncontent-length: 6\r\n\r\nhello!";
  const seen: [string, number][] = [];
  const client = await scripted((socket, request, connection) => {
    seen.push([request, connection]);
    socket.write(answer);
  });
  const headers = { accept: "application/json" };
  for (const request of [
    { method: "GET", path: "/b?c=d" },
    { method: "PUT", path: "/a", headers, body: '{"a":"b"}' },
  ]) {
    const { status, headers: told, whole, body } = await client.send(request, request.path, "Bearer t");
    expect([status, told["x-one"], told["content-length"], String(whole)]).toEqual([201, "1, 2", "6", "hello!"]);
    for await (const piece of body) expect(piece).toEqual(whole);
  }
  const host = expect.stringMatching(/^host: 127/);
  expect(seen.map(([request]) => request.split("\r\n"))).toEqual([
    ["GET /b?c=d HTTP/1.1", host, "authorization: Bearer t", "", ""],
    [
      ...["PUT /a HTTP/1.1", host, "accept: application/json", "authorization: Bearer t"],
      ...["content-length: 9", "", '{"a":"b"}'],
    ],
  ]);
  expect(seen.map(([, connection]) => connection)).toEqual([1, 1]);
});

test("an abort ends the exchange and its connection, and no other", async () => {
  const held: Socket[] = [];
  const client = await scripted((socket, request) => {
    if (request.startsWith("GET /slow")) held.push(socket);
    else socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  });
  const stop = new AbortController();
  const slow = get(client, "/slow", stop.signal);
  expect((await get(client)).status).toBe(200);
  stop.abort(new Error("enough"));
  await expect(slow).rejects.toThrow("enough");
  await expect(get(client, "/a", stop.signal)).rejects.toThrow("enough");
  expect((await get(client)).status).toBe(200);

  const other = get(client, "/slow");
  client.destroy();
  await expect(other).rejects.toMatchObject({ code: "Closed" });
  await expect(get(client)).rejects.toMatchObject({ code: "Closed" });
});

test("nothing is written that could be read as another request", () => {
  const whole = { method: "GET", wantsWhole: true };
  expect(KeptConnections.takes({ ...whole, path: "/a?b=c%20d" })).toBe(true);
  for (const path of ["/a b", "/a\r\nx: y", "a", "/ü"]) expect(KeptConnections.takes({ ...whole, path })).toBe(false);
  expect(KeptConnections.takes({ method: "GET", path: "/a" })).toBe(false);
});

test("a header's value cannot end its field", async () => {
  const client = await scripted((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
  const sent = client.send({ method: "GET", path: "/a", headers: { "x-a": "b\r\nc: d" } }, "/a", undefined);
  await expect(sent).rejects.toThrow("header x-a");
});

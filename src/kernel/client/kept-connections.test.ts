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

test("heads and bodies come in any pieces, and the connection is used again", async () => {
  const answer =
    "HTTP/1.1 200 OK\r\nX-One: 1\r\nx-one: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n";
  const seen: [string, number][] = [];
  const trickle = async (socket: Socket): Promise<void> => {
    for (const character of answer) {
      socket.write(character);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const client = await scripted((socket, request, connection) => {
    seen.push([request, connection]);
    socket.setNoDelay(true);
    void trickle(socket);
  });
  for (const path of ["/a", "/b?c=d"]) {
    const { status, headers, whole } = await get(client, path);
    expect([status, headers["x-one"], whole?.toString()]).toEqual([200, "1, 2", "hello!"]);
  }
  expect(seen.map(([request]) => request.split("\r\n"))).toEqual([
    ["GET /a HTTP/1.1", expect.stringMatching(/^host: 127/), "authorization: Bearer t", "", ""],
    ["GET /b?c=d HTTP/1.1", expect.stringMatching(/^host: 127/), "authorization: Bearer t", "", ""],
  ]);
  expect(seen.map(([, connection]) => connection)).toEqual([1, 1]);
});

test("a body is sent with its length in bytes, whatever is in it", async () => {
  let received = "";
  const client = await scripted((socket, request) => {
    received += request;
    const [head = "", body = ""] = received.split("\r\n\r\n");
    if (body.length < Number(/content-length: (\d+)/.exec(head)?.[1])) return;
    socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
  });
  for (const body of [
    '{"a":"b"}',
    '{"a":"ü→"}',
    "x".repeat(100_000),
    `ü${"x".repeat(40_000)}`,
    Buffer.from([1, 2, 255]),
  ]) {
    received = "";
    expect((await client.send({ method: "PUT", path: "/a", body }, "/a", undefined)).status).toBe(204);
    expect(Buffer.from(received.split("\r\n\r\n")[1] ?? "", "latin1")).toEqual(Buffer.from(body));
  }
});

test("an answer may last until its connection ends; then, or when it says so, the next request has another", async () => {
  const ways = ["HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc"];
  const connections: number[] = [];
  const client = await scripted((socket, _request, connection) => {
    connections.push(connection);
    socket.end(ways[connection - 1] ?? "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc");
  });
  for (let count = 0; count < 4; count++) expect((await get(client)).whole?.toString()).toBe("abc");
  expect(connections).toEqual([1, 2, 3, 4]);
});

test("what breaks off, or is no answer, fails and is not used again", async () => {
  const answers = [
    "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz",
    "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    "SSH-2.0-server\r\n\r\n",
    "",
  ];
  const connections: number[] = [];
  const client = await scripted((socket, _request, connection) => {
    connections.push(connection);
    socket.end(answers[connection - 1] ?? "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nand more than was asked for");
  });
  for (const _ of answers) await expect(get(client)).rejects.toMatchObject({ code: "ECONNRESET" });
  expect((await get(client)).whole?.toString()).toBe("");
  expect((await get(client)).status).toBe(200);
  expect(connections).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
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

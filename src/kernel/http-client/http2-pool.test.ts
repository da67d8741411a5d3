import { once } from "node:events";
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { createServer as createHttps } from "node:https";
import { createServer, type Server, type Socket } from "node:net";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../clock/index.js";
import { createAuthority } from "../identity/index.js";
import { type ClientTarget, Http2Pool } from "./index.js";

let tls: { cert: string; key: string };
let ca: string;
beforeAll(async () => {
  const authority = await createAuthority({ clock: systemClock, name: "pools" });
  const { certPem, keyPem } = await authority.issueServer(["127.0.0.1"]);
  [tls, ca] = [{ cert: certPem, key: keyPem }, authority.caPem];
});

/** A pool for a server that listens from now on, and how many connections it was asked for. */
async function poolFor(
  server: Server,
  more: Partial<ClientTarget> = {},
): Promise<{ pool: Http2Pool; connections: () => number; cut: () => void }> {
  const sockets = new Set<Socket>();
  let count = 0;
  server.on("connection", (socket: Socket) => {
    count++;
    sockets.add(socket.on("error", () => undefined));
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const url = new URL(`https://127.0.0.1:${port}`);
  const pool = new Http2Pool({ url, tls: { ca }, connectMs: 5000, idleMs: 5000, ...more });
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(() => {
    pool.destroy(new Error("over"));
    cut();
    server.close();
  });
  return { pool, connections: () => count, cut };
}

function http2Server(
  answer: (stream: ServerHttp2Stream, path: string) => void,
  settings: object = {},
): Http2SecureServer {
  const server = createSecureServer({ ...tls, settings });
  server.on("sessionError", () => undefined);
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    answer(stream, String(headers[":path"]));
  });
  return server;
}

const yes = (stream: ServerHttp2Stream): void => {
  stream.respond({ ":status": 200 });
  stream.end("yes");
};

const ask = async (pool: Http2Pool, path = "/", signal?: AbortSignal): Promise<string | undefined> => {
  const request = { method: "GET", path, authority: "there", fields: [], body: undefined, limit: 1 << 20 };
  const answer = await pool.send(request, signal);
  return answer === undefined ? undefined : String(answer.body);
};

test("a crowd of requests goes over as few connections as the server takes", async () => {
  const { pool, connections } = await poolFor(http2Server(yes, { maxConcurrentStreams: 30 }));
  expect(await ask(pool)).toBe("yes");
  const answers = await Promise.all(Array.from({ length: 90 }, () => ask(pool)));

  expect(new Set(answers)).toEqual(new Set(["yes"]));
  expect(connections()).toBeLessThanOrEqual(4);
  expect(pool.isRefused).toBe(false);
});

test("a server that speaks HTTP/1.1 alone is asked once whether it speaks more, and nothing else", async () => {
  let requests = 0;
  const server = createHttps(tls, () => {
    requests++;
  });
  const { pool, connections } = await poolFor(server);
  expect(await Promise.all([ask(pool), ask(pool), ask(pool)])).toEqual([undefined, undefined, undefined]);
  expect([await ask(pool), pool.isRefused, connections(), requests]).toEqual([undefined, true, 1, 0]);
  expect(new Http2Pool({ url: new URL("http://127.0.0.1:1"), connectMs: 1, idleMs: 1 }).isRefused).toBe(true);
});

test("what a server says it has not seen is sent again, a few times", async () => {
  let left = 2;
  let seen = 0;
  const server = http2Server((stream, path) => {
    seen++;
    if (path === "/never" || left-- > 0) stream.close(constants.NGHTTP2_REFUSED_STREAM);
    else yes(stream);
  });
  const { pool } = await poolFor(server);
  expect(await ask(pool)).toBe("yes");
  expect(seen).toBe(3);
  await expect(ask(pool, "/never")).rejects.toMatchObject({ code: "ECONNRESET" });
  expect(seen).toBe(7);
});

test("after a server went away, or its connection broke, the next request finds it again", async () => {
  const sessions: ServerHttp2Session[] = [];
  const server = http2Server((stream, path) => {
    if (path !== "/never") yes(stream);
  });
  server.on("session", (session) => sessions.push(session));
  const { pool, connections, cut } = await poolFor(server);
  await ask(pool);
  const pending = ask(pool, "/never");
  await Promise.all([expect(pending).rejects.toMatchObject({ code: "ECONNRESET" }), ask(pool).then(cut)]);
  await ask(pool);
  sessions.at(-1)?.close();
  await expect.poll(() => ask(pool).then(() => connections())).toBe(3);
});

test("a request whose caller gives up ends, also while a connection is made", async () => {
  const silent = await poolFor(createServer());
  const stop = new AbortController();
  const waiting = ask(silent.pool, "/", stop.signal);
  const other = ask(silent.pool);
  stop.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  await expect(ask(silent.pool, "/", stop.signal)).rejects.toThrow("enough");
  silent.cut();
  await expect.poll(() => silent.connections()).toBe(1);
  silent.cut();
  await expect(other).rejects.toMatchObject({ code: "ECONNRESET" });

  const { pool } = await poolFor(http2Server((stream, path) => (path === "/never" ? undefined : yes(stream))));
  await ask(pool);
  const late = new AbortController();
  const never = ask(pool, "/never", late.signal);
  late.abort(new Error("late"));
  await expect(never).rejects.toThrow("late");
  expect(await ask(pool)).toBe("yes");
});

test("what is under way ends as told: after its answer, or at once", async () => {
  const held: ServerHttp2Stream[] = [];
  const server = (): Http2SecureServer =>
    http2Server((stream, path) => (path === "/held" ? void held.push(stream) : yes(stream)));
  const retired = (await poolFor(server())).pool;
  await ask(retired);
  const last = ask(retired, "/held");
  await expect.poll(() => held).toHaveLength(1);
  retired.retire();
  await expect(ask(retired)).rejects.toMatchObject({ code: "Closed" });
  for (const stream of held.splice(0)) yes(stream);
  expect(await last).toBe("yes");

  const destroyed = (await poolFor(server())).pool;
  await ask(destroyed);
  const cut = ask(destroyed, "/held");
  await expect.poll(() => held).toHaveLength(1);
  destroyed.destroy(new Error("over"));
  await expect(cut).rejects.toThrow("over");
  await expect(ask(destroyed)).rejects.toThrow("over");
});

test("who cannot be reached, does not answer in time or is not who it says is told as that, and asked again the next time", async () => {
  const strange = await poolFor(http2Server(yes), { tls: {} });
  await expect(ask(strange.pool)).rejects.toMatchObject({
    code: expect.stringMatching(/VERIFY|CERT|SIGNED/) as unknown,
  });
  const silent = await poolFor(createServer(), { connectMs: 50 });
  await expect(ask(silent.pool)).rejects.toMatchObject({ code: "ConnectTimeout" });
  await expect(ask(silent.pool)).rejects.toMatchObject({ code: "ConnectTimeout" });
  expect([silent.connections(), silent.pool.isRefused]).toEqual([2, false]);
});

test("a connection that nobody uses is closed", async () => {
  const server = http2Server(yes);
  const closed = new Promise((resolve) => server.on("session", (session) => session.once("close", resolve)));
  const { pool } = await poolFor(server, { idleMs: 30 });
  await ask(pool);
  await closed;
});

import { once } from "node:events";
import { type ClientHttp2Session, connect, createServer, type Http2Server, type IncomingHttpHeaders } from "node:http2";
import { connect as connectPlain } from "node:net";
import { afterEach, expect, test } from "vitest";
import { readState } from "./admin-client.unsafe.js";
import { ask, Cleanup, eventually, fakeBackend, startGateway } from "./fixture.js";
import type { RouteInput } from "./table.js";

const cleanups: Cleanup[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup.run();
});

function begin(): Cleanup {
  const cleanup = new Cleanup();
  cleanups.push(cleanup);
  return cleanup;
}

interface Http2Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: string;
}

async function client(cleanup: Cleanup, port: number): Promise<ClientHttp2Session> {
  const session = connect(`http://127.0.0.1:${port}`);
  await once(session, "connect");
  cleanup.add(async () => session.destroy());
  return session;
}

function call(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  body?: string | Buffer,
): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === undefined });
    let answered: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const pieces: Buffer[] = [];
    stream.on("response", (given) => {
      answered = given;
    });
    stream.on("trailers", (given) => {
      trailers = given;
    });
    stream.on("data", (piece: Buffer) => pieces.push(piece));
    stream.on("error", reject);
    stream.on("close", () => resolve({ headers: answered, trailers, body: Buffer.concat(pieces).toString() }));
    if (body !== undefined) stream.end(body);
  });
}

/** A gRPC server, as far as HTTP/2 goes: echoes messages as they come and ends with a status. */
async function grpcServer(
  cleanup: Cleanup,
  name: string,
  code = "0",
): Promise<{ address: string; server: Http2Server; seen: string[]; serving: { status: number } }> {
  const seen: string[] = [];
  const serving = { status: 1 };
  const server = createServer();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    const path = headers[":path"] ?? "";
    stream.respond({ ":status": 200, "content-type": "application/grpc", "x-server": name }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": code, "grpc-message": "fine" }));
    if (path === "/grpc.health.v1.Health/Check") {
      stream.resume();
      stream.end(Buffer.from([0, 0, 0, 0, 2, 8, serving.status]));
      return;
    }
    seen.push(`${headers[":authority"]} ${path} ${String(headers["te"])} ${String(headers["x-forwarded-for"])}`);
    stream.on("data", (piece: Buffer) => stream.write(piece));
    stream.on("end", () => stream.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  cleanup.add(async () => {
    server.close();
    for (const session of sessions) session.destroy();
  });
  const bound = server.address();
  return { address: `127.0.0.1:${typeof bound === "object" ? bound?.port : 0}`, server, seen, serving };
}

test("clients that speak HTTP/2 reach backends that speak HTTP/1.1: heads, bodies both ways, answers of the gateway's own", async () => {
  const cleanup = begin();
  const backend = await fakeBackend(cleanup, (request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      if (request.url === "/v2/known") response.setHeader("content-length", "5");
      response.write(
        request.url === "/v2/known" ? "12345" : `${request.method} ${request.url} ${request.headers.host} `,
      );
      response.end(request.url === "/v2/known" ? undefined : String(Buffer.concat(pieces).length));
    });
  });
  const route: RouteInput = {
    id: "r",
    listener: "head",
    path: "/models/",
    rewrite: "/",
    nameBackend: true,
    backends: [{ name: "a", host: "inner.example.org", addresses: [backend.address] }],
  };
  const { port, gateway } = await startGateway(cleanup, [route]);
  const session = await client(cleanup, port);
  const big = Buffer.alloc(300_000, "x");

  const posted = await call(session, { ":method": "POST", ":path": "/models/v2/infer" }, big);
  const known = await call(session, { ":path": "/models/v2/known" });
  const many = await Promise.all(
    Array.from({ length: 30 }, (_, index) => call(session, { ":method": "POST", ":path": `/models/${index}` }, "y")),
  );
  const none = await call(session, { ":path": "/elsewhere" });

  expect(posted.headers).toMatchObject({ ":status": 200, "x-argosy-backend": "a", "set-cookie": ["a=1", "b=2"] });
  expect(posted.body).toBe("POST /v2/infer inner.example.org 300000");
  expect(known).toMatchObject({ body: "12345", headers: { "content-length": "5" } });
  expect(many.map((answer) => answer.body)).toEqual(many.map((_, index) => `POST /${index} inner.example.org 1`));
  expect(none.headers).toMatchObject({ ":status": 404, "x-argosy-gateway": "NoRoute" });
  expect(gateway.state().routes[0]?.backends[0]).toMatchObject({ requests: 32, inFlight: 0 });
});

const grpcRoute = (
  backends: readonly { name: string; address: string }[],
  more: Partial<RouteInput> = {},
): RouteInput => ({
  id: "r",
  listener: "head",
  path: "/",
  protocol: "h2",
  nameBackend: true,
  backends: backends.map(({ name, address }) => ({
    name,
    host: `${name}.example.org`,
    addresses: [address],
    health: { grpc: "", intervalMs: 20, timeoutMs: 500 },
  })),
  ...more,
});

test("gRPC passes where backends speak HTTP/1.1 to others", async () => {
  const cleanup = begin();
  const one = await grpcServer(cleanup, "one");
  const { protocol: _, ...route } = grpcRoute([{ name: "one", ...one }]);
  const { port } = await startGateway(cleanup, [route]);
  const session = await client(cleanup, port);
  const headers = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };

  const stream = session.request({ ...headers, ":path": "/inference.GRPCInferenceService/ModelStreamInfer" });
  stream.end();
  stream.resume();
  const [answer] = await once(stream, "response");
  expect(answer).toMatchObject({ ":status": 200, "x-server": "one" });
});

test("gRPC passes: both directions flow at once, trailers end the call, and calls split over backends", async () => {
  const cleanup = begin();
  const one = await grpcServer(cleanup, "one");
  const two = await grpcServer(cleanup, "two");
  const { port } = await startGateway(cleanup, [
    grpcRoute([
      { name: "one", ...one },
      { name: "two", ...two },
    ]),
  ]);
  const session = await client(cleanup, port);
  const headers = {
    ":method": "POST",
    ":path": "/inference.GRPCInferenceService/ModelStreamInfer",
    "content-type": "application/grpc",
    te: "trailers",
  };

  const stream = session.request(headers);
  const said: string[] = [];
  stream.setEncoding("utf8");
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (given) => {
    trailers = given;
  });
  for (const word of ["a", "b", "c"]) {
    stream.write(word);
    // The echo of one message comes before the next one is sent.
    said.push(String((await once(stream, "data"))[0]));
  }
  stream.end();
  await once(stream, "close");
  const others = await Promise.all(Array.from({ length: 5 }, () => call(session, headers, "x")));

  expect(said).toEqual(["a", "b", "c"]);
  expect(trailers).toMatchObject({ "grpc-status": "0", "grpc-message": "fine" });
  const servers = others.map((answer) => answer.headers["x-server"]);
  expect(servers.filter((name) => name === "one").length + one.seen.length).toBeGreaterThanOrEqual(3);
  expect(new Set(servers)).toEqual(new Set(["one", "two"]));
  expect([...one.seen, ...two.seen][0]).toMatch(
    /^(one|two)\.example\.org \/inference\.GRPCInferenceService\/ModelStreamInfer trailers 127\.0\.0\.1$/,
  );
});

test("a gRPC server that says it is not serving, or is gone, gets no calls; with none left the client hears UNAVAILABLE", async () => {
  const cleanup = begin();
  const one = await grpcServer(cleanup, "one");
  const two = await grpcServer(cleanup, "two");
  const { port, gateway } = await startGateway(cleanup, [
    grpcRoute([
      { name: "one", ...one },
      { name: "two", ...two },
    ]),
  ]);
  const session = await client(cleanup, port);
  const headers = { ":method": "POST", ":path": "/x", "content-type": "application/grpc", te: "trailers" };
  one.serving.status = 2;
  await eventually(() => gateway.state().routes[0]?.backends[0]?.healthy === false, "the sick one is out");
  expect(gateway.state().routes[0]?.backends[0]?.reason).toContain("not serving (2)");
  const answers = await Promise.all(Array.from({ length: 4 }, () => call(session, headers, "x")));
  expect(new Set(answers.map((answer) => answer.headers["x-server"]))).toEqual(new Set(["two"]));
  one.serving.status = 1;
  await eventually(() => gateway.state().routes[0]?.backends[0]?.healthy === true, "it is back");
  two.server.close();
  await cleanup.run();

  const later = begin();
  const { port: emptyPort } = await startGateway(later, [grpcRoute([{ name: "gone", address: "127.0.0.1:9" }])]);
  const answer = await call(await client(later, emptyPort), headers, "x");
  expect(answer.headers).toMatchObject({ ":status": 200, "grpc-status": "14" });
});

test("a client that speaks HTTP/1.1 is told what a route with HTTP/2 backends wants", async () => {
  const cleanup = begin();
  const one = await grpcServer(cleanup, "one");
  const { port } = await startGateway(cleanup, [grpcRoute([{ name: "one", ...one }])]);
  const answer = await ask(port, "/x", { method: "POST", body: "y" });
  expect(answer.status).toBe(426);
  expect(answer.body).toContain("NeedsHttp2");
});

test("a copy that was answered before its original is held against it when that ends, and is told as news then", async () => {
  const cleanup = begin();
  const next = await grpcServer(cleanup, "next");
  const first = await grpcServer(cleanup, "first");
  let release = (): void => undefined;
  first.server.removeAllListeners("stream");
  first.server.on("stream", (stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.resume();
    release = () => stream.end();
  });
  const { port, gateway, directory } = await startGateway(cleanup, [
    {
      ...grpcRoute([]),
      backends: [{ name: "first", addresses: [first.address] }],
      shadows: [{ name: "next", addresses: [next.address] }],
    },
  ]);
  const shadow = () => gateway.state().routes[0]?.shadows?.[0];
  const headers = { ":method": "POST", ":path": "/x.Y/Z", "content-type": "application/grpc", te: "trailers" };
  const called = call(await client(cleanup, port), headers, "hello");
  await eventually(() => shadow()?.answered === 1, "the copy is answered");
  const { mark } = await readState(`${directory}/admin.sock`, { now: true });
  release();
  await called;
  await eventually(() => shadow()?.compared === 1, "it is held against its original");

  const news = await readState(`${directory}/admin.sock`, { now: true, since: mark });

  expect(news.routes.map(({ shadows }) => shadows?.[0]?.compared)).toEqual([1]);
});

test("calls are copied when they are whole, and what became of them is held against the originals by gRPC's status", async () => {
  const cleanup = begin();
  const [first, next] = [await grpcServer(cleanup, "first"), await grpcServer(cleanup, "next", "13")];
  const { port, gateway } = await startGateway(cleanup, [
    grpcRoute([{ name: "first", ...first }], {
      shadows: [
        { name: "next", host: "next.example.org", addresses: [next.address], percent: 50, maxBodyBytes: 1000 },
        { name: "gone", addresses: ["127.0.0.1:9"], percent: 25 },
      ],
    }),
  ]);
  const session = await client(cleanup, port);
  const headers = { ":method": "POST", ":path": "/x.Y/Infer", "content-type": "application/grpc", te: "trailers" };
  const shadows = () => gateway.state().routes[0]?.shadows ?? [];
  for (let turn = 0; turn < 8; turn++)
    expect((await call(session, headers, `message ${turn}`)).headers["x-server"]).toBe("first");
  await eventually(() => shadows()[0]?.compared === 4 && shadows()[1]?.failures === 2, "they are counted");
  expect(shadows()[0]).toMatchObject({ copied: 4, answered: 4, differing: 4, byClass: { "5xx": 4 } });
  expect(next.seen).toEqual(Array.from({ length: 4 }, () => "next.example.org /x.Y/Infer trailers 127.0.0.1"));
  expect(first.seen).toHaveLength(8);
  expect(gateway.state().routes[0]?.backends[0]).toMatchObject({ requests: 8, failures: 0 });

  // A stream that is still open is not copied yet, and one that breaks off never is.
  const socket = connectPlain(port, "127.0.0.1");
  const other = connect(`http://127.0.0.1:${port}`, { createConnection: () => socket });
  other.on("error", () => undefined);
  for (let turn = 0; turn < 2; turn++) {
    const open = other.request(headers);
    open.on("error", () => undefined);
    open.write("begun");
  }
  await eventually(() => shadows()[0]?.inFlight === 1, "one is to be copied");
  socket.destroy();
  await eventually(() => shadows()[0]?.skipped.unfinished === 1, "it is given up");
  await call(session, headers, "y".repeat(5000));
  await call(session, headers, "y".repeat(5000));
  await eventually(() => shadows()[0]?.skipped.tooLarge === 1, "a long one is not copied");
  expect(shadows()[0]).toMatchObject({ copied: 4, inFlight: 0 });
});

import { readFile, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { callAdmin } from "./admin-client.unsafe.js";
import {
  ask,
  Cleanup,
  eventually,
  exchangeBytes,
  type FakeBackend,
  fakeBackend,
  parseAnswer,
  startGateway,
  temporaryDirectory,
} from "./fixture.js";
import type { BackendInput, RouteInput } from "./table.js";

const cleanups: Cleanup[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup.run();
});

function begin(): Cleanup {
  const cleanup = new Cleanup();
  cleanups.push(cleanup);
  return cleanup;
}

function routeTo(backends: readonly BackendInput[], more: Partial<RouteInput> = {}): RouteInput {
  return { id: "r", listener: "head", path: "/", backends, ...more };
}

const echo = (cleanup: Cleanup): Promise<FakeBackend> =>
  fakeBackend(cleanup, (request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      response.setHeader("content-type", "application/json");
      response.end(
        JSON.stringify({
          method: request.method,
          url: request.url,
          headers: request.headers,
          body: Buffer.concat(pieces).toString("latin1"),
        }),
      );
    });
  });

describe("relaying", () => {
  test("rewrites the prefix, sets Host per backend and tells the backend where the request came from", async () => {
    const cleanup = begin();
    const backend = await echo(cleanup);
    const { port } = await startGateway(cleanup, [
      routeTo([{ name: "a", addresses: [backend.address], host: "m.demo.cloud.argosy.localhost" }], {
        path: "/t9k/demo/m/",
        rewrite: "/",
      }),
    ]);

    const answer = await ask(port, "/t9k/demo/m/v2/models/m/infer?x=1", {
      method: "POST",
      body: "hello",
      headers: ["X-Forwarded-For: 6.6.6.6", "Connection: X-Hop", "X-Hop: 1", "TE: trailers", "X-Own: kept"],
    });

    const seen = JSON.parse(answer.body);
    expect(answer.status).toBe(200);
    expect(seen).toMatchObject({ method: "POST", url: "/v2/models/m/infer?x=1", body: "hello" });
    expect(seen.headers).toMatchObject({
      host: "m.demo.cloud.argosy.localhost",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-host": "example.org",
      "x-forwarded-proto": "http",
      "x-forwarded-prefix": "/t9k/demo/m",
      "x-own": "kept",
    });
    expect(seen.headers).not.toHaveProperty("x-hop");
    expect(seen.headers).not.toHaveProperty("te");
  });

  test("chooses the exact host before the wildcard, and the longest path in whole segments", async () => {
    const cleanup = begin();
    const backends = await Promise.all(
      ["one", "two", "three", "four"].map((name) => fakeBackend(cleanup, (_request, response) => response.end(name))),
    );
    const [one, two, three, four] = backends.map((backend) => backend.address);
    const { port } = await startGateway(cleanup, [
      {
        id: "1",
        listener: "head",
        hosts: ["a.example.org"],
        path: "/",
        backends: [{ name: "b", addresses: [one ?? ""] }],
      },
      {
        id: "2",
        listener: "head",
        hosts: ["*.example.org"],
        path: "/",
        backends: [{ name: "b", addresses: [two ?? ""] }],
      },
      {
        id: "3",
        listener: "head",
        hosts: ["a.example.org"],
        path: "/models",
        backends: [{ name: "b", addresses: [three ?? ""] }],
      },
      {
        id: "4",
        listener: "head",
        hosts: ["a.example.org"],
        path: "/models/x",
        exact: true,
        backends: [{ name: "b", addresses: [four ?? ""] }],
      },
    ]);
    const get = async (host: string, path: string): Promise<string> => (await ask(port, path, { host })).body;

    expect(await get("a.example.org", "/modelsx")).toBe("one");
    expect(await get("A.Example.org:8080", "/models/y")).toBe("three");
    expect(await get("a.example.org", "/models")).toBe("three");
    expect(await get("a.example.org", "/models/x")).toBe("four");
    expect(await get("a.example.org", "/models/../other")).toBe("one");
    expect(await get("b.example.org", "/models")).toBe("two");
    const missing = await ask(port, "/", { host: "example.net" });
    expect(missing.status).toBe(404);
    expect(JSON.parse(missing.body).error.message).toContain("example.net");
  });

  test("streams both ways without waiting for the end", async () => {
    const cleanup = begin();
    const backend = await fakeBackend(cleanup, (request, response) => {
      response.write("ready;");
      request.on("data", (piece: Buffer) => response.write(`<${piece.toString()}>`));
      request.on("end", () => response.end("done"));
    });
    const { port } = await startGateway(cleanup, [routeTo([{ name: "a", addresses: [backend.address] }])]);
    const socket = connect(port, "127.0.0.1");
    cleanup.add(async () => socket.destroy());
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });

    socket.write("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    await eventually(() => text.includes("ready;"), "the answer begins before the request ends");
    socket.write("3\r\none\r\n");
    await eventually(() => text.includes("<one>"), "the first piece comes back");
    socket.write("0\r\n\r\n");
    await eventually(() => text.includes("done"), "the end comes");
  });

  test("carries megabytes unchanged, both ways, through slow readers", async () => {
    const cleanup = begin();
    const backend = await fakeBackend(cleanup, (request, response) => void request.pipe(response));
    const { port } = await startGateway(cleanup, [routeTo([{ name: "a", addresses: [backend.address] }])]);
    const body = Buffer.alloc(3_000_000, "0123456789abcdef").toString("latin1");

    const answer = await ask(port, "/x", { method: "POST", body });

    expect(answer.body.length).toBe(body.length);
    expect(answer.body === body).toBe(true);
  });

  test("answers pipelined requests in order on one connection", async () => {
    const cleanup = begin();
    const backend = await echo(cleanup);
    const { port } = await startGateway(cleanup, [routeTo([{ name: "a", addresses: [backend.address] }])]);
    const requests = Array.from(
      { length: 50 },
      (_, index) => `POST /${index} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi`,
    ).join("");

    const text = await exchangeBytes(port, [requests, "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]);

    const urls = [...text.matchAll(/"url":"\/(\w+)"/g)].map((match) => match[1]);
    expect(urls).toEqual([...Array.from({ length: 50 }, (_, index) => String(index)), "last"]);
  });

  test("serves HTTP/1.0, HEAD, 204 and answers without a length", async () => {
    const cleanup = begin();
    const backend = await fakeBackend(cleanup, (request, response) => {
      if (request.url === "/empty") response.writeHead(204).end();
      else response.end("body");
    });
    const raw = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
    });
    await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", () => resolve()));
    cleanup.add(async () => raw.close());
    const bound = raw.address();
    const rawPort = typeof bound === "object" && bound !== null ? bound.port : 0;
    const { port } = await startGateway(cleanup, [
      routeTo([{ name: "a", addresses: [backend.address] }]),
      { id: "raw", listener: "head", path: "/raw", backends: [{ name: "a", addresses: [`127.0.0.1:${rawPort}`] }] },
    ]);

    const old = await exchangeBytes(port, "GET / HTTP/1.0\r\n\r\n");
    expect(parseAnswer(old)).toMatchObject({ status: 200, body: "body" });
    expect(parseAnswer(old).headers.get("connection")).toBe("close");
    expect((await ask(port, "/", { method: "HEAD" })).body).toBe("");
    expect((await ask(port, "/empty")).status).toBe(204);
    expect((await ask(port, "/raw")).body).toBe("until the end");
  });

  test("answers Expect: 100-continue itself", async () => {
    const cleanup = begin();
    const backend = await echo(cleanup);
    const { port } = await startGateway(cleanup, [routeTo([{ name: "a", addresses: [backend.address] }])]);

    const socket = connect(port, "127.0.0.1");
    cleanup.add(async () => socket.destroy());
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    await eventually(() => text === "HTTP/1.1 100 Continue\r\n\r\n", "the client may go on");
    socket.write("data");

    await eventually(() => text.includes('"body":"data"'), "the answer");
    expect(text).not.toContain('"expect"');
  });

  test("passes WebSockets through", async () => {
    const cleanup = begin();
    const backend = await fakeBackend(cleanup, (_request, response) => response.end());
    const sockets = new WebSocketServer({ server: backend.server });
    sockets.on("connection", (socket) =>
      socket.on("message", (data) => socket.send(`echo ${Buffer.from(data as Buffer).toString()}`)),
    );
    cleanup.add(async () => sockets.close());
    const { port, gateway } = await startGateway(cleanup, [routeTo([{ name: "a", addresses: [backend.address] }])]);

    const socket = new WebSocket(`ws://127.0.0.1:${port}/stream`);
    const messages: string[] = [];
    socket.on("message", (data) => messages.push(Buffer.from(data as Buffer).toString()));
    await new Promise((resolve) => socket.once("open", resolve));
    socket.send("one");
    socket.send("x".repeat(200_000));
    await eventually(() => messages.length === 2, "both messages come back");

    expect(messages[0]).toBe("echo one");
    expect(messages[1]?.length).toBe(200_005);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.close();
    await closed;
    await eventually(() => gateway.state().routes[0]?.backends[0]?.inFlight === 0, "the tunnel is accounted for");
  });
});

describe("weights", () => {
  test("30/70 is exact over a hundred requests, in any hundred", async () => {
    const cleanup = begin();
    const [light, heavy] = await Promise.all([
      fakeBackend(cleanup, (_q, r) => r.end("l")),
      fakeBackend(cleanup, (_q, r) => r.end("h")),
    ]);
    const { port, gateway } = await startGateway(cleanup, [
      routeTo([
        { name: "light", addresses: [light.address], weight: 30 },
        { name: "heavy", addresses: [heavy.address], weight: 70 },
      ]),
    ]);

    for (let round = 1; round <= 2; round++) {
      for (let index = 0; index < 100; index++) await ask(port, "/");
      expect([light.requests, heavy.requests]).toEqual([30 * round, 70 * round]);
    }
    expect(
      gateway.state().routes[0]?.backends.map((backend) => [backend.requests, backend.weightEffective, backend.share]),
    ).toEqual([
      [60, 30, 0.3],
      [140, 70, 0.7],
    ]);
  });

  test("addresses of one backend take turns", async () => {
    const cleanup = begin();
    const pods = await Promise.all([1, 2, 3].map(() => fakeBackend(cleanup, (_q, r) => r.end())));
    const { port } = await startGateway(cleanup, [routeTo([{ name: "a", addresses: pods.map((pod) => pod.address) }])]);

    for (let index = 0; index < 9; index++) await ask(port, "/");

    expect(pods.map((pod) => pod.requests)).toEqual([3, 3, 3]);
  });
});

describe("failures", () => {
  test("a dead backend gets no traffic and loses no request; it is back when it answers again", async () => {
    const cleanup = begin();
    const stays = await fakeBackend(cleanup, (_q, r) => r.end("stays"));
    let dies = await fakeBackend(cleanup, (_q, r) => r.end("dies"));
    const { port, gateway } = await startGateway(cleanup, [
      routeTo([
        { name: "stays", addresses: [stays.address], weight: 30, health: { path: "/ready", intervalMs: 20 } },
        { name: "dies", addresses: [dies.address], weight: 70, health: { path: "/ready", intervalMs: 20 } },
      ]),
    ]);
    for (let index = 0; index < 10; index++) await ask(port, "/");
    expect(dies.requests).toBe(7);

    await dies.close();
    for (let index = 0; index < 50; index++)
      expect((await ask(port, "/", { method: "POST", body: "x" })).body).toBe("stays");

    const [, down] = gateway.state().routes[0]?.backends ?? [];
    expect(down).toMatchObject({ healthy: false, weight: 70, weightEffective: 0, share: 0 });
    expect(down?.reason).toContain("ECONNREFUSED");
    dies = await fakeBackend(cleanup, (_q, r) => r.end("dies"), dies.port);
    await eventually(() => gateway.state().routes[0]?.backends[1]?.healthy === true, "the backend is back");
    for (let index = 0; index < 10; index++) await ask(port, "/");
    expect(dies.requests).toBe(7);
  });

  test("a backend that accepts but does not answer is taken out by its checks", async () => {
    const cleanup = begin();
    const good = await fakeBackend(cleanup, (_q, r) => r.end("good"));
    let isHung = false;
    const hangs = await fakeBackend(cleanup, (_q, r) => {
      if (!isHung) r.end("hangs");
    });
    const health = { path: "/ready", intervalMs: 30, timeoutMs: 60 };
    const { port, gateway } = await startGateway(cleanup, [
      routeTo([
        { name: "good", addresses: [good.address], health },
        { name: "hangs", addresses: [hangs.address], health },
      ]),
    ]);

    isHung = true;
    const waiting = [ask(port, "/"), ask(port, "/")];
    await eventually(() => gateway.state().routes[0]?.backends[1]?.healthy === false, "it is taken out");

    expect(gateway.state().routes[0]?.backends[1]?.reason).toContain("no answer to the health check");
    expect((await Promise.all(waiting)).map((answer) => answer.body)).toEqual(["good", "good"]);
    for (let index = 0; index < 5; index++) expect((await ask(port, "/")).body).toBe("good");
  });

  test("503 says for each backend why; a check that answers 503 passes its explanation on", async () => {
    const cleanup = begin();
    const sick = await fakeBackend(cleanup, (_q, r) =>
      r.writeHead(503).end(JSON.stringify({ error: { message: "model is loading" } })),
    );
    const chunked = await fakeBackend(cleanup, (_q, r) => {
      r.writeHead(500).write("out of memory");
      r.end();
    });
    const { port, gateway } = await startGateway(cleanup, [
      routeTo([
        { name: "sick", addresses: [sick.address], health: { path: "/ready", intervalMs: 20 } },
        { name: "chunked", addresses: [chunked.address], health: { path: "/ready", intervalMs: 20 } },
        { name: "empty", addresses: [], reason: "no ready pod" },
        { name: "off", addresses: [sick.address], weight: 0, reason: "drained" },
      ]),
    ]);
    const isOut = (index: number): boolean => gateway.state().routes[0]?.backends[index]?.healthy === false;
    await eventually(() => isOut(0) && isOut(1), "the checks fail");

    const answer = await ask(port, "/");

    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("1");
    const { error } = JSON.parse(answer.body);
    expect(error).toMatchObject({ code: 503, reason: "NoHealthyBackend", route: "r" });
    expect(error.message).toMatch(
      /sick: .*GET \/ready answered 503 \(model is loading\); chunked: .*answered 500 \(out of memory\); empty: no ready pod; off: .*drained/,
    );
  });

  test("a connection lost before the answer: idempotent requests are repeated, others answered 502 unless the route allows it", async () => {
    const cleanup = begin();
    const good = await fakeBackend(cleanup, (_q, r) => r.end("good"));
    const breaks = await fakeBackend(cleanup, (q) => q.socket.destroy());
    const backends = [
      { name: "breaks", addresses: [breaks.address], weight: 1000 },
      { name: "good", addresses: [good.address], weight: 1 },
    ];
    const { port, gateway } = await startGateway(cleanup, [
      routeTo(backends),
      { id: "again", listener: "head", path: "/again", retry: { nonIdempotent: true }, backends },
    ]);

    expect((await ask(port, "/")).body).toBe("good");
    const failed = await ask(port, "/", { method: "POST", body: "x" });
    expect(failed.status).toBe(502);
    expect(JSON.parse(failed.body).error).toMatchObject({ reason: "BackendFailed" });
    expect((await ask(port, "/again", { method: "POST", body: "x" })).body).toBe("good");
    await eventually(
      () => gateway.state().routes.every((route) => route.backends.every((backend) => backend.inFlight === 0)),
      "nothing is in flight",
    );
  });

  test("behind a gateway without a backend, requests go to another gateway, POST too; without another its reason is passed on", async () => {
    const cleanup = begin();
    const good = await fakeBackend(cleanup, (_q, r) => r.end("good"));
    const empty = await startGateway(cleanup, [
      { id: "e", listener: "head", backends: [{ name: "pod", addresses: [], reason: "no ready pod" }] },
    ]);
    const backends = [
      { name: "empty", addresses: [`127.0.0.1:${empty.port}`], weight: 9 },
      { name: "good", addresses: [good.address], weight: 1 },
    ];
    const { port, gateway } = await startGateway(cleanup, [
      routeTo(backends),
      { id: "alone", listener: "head", path: "/alone", backends: backends.slice(0, 1) },
    ]);

    const alone = await ask(port, "/alone");
    expect([alone.status, JSON.parse(alone.body).error.message]).toEqual([
      503,
      "no backend can take the request (pod: no ready pod)",
    ]);
    const pinned = await startGateway(cleanup, [
      { ...routeTo(backends.slice(1)), pin: { by: "header", name: "x-model", backends: { next: "next" } } },
    ]);
    const next = await ask(pinned.port, "/", { headers: ["X-Model: next"] });
    expect([next.status, JSON.parse(next.body).error.message]).toEqual([
      503,
      "the request is for next alone, by the header x-model: it does not answer, or is not there",
    ]);
    for (let index = 0; index < 10; index++)
      expect((await ask(port, "/", { method: "POST", body: "x" })).body).toBe("good");
    expect(gateway.state().routes[0]?.backends[0]).toMatchObject({ failures: 1, retries: 1 });
  });

  test("no answer in time is 504; the deadline is the route's", async () => {
    const cleanup = begin();
    const silent = await fakeBackend(cleanup, () => {});
    const { port } = await startGateway(cleanup, [
      routeTo([{ name: "a", addresses: [silent.address] }], { timeouts: { responseMs: 50 } }),
    ]);

    const answer = await ask(port, "/");

    expect(answer.status).toBe(504);
    expect(JSON.parse(answer.body).error.message).toContain("no answer within 50 ms");
  });

  test("an answer that breaks off cuts the client's connection instead of ending it well", async () => {
    const cleanup = begin();
    const backend = await fakeBackend(cleanup, (q, r) => {
      r.writeHead(200, { "content-length": "1000" });
      r.write("part");
      setImmediate(() => q.socket.destroy());
    });
    const { port } = await startGateway(cleanup, [routeTo([{ name: "a", addresses: [backend.address] }])]);

    const text = await exchangeBytes(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");

    expect(parseAnswer(text).body).toBe("part");
  });

  test("a client that goes away takes its backend request with it", async () => {
    const cleanup = begin();
    let isAborted = false;
    const backend = await fakeBackend(cleanup, (q) => {
      q.on("close", () => {
        isAborted = true;
      });
    });
    const { port, gateway } = await startGateway(cleanup, [routeTo([{ name: "a", addresses: [backend.address] }])]);
    const socket = connect(port, "127.0.0.1");
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await eventually(() => backend.requests === 1, "the request is there");

    socket.destroy();

    await eventually(() => isAborted, "the backend sees the end");
    expect(gateway.state().totals["clientAborts"]).toBe(1);
  });
});

// Malformed requests: tests/framing.test.ts.
describe("hostile input", () => {
  test("a head that does not come in time is 408; a body over the route's limit is 413", async () => {
    const cleanup = begin();
    const backend = await echo(cleanup);
    const { port } = await startGateway(
      cleanup,
      [routeTo([{ name: "a", addresses: [backend.address] }], { maxBodyBytes: 10 })],
      { limits: { headMs: 50 } },
    );

    expect(parseAnswer(await exchangeBytes(port, "GET / HTTP/1.1\r\nHo")).status).toBe(408);
    expect((await ask(port, "/", { method: "POST", body: "x".repeat(11) })).status).toBe(413);
    const chunked = await exchangeBytes(port, [
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
      "9\r\nwonderful\r\n",
    ]);
    expect(parseAnswer(chunked).status).toBe(413);
  });

  test("an answer with an ambiguous length is 502, and a second answer on a connection is never given to another request", async () => {
    const cleanup = begin();
    const raw = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (data: Buffer) => {
        if (data.toString().startsWith("GET /two"))
          socket.write(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
          );
        else if (data.toString().startsWith("GET /three"))
          socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthree");
        else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
      });
    });
    await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", () => resolve()));
    cleanup.add(async () => raw.close());
    const bound = raw.address();
    const { port } = await startGateway(cleanup, [
      routeTo([
        { name: "a", addresses: [`127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`] },
      ]),
    ]);

    expect((await ask(port, "/one")).status).toBe(502);
    expect((await ask(port, "/two")).body).toBe("one");
    expect((await ask(port, "/three")).body).toBe("three");
  });
});

describe("the table", () => {
  test("a change drops no request and keeps counters; running requests end where they began", async () => {
    const cleanup = begin();
    const one = await fakeBackend(cleanup, (_q, r) => r.end("one"));
    const two = await fakeBackend(cleanup, (_q, r) => r.end("two"));
    const { port, setRoutes, gateway } = await startGateway(cleanup, [
      routeTo([{ name: "a", addresses: [one.address] }]),
    ]);
    const statuses: number[] = [];
    let isRunning = true;
    const load = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (isRunning) statuses.push((await ask(port, "/")).status);
      }),
    );

    for (let index = 0; index < 20; index++)
      expect(
        await setRoutes([
          routeTo([{ name: "a", addresses: [(index % 2 === 0 ? two : one).address], weight: index + 1 }]),
        ]),
      ).toBe("");
    isRunning = false;
    await load;

    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(one.requests + two.requests).toBe(statuses.length);
    expect(gateway.state().routes[0]?.backends[0]?.requests).toBe(statuses.length);
  });

  test("a bad table is refused with its fault, the old one stays, also over a restart", async () => {
    const cleanup = begin();
    const backend = await fakeBackend(cleanup, (_q, r) => r.end("ok"));
    const { port, gateway, directory } = await startGateway(cleanup, [
      routeTo([{ name: "a", addresses: [backend.address] }]),
    ]);
    const file = join(directory, "table.json");
    const bad: readonly (readonly [string, string])[] = [
      ["{", "JSON"],
      [
        JSON.stringify({ version: 1, listeners: [], routes: [routeTo([])] }),
        'route "r" names listener "head", which does not exist',
      ],
      [
        (await readFile(file, "utf8")).replace('"addresses"', '"adresses"'),
        "table.routes[0].backends[0].adresses: unknown field",
      ],
      [(await readFile(file, "utf8")).replace(backend.address, "nonsense"), '"nonsense" is not host:port'],
    ];
    for (const [text, fault] of bad) {
      await writeFile(file, text);
      expect(await gateway.reload()).toContain(fault);
      expect((await ask(port, "/")).body).toBe("ok");
    }

    await gateway.close(0);
    const again = await startGatewayAsItIs(cleanup, directory);

    expect(again.state().tableError).toContain("is not used");
    expect((await ask(Number(again.state().listeners[0]?.address.split(":").at(-1)), "/")).body).toBe("ok");
  });

  test("the admin socket gives state and metrics; one gateway a directory", async () => {
    const cleanup = begin();
    const backend = await fakeBackend(cleanup, (_q, r) => r.end("ok"));
    const { port, directory } = await startGateway(cleanup, [routeTo([{ name: "a", addresses: [backend.address] }])]);
    await ask(port, "/");
    const socket = join(directory, "admin.sock");

    expect(JSON.parse(await callAdmin(socket, "GET", "/state")).routes[0].backends[0].requests).toBe(1);
    const metrics = await callAdmin(socket, "GET", "/metrics");
    expect(metrics).toContain('argosy_gateway_requests_total{route="r",backend="a",class="2xx"} 1');
    expect(metrics).toContain('argosy_gateway_request_duration_seconds_count{route="r",backend="a"} 1');
    await expect(callAdmin(socket, "GET", "/nothing")).rejects.toThrow("404");
  });

  test("a port in use is reported and taken when it is free; the other listeners are not disturbed", async () => {
    const cleanup = begin();
    const squatter = await fakeBackend(cleanup, (_q, r) => r.end());
    const directory = await temporaryDirectory(cleanup);
    await writeFile(
      join(directory, "table.json"),
      JSON.stringify({
        version: 1,
        routes: [],
        listeners: [
          { name: "a", host: "127.0.0.1", port: squatter.port },
          { name: "b", host: "127.0.0.1", port: 0 },
        ],
      }),
    );
    const gateway = await startGatewayAsItIs(cleanup, directory);
    expect(gateway.state().listeners).toMatchObject([
      { name: "a", listening: false },
      { name: "b", listening: true },
    ]);
    expect(gateway.state().listeners[0]?.reason).toContain("EADDRINUSE");

    await squatter.close();

    await eventually(() => gateway.state().listeners[0]?.listening === true, "the port is taken");
  });
});

async function startGatewayAsItIs(cleanup: Cleanup, directory: string) {
  const { runGateway } = await import("./gateway.js");
  const { systemClock, systemRandom } = await import("../../kernel/clock/index.js");
  const { silentLogger } = await import("../../kernel/log/index.js");
  const gateway = await runGateway({ directory, clock: systemClock, random: systemRandom, log: silentLogger });
  cleanup.add(() => gateway.close(0));
  return gateway;
}

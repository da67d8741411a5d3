import { Agent, request } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import { createServer as createHttpsServer, request as requestTls } from "node:https";
import { connect } from "node:net";
import type { TLSSocket } from "node:tls";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import { unless } from "../../../testing/unless.js";
import { eventually } from "../fixture.js";
import { renderHaproxy } from "./haproxy.js";
import { renderNginx } from "./nginx.js";
import { ask, askTls, closeAll, closing, headRoute, lacking, model, PROGRAMS, start } from "./proxies.fixture.js";
import type { HeadRoute } from "./rendering.js";

afterEach(closeAll);

const count = async (port: number, times: number, path = "/m/x", headers: Record<string, string> = {}) => {
  const counts: Record<string, number> = {};
  for (let turn = 0; turn < times; turn++) {
    const { body } = await ask(port, path, { headers });
    counts[body] = (counts[body] ?? 0) + 1;
  }
  return counts;
};

for (const program of PROGRAMS) {
  const declare = unless(lacking(program));
  declare(
    `${program}: splits by weight, rewrites, sets Host per backend, chooses by host and longest path`,
    async () => {
      const [cloud, edge, other] = [await model("cloud"), await model("edge"), await model("other")];
      const backends = [
        { name: "cloud", host: "m.cloud.example", addresses: [cloud.address], weight: 30, health: { path: "/ready" } },
        {
          name: "edge",
          host: "m.edge.example:8081",
          addresses: [edge.address],
          weight: 70,
          health: { path: "/ready" },
        },
      ];
      const { port } = await start(program, [
        headRoute("all", { path: "/m/", rewrite: "/", nameBackend: true, backends }),
        headRoute("deep", {
          path: "/m/deep/",
          rewrite: "/v2/",
          backends: [{ name: "other", host: "o", addresses: [other.address] }],
        }),
        headRoute("hosted", {
          path: "/m/",
          hosts: ["one.example.org", "*.wild.example.org"],
          backends: [{ name: "other", addresses: [other.address] }],
        }),
        headRoute("beside", {
          path: "/n/",
          hosts: ["*.wild.example.org"],
          backends: [{ name: "other", addresses: [other.address] }],
        }),
        headRoute("empty", { path: "/empty/", rewrite: "/", backends: [{ name: "gone", addresses: [] }] }),
      ]);
      expect(await count(port, 100, "/m/v2/models/digits/infer?x=1%20y")).toEqual({ cloud: 30, edge: 70 });
      expect(cloud.seen[0]).toEqual({
        name: "cloud",
        url: "/v2/models/digits/infer?x=1%20y",
        host: "m.cloud.example",
        forwarded: "any.example.org http",
      });
      expect(edge.seen[0]?.host).toBe("m.edge.example:8081");
      expect((await ask(port, "/m")).status).toBe(200);
      expect([...cloud.seen, ...edge.seen].at(-1)?.url).toMatch(/^\/(v2|$)/);
      await ask(port, "/m/deep/a");
      expect(other.seen.at(-1)).toMatchObject({ url: "/v2/a", host: "o" });
      await ask(port, "/m/b", { headers: { host: "one.example.org:8080" } });
      expect(other.seen.at(-1)).toMatchObject({ url: "/m/b" });
      await ask(port, "/m/c", { headers: { host: "x.wild.example.org" } });
      expect(other.seen.at(-1)).toMatchObject({ url: "/m/c" });
      await ask(port, "/n/d", { headers: { host: "x.wild.example.org" } });
      expect(other.seen.at(-1)).toMatchObject({ url: "/n/d" });
      expect((await ask(port, "/mm/x")).status).toBeGreaterThanOrEqual(404);
      expect((await ask(port, "/empty/x")).status).toBe(503);
      const big = await ask(port, "/m/x", { method: "POST", body: "y".repeat(300_000) });
      expect(big.status).toBe(200);
    },
  );

  declare(
    `${program}: a dead backend loses no request that may be repeated; backups wait for the first ones`,
    async () => {
      const [first, second, spare] = [await model("first"), await model("second"), await model("spare")];
      const health = { path: "/ready", intervalMs: 100 };
      const { port } = await start(program, [
        headRoute("m", {
          path: "/m/",
          rewrite: "/",
          retry: { attempts: 2, nonIdempotent: true },
          backends: [
            { name: "first", host: "f", addresses: [first.address], health },
            { name: "second", host: "s", addresses: [second.address], health },
            { name: "spare", host: "b", addresses: [spare.address], priority: 1, health },
          ],
        }),
      ]);
      expect(await count(port, 10)).toEqual({ first: 5, second: 5 });
      await first.stop();
      const statuses = await Promise.all(
        Array.from({ length: 20 }, () => ask(port, "/m/x", { method: "POST", body: "z" })),
      );
      expect(new Set(statuses.map((answer) => `${answer.status} ${answer.body}`))).toEqual(new Set(["200 second"]));
      await second.stop();
      await eventually(
        async () => (await ask(port, "/m/x")).body,
        (body) => body === "spare",
        "the backup takes over",
      );
      expect(await count(port, 5)).toEqual({ spare: 5 });
    },
  );

  declare(`${program}: clients stay at a backend by header and by cookie`, async () => {
    const models = [await model("a"), await model("b"), await model("c")];
    const backends = models.map(({ name, address }) => ({ name, host: `${name}.example`, addresses: [address] }));
    const { port } = await start(program, [
      headRoute("h", { path: "/h/", rewrite: "/", affinity: { by: "header", name: "X-User" }, backends }),
      headRoute("c", { path: "/c/", rewrite: "/", affinity: { by: "cookie", name: "sid", ttlSeconds: 600 }, backends }),
    ]);
    const homes = new Set<string>();
    for (let user = 0; user < 12; user++) {
      const counts = await count(port, 3, "/h/x", { "x-user": `user-${user}` });
      expect(Object.values(counts)).toEqual([3]);
      homes.add(Object.keys(counts)[0] ?? "");
    }
    expect(homes.size).toBeGreaterThan(1);
    const first = await ask(port, "/c/x");
    const cookie = /^(sid=[^;]+);/.exec(String(first.headers["set-cookie"]))?.[1] ?? "";
    expect(cookie).not.toBe("");
    expect(await count(port, 5, "/c/x", { cookie })).toEqual({ [first.body]: 5 });
  });

  declare(`${program}: WebSockets and server-sent events pass as they come`, async () => {
    const events = await model("e", (_incoming, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n");
      const wait = (): void => void (asked ? response.end("data: 2\n\n") : setTimeout(wait, 10));
      wait();
    });
    let asked = false;
    const { port } = await start(program, [
      headRoute("e", { path: "/e/", rewrite: "/", backends: [{ name: "e", host: "e", addresses: [events.address] }] }),
    ]);
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (piece: Buffer) => {
      text += piece.toString();
    });
    socket.write(
      "GET /e/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    await eventually(
      () => text,
      (got) => got.includes("101"),
      "the protocol is switched",
    );
    socket.write("ping");
    await eventually(
      () => text,
      (got) => got.endsWith("ping"),
      "the echo is there",
    );
    socket.destroy();
    const streamed = new Promise<string>((resolve) => {
      const call = request({ port, host: "127.0.0.1", path: "/e/events", agent: false }, (response) => {
        let body = "";
        response.on("data", (piece: Buffer) => {
          body += piece.toString();
          // Only when the first event is here is the second one sent.
          asked = true;
        });
        response.on("end", () => resolve(body));
      });
      call.end();
    });
    expect(await streamed).toBe("data: 1\n\ndata: 2\n\n");
  });

  declare(`${program}: TLS on both sides, with the gateway's own certificate towards backends`, async () => {
    const [authority, stranger] = [
      await createAuthority({ clock: systemClock, name: "test" }),
      await createAuthority({ clock: systemClock, name: "stranger" }),
    ];
    const inside = await authority.issueServer(["inner.example.org"]);
    const own = await authority.issueClient("gateway.example.org", []);
    const server = createHttpsServer(
      { cert: inside.certPem, key: inside.keyPem, ca: authority.caPem, requestCert: true, rejectUnauthorized: false },
      (incoming, response) => {
        const tls = incoming.socket as TLSSocket;
        response.end(`${tls.authorized} ${tls.servername || "none"} ${String(incoming.headers["x-forwarded-proto"])}`);
      },
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    closing.push(() => {
      server.close();
      server.closeAllConnections();
    });
    const bound = server.address();
    const addresses = [`127.0.0.1:${typeof bound === "object" ? bound?.port : 0}`];
    const tls = { serverName: "inner.example.org" };
    const names = ["one.example.org", "two.example.org"];
    const certificates = await Promise.all(names.map((name) => authority.issueServer([name])));
    const secure = (index: number, path: string, caSecretName: string) =>
      headRoute(
        `t${index}-${caSecretName}`,
        { path, hosts: [names[index] ?? ""], retry: { attempts: 0 }, backends: [{ name: "b", addresses, tls }] },
        { tls: { secretName: `cert-${index}` }, backendTLS: { caSecretName, clientSecretName: "own" } },
      );
    const { tlsPort } = await start(
      program,
      [secure(0, "/", "ca"), secure(1, "/", "ca"), secure(1, "/strange/", "stranger")],
      {
        ca: { "ca.crt": authority.caPem },
        stranger: { "ca.crt": stranger.caPem },
        own: { "tls.crt": own.certPem, "tls.key": own.keyPem },
        ...Object.fromEntries(
          certificates.map(({ certPem, keyPem }, index) => [
            `cert-${index}`,
            { "tls.crt": certPem, "tls.key": keyPem },
          ]),
        ),
      },
    );
    const overTls = (host: string, path: string) =>
      new Promise<string>((resolve, reject) => {
        const to = { host: "127.0.0.1", port: tlsPort, servername: host, ca: authority.caPem, agent: false };
        requestTls({ ...to, path, headers: { host } }, (response) => {
          let body = "";
          response.on("data", (piece: Buffer) => {
            body += piece.toString();
          });
          response.on("end", () => resolve(`${response.statusCode} ${body}`));
        })
          .on("error", reject)
          .end();
      });
    for (const name of names) expect(await overTls(name, "/x")).toBe("200 true inner.example.org https");
    expect(await overTls("two.example.org", "/strange/x")).toMatch(/^50[23] /);
  });

  declare(`${program}: times, answers that are to be repeated, ejection and drain`, async () => {
    const slow = await model("slow", () => undefined);
    const [bad, good] = [
      await model("bad", (_incoming, response) => {
        response.statusCode = 503;
        response.end("bad");
      }),
      await model("good"),
    ];
    const pair = [bad, good].map(({ name, address }) => ({ name, host: `${name}.example`, addresses: [address] }));
    const { port } = await start(program, [
      headRoute("late", {
        path: "/late/",
        retry: { attempts: 0 },
        timeouts: { responseMs: 200 },
        backends: [{ name: "slow", addresses: [slow.address] }],
      }),
      headRoute("repeated", { path: "/repeated/", retry: { attempts: 2, statuses: [503] }, backends: pair }),
      headRoute("ejected", {
        path: "/ejected/",
        outlier: { consecutiveErrors: 2, baseEjectionMs: 60_000 },
        retry: { attempts: 1 },
        backends: pair.map((one) => ({ ...one, health: { path: "/ready", intervalMs: 60_000 } })),
      }),
      headRoute("drained", {
        path: "/drained/",
        backends: [{ ...pair[0], draining: true } as (typeof pair)[number], ...pair.slice(1)],
      }),
    ]);
    const late = await ask(port, "/late/x");
    expect(late.status).toBe(504);
    expect(slow.seen).toHaveLength(1);
    expect(await count(port, 6, "/repeated/x")).toEqual({ good: 6 });
    expect(await count(port, 4, "/drained/x")).toEqual({ good: 4 });
    await count(port, 12, "/ejected/x");
    const before = bad.seen.length;
    expect(await count(port, 6, "/ejected/x")).toEqual({ good: 6 });
    expect(bad.seen).toHaveLength(before);
  });

  declare(`${program}: gRPC passes with its trailers`, async () => {
    const server = createHttp2Server();
    const sessions = new Set<{ destroy(): void }>();
    server.on("session", (session) => sessions.add(session));
    let seen = "";
    server.on("stream", (stream, headers) => {
      stream.on("error", () => undefined);
      if (headers[":path"] !== "/grpc.health.v1.Health/Check")
        seen = `${headers[":path"]} ${headers[":authority"] ?? headers["host"]}`;
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.on("data", (piece: Buffer) => stream.write(piece));
      stream.on("end", () => stream.end());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    closing.push(() => {
      server.close();
      for (const session of sessions) session.destroy();
    });
    const bound = server.address();
    const address = `127.0.0.1:${typeof bound === "object" ? bound?.port : 0}`;
    const { port } = await start(program, [
      headRoute("g", { path: "/", protocol: "h2", backends: [{ name: "g", host: "g.example", addresses: [address] }] }),
    ]);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    closing.push(() => session.destroy());
    const stream = session.request({
      ":method": "POST",
      ":path": "/inference.X/Infer",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const outcome = await new Promise<{ body: string; status: unknown }>((resolve, reject) => {
      let body = "";
      let status: unknown;
      stream.on("trailers", (trailers) => {
        status = trailers["grpc-status"];
      });
      stream.on("data", (piece: Buffer) => {
        body += piece.toString();
      });
      stream.on("error", reject);
      stream.on("close", () => resolve({ body, status }));
      stream.end("hello");
    });
    expect(outcome).toEqual({ body: "hello", status: "0" });
    expect(seen).toBe("/inference.X/Infer g.example");
  });
}

unless(lacking("nginx"))(
  "nginx: a share of the requests is copied, by backend; a shadow that never answers holds up neither the answer nor the connection's next request",
  async () => {
    const [first, second, next, rare] = [
      await model("first"),
      await model("second"),
      await model("next"),
      await model("rare"),
    ];
    const bodies: string[] = [];
    const held: (() => void)[] = [];
    let isReleased = false;
    const silent = await model("silent", (incoming, response) => {
      let body = "";
      incoming.on("data", (piece: Buffer) => {
        body += piece.toString();
      });
      incoming.on("end", () => {
        bodies.push(
          `${incoming.method} ${incoming.url} ${incoming.headers.host} ${String(incoming.headers["x-argosy-shadow"])} ${body}`,
        );
        if (isReleased) response.end();
        else held.push(() => response.end());
      });
    });
    const { port, limits } = await start("nginx", [
      headRoute("m", {
        path: "/m/",
        rewrite: "/v2/",
        backends: [
          { name: "first", host: "f.example", addresses: [first.address] },
          { name: "second", host: "s.example", addresses: [second.address] },
        ],
        shadows: [
          { name: "silent", host: "shadow.example", addresses: [silent.address] },
          { name: "edge/v2", addresses: [next.address], of: ["second"] },
          { name: "rare", addresses: [rare.address], percent: 20 },
          { name: "off", addresses: [rare.address], percent: 0 },
        ],
      }),
    ]);
    expect(limits.size).toBe(0);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    closing.push(() => agent.destroy());
    const answers: string[] = [];
    for (let turn = 0; turn < 20; turn++)
      answers.push((await ask(port, `/m/x?turn=${turn}`, { method: "POST", body: `b${turn}`, agent })).body);
    expect(answers.filter((name) => name === "first")).toHaveLength(10);
    await eventually(
      () => bodies.length,
      (seen) => seen === 20,
      "all are copied",
    );
    expect([...bodies].sort()[0]).toBe("POST /v2/x?turn=0 shadow.example silent b0");
    await eventually(
      () => next.seen.length,
      (seen) => seen === 10,
      "those to the second are copied for edge/v2",
    );
    expect(next.seen.every(({ url }) => second.seen.some((one) => one.url === url))).toBe(true);
    isReleased = true;
    for (const release of held.splice(0)) release();
    for (let turn = 0; turn < 200; turn++) await ask(port, "/m/y", { agent });
    expect(rare.seen.length).toBeGreaterThan(10);
    expect(rare.seen.length).toBeLessThan(90);
  },
);

unless(lacking("nginx"))(
  "nginx: of HeadIngresses for one host, or for none, that name Secrets of their own all are served, with the oldest one's certificate; the others say so",
  async () => {
    const authority = await createAuthority({ clock: systemClock, name: "test" });
    const backend = await model("m");
    const backends = [{ name: "m", host: "m.example", addresses: [backend.address] }];
    const [secrets, routes]: [Record<string, Record<string, string>>, HeadRoute[]] = [{}, []];
    for (const [index, name] of ["old", "new"].entries()) {
      const made = await authority.issueServer([`${name}.example.org`]);
      secrets[name] = { "tls.crt": made.certPem, "tls.key": made.keyPem };
      const tls = { secretName: name };
      routes.push(headRoute(`any${index}`, { path: `/${name}/`, backends }, { tls }));
      routes.push(headRoute(`one${index}`, { path: `/${name}/`, hosts: ["x.example.org"], backends }, { tls }));
    }
    const { tlsPort, limits } = await start("nginx", routes, secrets);
    // It must be the oldest one's certificate, whatever host is asked for.
    const checkServerIdentity = (_host: string, { subjectaltname }: { subjectaltname?: string }) =>
      subjectaltname === "DNS:old.example.org" ? undefined : new Error(String(subjectaltname));
    const to = { port: tlsPort, ca: authority.caPem, checkServerIdentity };
    for (const host of ["x.example.org", "y.example.org"])
      for (const path of ["/old/", "/new/"]) expect((await askTls(host, path, to)).statusCode).toBe(200);
    expect([...limits.keys()].sort()).toEqual(["headingress/demo/any1", "headingress/demo/one1"]);
  },
);

for (const program of PROGRAMS)
  unless(lacking(program))(`${program}: over TLS the session's cookie is for TLS alone`, async () => {
    const authority = await createAuthority({ clock: systemClock, name: "test" });
    const made = await authority.issueServer(["a.example.org"]);
    const backend = await model("m");
    const backends = [{ name: "m", host: "m.example", addresses: [backend.address] }];
    const spec = { tls: { secretName: "c" }, timeouts: { streamIdleMs: 5000 } };
    const { tlsPort, limits } = await start(
      program,
      [headRoute("c", { path: "/c/", affinity: { by: "cookie", name: "sid", ttlSeconds: 0 }, backends }, spec)],
      { c: { "tls.crt": made.certPem, "tls.key": made.keyPem } },
    );
    const answer = await askTls("a.example.org", "/c/x", { port: tlsPort, ca: authority.caPem });
    expect(String(answer.headers["set-cookie"])).toMatch(/^sid=.*; *secure/i);
    expect(limits.get("headingress/demo/c")?.map(({ field }) => field)).toEqual(["spec.timeouts.streamIdleMs"]);
  });

test("what copies no requests, or only in part, says so", () => {
  const shadows = [{ name: "next", addresses: ["10.0.0.1:80"], percent: 10, maxBodyBytes: 5 }];
  const one = headRoute("m", { backends: [{ name: "a", addresses: ["10.0.0.2:80"] }], shadows });
  const settings = { listen: "*:1", listenTls: "*:2", directory: "/d" };
  const haproxy = renderHaproxy([one], settings);
  expect(haproxy.text).not.toContain("10.0.0.1");
  expect(haproxy.limits.get(one.route.id)).toEqual([
    { field: 'spec.shadows "next"', message: "haproxy copies no requests without an agent beside it" },
  ]);
  expect(renderNginx([one], settings).limits.get(one.route.id)).toEqual([
    { field: "spec.shadows[].maxBodyBytes", message: "nginx copies requests of every length" },
  ]);
  const grpc = headRoute("g", { protocol: "h2", backends: one.route.backends, shadows }, { protocol: "GRPC" });
  expect(renderNginx([grpc], settings).text).not.toContain("10.0.0.1");
});

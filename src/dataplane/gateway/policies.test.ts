import { afterEach, expect, test } from "vitest";
import { ask, Cleanup, eventually, fakeBackend, startGateway } from "./fixture.js";
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

function route(backends: readonly BackendInput[], more: Partial<RouteInput> = {}): RouteInput {
  return { id: "r", listener: "head", path: "/", nameBackend: true, backends, ...more };
}

const said = async (port: number, headers: readonly string[] = []): Promise<string> =>
  (await ask(port, "/x", { headers })).headers.get("x-argosy-backend") ?? "";

const counts = async (port: number, times: number, headers?: (turn: number) => readonly string[]) => {
  const seen: Record<string, number> = {};
  for (let turn = 0; turn < times; turn++) {
    const name = await said(port, headers?.(turn) ?? []);
    seen[name] = (seen[name] ?? 0) + 1;
  }
  return seen;
};

async function backends(cleanup: Cleanup, names: readonly string[]) {
  return Object.fromEntries(
    await Promise.all(
      names.map(
        async (name) => [name, await fakeBackend(cleanup, (_request, response) => response.end(name))] as const,
      ),
    ),
  );
}

test("failover order: a backend of a higher number gets requests only when all before it are out", async () => {
  const cleanup = begin();
  const up = await backends(cleanup, ["first", "second", "third"]);
  const { port, gateway } = await startGateway(cleanup, [
    route([
      { name: "first", addresses: [up["first"]?.address ?? ""], weight: 1 },
      { name: "second", addresses: [up["second"]?.address ?? ""], weight: 3, priority: 1 },
      { name: "third", addresses: [up["third"]?.address ?? ""], weight: 1, priority: 2 },
    ]),
  ]);
  expect(await counts(port, 5)).toEqual({ first: 5 });
  expect(gateway.state().routes[0]?.backends.map((one) => [one.weight, one.weightEffective, one.reason])).toEqual([
    [1, 1, ""],
    [3, 0, "it stands by while a backend of priority 0 is in use"],
    [1, 0, "it stands by while a backend of priority 0 is in use"],
  ]);
  await up["first"]?.close();
  expect(await counts(port, 5)).toEqual({ second: 5 });
  await up["second"]?.close();
  expect(await counts(port, 5)).toEqual({ third: 5 });
});

test("sessions by header: the same value goes to the same backend, many values split by weight, and only those of a lost backend move", async () => {
  const cleanup = begin();
  const up = await backends(cleanup, ["a", "b", "c"]);
  const table = (names: readonly string[]) =>
    route(
      names.map((name) => ({ name, addresses: [up[name]?.address ?? ""], weight: name === "c" ? 2 : 1 })),
      { affinity: { by: "header", name: "X-User" } },
    );
  const { port, setRoutes } = await startGateway(cleanup, [table(["a", "b", "c"])]);
  const users = Array.from({ length: 200 }, (_, index) => `user-${index}`);
  const homes = new Map<string, string>();
  for (const user of users) homes.set(user, await said(port, [`x-user: ${user}`]));
  const shares: Record<string, number> = {};
  for (const home of homes.values()) shares[home] = (shares[home] ?? 0) + 1;
  expect(shares["c"]).toBeGreaterThan(75);
  expect(shares["a"]).toBeGreaterThan(25);
  for (const user of users.slice(0, 20)) expect(await said(port, [`X-USER: ${user}`])).toBe(homes.get(user));
  expect(await setRoutes([table(["a", "c"])])).toBe("");
  for (const user of users) {
    const home = homes.get(user) ?? "";
    const now = await said(port, [`x-user: ${user}`]);
    if (home === "b") expect(["a", "c"]).toContain(now);
    else expect(now).toBe(home);
  }
});

test("sessions by cookie stay where they are, also at a backend that is drained, until it fails", async () => {
  const cleanup = begin();
  const up = await backends(cleanup, ["a", "b"]);
  const table = (draining: string) =>
    route(
      ["a", "b"].map((name) => ({ name, addresses: [up[name]?.address ?? ""], draining: draining === name })),
      { affinity: { by: "cookie", name: "argosy", ttlSeconds: 60 } },
    );
  const { port, setRoutes, gateway } = await startGateway(cleanup, [table("")]);
  const first = await ask(port, "/");
  const home = first.headers.get("x-argosy-backend") ?? "";
  const cookie = /^(argosy=[^;]+); Path=\/; Max-Age=60; HttpOnly; SameSite=Lax$/.exec(
    first.headers.get("set-cookie") ?? "",
  )?.[1];
  expect(cookie).toBeDefined();
  const mine = [`Cookie: other=1; ${cookie}`];
  expect(await counts(port, 6, () => mine)).toEqual({ [home]: 6 });
  expect((await ask(port, "/", { headers: mine })).headers.get("set-cookie")).toBeUndefined();

  expect(await setRoutes([table(home)])).toBe("");
  const other = home === "a" ? "b" : "a";
  expect(await counts(port, 4, () => mine)).toEqual({ [home]: 4 });
  expect(await counts(port, 4)).toEqual({ [other]: 4 });
  expect(gateway.state().routes[0]?.backends.find((one) => one.name === home)).toMatchObject({
    weightEffective: 0,
    reason: "it is drained",
  });
  await up[home]?.close();
  const moved = await ask(port, "/", { headers: mine });
  expect(moved.headers.get("x-argosy-backend")).toBe(other);
  expect(moved.headers.get("set-cookie")).toContain("argosy=");
});

test("an answer of a status that is to be repeated is no answer, if the request may be sent twice", async () => {
  const cleanup = begin();
  const bad = await fakeBackend(cleanup, (_request, response) => response.writeHead(503).end("overloaded"));
  const good = await fakeBackend(cleanup, (_request, response) => response.end("good"));
  const { port } = await startGateway(cleanup, [
    route(
      [
        { name: "bad", addresses: [bad.address] },
        { name: "good", addresses: [good.address] },
      ],
      { retry: { statuses: [503] } },
    ),
  ]);
  for (let turn = 0; turn < 4; turn++) expect((await ask(port, "/")).status).toBe(200);
  const posts = await Promise.all([0, 1].map(() => ask(port, "/", { method: "POST", body: "x" })));
  expect(posts.map((answer) => answer.status).sort((a, b) => a - b)).toEqual([200, 503]);
});

test("a slow answer is asked for a second time elsewhere; whichever comes first is used, and the share is bounded", async () => {
  const cleanup = begin();
  const asked: string[] = [];
  const slow = await fakeBackend(cleanup, (request) => void asked.push(request.method ?? ""));
  const quick = await fakeBackend(cleanup, (_request, response) => response.end("quick"));
  const { port, gateway } = await startGateway(cleanup, [
    route(
      [
        { name: "slow", addresses: [slow.address] },
        { name: "quick", addresses: [quick.address] },
      ],
      { hedge: { afterMs: 400, maxPercent: 100 } },
    ),
  ]);
  const answers = await Promise.all(Array.from({ length: 6 }, () => ask(port, "/")));
  expect(answers.map((answer) => answer.body)).toEqual(Array.from({ length: 6 }, () => "quick"));
  expect(asked).toEqual(["GET", "GET", "GET"]);
  expect(gateway.state().routes[0]?.backends).toMatchObject([
    { hedges: 0, inFlight: 0, requests: 0 },
    { hedges: 3, inFlight: 0, requests: 6 },
  ]);
});

test("an address that answers 500 again and again is out for a while; the last one stays", async () => {
  const cleanup = begin();
  let status = 500;
  const bad = await fakeBackend(cleanup, (_request, response) => response.writeHead(status).end());
  const good = await fakeBackend(cleanup, (_request, response) => response.end("good"));
  const ejecting = (baseEjectionMs: number) =>
    startGateway(cleanup, [
      route(
        [
          { name: "bad", addresses: [bad.address], health: { intervalMs: 20 } },
          { name: "good", addresses: [good.address] },
        ],
        { outlier: { consecutiveErrors: 3, baseEjectionMs, maxEjectedPercent: 50 } },
      ),
    ]);
  // One is out for longer than the machine takes for what is asked meanwhile, the other for a moment.
  const { port: longPort, gateway } = await ejecting(600_000);
  const seen = await counts(longPort, 20);
  expect(seen).toEqual({ bad: 3, good: 17 });
  expect(gateway.state().routes[0]?.backends[0]).toMatchObject({ healthy: false, weightEffective: 0 });
  expect(gateway.state().routes[0]?.backends[0]?.reason).toContain("3 answers of 500 and above in a row");
  const { port } = await ejecting(300);
  expect((await counts(port, 6))["bad"]).toBe(3);
  status = 200;
  await eventually(async () => (await said(port)) === "bad", "it is back after its time");
  await good.close();
  status = 500;
  for (let turn = 0; turn < 8; turn++) await ask(port, "/");
  expect(await said(port)).toBe("bad");
});

test("a backend that is new or back gets its full share only after a while", async () => {
  const cleanup = begin();
  const up = await backends(cleanup, ["a", "b"]);
  const one = { name: "a", addresses: [up["a"]?.address ?? ""], weight: 50 };
  const two = { name: "b", addresses: [up["b"]?.address ?? ""], weight: 50 };
  const { port, setRoutes, gateway } = await startGateway(cleanup, [route([one], { slowStartMs: 60_000 })]);
  expect(await setRoutes([route([one, two], { slowStartMs: 60_000 })])).toBe("");
  const seen = await counts(port, 110);
  expect(seen["b"]).toBeGreaterThan(5);
  expect(seen["b"]).toBeLessThan(20);
  const report = gateway.state().routes[0]?.backends[1];
  expect(report?.weightEffective).toBeLessThan(10);
  expect(report?.reason).toBe("it is new or back and warms up for 60000 ms");
});

test("a request has a time as a whole; a stream of events has not, and may rest for longer", async () => {
  const cleanup = begin();
  const backend = await fakeBackend(cleanup, (request, response) => {
    if (request.url === "/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n");
      setTimeout(() => response.end("data: 2\n\n"), 700);
    } else if (request.url === "/drip") {
      response.writeHead(200);
      const timer = setInterval(() => response.write("x"), 50);
      response.on("close", () => clearInterval(timer));
    }
  });
  const { port } = await startGateway(cleanup, [
    route([{ name: "a", addresses: [backend.address] }], {
      timeouts: { requestMs: 300, idleMs: 200, streamIdleMs: 10_000, responseMs: 5000 },
    }),
  ]);
  const [late, drip, events] = await Promise.all([ask(port, "/never"), ask(port, "/drip"), ask(port, "/events")]);
  expect(late).toMatchObject({ status: 504 });
  expect(late.body).toContain("300 ms that a request may take");
  expect(drip.body).not.toContain("0\r\n\r\n");
  expect(events.body).toContain("data: 2");
});

test("checks and probes take no turn: requests between them split exactly by weight", async () => {
  const cleanup = begin();
  const up = await backends(cleanup, ["stable", "canary"]);
  const { port } = await startGateway(cleanup, [
    route([
      { name: "stable", addresses: [up["stable"]?.address ?? ""], weight: 7 },
      { name: "canary", addresses: [up["canary"]?.address ?? ""], weight: 3 },
    ]),
  ]);
  const seen: Record<string, number> = {};
  for (let turn = 0; turn < 10; turn++) {
    for (let probe = 0; probe < turn % 4; probe++)
      await said(port, [probe % 2 === 0 ? "x-argosy-probe: readiness" : "X-Argosy-Check: 1"]);
    const name = await said(port);
    seen[name] = (seen[name] ?? 0) + 1;
  }
  expect(seen).toEqual({ stable: 7, canary: 3 });
});

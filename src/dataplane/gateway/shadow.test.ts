import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { ask, Cleanup, eventually, exchangeBytes, fakeBackend, startGateway } from "./fixture.js";
import type { ShadowReport } from "./state.js";
import type { RouteInput, ShadowInput } from "./table.js";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

interface Seen {
  readonly line: string;
  readonly host: string;
  readonly shadow: string;
  readonly body: string;
}

/** A backend that keeps what it saw and answers `status`. */
async function recorder(status: () => number = () => 200) {
  const seen: Seen[] = [];
  const backend = await fakeBackend(cleanup, (request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const { host = "", "x-argosy-shadow": shadow = "" } = request.headers;
      const body = Buffer.concat(pieces).toString();
      seen.push({ line: `${request.method} ${request.url}`, host, shadow: String(shadow), body });
      response.writeHead(status());
      response.end(`${status()} ${body.length}`);
    });
  });
  return { ...backend, seen };
}

const mute = () => fakeBackend(cleanup, () => undefined);

const routeWith = (address: string, shadows: readonly ShadowInput[], more: Partial<RouteInput> = {}): RouteInput => ({
  id: "r",
  listener: "head",
  path: "/m/",
  rewrite: "/",
  backends: [{ name: "first", host: "first.example", addresses: [address] }],
  shadows,
  ...more,
});

type Running = Awaited<ReturnType<typeof startGateway>>;

const report = ({ gateway }: Running, name = "next"): ShadowReport | undefined =>
  gateway.state().routes[0]?.shadows?.find((shadow) => shadow.name === name);

test("a share of the requests is copied, exactly; the client gets the first answer, and no figure of a backend counts a copy", async () => {
  const [first, next] = [await recorder(), await recorder(() => 500)];
  const running = await startGateway(cleanup, [
    routeWith(first.address, [{ name: "next", host: "next.example", addresses: [next.address], percent: 25 }]),
  ]);
  for (let turn = 0; turn < 40; turn++) {
    const body = "x".repeat(turn % 2 === 0 ? 10 : 100_000);
    const answer = await ask(running.port, `/m/infer?turn=${turn}`, { method: "POST", body });
    expect([answer.status, answer.body]).toEqual([200, `200 ${body.length}`]);
  }
  await eventually(() => report(running)?.compared === 10, "all copies are answered and held against their originals");
  expect(next.seen).toHaveLength(10);
  for (const copy of next.seen) {
    const original = first.seen.find(({ line }) => line === copy.line);
    expect(copy).toEqual({ ...original, host: "next.example", shadow: "next" });
  }
  expect(report(running)).toMatchObject({
    copied: 10,
    answered: 10,
    failures: 0,
    differing: 10,
    byClass: { "5xx": 10 },
  });
  expect(report(running)?.originalSumMs).toBeGreaterThan(0);
  const [backend] = running.gateway.state().routes[0]?.backends ?? [];
  expect(backend).toMatchObject({ requests: 40, failures: 0, byClass: { "2xx": 40 } });
});

test("only requests to the named backends are copied; bodies in chunks arrive whole; WebSockets are not copied", async () => {
  const [first, second, next] = [await recorder(), await recorder(), await recorder()];
  const running = await startGateway(cleanup, [
    routeWith(first.address, [{ name: "next", addresses: [next.address], of: ["second"] }], {
      backends: [
        { name: "first", addresses: [first.address] },
        { name: "second", addresses: [second.address] },
      ],
    }),
  ]);
  const head = "POST /m/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
  for (let turn = 0; turn < 6; turn++)
    await exchangeBytes(running.port, [head, `3\r\nab${turn}\r\n`, "2\r\ncd\r\n", "0\r\n\r\n"]);
  await eventually(() => next.seen.length === 3, "those to the second are copied");
  expect(next.seen.map(({ body }) => body).sort()).toEqual(second.seen.map(({ body }) => body).sort());
  await ask(running.port, "/m/ws", { headers: ["Connection: Upgrade", "Upgrade: websocket"] });
  await ask(running.port, "/m/ws", { headers: ["Connection: Upgrade", "Upgrade: websocket"] });
  expect(report(running)).toMatchObject({ copied: 3 });
});

test("a shadow that never answers holds nobody up: copies are bounded in number, length and time", async () => {
  const [first, silent] = [await recorder(), await mute()];
  const limits = { maxConcurrent: 3, maxBodyBytes: 1000, timeoutMs: 400 };
  const running = await startGateway(cleanup, [
    routeWith(first.address, [{ name: "next", addresses: [silent.address], ...limits }]),
  ]);
  const send = (size: number) => ask(running.port, "/m/x", { method: "POST", body: "y".repeat(size) });
  const answers = await Promise.all(Array.from({ length: 10 }, () => send(10)));
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200));
  expect(report(running)).toMatchObject({ copied: 3, inFlight: 3, skipped: { busy: 7 } });
  await eventually(() => report(running)?.inFlight === 0, "their time is over");
  expect(report(running)).toMatchObject({ failures: 3, answered: 0, lastFailure: "no answer within 400 ms" });
  expect((await send(200_000)).status).toBe(200);
  expect(report(running)).toMatchObject({ copied: 3, inFlight: 0, skipped: { tooLarge: 1 } });
});

test("a client that leaves in the middle leaves no half copy; a shadow that is gone is counted, and one that is back is used", async () => {
  const [first, next] = [await recorder(), await recorder()];
  const running = await startGateway(cleanup, [
    routeWith(first.address, [{ name: "next", addresses: [next.address] }]),
  ]);
  const socket = connect(running.port, "127.0.0.1");
  socket.write("POST /m/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
  await eventually(() => report(running)?.inFlight === 1, "a copy is begun");
  socket.destroy();
  await eventually(() => report(running)?.skipped.unfinished === 1, "it is given up");
  expect(next.seen).toEqual([]);
  await ask(running.port, "/m/a");
  await eventually(() => report(running)?.answered === 1, "a whole one goes out");
  await next.close();
  expect((await ask(running.port, "/m/b")).status).toBe(200);
  await eventually(() => report(running)?.failures === 1, "its loss is counted");
  expect(report(running)?.lastFailure).toContain("ECONNREFUSED");
  await fakeBackend(cleanup, (_request, response) => response.end(), next.port);
  await ask(running.port, "/m/c");
  await eventually(() => report(running)?.answered === 2, "it is back");
});

test("a change of the table keeps what was counted; a shadow that goes is sent nothing more, and metrics tell of those that are there", async () => {
  const [first, next] = [await recorder(), await recorder()];
  const shadow: ShadowInput = { name: "next", addresses: [next.address] };
  const running = await startGateway(cleanup, [routeWith(first.address, [shadow])]);
  await ask(running.port, "/m/a");
  await eventually(() => report(running)?.answered === 1, "copied");
  expect(await running.setRoutes([routeWith(first.address, [{ ...shadow, percent: 50 }])])).toBe("");
  expect(report(running)).toMatchObject({ answered: 1, percent: 50 });
  const metrics = await new Promise<string>((resolve) => {
    const socket = connect(`${running.directory}/admin.sock`);
    let text = "";
    socket.on("data", (piece: Buffer) => (text += piece.toString())).on("close", () => resolve(text));
    socket.write("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  });
  expect(metrics).toContain('argosy_gateway_shadow_copies_total{route="r",shadow="next"} 1');
  expect(metrics).toContain('argosy_gateway_shadow_answers_total{route="r",shadow="next",class="2xx"} 1');
  expect(metrics).toContain('argosy_gateway_shadow_duration_seconds_count{route="r",shadow="next"} 1');
  expect(await running.setRoutes([routeWith(first.address, [])])).toBe("");
  await ask(running.port, "/m/b");
  expect(running.gateway.state().routes[0]?.shadows).toBeUndefined();
  expect(next.seen).toHaveLength(1);
  const bad = await running.setRoutes([routeWith(first.address, [{ ...shadow, percent: 101 }])]);
  expect(bad).toContain("shadows[0].percent");
});

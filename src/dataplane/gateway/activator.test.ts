import { connect as connectHttp2, createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { FairQueue } from "./activator-queue.js";
import { readActivators } from "./admin-client.unsafe.js";
import { Cleanup, eventually, exchangeBytes, fakeBackend, startGateway } from "./fixture.js";
import type { BackendInput, RouteInput } from "./table.js";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const route = (backend: Partial<BackendInput>, more: Partial<RouteInput> = {}): RouteInput => ({
  id: "model",
  listener: "head",
  ...more,
  backends: [{ name: "v1", addresses: [], activator: { name: "cloud/ns/v1" }, ...backend }],
});
const get = (path = "/", headers = ""): string =>
  `GET ${path} HTTP/1.1\r\nHost: model\r\n${headers}Connection: close\r\n\r\n`;
const statusOf = (text: string): string => text.slice(9, 12);

test("a thousand requests at zero wait, and every one is answered when a pod comes", async () => {
  const { gateway, port, setRoutes } = await startGateway(cleanup, [route({})]);
  const backend = await fakeBackend(cleanup, (request, response) => response.end(`answer to ${request.url}`));
  const answers = Array.from({ length: 1000 }, (_, index) => exchangeBytes(port, get(`/${index}`)));
  await eventually(() => gateway.activators().activators[0]?.waiting === 1000, "all wait");
  expect(gateway.activators().turn).toBe(1000);
  await setRoutes([route({ addresses: [backend.address] })]);
  const texts = await Promise.all(answers);
  expect(texts.filter((text, index) => !text.endsWith(`answer to /${index}`))).toEqual([]);
  const [report] = gateway.activators().activators;
  expect(report).toMatchObject({ arrived: 1000, answered: 1000, waiting: 0, active: 0, pods: 1 });
  expect(report?.busyMs).toBeGreaterThan(0);
  expect(report?.cold?.answeredAt).toBeGreaterThanOrEqual(report?.cold?.beganAt ?? Number.NaN);
});

test("a queue that is full refuses at once, one that takes too long in the end; both say when to come again", async () => {
  const { gateway, port } = await startGateway(cleanup, [
    route({ activator: { name: "a", maxQueue: 2, waitMs: 300 } }),
  ]);
  const waiting = [exchangeBytes(port, get()), exchangeBytes(port, get())];
  await eventually(() => gateway.activators().activators[0]?.waiting === 2, "two wait");
  const refused = await exchangeBytes(port, get());
  expect(refused).toMatch(/^HTTP\/1.1 503 .*\r\nRetry-After: 1\r\n.*"reason":"QueueFull"/s);
  for (const text of await Promise.all(waiting))
    expect(text).toMatch(/^HTTP\/1.1 503 .*\r\nRetry-After: 5\r\n.*"reason":"QueueTimeout"/s);
  expect(gateway.activators().activators[0]?.refused).toEqual({ full: 1, late: 2, cancelled: 0, gone: 0 });
});

test("a client that goes leaves the queue at once, and no pod hears of it", async () => {
  const { gateway, port, setRoutes } = await startGateway(cleanup, [route({})]);
  const sockets = [1, 2, 3].map(() => connect({ port, host: "127.0.0.1" }));
  for (const socket of sockets) socket.write(get());
  const one = exchangeBytes(port, get());
  const report = () => gateway.activators().activators[0];
  await eventually(() => report()?.waiting === 4, "four wait");
  for (const socket of sockets) socket.destroy();
  await eventually(() => report()?.waiting === 1, "one waits");
  expect(report()?.refused.cancelled).toBe(3);
  const backend = await fakeBackend(cleanup, (_request, response) => response.end("ok"));
  await setRoutes([route({ addresses: [backend.address] })]);
  expect(statusOf(await one)).toBe("200");
  expect(backend.requests).toBe(1);
});

test("a pod has as many requests at once as its limit says, over all routes that lead to it", async () => {
  let [running, most] = [0, 0];
  const free: (() => void)[] = [];
  const backend = await fakeBackend(cleanup, (_request, response) => {
    most = Math.max(most, ++running);
    free.push(() => {
      running--;
      response.end("ok");
    });
  });
  const activator = { name: "a", concurrency: 2 };
  const { gateway, port } = await startGateway(cleanup, [
    route({ addresses: [backend.address], activator }),
    route({ addresses: [backend.address], activator }, { id: "other", path: "/other" }),
  ]);
  const answers = Array.from({ length: 7 }, (_, index) => exchangeBytes(port, get(index % 2 === 0 ? "/" : "/other")));
  for (let done = 0; done < 7; done++) {
    await eventually(() => free.length > 0, "a request is there");
    await eventually(() => gateway.activators().activators[0]?.waiting === Math.max(0, 5 - done), "the others wait");
    free.shift()?.();
  }
  expect((await Promise.all(answers)).map(statusOf)).toEqual(Array(7).fill("200"));
  expect(most).toBe(2);
});

test("tenants get the same share, however many requests one of them has waiting", async () => {
  const order: string[] = [];
  const backend = await fakeBackend(cleanup, (request, response) => {
    order.push(String(request.headers["kubeflow-userid"]));
    response.end("ok");
  });
  const activator = { name: "a", concurrency: 1, maxQueue: 21 };
  const { gateway, port, setRoutes } = await startGateway(cleanup, [route({ activator })]);
  const waiting = (count: number) =>
    eventually(() => gateway.activators().activators[0]?.waiting === count, `${count} wait`);
  const answers: Promise<string>[] = [];
  for (let index = 0; index < 21; index++) answers.push(exchangeBytes(port, get("/", "kubeflow-userid: loud\r\n")));
  await waiting(21);
  // The queue is full: who has little in it takes the place of the last one of who has most.
  for (let index = 0; index < 3; index++) answers.push(exchangeBytes(port, get("/", "kubeflow-userid: quiet\r\n")));
  await eventually(() => gateway.activators().activators[0]?.refused.full === 3, "three were turned away");
  await waiting(21);
  await setRoutes([route({ activator, addresses: [backend.address] })]);
  const statuses = (await Promise.all(answers)).map(statusOf);
  expect(statuses.slice(18)).toEqual(["503", "503", "503", "200", "200", "200"]);
  expect(order.slice(0, 6).filter((name) => name === "quiet")).toHaveLength(3);
});

test("a fair queue by cost: who asks for more gets its turn more seldom", () => {
  const queue = new FairQueue<{ tenant: string; cost: number; bytes: number; id: string }>();
  for (let index = 0; index < 4; index++) {
    queue.add({ tenant: "big", cost: 3, bytes: 9, id: `b${index}` });
    queue.add({ tenant: "small", cost: 1, bytes: 1, id: `s${index}` });
  }
  expect(queue.bytes).toBe(40);
  const order = Array.from({ length: 8 }, () => queue.next()?.id);
  expect(order.indexOf("s3")).toBeLessThan(order.indexOf("b2"));
  expect([queue.size, queue.bytes, queue.next()]).toEqual([0, 0, undefined]);
});

test("a pod that is starting is asked again and again, and used as soon as it answers well", async () => {
  let isLoaded = false;
  const backend = await fakeBackend(cleanup, (request, response) => {
    response.statusCode = request.headers["x-argosy-check"] !== undefined && !isLoaded ? 404 : 200;
    response.end("ok");
  });
  const starting = { candidates: [backend.address], health: { path: "/ready" } };
  const { gateway, port, setRoutes } = await startGateway(cleanup, [route(starting)]);
  const answer = exchangeBytes(port, get());
  await eventually(() => gateway.activators().activators[0]?.waiting === 1, "it waits");
  isLoaded = true;
  expect(statusOf(await answer)).toBe("200");
  // Ready by its own word, and then not any more: it is out until it says so again.
  await setRoutes([route({ addresses: [backend.address], health: { path: "/ready" } })]);
  await setRoutes([route(starting)]);
  expect(gateway.activators().activators[0]?.pods).toBe(0);
  await setRoutes([route({ addresses: [backend.address], health: { path: "/ready" } })]);
  expect(statusOf(await exchangeBytes(port, get()))).toBe("200");
});

test("checks and probes wake nothing and count for nothing", async () => {
  const { port, directory } = await startGateway(cleanup, [route({})]);
  const check = await exchangeBytes(port, get("/v2/health/ready", "X-Argosy-Check: 1\r\n"));
  expect(check).toMatch(/^HTTP\/1.1 200 OK\r\n.*"reason":"NoPodNeeded"/s);
  expect(await exchangeBytes(port, get("/", "X-Argosy-Probe: 1\r\n"))).toMatch(/^HTTP\/1.1 503 .*NoHealthyBackend/s);
  const { turn, activators } = await readActivators(`${directory}/admin.sock`);
  expect([turn, activators[0]?.arrived]).toEqual([0, 0]);
});

test("a probe whose pod is just gone wakes nothing either", async () => {
  const gone = await fakeBackend(cleanup, (_request, response) => response.end("ok"));
  const { gateway, port } = await startGateway(cleanup, [route({ addresses: [gone.address] })]);
  await gone.close();
  const answer = await exchangeBytes(port, get("/", "X-Argosy-Probe: 1\r\n"));
  expect(answer).toMatch(/^HTTP\/1.1 503 .*NoHealthyBackend/s);
  expect(gateway.activators().turn).toBe(0);
});

test("whoever watches hears of it at once when a request meets no pod", async () => {
  const { port, directory } = await startGateway(cleanup, [route({})]);
  const watching = readActivators(`${directory}/admin.sock`, { since: 0 });
  const socket = connect({ port, host: "127.0.0.1" });
  cleanup.add(async () => socket.destroy());
  socket.write(get());
  expect(await watching).toMatchObject({ turn: 1, activators: [{ waiting: 1, pods: 0 }] });
});

test("a body that is on its way waits along, and what it is too much of waits with the client", async () => {
  const { gateway, port, setRoutes } = await startGateway(cleanup, [route({})]);
  const backend = await fakeBackend(cleanup, (request, response) => {
    let length = 0;
    request.on("data", (piece: Buffer) => {
      length += piece.length;
    });
    request.on("end", () => response.end(`got ${length}`));
  });
  const size = 1_000_000;
  const head = `POST / HTTP/1.1\r\nHost: model\r\nContent-Length: ${size}\r\nConnection: close\r\n\r\n`;
  const answer = exchangeBytes(port, [head, "x".repeat(1000), "x".repeat(size - 1000)]);
  await eventually(() => gateway.activators().activators[0]?.waiting === 1, "it waits");
  await setRoutes([route({ addresses: [backend.address] })]);
  expect(await answer).toMatch(/got 1000000$/);
});

test("a route that goes tells those who wait", async () => {
  const { gateway, port, setRoutes } = await startGateway(cleanup, [route({})]);
  const answer = exchangeBytes(port, get());
  await eventually(() => gateway.activators().activators[0]?.waiting === 1, "it waits");
  await setRoutes([]);
  expect(await answer).toMatch(/^HTTP\/1.1 503 .*"reason":"NoRoute"/s);
});

test("gRPC: a call waits for a pod, with its trailers; one that is refused is UNAVAILABLE", async () => {
  const server = createHttp2Server();
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end("answer");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  cleanup.add(async () => void server.close());
  const bound = server.address();
  const address = `127.0.0.1:${typeof bound === "object" ? bound?.port : 0}`;
  const activator = { name: "a", maxQueue: 1 };
  const { gateway, port, setRoutes } = await startGateway(cleanup, [route({ activator }, { protocol: "h2" })]);
  const client = connectHttp2(`http://127.0.0.1:${port}`);
  cleanup.add(async () => client.destroy());
  const call = (): Promise<string> =>
    new Promise((resolve) => {
      const stream = client.request({ ":method": "POST", ":path": "/x.Y/Z", "content-type": "application/grpc" });
      let said = "";
      stream.on("response", (headers) => {
        said += `${String(headers["grpc-status"] ?? "")} `;
      });
      stream.on("data", (piece: Buffer) => {
        said += piece.toString();
      });
      stream.on("trailers", (headers) => {
        said += ` ${String(headers["grpc-status"])}`;
      });
      stream.on("close", () => resolve(said));
      stream.end("question");
    });
  const first = call();
  await eventually(() => gateway.activators().activators[0]?.waiting === 1, "it waits");
  expect(await call()).toBe("14 ");
  await setRoutes([route({ activator, addresses: [address] }, { protocol: "h2" })]);
  expect(await first).toBe(" answer 0");
  await eventually(() => gateway.activators().activators[0]?.active === 0, "nothing is left");
});

test("hedging and sessions do not go together with an activator", async () => {
  const { gateway } = await startGateway(cleanup, [route({}, { hedge: { afterMs: 5 } })]);
  expect(gateway.state().tableError).toMatch(/an activator goes with neither hedge nor affinity/);
});

import { request as httpRequest } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { atEnd } from "../../testing/at-end.js";
import { ok, root, route, serve } from "./router.fixture.js";

const failed = (cause: string): string => JSON.stringify({ error: "Failed to process request", cause });

test("a request goes to the step's address with what belongs to it, over connections that are kept", async () => {
  const service = await serve(ok);
  const { post, url } = await route(root("Sequence", { serviceUrl: service.url }), { propagate: ["^x-user$", "Cook"] });
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
  const headers = {
    "x-user": "ann",
    "x-other": "1",
    cookie: "c=1",
    traceparent,
    tracestate: "a=b",
    "content-type": "text/x",
  };
  for (let turn = 0; turn < 3; turn++)
    expect(await post("{}", headers)).toMatchObject({ status: 200, body: '{"a":1}' });
  expect(service.seen[0]).toMatchObject({
    url: "/predict?a=1",
    body: "{}",
    headers: { "x-user": "ann", cookie: "c=1", traceparent, tracestate: "a=b", "content-type": "text/x" },
  });
  expect(service.seen[0]?.headers["x-other"]).toBeUndefined();
  expect(service.sockets()).toBe(1);
  await post(gzipSync('{"z":1}'), { "content-encoding": "gzip" });
  expect(service.seen.at(-1)?.body).toBe('{"z":1}');
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  const page = await (await fetch(`${url}/metrics`)).text();
  expect(page).toContain('argosy_graph_steps_total{node="root",step="0",outcome="200"} 4');
  expect(page).toContain('argosy_graph_requests_total{code="200"} 4');
});

test("a kept connection that its service has closed is not the request's fault", async () => {
  let close = (): void => undefined;
  const service = await serve((response) => {
    close = () => void response.socket?.destroy();
    ok(response);
  });
  const { post } = await route(root("Sequence", { serviceUrl: service.url }));
  await post("{}");
  close();
  expect((await post("{}")).status).toBe(200);
});

test("what the last step sends as a stream goes on as it comes, and a client that leaves ends it", async () => {
  let next = (): void => undefined;
  let isEnded: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (isEnded = resolve));
  const first = await serve(ok);
  const service = await serve((response) => {
    response.setHeader("content-type", "text/event-stream");
    response.write("data: 1\n\n");
    next = () => void response.write("data: 2\n\n");
    response.on("close", () => isEnded());
  });
  const { url } = await route(
    root("Sequence", { serviceUrl: first.url }, { serviceUrl: service.url, timeoutMs: 5000 }),
  );
  const client = httpRequest(url, { method: "POST" });
  client.on("error", () => undefined);
  const pieces: string[] = [];
  await new Promise<void>((resolve) => {
    client.on("response", (response) => {
      expect(response.headers["content-type"]).toBe("text/event-stream");
      response.on("error", () => undefined);
      response.on("data", (piece) => {
        pieces.push(String(piece));
        if (pieces.length === 1) next();
        else resolve();
      });
    });
    client.end("{}");
  });
  expect(pieces).toEqual(["data: 1\n\n", "data: 2\n\n"]);
  client.destroy();
  await ended;
});

test("a client that leaves takes its steps along", async () => {
  let isGone: () => void = () => undefined;
  const gone = new Promise<void>((resolve) => (isGone = resolve));
  let isAsked: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => (isAsked = resolve));
  const service = await serve((response) => {
    response.on("close", () => isGone());
    isAsked();
  });
  const { router, url } = await route(root("Ensemble", { serviceUrl: service.url }));
  const socket = connect(router.port, "127.0.0.1");
  socket.write("POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}");
  await asked;
  socket.destroy();
  await gone;
  for (;;) {
    const page = await (await fetch(`${url}/metrics`)).text();
    if (page.includes('outcome="cancelled"} 1') && page.includes("argosy_graph_requests_running 0")) break;
  }
});

test("a step has so much time, is asked again where that may help, and hears how much is left", async () => {
  const slow = await serve(() => undefined);
  let left = 2;
  const passing = await serve((response) => (left-- > 0 ? void response.writeHead(503).end("{}") : ok(response)));
  const timed = await route(root("Sequence", { serviceUrl: slow.url, timeoutMs: 30, name: "slow" }));
  const late = await timed.post("{}");
  expect([late.status, late.body]).toEqual([504, failed("step slow of node root did not answer within 30 ms")]);
  const whole = await route(root("Ensemble", { serviceUrl: slow.url, name: "slow" }));
  const told = await whole.post("{}", { "x-request-timeout-ms": "40" });
  expect([told.status, told.body]).toEqual([504, failed("step slow of node root: no answer within 40 ms")]);
  expect(Number(slow.seen.at(-1)?.headers["x-request-timeout-ms"])).toBeLessThanOrEqual(40);
  const again = await route(root("Sequence", { serviceUrl: passing.url, retry: { attempts: 2, backoffMs: 1 } }));
  expect((await again.post("{}")).status).toBe(200);
  expect(passing.seen).toHaveLength(3);
  left = 5;
  const over = await again.post("{}");
  expect([over.status, over.body]).toEqual([503, "{}"]);
});

test("what cannot be reached, is too long, or makes no sense is told in KServe's form", async () => {
  const service = await serve((response) => response.end("x".repeat(3000)));
  const away = await route(root("Sequence", { serviceUrl: "http://127.0.0.1:1/" }));
  const { status, body } = await away.post("{}");
  expect([status, JSON.parse(body)]).toEqual([
    500,
    {
      error: "Failed to process request",
      cause: expect.stringMatching(/^step 0 of node root: 127\.0\.0\.1:1: .*ECONNREFUSED/),
    },
  ]);
  const small = await route(root("Ensemble", { serviceUrl: service.url }), { maxBodyBytes: 2000 });
  expect((await small.post("y".repeat(2001))).status).toBe(413);
  expect(await small.post("y")).toMatchObject({
    status: 500,
    body: expect.stringContaining("answered with more than 2000 bytes"),
  });
  expect((await fetch(small.url)).status).toBe(405);
  expect((await small.post("y", { "content-encoding": "br" })).status).toBe(415);
  const none = await route(root("Sequence", { serviceUrl: service.url }), { maxConcurrent: 0 });
  expect((await none.post("{}")).status).toBe(503);
});

test.each([
  ["cuts its answer", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", /the other side closed the connection/],
  ["speaks something else", "+PONG\r\n\r\n", /malformed|status line/],
  [
    "changes the protocol",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    /changes the protocol/,
  ],
  ["says nothing", "", /the other side closed the connection/],
])("a service that %s is no answer, and the next request is not touched by it", async (_, bytes, cause) => {
  const faulty = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end(bytes));
  });
  await new Promise<void>((resolve) => faulty.listen(0, "127.0.0.1", resolve));
  atEnd(() => new Promise((resolve) => faulty.close(resolve)));
  const address = faulty.address();
  const good = await serve(ok);
  const faultyUrl = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/`;
  const { post } = await route(
    root(
      "Switch",
      { serviceUrl: faultyUrl, condition: "bad", retry: { attempts: 1, backoffMs: 0 } },
      { serviceUrl: good.url, condition: "good" },
    ),
  );
  const answer = await post('{"bad":1}');
  expect([answer.status, JSON.parse(answer.body).cause]).toEqual([500, expect.stringMatching(cause)]);
  expect((await post('{"good":1}')).status).toBe(200);
});

test("a stream that breaks is cut, not ended; the same is no answer where it is needed whole", async () => {
  const broken = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n"));
  });
  await new Promise<void>((resolve) => broken.listen(0, "127.0.0.1", resolve));
  atEnd(() => new Promise((resolve) => broken.close(resolve)));
  const address = broken.address();
  const serviceUrl = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/`;
  const passed = await route(root("Sequence", { serviceUrl }));
  await expect(passed.post("{}")).rejects.toThrow();
  expect(await (await fetch(`${passed.url}/metrics`)).text()).toContain('argosy_graph_requests_total{code="500"} 1');
  const whole = await route(root("Ensemble", { serviceUrl }));
  expect(await whole.post("{}")).toMatchObject({
    status: 500,
    body: expect.stringContaining("chunks of the answer are malformed"),
  });
});

test("a traced request has a span of its own and one for each step, in its sender's trace", async () => {
  const bodies: string[] = [];
  const collector = await serve((response, { body }) => {
    bodies.push(body);
    response.end("{}");
  });
  const service = await serve(ok);
  const { router, post } = await route(root("Ensemble", { name: "a", serviceUrl: service.url }), {
    otlpEndpoint: collector.url,
  });
  await post("{}", { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" });
  await router.close();
  const spans = bodies.flatMap((body) => JSON.parse(body).resourceSpans[0].scopeSpans[0].spans);
  const [step, whole] = spans;
  expect(whole).toMatchObject({ name: "graph t/g", kind: 2, parentSpanId: "b7ad6b7169203331" });
  expect(step).toMatchObject({ name: "root/a", kind: 3, parentSpanId: whole.spanId, traceId: whole.traceId });
  expect(service.seen[0]?.headers["traceparent"]).toBe(`00-${whole.traceId}-${step.spanId}-01`);
});

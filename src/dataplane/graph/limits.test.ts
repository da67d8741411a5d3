/** What bounds a graph's requests, whatever is sent and whatever the graph is. */
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { seededRandom, virtualClock } from "../../kernel/clock/index.js";
import type { Json } from "../../kernel/kinds/object.js";
import { type ClientAnswer, StepUnreachable } from "./client.js";
import { Message } from "./message.js";
import { createRouterMetrics } from "./metrics.js";
import { readGraph } from "./read.js";
import { ok, root, route, type Seen, serve } from "./router.fixture.js";
import { GraphFailure, runGraph } from "./run.js";
import { Slots } from "./slots.js";
import { createAsk } from "./steps.js";

/** A service that answers when it is told to; `came` resolves when so many requests wait. */
async function serveLater() {
  const waiting: ServerResponse[] = [];
  let wanted: { count: number; resolve: () => void } | undefined;
  const service = await serve((response) => {
    waiting.push(response);
    if (wanted !== undefined && waiting.length >= wanted.count) wanted.resolve();
  });
  const came = (count: number): Promise<void> =>
    waiting.length >= count ? Promise.resolve() : new Promise((resolve) => (wanted = { count, resolve }));
  return { ...service, waiting, came, answerAll: () => waiting.splice(0).forEach(ok) };
}

test("a body is bounded before and after its coding, and so are all at once", async () => {
  const service = await serveLater();
  const { post } = await route(root("Sequence", { serviceUrl: service.url }), { maxBodyBytes: 2000 });
  expect((await post(gzipSync(" ".repeat(1_000_000)), { "content-encoding": "gzip" })).status).toBe(413);
  expect((await post("no gzip", { "content-encoding": "gzip" })).status).toBe(400);
  // Four times one body is what all may hold.
  const held = [1, 2, 3, 4].map(() => post("x".repeat(1990)));
  await service.came(4);
  const over = await post("x".repeat(1990));
  expect([over.status, over.headers.get("retry-after")]).toEqual([503, "1"]);
  service.answerAll();
  expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  const again = post("x".repeat(1990));
  await service.came(1);
  service.answerAll();
  expect((await again).status).toBe(200);
});

test("a graph may be as deep as it can be written", async () => {
  const service = await serve(ok);
  const length = 1200;
  const nodes: Record<string, Json> = {};
  for (let index = 0; index < length; index++) {
    const step = index === length - 1 ? { serviceUrl: service.url } : { nodeName: `n${index + 1}` };
    nodes[index === 0 ? "root" : `n${index}`] = {
      routerType: index % 2 === 0 ? "Sequence" : "Ensemble",
      steps: [step],
    };
  }
  const { post } = await route({ nodes });
  const { status, body } = await post("{}");
  expect([status, body.endsWith("}"), service.seen.length]).toEqual([200, true, 1]);
});

test("graphs that lead to each other by their addresses end", async () => {
  let next = "";
  const seen: Seen[] = [];
  const mirror = await serve((response, one) => {
    seen.push(one);
    void fetch(next, {
      method: "POST",
      body: one.body,
      headers: { "x-argosy-graph-hops": String(one.headers["x-argosy-graph-hops"]) },
    }).then(async (answer) => response.writeHead(answer.status).end(await answer.text()));
  });
  const { url, post } = await route(root("Sequence", { serviceUrl: mirror.url }));
  next = url;
  const { status, body } = await post("{}");
  expect([status, JSON.parse(body).cause]).toEqual([508, expect.stringContaining("through 16 graphs")]);
  expect(seen.map(({ headers }) => Number(headers["x-argosy-graph-hops"]))).toEqual(
    Array.from({ length: 16 }, (_, index) => index + 1),
  );
  // Nobody else's number counts.
  next = "";
  const other = await serve(ok);
  const { post: plain } = await route(root("Sequence", { serviceUrl: other.url }));
  expect((await plain("{}", { "x-argosy-graph-hops": "many" })).status).toBe(200);
});

test("an ensemble asks so many at once, and the others in their turn", async () => {
  const service = await serveLater();
  const steps = Array.from({ length: 9 }, (_, index) => ({ name: `s${index}`, serviceUrl: service.url }));
  const { post } = await route(root("Ensemble", ...steps), { maxSteps: 4 });
  const answer = post("{}");
  for (const count of [4, 4, 1]) {
    await service.came(count);
    expect(service.waiting).toHaveLength(count);
    service.answerAll();
  }
  expect(Object.keys(JSON.parse((await answer).body))).toHaveLength(9);
  expect(service.seen).toHaveLength(9);
});

test("whoever waits for a place and leaves takes none", async () => {
  const slots = new Slots(1);
  const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
  const give = await slots.take(first.signal);
  const left = slots.take(second.signal);
  const stays = slots.take(third.signal);
  second.abort(new Error("gone"));
  await expect(left).rejects.toThrow("gone");
  await expect(slots.take(second.signal)).rejects.toThrow("gone");
  give();
  give();
  (await stays)();
  (await slots.take(first.signal))();
});

/** A step that fails each time, asked on virtual time. */
function failing(retry: Json) {
  const clock = virtualClock(0);
  const asked: number[] = [];
  const graph = readGraph(JSON.parse(JSON.stringify(root("Sequence", { serviceUrl: "http://a/", retry }))));
  const client = {
    post: (): Promise<ClientAnswer> => {
      asked.push(clock.monotonicMs());
      return Promise.reject(new StepUnreachable("a: away"));
    },
  };
  const { times } = graph;
  const metrics = createRouterMetrics();
  const tools = { client, clock, random: seededRandom(1), metrics, tracer: undefined, times, maxBodyBytes: 1000 };
  const hold = { take: () => undefined, give: () => undefined, close: () => undefined };
  const scope = { fields: {}, traceparent: undefined, deadlineMs: Number.POSITIVE_INFINITY, hold };
  const controller = new AbortController();
  const answer = runGraph(graph, new Message(Buffer.from("{}"), {}), {
    ask: createAsk({ ...tools, slots: new Slots(1) }, scope),
    random: seededRandom(1),
    signal: controller.signal,
  });
  answer.catch(() => undefined);
  return { clock, asked, controller, answer };
}

test("pauses between tries grow to a minute, and tries end", async () => {
  const { clock, asked, answer } = failing({ attempts: 10, backoffMs: 60_000 });
  await clock.advance(11 * 60_000);
  await expect(answer).rejects.toMatchObject({ status: 500, message: "step 0 of node root: a: away" });
  expect(asked).toHaveLength(11);
  const pauses = asked.slice(1).map((at, index) => at - (asked[index] ?? 0));
  for (const pause of pauses) {
    expect(pause).toBeGreaterThanOrEqual(30_000);
    expect(pause).toBeLessThanOrEqual(60_000);
  }
});

test("nobody is asked again for a client that left", async () => {
  const { clock, asked, controller, answer } = failing({ attempts: 10, backoffMs: 1000 });
  await clock.advance(1);
  controller.abort(new GraphFailure(499, "the client went away"));
  await expect(answer).rejects.toMatchObject({ status: 499 });
  await clock.advance(60_000);
  expect(asked).toHaveLength(1);
});

test("a client that leaves ends every step that is under way, wherever it is in the graph, and those in line are not asked", async () => {
  const service = await serveLater();
  const leaf = { serviceUrl: service.url };
  const nodes = {
    root: { routerType: "Ensemble", steps: [{ nodeName: "both" }, leaf, leaf] },
    both: { routerType: "Sequence", steps: [{ nodeName: "deep" }, leaf] },
    deep: { routerType: "Ensemble", steps: [leaf, leaf] },
  };
  const { router } = await route({ nodes }, { maxSteps: 3 });
  const socket = connect(router.port, "127.0.0.1");
  socket.write("POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}");
  await service.came(3);
  const closed = service.waiting.map((response) => new Promise((resolve) => response.on("close", resolve)));
  socket.destroy();
  await Promise.all(closed);
  expect(service.seen).toHaveLength(3);
});

test("the sender's trace goes to every step of every node and try, and so does what its vendor wrote", async () => {
  let left = 1;
  const service = await serve((response) => (left-- > 0 ? void response.writeHead(503).end("{}") : ok(response)));
  const leaf = { serviceUrl: service.url, retry: { attempts: 1, backoffMs: 0 } };
  const nodes = {
    root: { routerType: "Ensemble", steps: [{ nodeName: "both" }, leaf] },
    both: { routerType: "Sequence", steps: [leaf, { ...leaf, data: "$response" }] },
  };
  const { post } = await route({ nodes });
  const trace = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "a=b" };
  expect((await post("{}", trace)).status).toBe(200);
  expect(service.seen).toHaveLength(4);
  for (const { headers } of service.seen) expect(headers).toMatchObject(trace);
});

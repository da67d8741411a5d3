import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { gatewayDriver } from "./driver.js";
import { ask, Cleanup, eventually, fakeBackend, temporaryDirectory } from "./fixture.js";
import { runGateway } from "./gateway.js";
import type { RouteInput } from "./table.js";

const cleanups: Cleanup[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup.run();
});

const ROUTES = 1000;
const CLUSTERS = 50;

test("a thousand routes to fifty clusters: weights change by parts while requests flow, none is lost, and a restart has the last ones", async () => {
  const cleanup = new Cleanup();
  cleanups.push(cleanup);
  const backend = await fakeBackend(cleanup, (_request, response) => response.end("ok"));
  const directory = await temporaryDirectory(cleanup);
  const options = { directory, clock: systemClock, random: systemRandom, log: silentLogger };
  const gateway = await runGateway(options);
  cleanup.add(() => gateway.close(0));
  const driver = gatewayDriver(options);
  await driver.start();
  cleanup.add(() => driver.close());
  const head = { name: "head", host: "127.0.0.1", port: 0 };
  const routeOf = (index: number, weight: number): RouteInput => ({
    id: `r${index}`,
    listener: "head",
    path: `/r${index}/`,
    backends: Array.from({ length: CLUSTERS }, (_, cluster) => ({
      name: `c${cluster}`,
      host: `m${index}.c${cluster}.example`,
      addresses: [backend.address],
      weight: cluster === 0 ? weight : 1,
    })),
  });
  const routes = Array.from({ length: ROUTES }, (_, index) => routeOf(index, 1));
  await driver.apply("heads", { listeners: [head], routes });
  const written = await stat(join(directory, "table.json"));
  const port = Number(gateway.state().listeners[0]?.address.split(":").at(-1));

  let isOver = false;
  const statuses: number[] = [];
  const traffic = (async () => {
    for (let turn = 0; !isOver; turn++) statuses.push((await ask(port, `/r${turn % ROUTES}/x`)).status);
  })();
  // One route, then many at once, then one that goes.
  routes[7] = routeOf(7, 9);
  await driver.apply("heads", { listeners: [head], routes: [...routes] });
  expect((await readFile(join(directory, "table.changes.jsonl"), "utf8")).split("\n")).toHaveLength(3);
  for (let index = 0; index < 400; index++) routes[index] = routeOf(index, 5);
  await driver.apply("heads", { listeners: [head], routes: [...routes] });
  await driver.apply("heads", { listeners: [head], routes: routes.slice(0, -1) });
  isOver = true;
  await traffic;

  expect(new Set(statuses)).toEqual(new Set([200]));
  expect((await stat(join(directory, "table.json"))).ino).toBe(written.ino);
  const weightOf = (id: string) => driver.lastState?.routes.find((route) => route.id === id)?.backends[0]?.weight;
  // On a busy machine the report comes later than the call that changed the table.
  await eventually(
    () => [weightOf("r7"), weightOf("r399"), weightOf("r400")].join() === "5,5,1",
    "the last weights are reported",
  );
  await eventually(() => weightOf(`r${ROUTES - 1}`) === undefined, "the route that went is reported no more");
  expect((await ask(port, `/r${ROUTES - 1}/x`)).status).toBe(404);
  // Another control plane, which has the files alone, writes nothing new for the same routes; another gateway serves them.
  await driver.close();
  const later = gatewayDriver(options);
  await later.start();
  cleanup.add(() => later.close());
  const before = await readFile(join(directory, "table.changes.jsonl"), "utf8");
  await later.apply("heads", { listeners: [head], routes: routes.slice(0, -1).map((route) => ({ ...route })) });
  expect(await readFile(join(directory, "table.changes.jsonl"), "utf8")).toBe(before);
  await eventually(() => later.lastState?.routes.length === ROUTES - 1, "it reports all of them");
  await gateway.close(0);
  const restarted = await runGateway(options);
  cleanup.add(() => restarted.close(0));
  const report = restarted.state().routes;
  expect(report).toHaveLength(ROUTES - 1);
  expect(report.find(({ id }) => id === "r7")?.backends[0]?.weight).toBe(5);
}, 60_000);

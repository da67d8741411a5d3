import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Clock, systemClock } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { buildGateway, type GatewayProgram } from "../../testing/gateway-program.js";
import { freePort } from "../../testing/ports.js";
import { type GatewayDriver, gatewayDriver } from "./driver.js";
import { ask, Cleanup, eventually, fakeBackend, temporaryDirectory } from "./fixture.js";
import type { RouteInput } from "./table.js";

let gateway: GatewayProgram;
beforeAll(() => {
  gateway = buildGateway();
}, 60_000);
afterAll(() => gateway.remove());

const cleanups: Cleanup[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup.run();
});

function begin(): Cleanup {
  const cleanup = new Cleanup();
  cleanups.push(cleanup);
  return cleanup;
}

async function startDriver(cleanup: Cleanup, directory: string, clock: Clock = systemClock): Promise<GatewayDriver> {
  const driver = gatewayDriver({
    directory,
    clock,
    log: silentLogger,
    supervise: { command: gateway.command(directory) },
  });
  cleanup.add(() => driver.close({ stopProcess: true }));
  await driver.start();
  return driver;
}

const head = { name: "head", host: "127.0.0.1", port: 0 };
const route = (id: string, address: string, weight = 1): RouteInput => ({
  id,
  listener: "head",
  path: `/${id}`,
  rewrite: "/",
  backends: [{ name: "b", addresses: [address], weight }],
});
const portOf = (driver: GatewayDriver): number =>
  Number(
    driver.lastState?.listeners
      .find((listener) => listener.name === "head")
      ?.address.split(":")
      .at(-1),
  );

test("starts the process, merges the sources' parts, and refuses a faulty part without touching the others", async () => {
  const cleanup = begin();
  const backend = await fakeBackend(cleanup, (request, response) => response.end(request.url));
  const driver = await startDriver(cleanup, await temporaryDirectory(cleanup));

  await driver.apply("one", { listeners: [head], routes: [route("a", backend.address)] });
  await driver.apply("two", { listeners: [], routes: [route("b", backend.address)] });
  const isInForce = (): boolean => driver.lastState?.routes.length === 2 && portOf(driver) > 0;
  await eventually(() => isInForce() && driver.process.running, "both parts are in force");

  expect(driver.process).toMatchObject({ running: true, restarts: 0, adopted: false });
  expect((await ask(portOf(driver), "/a/x")).body).toBe("/x");
  expect((await ask(portOf(driver), "/b/y")).body).toBe("/y");
  await expect(driver.apply("two", { listeners: [], routes: [route("b", "nonsense")] })).rejects.toThrow(
    '"nonsense" is not host:port',
  );
  await expect(driver.apply("two", { listeners: [], routes: [route("a", backend.address)] })).rejects.toThrow(
    'route "a" exists already',
  );
  await expect(driver.apply("two", { listeners: [{ ...head, port: 1 }], routes: [] })).rejects.toThrow(
    "described differently",
  );
  expect((await ask(portOf(driver), "/b/y")).body).toBe("/y");
  await driver.apply("two", { listeners: [], routes: [] });
  await eventually(async () => (await ask(portOf(driver), "/b/y")).status === 404, "the part is gone");
});

test("a killed gateway is started again and serves the same table", async () => {
  const cleanup = begin();
  const backend = await fakeBackend(cleanup, (_request, response) => response.end("ok"));
  const driver = await startDriver(cleanup, await temporaryDirectory(cleanup));
  await driver.apply("one", { listeners: [head], routes: [route("a", backend.address)] });
  await eventually(() => (driver.lastState?.routes.length ?? 0) === 1, "it is up");
  const first = driver.lastState?.pid ?? 0;

  process.kill(first, "SIGKILL");
  await eventually(() => driver.lastState !== undefined && driver.lastState.pid !== first, "another process serves");

  expect(driver.process).toMatchObject({ running: true, restarts: 1, reason: "" });
  expect((await ask(portOf(driver), "/a/")).body).toBe("ok");
});

test("a new control plane adopts the running gateway and keeps what the old one's sources applied", async () => {
  const cleanup = begin();
  const backend = await fakeBackend(cleanup, (_request, response) => response.end("ok"));
  const directory = await temporaryDirectory(cleanup);
  const before = await startDriver(cleanup, directory);
  await before.apply("one", { listeners: [head], routes: [route("a", backend.address)] });
  await before.apply("two", { listeners: [], routes: [route("b", backend.address)] });
  await eventually(() => before.lastState?.routes.length === 2, "it is up");
  const pid = before.lastState?.pid;
  await before.close();
  const written = await readFile(join(directory, "table.json"), "utf8");

  const after = await startDriver(cleanup, directory);
  await after.apply("two", { listeners: [], routes: [route("b", backend.address)] });

  expect(after.process).toMatchObject({ running: true, adopted: true, pid });
  expect(await readFile(join(directory, "table.json"), "utf8")).toBe(written);
  expect((await ask(portOf(after), "/b/")).body).toBe("ok");
  expect((await ask(portOf(after), "/a/")).body).toBe("ok");
});

test("a listener whose port is taken says so; opened on another one it has the routes that it had", async () => {
  const cleanup = begin();
  const backend = await fakeBackend(cleanup, (_request, response) => response.end("ok"));
  const driver = await startDriver(cleanup, await temporaryDirectory(cleanup));
  await driver.apply("one", { listeners: [head], routes: [route("a", backend.address)] });
  const taken = Number(backend.address.split(":").at(-1));

  await expect(driver.open({ ...head, port: taken })).rejects.toMatchObject({ code: "PortInUse" });
  expect(driver.lastState?.listeners).toEqual([expect.objectContaining({ listening: false, taken: true })]);
  await driver.open(head);
  await driver.apply("one", { listeners: [head], routes: [route("a", backend.address)] });

  expect((await ask(portOf(driver), "/a/")).body).toBe("ok");
});

test("listeners of an earlier start give way to one that is opened at their address", async () => {
  const cleanup = begin();
  const backend = await fakeBackend(cleanup, (_request, response) => response.end("ok"));
  const driver = await startDriver(cleanup, await temporaryDirectory(cleanup));
  const free = await freePort();
  await driver.apply("one", { listeners: [{ ...head, name: "old", port: free }], routes: [] });
  await driver.apply("two", { listeners: [head], routes: [{ ...route("b", backend.address), listener: "old" }] });

  await driver.open({ ...head, port: free });

  expect(driver.lastState?.listeners).toEqual([expect.objectContaining({ name: head.name, listening: true })]);
});

test("certificates and keys go a minute after the last table that named them, and not while the gateway may still go by that", async () => {
  const cleanup = begin();
  const directory = await temporaryDirectory(cleanup);
  let aheadMs = 0;
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
  let turns = 0;
  const looked = async (driver: GatewayDriver): Promise<void> => {
    let looks = 0;
    // A quiet gateway is looked at less often.
    if (driver.process.running)
      await driver.apply("two", { listeners: [], routes: [route(`t${turns++}`, "127.0.0.1:9")] });
    const stop = driver.onState(() => looks++);
    // One may have begun before.
    await eventually(() => looks >= 2, "the driver looked again");
    stop();
  };
  const kept = async (): Promise<string[]> => (await readdir(join(directory, "secrets"))).sort();
  const naming = (caFile: string): RouteInput => ({
    ...route("a", "127.0.0.1:9"),
    backends: [{ name: "b", addresses: ["127.0.0.1:9"], tls: { caFile } }],
  });
  const first = await startDriver(cleanup, directory, clock);
  const [old, next] = [await first.keep("old"), await first.keep("new")];
  const names = [old, next].map((file) => basename(file)).sort();
  await first.apply("one", { listeners: [head], routes: [naming(old)] });
  await eventually(() => first.lastState !== undefined && first.process.running, "it is up");
  await looked(first);
  await first.apply("one", { listeners: [head], routes: [naming(next)] });
  aheadMs += 45_000;
  await looked(first);
  expect(await kept()).toEqual(names);

  // What comes after it knows nothing of the times before, and this one has a gateway that does not say what it goes by.
  await first.close({ stopProcess: true });
  const blind = gatewayDriver({ directory, clock, log: silentLogger });
  cleanup.add(() => blind.close());
  await blind.start();
  for (let turn = 0; turn < 3; turn++) {
    aheadMs += 120_000;
    await looked(blind);
  }
  expect(await kept()).toEqual(names);
  await blind.close();

  const last = await startDriver(cleanup, directory, clock);
  await eventually(() => last.lastState !== undefined && last.process.running, "it is up again");
  await looked(last);
  expect(await kept()).toEqual(names);
  aheadMs += 61_000;
  await looked(last);
  expect(await kept()).toEqual([basename(next)]);
  expect(await last.keep("old")).toBe(old);
  expect(await readFile(old, "utf8")).toBe("old");
});

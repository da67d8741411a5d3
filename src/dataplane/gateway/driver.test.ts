import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { type GatewayDriver, gatewayDriver } from "./driver.js";
import { ask, Cleanup, eventually, fakeBackend, temporaryDirectory } from "./fixture.js";
import type { RouteInput } from "./table.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
let program = "";
let built = "";

// The gateway as a program of its own, compiled once: a process is what the driver is about.
beforeAll(() => {
  built = mkdtempSync(join(tmpdir(), "argosy-gateway-build-"));
  const config = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      composite: false,
      incremental: false,
      tsBuildInfoFile: null,
      noEmit: false,
      declaration: false,
      sourceMap: false,
      outDir: join(built, "out"),
      rootDir: root,
      typeRoots: [join(root, "node_modules/@types")],
    },
    include: [],
    files: ["src/dataplane/gateway/gateway.ts", "src/kernel/clock/index.ts", "src/kernel/log/index.ts"].map((file) =>
      join(root, file),
    ),
  };
  writeFileSync(join(built, "tsconfig.json"), JSON.stringify(config));
  execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", join(built, "tsconfig.json")], {
    stdio: "pipe",
  });
  mkdirSync(join(built, "out"), { recursive: true });
  writeFileSync(join(built, "out/package.json"), '{"type":"module"}');
  program = join(built, "out/main.mjs");
  writeFileSync(
    program,
    `import { runGateway } from "./src/dataplane/gateway/gateway.js";
import { systemClock, systemRandom } from "./src/kernel/clock/index.js";
import { silentLogger } from "./src/kernel/log/index.js";
const gateway = await runGateway({ directory: process.argv[2], clock: systemClock, random: systemRandom, log: silentLogger });
process.on("SIGTERM", () => gateway.close(1000).then(() => process.exit(0)));
`,
  );
}, 60_000);
afterAll(() => rmSync(built, { recursive: true, force: true }));

const cleanups: Cleanup[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup.run();
});

function begin(): Cleanup {
  const cleanup = new Cleanup();
  cleanups.push(cleanup);
  return cleanup;
}

async function startDriver(cleanup: Cleanup, directory: string): Promise<GatewayDriver> {
  const driver = gatewayDriver({
    directory,
    clock: systemClock,
    log: silentLogger,
    supervise: { command: [process.execPath, program, directory] },
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

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

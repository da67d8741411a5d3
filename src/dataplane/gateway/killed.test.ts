import { type ChildProcess, spawn } from "node:child_process";
import { Agent, request } from "node:http";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { buildGateway, type GatewayProgram } from "../../testing/gateway-program.js";
import { freePort } from "../../testing/ports.js";
import { gatewayDriver } from "./driver.js";
import { Cleanup, eventually, fakeBackend, temporaryDirectory } from "./fixture.js";
import type { RouteInput } from "./table.js";

let program: GatewayProgram;
beforeAll(() => {
  program = buildGateway();
}, 60_000);
afterAll(() => program.remove());

const cleanups: Cleanup[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup.run();
});

/** Clients that go on asking whatever happens; what they got is told by whole turns. */
class Clients {
  readonly answers: Record<string, number> = {};
  lost = 0;
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #good: number[];
  readonly #running: Promise<void>[];
  #isOver = false;

  constructor(port: number, count: number) {
    this.#port = port;
    this.#good = Array.from({ length: count }, () => 0);
    this.#running = this.#good.map((_, index) => this.#run(index));
  }

  async #run(index: number): Promise<void> {
    while (!this.#isOver) {
      const answer = await this.#ask().catch(() => undefined);
      if (answer === undefined) {
        this.lost++;
        await systemClock.sleep(5);
        continue;
      }
      this.answers[answer] = (this.answers[answer] ?? 0) + 1;
      this.#good[index] = (this.#good[index] ?? 0) + 1;
    }
  }

  #ask(): Promise<string> {
    return new Promise((resolve, reject) => {
      const to = { host: "127.0.0.1", port: this.#port, path: "/m/x", agent: this.#agent };
      const call = request(to, (response) => {
        let body = "";
        response.on("data", (piece: Buffer) => {
          body += piece.toString();
        });
        response.on("end", () => resolve(`${response.statusCode} ${body}`));
        response.on("error", reject);
      });
      call.on("error", reject);
      call.end();
    });
  }

  /** Every client has had this many answers more. */
  async turns(count: number): Promise<void> {
    const aims = this.#good.map((good) => good + count);
    await eventually(() => aims.every((aim, index) => (this.#good[index] ?? 0) >= aim), "every client is answered");
  }

  /** The same, and nothing is lost meanwhile. */
  async calmTurns(count: number): Promise<void> {
    const before = this.lost;
    await this.turns(count);
    expect(this.lost - before).toBe(0);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#running);
    this.#agent.destroy();
  }
}

function kill(pid: number | undefined): void {
  // 0 would be this process and all beside it.
  expect(pid).toBeGreaterThan(1);
  if (pid !== undefined) process.kill(pid, "SIGKILL");
}

const routeTo = (addresses: readonly string[], weights: readonly number[]): RouteInput => ({
  id: "m",
  listener: "head",
  path: "/m/",
  rewrite: "/",
  backends: addresses.map((address, index) => ({
    name: `b${index}`,
    addresses: [address],
    weight: weights[index] ?? 1,
    health: { path: "/ready", intervalMs: 50 },
  })),
});

async function begin() {
  const cleanup = new Cleanup();
  cleanups.push(cleanup);
  const directory = await temporaryDirectory(cleanup);
  const port = await freePort();
  const backends = [
    await fakeBackend(cleanup, (_request, response) => response.end("one")),
    await fakeBackend(cleanup, (_request, response) => response.end("two")),
  ];
  const command = program.command(directory);
  const driver = gatewayDriver({ directory, clock: systemClock, log: silentLogger, supervise: { command } });
  cleanup.add(() => driver.close({ stopProcess: true }));
  await driver.start();
  const addresses = backends.map(({ address }) => address);
  const apply = (weights: readonly number[]) =>
    driver.apply("test", {
      listeners: [{ name: "head", host: "127.0.0.1", port }],
      routes: [routeTo(addresses, weights), ...others(addresses)],
    });
  await apply([1, 1]);
  const clients = new Clients(port, 6);
  cleanup.add(() => clients.stop());
  await clients.turns(5);
  return { cleanup, directory, port, backends, driver, apply, clients, command };
}

/** So that one route's weights are a change, and not a new table. */
const others = (addresses: readonly string[]): RouteInput[] =>
  Array.from({ length: 40 }, (_, index) => ({ ...routeTo(addresses, [1, 1]), id: `o${index}`, path: `/o${index}/` }));

test("hub gone, gateway killed again and again under load: whoever starts it has the last weights, and once it answers nothing is lost", async () => {
  const { cleanup, backends, driver, apply, clients, command } = await begin();
  await apply([1, 3]);
  await apply([3, 7]);
  const pid = (await driver.observe()).pid;
  // From here on nobody looks after it.
  await driver.close();
  kill(pid);
  let child: ChildProcess | undefined;
  cleanup.add(async () => child?.kill("SIGKILL"));
  const restart = async (): Promise<void> => {
    if (child !== undefined) {
      const gone = new Promise((resolve) => child?.once("exit", resolve));
      kill(child.pid);
      await gone;
    }
    child = spawn(command[0] ?? "", command.slice(1), { stdio: "ignore" });
    await clients.turns(20);
  };
  for (let round = 0; round < 3; round++) {
    await restart();
    const before = { ...clients.answers };
    await clients.calmTurns(100);
    const more = (name: string): number => (clients.answers[name] ?? 0) - (before[name] ?? 0);
    expect(more("200 two") / more("200 one")).toBeCloseTo(7 / 3, 0);
  }
  // A new process takes every backend for healthy; one that is gone costs no request all the same.
  await backends[0]?.close();
  await restart();
  const before = clients.answers["200 one"];
  await clients.calmTurns(60);
  expect(clients.answers["200 one"]).toBe(before);
  expect(Object.keys(clients.answers).sort()).toEqual(["200 one", "200 two"]);
}, 60_000);

test("killed while weights change: it is started again, and has what was asked for last", async () => {
  const { driver, apply, clients } = await begin();
  for (let round = 0; round < 3; round++) {
    const before = (await driver.observe()).pid;
    const changes = Array.from({ length: 20 }, (_, index) => apply([index + 1, 20 - index]));
    kill(before);
    await Promise.all(changes);
    await apply([0, round + 1]);
    await eventually(() => (driver.lastState?.pid ?? before) !== before, "it is back");
    await clients.turns(3);
    await clients.calmTurns(30);
    const one = clients.answers["200 one"];
    await clients.calmTurns(30);
    expect(clients.answers["200 one"]).toBe(one);
    expect(driver.lastState?.routes.find(({ id }) => id === "m")?.backends.map(({ weight }) => weight)).toEqual([
      0,
      round + 1,
    ]);
  }
  expect(Object.keys(clients.answers).sort()).toEqual(["200 one", "200 two"]);
}, 60_000);

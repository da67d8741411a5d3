import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom, type VirtualClock, virtualClock } from "../../kernel/clock/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { Backend, BackendStats, Endpoint, Route } from "./balance.js";
import type { GatewayCore } from "./core.js";
import { HealthChecker } from "./health.js";
import { type BackendTable, parseTable } from "./table.js";
import { UpstreamPool } from "./upstream.js";

/** How a backend fares: it answers, holds its tongue, is not there, hangs up, or says that it is not ready. */
type Mood = "answers" | "frozen" | "refused" | "hangs up" | "not ready";

const ANSWERS: Partial<Record<Mood, string>> = {
  answers: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "not ready": "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\nloading",
};

/** A socket of a network that has a virtual clock too: what happens takes a millisecond. */
class FakeSocket extends EventEmitter {
  readonly #clock: VirtualClock;
  readonly #mood: () => Mood;
  readonly #receive: (text: string) => void;
  #isClosed = false;

  constructor(clock: VirtualClock, mood: () => Mood, receive: (text: string) => void) {
    super();
    this.#clock = clock;
    this.#mood = mood;
    this.#receive = receive;
    this.#later(() => {
      if (mood() === "refused") this.#close(new Error("connect ECONNREFUSED"));
      else this.emit("connect");
    });
  }

  #later(act: () => void): void {
    this.#clock.setTimer(1, () => {
      if (!this.#isClosed) act();
    });
  }

  #close(error?: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (error !== undefined) this.emit("error", error);
    this.emit("close");
  }

  write(): boolean {
    this.#later(() => {
      const mood = this.#mood();
      const answer = ANSWERS[mood];
      if (answer !== undefined) this.#receive(answer);
      else if (mood !== "frozen") this.#close(new Error("read ECONNRESET"));
    });
    return true;
  }

  destroy(): void {
    this.#close();
  }
}

class FakePool extends UpstreamPool {
  readonly #clock: VirtualClock;
  readonly #mood: () => Mood;

  constructor(clock: VirtualClock, mood: () => Mood) {
    super("127.0.0.1:1", undefined);
    this.#clock = clock;
    this.#mood = mood;
  }

  override dial(receive: (buffer: Buffer, length: number) => boolean): Socket {
    const socket = new FakeSocket(this.#clock, this.#mood, (text) => {
      receive(Buffer.from(text, "latin1"), text.length);
    });
    return socket as unknown as Socket;
  }
}

/** A backend as the table describes it when nothing but a check path is asked for. */
function tableOf(name: string): BackendTable {
  const backend = { name, addresses: ["127.0.0.1:1"], weight: 1, health: { path: "/v2/health/ready" } };
  const table = parseTable({
    version: 1,
    listeners: [{ name: "head", host: "127.0.0.1", port: 0 }],
    routes: [{ id: "r", listener: "head", backends: [backend] }],
  });
  return table.routes[0]?.backends[0] as BackendTable;
}

function watched(seed: number) {
  const clock = virtualClock();
  const moods: Record<string, Mood> = { cloud: "answers", edge: "answers" };
  const core = {
    clock,
    log: silentLogger,
    get nowMs() {
      return clock.monotonicMs();
    },
  } as unknown as GatewayCore;
  const checker = new HealthChecker(() => core, seededRandom(seed));
  const backends = ["cloud", "edge"].map((name) => {
    const table = tableOf(name);
    const endpoint = new Endpoint(name, new FakePool(clock, () => moods[name] ?? "answers"), table);
    checker.added(endpoint);
    return { endpoint, backend: new Backend(table, [endpoint], new BackendStats()) };
  });
  const route = new Route(
    { path: "/", rewrite: "/", slowStartMs: 0 } as never,
    backends.map(({ backend }) => backend),
  );
  const edge = backends[1]?.endpoint as Endpoint;
  const chosen = () => new Set(Array.from({ length: 10 }, () => route.choose()?.backend.table.name));
  return { clock, moods, checker, backends, edge, chosen };
}

test("a backend that no longer answers its checks is out within two seconds, at whatever moment it stops and however", async () => {
  const failures = fc.constantFrom<Mood>("frozen", "refused", "hangs up", "not ready");
  const longest = new Map<Mood, number>();
  await fc.assert(
    fc.asyncProperty(failures, fc.nat(3000), fc.nat(1000), async (mood, afterMs, seed) => {
      const { clock, moods, checker, backends, edge, chosen } = watched(seed);
      await clock.advance(1000 + afterMs);
      expect(chosen()).toEqual(new Set(["cloud", "edge"]));

      moods["edge"] = mood;
      const passedMs = await clock.runUntil(() => !edge.isHealthy, 60_000);
      longest.set(mood, Math.max(longest.get(mood) ?? 0, passedMs));
      const words = {
        frozen: "no answer",
        refused: "ECONN",
        "hangs up": "ECONN",
        "not ready": "503 (loading)",
        answers: "",
      };
      expect(passedMs).toBeLessThanOrEqual(2000);
      expect(edge.reason).toContain(words[mood]);
      expect(chosen()).toEqual(new Set(["cloud"]));
      await clock.advance(10_000);
      expect(chosen()).toEqual(new Set(["cloud"]));

      moods["edge"] = "answers";
      await clock.runUntil(() => edge.isHealthy, 2000);
      expect(chosen()).toEqual(new Set(["cloud", "edge"]));
      for (const { endpoint } of backends) checker.removed(endpoint);
    }),
    { numRuns: 60 },
  );
  expect([...longest.keys()].sort()).toEqual(["frozen", "hangs up", "not ready", "refused"]);
});

test("one slow answer takes nobody out of use", async () => {
  const { clock, moods, checker, backends, edge } = watched(1);
  await clock.advance(1000);
  moods["edge"] = "frozen";
  await clock.advance(600);
  moods["edge"] = "answers";
  await clock.advance(5000);

  expect(edge.isHealthy).toBe(true);
  for (const { endpoint } of backends) checker.removed(endpoint);
});

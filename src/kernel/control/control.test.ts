import { expect, test } from "vitest";
import { tinyCluster } from "../../testing/tiny-api.js";
import { createInformerSet } from "../client/index.js";
import { seededRandom, virtualClock } from "../clock/index.js";
import { TerminalError } from "../errors/index.js";
import { type ConfigMap, ConfigMapKind, EventKind, LeaseKind, PodKind } from "../kinds/index.js";
import { silentLogger } from "../log/index.js";
import { playElection } from "./election.fixture.js";
import { type ControllerSpec, createEventRecorder, createManager, createQueue, type Key } from "./index.js";

const key = (name: string): Key => ({ namespace: "n", name });
const draft = (name: string) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
  data: { value: "1" },
});

function startManager(spec: Omit<ControllerSpec<ConfigMap>, "name" | "kind">) {
  const cluster = tinyCluster();
  const informers = createInformerSet({ ...cluster, log: silentLogger });
  const manager = createManager({
    cluster: { name: "test", client: cluster.client, informers },
    ...cluster,
    log: silentLogger,
  });
  manager.add({ name: "mapper", kind: ConfigMapKind, ...spec });
  manager.start();
  /** Another manager on the same cluster, which starts now; gives its end. */
  const restarted = (other: typeof spec): (() => Promise<void>) => {
    const next = createManager({
      cluster: { name: "test", client: cluster.client, informers },
      ...cluster,
      log: silentLogger,
    });
    next.add({ name: "later", kind: ConfigMapKind, ...other });
    next.start();
    return () => next.close();
  };
  const close = async (): Promise<void> => {
    await manager.close();
    await informers.close();
  };
  return { ...cluster, manager, close, restarted, maps: cluster.client.resource(ConfigMapKind) };
}

test("a queue holds a key once, never works twice on it at once, and looks again when it changed meanwhile", async () => {
  const clock = virtualClock();
  const seen: string[] = [];
  let inFlight = 0;
  const queue = createQueue({
    clock,
    random: seededRandom(1),
    concurrency: 2,
    work: async ({ name }) => {
      inFlight += 1;
      expect(inFlight).toBeLessThanOrEqual(2);
      seen.push(name);
      await clock.sleep(100);
      inFlight -= 1;
    },
  });
  for (const name of ["a", "a", "b", "a", "c"]) queue.add(key(name));
  expect(queue.depth).toBe(3);

  queue.start();
  queue.add(key("a"));
  queue.add(key("a"));
  await clock.runUntilIdle();

  expect(seen).toEqual(["a", "b", "c", "a"]);
});

test("a long queue of work that waits for nothing lets the rest of the process run", async () => {
  let done = 0;
  const work = async (): Promise<void> => {
    done += 1;
  };
  const queue = createQueue({ clock: virtualClock(), random: seededRandom(1), concurrency: 4, work });
  for (let index = 0; index < 1000; index += 1) queue.add(key(String(index)));

  queue.start();
  await new Promise((resolve) => setImmediate(resolve));
  const afterOneTurn = done;
  while (queue.depth > 0) await new Promise((resolve) => setImmediate(resolve));
  await queue.close();

  expect(afterOneTurn).toBeLessThan(200);
  expect(done).toBe(1000);
});

test("fresh keys go before resyncs, and a fresh add promotes a waiting resync", async () => {
  const clock = virtualClock();
  const seen: string[] = [];
  const queue = createQueue({
    clock,
    random: seededRandom(1),
    concurrency: 1,
    work: async ({ name }) => void seen.push(name),
  });
  for (const name of ["r1", "r2", "r3"]) queue.add(key(name), "resync");
  queue.add(key("f"));
  queue.add(key("r3"));

  queue.start();
  await clock.settle();

  expect(seen).toEqual(["f", "r3", "r1", "r2"]);
});

test("back-off grows with failures and starts anew after success", async () => {
  const clock = virtualClock(0);
  const times: number[] = [];
  const queue = createQueue({
    clock,
    random: { ...seededRandom(1), next: () => 0.5 },
    concurrency: 1,
    work: async (failing) => {
      times.push(clock.now());
      if (times.length < 4) queue.addRateLimited(failing);
      else queue.forget(failing);
    },
  });
  queue.start();
  queue.add(key("a"));
  await clock.runUntilIdle();

  expect(times).toEqual([0, 50, 150, 350]);
  expect(queue.failures(key("a"))).toBe(0);
});

test("closing a queue waits for running work and drops the rest", async () => {
  const clock = virtualClock();
  const seen: string[] = [];
  const queue = createQueue({
    clock,
    random: seededRandom(1),
    concurrency: 1,
    work: async ({ name }) => {
      await clock.sleep(50);
      seen.push(name);
    },
  });
  queue.start();
  queue.add(key("a"));
  queue.add(key("b"));
  let closed = false;

  const closing = queue.close().then(() => {
    closed = true;
  });
  await clock.settle();
  expect(closed).toBe(false);
  await clock.advance(50);
  await closing;

  expect(seen).toEqual(["a"]);
  expect(clock.pendingTimers).toBe(0);
});

test("a controller sees what exists, what changes and what goes; a thrown bug is counted and retried", async () => {
  const seen: string[] = [];
  let bugs = 2;
  const { maps, clock, manager, close } = startManager({
    async reconcile({ name }, object) {
      if (name === "buggy" && bugs > 0) {
        bugs -= 1;
        throw new TypeError("undefined is not a function");
      }
      seen.push(`${name}:${object?.data?.["value"] ?? "gone"}`);
    },
  });
  await maps.create(draft("a"));
  await maps.create(draft("buggy"));
  await clock.advance(1000);
  await maps.delete("a", { namespace: "default" });
  await clock.advance(1000);

  expect(seen).toEqual(["a:1", "buggy:1", "a:gone"]);
  expect(manager.metrics.render()).toContain(
    'argosy_controller_reconciles_total{controller="mapper",result="error"} 2',
  );
  await close();
});

test("what is new and idle is not looked at until it changes or goes; what was there at the start is", async () => {
  const seen: string[] = [];
  const labelsOf = (object: ConfigMap | undefined) => object?.metadata.labels?.["a"];
  const { maps, clock, close, restarted } = startManager({
    isIdle: (object) => labelsOf(object) === undefined,
    reconcile: async ({ name }, object) => void seen.push(`${name}:${labelsOf(object)}`),
  });
  await clock.advance(100);
  const idle = await maps.create(draft("idle"));
  await maps.create({ ...draft("busy"), metadata: { name: "busy", namespace: "default", labels: { a: "1" } } });
  await clock.advance(100);
  expect(seen.splice(0)).toEqual(["busy:1"]);

  await maps.update({ ...idle, metadata: { ...idle.metadata, labels: { a: "2" } } });
  await clock.advance(100);
  await maps.delete("busy", { namespace: "default" });
  await clock.advance(100);
  expect(seen.splice(0)).toEqual(["idle:2", "busy:undefined"]);

  const late = restarted({ isIdle: () => true, reconcile: async ({ name }) => void seen.push(name) });
  await clock.advance(100);
  expect(seen).toEqual(["idle"]);
  await late();
  await close();
});

test("terminal errors wait for a change, requeueAfter looks again", async () => {
  const times: string[] = [];
  const { maps, clock, close } = startManager({
    async reconcile({ name }, object) {
      times.push(name);
      if (name === "refused") throw new TerminalError("no such thing");
      return object === undefined ? undefined : { requeueAfterMs: 30_000 };
    },
  });
  await maps.create(draft("refused"));
  await maps.create(draft("polled"));
  await clock.advance(65_000);

  expect(times).toEqual(["refused", "polled", "polled", "polled"]);
  await close();
});

test("finalize runs before an object goes, however often it must wait", async () => {
  const log: string[] = [];
  const { maps, clock, api, close } = startManager({
    finalizer: "argosy.dev/mapper",
    async reconcile(_key, object) {
      if (object !== undefined) log.push(`reconcile ${object.metadata.finalizers?.join()}`);
    },
    async finalize() {
      log.push("finalize");
      return log.filter((line) => line === "finalize").length < 3 ? { requeueAfterMs: 1000 } : "done";
    },
  });
  await maps.create(draft("a"));
  await clock.advance(500);
  await maps.delete("a", { namespace: "default" });
  expect(api.objects.size).toBe(1);

  await clock.advance(5000);

  expect(log.filter((line) => line === "finalize")).toHaveLength(3);
  expect(log[0]).toBe("reconcile argosy.dev/mapper");
  expect(api.objects.size).toBe(0);
  await close();
});

test("owned objects wake their owner, watched ones whom they name", async () => {
  const woken: string[] = [];
  const { maps, client, clock, close } = startManager({
    owns: [PodKind],
    watches: [
      { kind: LeaseKind, keys: (object) => [{ namespace: "default", name: object.metadata.labels?.["for"] ?? "" }] },
    ],
    async reconcile({ name }) {
      woken.push(name);
    },
  });
  const owner = await maps.create(draft("a"));
  await clock.advance(100);
  woken.length = 0;

  await client.resource(PodKind).create({
    apiVersion: "v1",
    kind: "Pod",
    spec: { containers: [] },
    metadata: {
      name: "p",
      namespace: "default",
      ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: "a", uid: owner.metadata.uid, controller: true }],
    },
  });
  await clock.advance(100);
  await client.resource(LeaseKind).create({
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: "l", namespace: "default", labels: { for: "b" } },
    spec: {},
  });
  await clock.advance(100);

  expect(woken).toEqual(["a", "b"]);
  await close();
});

test("equal events are counted, floods are throttled, a failing server is no failure", async () => {
  const { api, client, clock, random } = tinyCluster();
  const about = await client.resource(ConfigMapKind).create(draft("a"));
  const recorder = createEventRecorder({ client, clock, random, log: silentLogger, component: "test" });
  for (let i = 0; i < 5; i += 1) recorder.record(about, "Warning", "Failed", "no space");
  await recorder.flush();
  const events = async () => (await client.resource(EventKind).list()).items;
  expect((await events()).map((event) => [event.reason, event.count, event.involvedObject.name])).toEqual([
    ["Failed", 5, "a"],
  ]);

  for (let i = 0; i < 100; i += 1) recorder.record(about, "Normal", "Flood", `message ${i}`);
  await recorder.flush();
  // The tenth stands for the others as well.
  expect(await events()).toHaveLength(11);
  expect(
    (await events()).filter(({ message = "" }) => message.startsWith("(combined from similar events): ")),
  ).toHaveLength(1);

  api.isDown = true;
  await clock.advance(600_000);
  expect(() => recorder.record(about, "Normal", "Down", "x")).not.toThrow();
  await recorder.close();
});

test("a lease has one leader; it changes hands when the leader falls silent, at once when it resigns", async () => {
  const { api, client, clock, random } = tinyCluster();
  const play = await playElection({ client, clock, random }, (ms) => clock.advance(ms));
  const { terms, b } = play;
  expect(play.before).toEqual(["a leads"]);
  expect(play.after).toEqual(["a leads", "a ends", "b leads"]);

  api.isDown = true;
  await clock.advance(15_000);
  expect(terms.at(-1)).toBe("b ends");
  api.isDown = false;
  await clock.advance(20_000);
  expect(b.election.isLeader).toBe(true);
  const lease = await client.resource(LeaseKind).get("boss", { namespace: "kube-system" });
  expect(lease.spec).toMatchObject({ holderIdentity: "b", leaseTransitions: 1, leaseDurationSeconds: 15 });
  b.stop.abort();
  await b.done;
});

test("of two managers only the leader's controllers work, and the other's take over", async () => {
  const { client, clock, random } = tinyCluster();
  const worked: string[] = [];
  const start = (identity: string) => {
    const informers = createInformerSet({ client, clock, random, log: silentLogger });
    const leaderElection = { namespace: "kube-system", name: "managers", identity };
    const manager = createManager({
      cluster: { name: "test", client, informers },
      clock,
      random,
      log: silentLogger,
      leaderElection,
    });
    manager.add<ConfigMap>({
      name: "mapper",
      kind: ConfigMapKind,
      async reconcile(key) {
        worked.push(`${identity} ${key.name}`);
      },
    });
    manager.start();
    return { manager, informers };
  };
  const first = start("first");
  await clock.advance(1000);
  const second = start("second");
  await client.resource(ConfigMapKind).create(draft("a"));
  await clock.advance(30_000);
  expect(worked).toEqual(["first a"]);

  await first.manager.close();
  await clock.advance(5000);
  await client.resource(ConfigMapKind).create(draft("b"));
  await clock.advance(1000);

  expect(worked).toEqual(["first a", "second a", "second b"]);
  await second.manager.close();
  await first.informers.close();
  await second.informers.close();
  expect(() => first.manager.start()).toThrow("started before");
});

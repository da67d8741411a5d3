import { expect, test, vi } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createManager } from "../../../kernel/control/index.js";
import { NodeKind, PodKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { podGarbageCollector } from "./index.js";

test("pods of a node that is gone for good are ended; those of a node that comes back stay", async () => {
  const cluster = await startTestCluster();
  let shiftMs = 0;
  const timers: { dueMs: number; fire: () => void }[] = [];
  const clock = {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() + shiftMs,
    setTimer(delayMs: number, fire: () => void) {
      if (delayMs < 1000) return systemClock.setTimer(delayMs, fire);
      const timer = { dueMs: clock.monotonicMs() + delayMs, fire };
      timers.push(timer);
      return { cancel: () => void timers.splice(timers.indexOf(timer), 1) };
    },
  };
  const advance = (byMs: number) => {
    shiftMs += byMs;
    for (const timer of [...timers]) if (timer.dueMs <= clock.monotonicMs() && timers.includes(timer)) timer.fire();
  };
  const manager = createManager({ cluster, clock, random: cluster.random, log: silentLogger });
  manager.add(podGarbageCollector());
  manager.start();
  const [nodes, pods] = [cluster.client.resource(NodeKind), cluster.client.resource(PodKind)];
  const namespace = "default";
  for (const name of ["gone", "back"]) {
    await nodes.create({ apiVersion: "v1", kind: "Node", metadata: { name }, spec: {} });
    const spec = { nodeName: name, containers: [{ name: "c", image: "i" }] };
    await pods.create(
      { apiVersion: "v1", kind: "Pod", metadata: { name: `on-${name}`, namespace }, spec },
      { namespace },
    );
  }

  await nodes.delete("gone");
  await nodes.delete("back");
  await vi.waitFor(() => expect(timers.filter(({ dueMs }) => dueMs - clock.monotonicMs() < 41_000)).toHaveLength(2), {
    timeout: 20_000,
  });
  expect(await pods.find("on-gone", { namespace })).toBeDefined();
  await nodes.create({ apiVersion: "v1", kind: "Node", metadata: { name: "back" }, spec: {} });
  advance(41_000);

  await vi.waitFor(async () => expect(await pods.find("on-gone", { namespace })).toBeUndefined(), { timeout: 20_000 });
  expect(await pods.find("on-back", { namespace })).toBeDefined();
  await manager.close();
  await cluster.close();
});

test("what hangs on a node that is out of service is given up; the oldest of very many ended pods go", async () => {
  const cluster = await startTestCluster();
  const manager = createManager({ cluster, clock: systemClock, random: cluster.random, log: silentLogger });
  manager.add(podGarbageCollector({ threshold: 1 }));
  manager.start();
  const [nodes, pods] = [cluster.client.resource(NodeKind), cluster.client.resource(PodKind)];
  const namespace = "default";
  const taints = [{ key: "node.kubernetes.io/out-of-service", value: "nodeshutdown", effect: "NoExecute" }];
  await nodes.create({ apiVersion: "v1", kind: "Node", metadata: { name: "dark" }, spec: { taints } });
  const make = (name: string) =>
    pods.create(
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, namespace },
        spec: { nodeName: "dark", containers: [{ name: "c", image: "i" }] },
      },
      { namespace },
    );
  await make("hangs");
  await make("stays");
  await pods.delete("hangs", { namespace });
  await vi.waitFor(async () => expect(await pods.find("hangs", { namespace })).toBeUndefined(), { timeout: 20_000 });
  expect(await pods.find("stays", { namespace })).toBeDefined();

  for (const name of ["first", "second"]) {
    await make(name);
    await pods.patch(name, "merge", { status: { phase: "Succeeded" } }, { namespace, subresource: "status" });
  }
  await vi.waitFor(async () => expect(await pods.find("first", { namespace })).toBeUndefined(), { timeout: 20_000 });
  expect(await pods.find("second", { namespace })).toBeDefined();
  await manager.close();
  await cluster.close();
});

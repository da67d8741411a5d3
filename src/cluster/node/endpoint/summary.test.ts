import { expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import type { Pod } from "../../../kernel/kinds/index.js";
import type { PodManager } from "../pods/manager.js";
import type { PodRuntime } from "../runtime/types.js";
import { UsageSummary } from "./summary.js";

const pod: Pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", namespace: "n", uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { containers: [] },
};

test("rates are of now: since the last question, or over a second", async () => {
  const clock = virtualClock();
  // A tenth of a core, and half of one from the second minute on.
  const cpuNanos = (): number => {
    const ms = clock.monotonicMs() - beganMs;
    return 1e6 * (0.1 * Math.min(ms, 60_000) + 0.5 * Math.max(0, ms - 60_000));
  };
  const beganMs = clock.monotonicMs();
  const record = { podUid: "u", name: "main", attempt: 0, image: "", imageId: "", state: "running", startedAtMs: 0 };
  const pods = { pods: () => [pod] } as unknown as PodManager;
  const runtime = {
    containers: () => [record],
    usage: () => ({ memoryBytes: 4096, cpuNanos: cpuNanos() }),
  } as unknown as PodRuntime;
  const summary = new UsageSummary({ pods, runtime, clock, nodeName: "node-1" });
  const read = async () => {
    const reading = summary.read();
    await clock.advance(1000);
    return reading;
  };

  expect(await read()).toMatchObject({
    node: { nodeName: "node-1", cpu: { usageNanoCores: 1e8 }, memory: { workingSetBytes: 4096 } },
    pods: [{ podRef: { name: "p", namespace: "n", uid: "u" }, containers: [{ name: "main", windowSeconds: 1 }] }],
  });
  await clock.advance(69_000);
  // 59 of these 69 seconds at a tenth.
  expect(await read()).toMatchObject({ pods: [{ containers: [{ windowSeconds: 69 }] }] });
  await clock.advance(29_000);
  expect(await read()).toMatchObject({ node: { cpu: { usageNanoCores: 5e8 } } });
  await clock.advance(3_600_000);
  expect(await read()).toMatchObject({ pods: [{ containers: [{ windowSeconds: 1, cpu: { usageNanoCores: 5e8 } }] }] });
});

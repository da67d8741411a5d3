import fc from "fast-check";
import { expect, test } from "vitest";
import type { Deployment, ReplicaSet } from "../../../kernel/kinds/index.js";
import { desiredAnnotation, maxAnnotation, sizeOf, total } from "./annotations.js";
import {
  allSets,
  fenceposts,
  maxPods,
  nextCurrentSize,
  type Resize,
  type Rollout,
  scaleProportionally,
  shrinkOld,
} from "./rollout.js";

const meta = (name: string, annotations: Record<string, string> = {}) => ({
  name,
  namespace: "n",
  uid: name,
  resourceVersion: "1",
  creationTimestamp: "2026-01-01T00:00:00Z",
  annotations,
});

function deploymentOf(replicas: number, maxSurge: number | string, maxUnavailable: number | string): Deployment {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: meta("d"),
    spec: {
      replicas,
      selector: {},
      template: {},
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge, maxUnavailable } },
    },
  };
}

function setOf(name: string, size: number, available: number, annotations: Record<string, string> = {}): ReplicaSet {
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: meta(name, annotations),
    spec: { replicas: size, selector: {} },
    status: { replicas: size, availableReplicas: available },
  };
}

/** The sets after the changes; pods that go were available as far as they must be. */
function resized(rollout: Rollout, changes: readonly Resize[]): Rollout {
  const apply = (set: ReplicaSet): ReplicaSet => {
    const size = changes.find((change) => change.set === set)?.size ?? sizeOf(set);
    // The ReplicaSet gives up pods that are not available first.
    return setOf(set.metadata.name, size, Math.min(size, set.status?.availableReplicas ?? 0));
  };
  return { ...rollout, current: rollout.current && apply(rollout.current), old: rollout.old.map(apply) };
}

const availableIn = (rollout: Rollout): number => total(allSets(rollout), (set) => set.status?.availableReplicas ?? 0);
const amount = fc.oneof(
  fc.integer({ min: 0, max: 12 }),
  fc.integer({ min: 0, max: 100 }).map((percent) => `${percent}%`),
);

test("a roll-out ends, and never has more pods or fewer available ones than allowed", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 30 }),
      amount,
      amount,
      fc.infiniteStream(fc.nat(5)),
      (replicas, maxSurge, maxUnavailable, luck) => {
        const deployment = deploymentOf(replicas, maxSurge, maxUnavailable);
        const { unavailable } = fenceposts(deployment);
        let rollout: Rollout = { deployment, current: setOf("new", 0, 0), old: [setOf("old", replicas, replicas)] };
        for (let step = 0; step < 1000; step += 1) {
          const { current } = rollout;
          if (current === undefined) return;
          const size = nextCurrentSize(rollout);
          rollout = resized(rollout, size === sizeOf(current) ? shrinkOld(rollout) : [{ set: current, size }]);
          expect(total(allSets(rollout), sizeOf)).toBeLessThanOrEqual(maxPods(deployment));
          expect(availableIn(rollout)).toBeGreaterThanOrEqual(replicas - unavailable);
          const made = rollout.current;
          if (made === undefined) return;
          const available = Math.min(sizeOf(made), (made.status?.availableReplicas ?? 0) + (luck.next().value ?? 0));
          rollout = { ...rollout, current: setOf("new", sizeOf(made), available) };
          if (available === replicas && total(rollout.old, sizeOf) === 0) return;
        }
        expect.fail(
          `still rolling: ${JSON.stringify(allSets(rollout).map((set) => [set.metadata.name, sizeOf(set)]))}`,
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("pods that never became available are given up before those that serve", () => {
  const rollout: Rollout = {
    deployment: deploymentOf(10, 2, 2),
    current: setOf("new", 2, 0),
    old: [setOf("broken", 4, 0), setOf("serving", 6, 6)],
  };

  expect(shrinkOld(rollout).map(({ set, size }) => [set.metadata.name, size])).toEqual([["broken", 2]]);
});

test("scaling in the middle of a roll-out shares by size and adds up", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 0, max: 60 }),
      fc.integer({ min: 0, max: 5 }),
      (oldSize, newSize, replicas, surge) => {
        const before = oldSize + newSize;
        const notes = { [desiredAnnotation]: String(before), [maxAnnotation]: String(before + surge) };
        const deployment = deploymentOf(replicas, surge, 1);
        const rollout: Rollout = {
          deployment,
          current: setOf("new", newSize, 0, notes),
          old: [setOf("old", oldSize, oldSize, notes)],
        };

        const sizes = scaleProportionally(rollout);

        expect(sizes.reduce((sum, { size }) => sum + size, 0)).toBe(maxPods(deployment));
        for (const { size } of sizes) expect(size).toBeGreaterThanOrEqual(0);
      },
    ),
  );
});

test("both limits zero still let one pod go at a time; percentages round as upstream", () => {
  expect(fenceposts(deploymentOf(3, 0, 0))).toEqual({ surge: 0, unavailable: 1 });
  expect(fenceposts(deploymentOf(3, "25%", "25%"))).toEqual({ surge: 1, unavailable: 0 });
  expect(fenceposts(deploymentOf(10, "25%", "25%"))).toEqual({ surge: 3, unavailable: 2 });
});

import { expect, test } from "vitest";
import type { Pod } from "../../kernel/kinds/index.js";
import { diagnosePods } from "./diagnosis.js";

/** A pod that runs on a node, with what its node and others say of its readiness. */
function running(ready: "True" | "False", isContainerReady: boolean, spec: Partial<Pod["spec"]> = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "a-1", namespace: "models", uid: "1", resourceVersion: "1", creationTimestamp: "" },
    spec: { nodeName: "one", containers: [{ name: "main", image: "x" }], ...spec },
    status: {
      phase: "Running",
      conditions: [{ type: "Ready", status: ready }],
      containerStatuses: [
        {
          ...{ name: "main", image: "x", imageID: "x", restartCount: 0, ready: isContainerReady },
          state: { running: {} },
        },
      ],
    },
  };
}

test("a pod whose node is not heard of any more is told of by its node, one whose model loads is not", () => {
  expect(diagnosePods("cloud", [running("False", true)], undefined)).toEqual({
    reason: "NodeLost",
    message: "cluster cloud, pod models/a-1: nothing is heard of its node one any more",
  });
  expect(diagnosePods("cloud", [running("False", false)], undefined)?.reason).toBe("Loading");
  expect(diagnosePods("cloud", [running("True", true)], undefined)).toBeUndefined();
  const gated = running("False", true, { readinessGates: [{ conditionType: "example.org/wired" }] });
  expect(diagnosePods("cloud", [gated], undefined)?.reason).toBe("Loading");
});

test("what a container died of is told before the node that is gone", () => {
  const lost = running("False", true);
  const crashed: Pod = {
    ...running("False", false),
    metadata: { ...lost.metadata, name: "a-2" },
    status: {
      phase: "Running",
      conditions: [{ type: "Ready", status: "False" }],
      containerStatuses: [
        {
          ...{ name: "main", image: "x", imageID: "x", restartCount: 3, ready: false },
          state: { waiting: { reason: "CrashLoopBackOff" } },
          lastState: { terminated: { exitCode: 1, message: "ModelLoadFailed: it is cut off" } },
        },
      ],
    },
  };

  expect(diagnosePods("cloud", [lost, crashed], undefined)?.reason).toBe("ModelLoadFailed");
});

test.each([
  [0, "Starting"],
  [1, "Starting"],
  [2, "ModelIsCode"],
])(
  "a model that shows to be code is on its way to other pods, not failed: after %i restarts",
  (restartCount, reason) => {
    const pod = running("False", false);
    const ended = { exitCode: 1, message: "model-server: ModelIsCode: model.js is code" };
    const containerStatuses = [
      { name: "main", image: "x", imageID: "x", ready: false, restartCount, state: { terminated: ended } },
    ];
    expect(diagnosePods("cloud", [{ ...pod, status: { ...pod.status, containerStatuses } }], undefined)?.reason).toBe(
      reason,
    );
  },
);

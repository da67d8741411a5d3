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

const ended = (message: string) => ({ exitCode: 1, message, finishedAt: "2026-01-01T00:01:00Z" });
const waits = { waiting: { reason: "CrashLoopBackOff", message: "back-off 1m20s restarting failed container=main" } };
const runs = { running: { startedAt: "2026-01-01T00:02:20Z" } };

/** A pod with one container that was restarted three times. */
function retrying(
  state: object,
  words: string,
  more: { readonly since?: string; readonly isInit?: boolean } = {},
): Pod {
  const pod = running("False", false, {
    containers: [{ name: "main", image: "x", args: ["--model-uri", "hf://a/b"] }],
  });
  const name = more.isInit === true ? "storage-initializer" : "main";
  const one = { name, image: "x", imageID: "x", restartCount: 3, ready: false, state };
  const container = { ...one, lastState: { terminated: ended(words) } };
  const since = more.since ?? "2026-01-01T00:00:00Z";
  return {
    ...pod,
    status: {
      ...pod.status,
      conditions: [{ type: "Ready", status: "False", lastTransitionTime: since }],
      ...(more.isInit === true
        ? { initContainerStatuses: [container], containerStatuses: [] }
        : { containerStatuses: [container] }),
    },
  };
}

test.each([
  ["the server that fetches itself", false],
  ["an init container", true],
])("a fetch that failed stays failed while %s tries again, with how often and when", (_who, isInit) => {
  const words = "ModelDownloadFailed: NotFound: s3://b/m holds no files";
  const name = isInit ? "storage-initializer" : "main";
  const fault = {
    reason: "ModelDownloadFailed",
    message: `cluster cloud, pod models/a-1: container ${name}: NotFound: s3://b/m holds no files`,
  };
  expect(diagnosePods("cloud", [retrying(waits, words, { isInit })], undefined)).toEqual({
    ...fault,
    tries: "restarted 3 times; next try at 2026-01-01T00:02:20Z",
  });
  expect(diagnosePods("cloud", [retrying(runs, words, { isInit })], undefined)).toEqual({
    ...fault,
    tries: "restarted 3 times; it is being tried again",
  });
});

test("what a server ended by before it was ready again, or said nothing of, is not held against it", () => {
  const words = "ModelDownloadFailed: NotFound: s3://b/m holds no files";
  const since = "2026-01-01T00:03:00Z";
  expect(diagnosePods("cloud", [retrying(runs, words, { since })], undefined)?.reason).toBe("Fetching");
  expect(diagnosePods("cloud", [retrying(runs, "segmentation fault")], undefined)?.reason).toBe("Fetching");
});

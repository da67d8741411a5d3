import { expect, test } from "vitest";
import type { Pod } from "../../../kernel/kinds/index.js";
import { type NodeView, namesNodes, rejectionOf } from "./admission.js";

const capacity = { cpuMillis: 1000, memoryBytes: 1024 ** 3, pods: 3 };
const view = (...taken: Pod[]): NodeView => ({ name: "n", labels: { zone: "a", size: "5" }, capacity, taken });
const container = (cpu: string, memory = "0") => ({ name: "c", resources: { requests: { cpu, memory } } });
const pod = (spec: object): Pod => ({ metadata: { name: "p" }, spec: { containers: [], ...spec } }) as unknown as Pod;
const needs = (...terms: object[]): object => ({
  affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } },
});
const term = (key: string, operator: string, ...values: string[]): object => ({
  matchExpressions: [{ key, operator, values }],
});

test("a pod that was given to a node whose labels it does not want is turned away", () => {
  const reason = (spec: object): string | undefined => rejectionOf(pod(spec), view())?.reason;

  expect(reason({})).toBeUndefined();
  expect(reason({ nodeSelector: { zone: "a" } })).toBeUndefined();
  expect(reason({ nodeSelector: { zone: "b" } })).toBe("NodeAffinity");
  expect(reason(needs(term("zone", "In", "b"), term("size", "Gt", "4")))).toBeUndefined();
  expect(reason(needs(term("zone", "NotIn", "a")))).toBe("NodeAffinity");
  expect(reason(needs({}))).toBe("NodeAffinity");
  expect(reason(needs({ matchFields: [{ key: "metadata.name", operator: "In", values: ["n"] }] }))).toBeUndefined();
  expect([namesNodes(pod({})), namesNodes(pod(needs({})))]).toEqual([false, true]);
});

test("what does not fit beside the pods that are there is turned away in kubelet's words", () => {
  const half = pod({ containers: [container("500m")] });

  expect(rejectionOf(half, view(half))).toBeUndefined();
  expect(rejectionOf(pod({ containers: [container("501m")] }), view(half))).toEqual({
    reason: "OutOfcpu",
    message: "Node didn't have enough resource: cpu, requested: 501, used: 500, capacity: 1000",
  });
  expect(rejectionOf(pod({ containers: [container("0", "2Gi")] }), view())?.reason).toBe("OutOfmemory");
  expect(rejectionOf(pod({}), view(pod({}), pod({}), pod({})))?.reason).toBe("OutOfpods");
});

test("init containers count where they need more, sidecars beside all that comes after", () => {
  const sidecar = { ...container("400m"), restartPolicy: "Always" };
  const fits = (spec: object): boolean => rejectionOf(pod(spec), view()) === undefined;

  expect(fits({ initContainers: [container("900m")], containers: [container("900m")] })).toBe(true);
  expect(fits({ initContainers: [sidecar, container("700m")], containers: [] })).toBe(false);
  expect(fits({ initContainers: [container("700m"), sidecar], containers: [container("600m")] })).toBe(true);
  expect(fits({ containers: [container("900m")], overhead: { cpu: "200m" } })).toBe(false);
});

import { expect, test } from "vitest";
import { unreadinessOf } from "./hyper-readiness.js";
import type { ObjectState } from "./hyper-status.js";

function stateOf(apiVersion: string, kind: string, spec: object, told?: object): ObjectState {
  const metadata = { name: "a", namespace: "demo" };
  return {
    object: { apiVersion, kind, manifest: { apiVersion, kind, metadata, spec } },
    work: { status: { manifestStatuses: told === undefined ? [] : [told] } },
    isApplied: true,
    reason: "AppliedSuccessful",
    message: "",
  } as unknown as ObjectState;
}

test("what was applied a moment ago and reports readiness is not ready before it was heard of", () => {
  const deployment = ["apps/v1", "Deployment", { replicas: 2 }] as const;
  expect(unreadinessOf(stateOf(...deployment))).toBe("has not reported on its newest form yet");
  expect(unreadinessOf({ ...stateOf(...deployment), isApplied: false })).toBeUndefined();
  expect(unreadinessOf(stateOf(...deployment, { health: "Healthy", status: {} }))).toBeUndefined();
  const told = { health: "Unhealthy", status: { generation: 3, observedGeneration: 3, readyReplicas: 1 } };
  expect(unreadinessOf(stateOf(...deployment, told))).toBe("1 of 2 replicas are ready");
  const old = { ...told, status: { ...told.status, observedGeneration: 2 } };
  expect(unreadinessOf(stateOf(...deployment, old))).toBe("has not reported on its newest form yet");
  expect(unreadinessOf(stateOf("v1", "ConfigMap", {}))).toBeUndefined();
  expect(unreadinessOf(stateOf("example.org/v1", "Gadget", {}))).toBeUndefined();
});

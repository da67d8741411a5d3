import { expect, test } from "vitest";
import { fieldPositions, findPosition } from "./positions.js";

const source = `apiVersion: v1
kind: Pod
metadata:
  name: a
spec:
  containers:
    - name: first
      image: node
    - name: second
      ports: [{containerPort: 80}]
---
kind: Other
`;

test("names the line of every field, in nested lists too", () => {
  const [pod, other] = fieldPositions(source);

  expect(pod?.get("spec.containers[1].name")).toEqual({ line: 9, column: 7 });
  expect(pod?.get("spec.containers[0].image")?.line).toBe(8);
  expect(pod?.get("spec.containers[1].ports[0].containerPort")?.line).toBe(10);
  expect(other?.get("kind")?.line).toBe(12);
});

test("falls back to the nearest ancestor that is there", () => {
  const [pod] = fieldPositions(source);

  expect(findPosition(pod ?? new Map(), "spec.containers[1].resources.limits.cpu")?.line).toBe(9);
  expect(findPosition(pod ?? new Map(), "nothing.like.this")?.line).toBe(1);
});

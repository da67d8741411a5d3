import type { Json, JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Chance } from "./chance.js";
import { acceptedForms, deleteOptions } from "./machinery-collections.js";
import type { Sample } from "./samples.js";
import type { Step } from "./types.js";

type Request = Omit<Step, "id">;

/** Kinds that can be scaled. */
export const scaled = ["Deployment", "ReplicaSet", "StatefulSet", "ReplicationController", "Widget"];

const bodies: Readonly<Record<string, (chance: Chance, name: string) => JsonObject>> = {
  scale: (chance, name) => ({
    apiVersion: chance.pick(["autoscaling/v1", "autoscaling/v1", "v1"]),
    kind: chance.pick(["Scale", "Scale", "X"]),
    metadata: {
      name,
      ...(chance.maybe(0.3) ? { resourceVersion: chance.pick(["1", "x", ["$", "{rv:0}"].join("")]) } : {}),
    },
    spec: chance.pick<Json>([
      { replicas: 3 },
      { replicas: -1 },
      {},
      { replicas: "x" },
      { replicas: 1, bogus: 2 },
      null,
    ]),
  }),
  eviction: (chance, name) => ({
    apiVersion: chance.pick(["policy/v1", "policy/v1", "v1"]),
    kind: "Eviction",
    metadata: { name: chance.pick([name, name, "other", ""]) },
    ...(chance.maybe(0.4) ? { deleteOptions: deleteOptions(chance) } : {}),
  }),
  binding: (chance, name) => ({
    apiVersion: "v1",
    kind: "Binding",
    metadata: { name, ...(chance.maybe(0.2) ? { uid: "x" } : {}) },
    target: chance.pick<Json>([
      { kind: "Node", name: "n1" },
      { name: "n2" },
      {},
      { kind: "Pod", name: "x" },
      { apiVersion: "v1", kind: "Node", name: "A b" },
    ]),
  }),
  token: (chance) => ({
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: {
      audiences: chance.pick<Json>([["a"], [], ["https://kubernetes.default.svc"]]),
      expirationSeconds: chance.pick([600, 3600, 10, 4294967297, -1]),
      ...(chance.maybe(0.3)
        ? {
            boundObjectRef: chance.pick<Json>([
              { kind: "Pod", apiVersion: "v1", name: "x" },
              { kind: "Secret", apiVersion: "v1", name: "x" },
              { kind: "Bogus", apiVersion: "v1", name: "x" },
              { kind: "Node", apiVersion: "v1", name: "x", uid: "y" },
              {},
            ]),
          }
        : {}),
    },
  }),
  finalize: (chance, name) => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name },
    spec: chance.pick<Json>([
      { finalizers: ["kubernetes"] },
      { finalizers: ["a"] },
      { finalizers: ["example.com/f"] },
      {},
    ]),
  }),
  ephemeralcontainers: (chance, name) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      ephemeralContainers: [
        {
          name: chance.pick(["e", "main", "A"]),
          image: "i",
          ...(chance.maybe(0.3) ? { targetContainerName: chance.pick(["main", "nope"]) } : {}),
          ...(chance.maybe(0.3)
            ? chance.pick<JsonObject>([
                { ports: [{ containerPort: 1 }] },
                { resources: { limits: { cpu: "1" } } },
                { stdin: true },
                { livenessProbe: { exec: { command: ["x"] } } },
              ])
            : {}),
        },
      ],
    },
  }),
  resize: (chance, name) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      containers: [
        {
          name: chance.pick(["main", "c", "x"]),
          image: "i",
          resources: chance.pick<Json>([
            { requests: { cpu: "200m" } },
            { limits: { cpu: "2" } },
            { requests: { memory: "1Gi" } },
            {},
          ]),
        },
      ],
    },
  }),
  status: (chance, name) => ({
    metadata: { name, ...(chance.maybe(0.2) ? { labels: { a: "b" } } : {}) },
    status: chance.pick<Json>([
      { phase: "Running" },
      { replicas: 2 },
      { conditions: [{ type: "Ready", status: "True" }] },
      {},
      "x",
      { bogus: 1 },
    ]),
  }),
};

const fittingOf: Readonly<Record<string, readonly string[]>> = {
  Pod: ["status", "eviction", "binding", "ephemeralcontainers", "resize"],
  ServiceAccount: ["token"],
  Namespace: ["status", "finalize"],
};

function methodFor(chance: Chance, subresource: string): string {
  if (["eviction", "binding", "token"].includes(subresource))
    return chance.maybe(0.92) ? "POST" : chance.pick(["GET", "PUT"]);
  return chance.weighted([
    [3, "PUT"],
    [4, "PATCH"],
    [3, "GET"],
    [1, "DELETE"],
  ] as const);
}

export function subresourceRequest(chance: Chance, sample: Sample, at: string, name: string): Request {
  const { kind, apiVersion } = sample;
  const fitting = fittingOf[kind] ?? (scaled.includes(kind) ? ["status", "scale"] : ["status"]);
  const what = chance.maybe(0.92)
    ? chance.pick(fitting)
    : chance.pick([...Object.keys(bodies), "nope", "log", "exec", "attach", "proxy", "portforward"]);
  const path = `${at}/${what}`;
  const body = bodies[what]?.(chance, name) ?? {};
  if (what === "status") Object.assign(body, { apiVersion, kind });
  const query = chance.pick(["", "", "", "?dryRun=All", "?fieldValidation=Strict", "?fieldManager=m1"]);
  const method = methodFor(chance, what);
  if (method === "GET" || method === "DELETE")
    return { method, path, ...(chance.maybe(0.2) ? { accept: chance.pick(acceptedForms) } : {}) };
  if (method !== "PATCH") return { method, path: path + query, body };
  const type = chance.pick(["merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"]);
  return {
    method,
    path: `${path}${query === "" ? (type === "apply-patch+yaml" ? "?fieldManager=m2" : "") : query}`,
    contentType: `application/${type}`,
    body,
  };
}

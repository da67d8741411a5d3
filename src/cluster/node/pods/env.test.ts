import fc from "fast-check";
import { expect, test } from "vitest";
import type { Container, Pod, Service } from "../../../kernel/kinds/index.js";
import { type EnvContext, expandVariables, resolveEnvironment } from "./env.js";

const container = (more: Partial<Container> = {}): Container => ({ name: "main", image: "x", ...more });
const pod = (more: Partial<Pod["spec"]> = {}): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name: "p",
    namespace: "ns",
    uid: "u",
    resourceVersion: "1",
    creationTimestamp: "",
    labels: { app: "a" },
    annotations: { note: "n" },
  },
  spec: { nodeName: "node", serviceAccountName: "sa", containers: [], ...more },
});

function context(own: Container, more: Partial<EnvContext> = {}): EnvContext {
  return {
    pod: pod(),
    container: own,
    podIp: "198.18.0.5",
    hostname: "p",
    hostIp: "198.18.0.1",
    imageEnv: [["PATH", "/bin"]],
    services: [],
    sources: {
      configMap: (_, name) => Promise.resolve(name === "cm" ? { a: "1", b: "2" } : undefined),
      secret: (_, name) => Promise.resolve(name === "s" ? { k: "secret" } : undefined),
    },
    allocatable: { cpuMillis: 2000, memoryBytes: 4096 * 1024 * 1024 },
    ...more,
  };
}

test("later variables see earlier ones; unknown references and $$ stay", async () => {
  const env = await resolveEnvironment(
    context(
      container({
        envFrom: [{ prefix: "X_", configMapRef: { name: "cm" } }],
        env: [
          { name: "A", value: "one" },
          { name: "B", value: "$(A)-$(X_b)-$(NO)-$$(A)" },
        ],
      }),
    ),
  );

  expect(env.get("B")).toBe("one-2-$(NO)-$(A)");
  expect([env.get("X_a"), env.get("PATH"), env.get("HOSTNAME"), env.get("POD_IP")]).toEqual([
    "1",
    "/bin",
    "p",
    "198.18.0.5",
  ]);
});

test("the downward API answers fields and resources", async () => {
  const field = (fieldPath: string) => ({ valueFrom: { fieldRef: { fieldPath } } });
  const resource = (name: string, divisor?: string) => ({
    valueFrom: { resourceFieldRef: { resource: name, ...(divisor === undefined ? {} : { divisor }) } },
  });
  const env = await resolveEnvironment(
    context(
      container({
        resources: { limits: { cpu: "1500m" }, requests: { memory: "100Mi" } },
        env: [
          { name: "NS", ...field("metadata.namespace") },
          { name: "APP", ...field("metadata.labels['app']") },
          { name: "IP", ...field("status.podIP") },
          { name: "CPU", ...resource("limits.cpu") },
          { name: "MCPU", ...resource("limits.cpu", "1m") },
          { name: "MEM", ...resource("requests.memory", "1Mi") },
          { name: "ALL", ...resource("limits.memory", "1Gi") },
        ],
      }),
    ),
  );

  expect(["NS", "APP", "IP", "CPU", "MCPU", "MEM", "ALL"].map((name) => env.get(name))).toEqual([
    "ns",
    "a",
    "198.18.0.5",
    "2",
    "1500",
    "100",
    "4",
  ]);
});

test("what is missing is named, unless it is optional", async () => {
  const from = (ref: object): Container => container({ env: [{ name: "A", valueFrom: ref }] });

  await expect(resolveEnvironment(context(from({ configMapKeyRef: { name: "none", key: "a" } })))).rejects.toThrow(
    'configmap "none" not found',
  );
  await expect(resolveEnvironment(context(from({ secretKeyRef: { name: "s", key: "none" } })))).rejects.toThrow(
    "couldn't find key none in Secret ns/s",
  );
  const env = await resolveEnvironment(context(from({ secretKeyRef: { name: "none", key: "a", optional: true } })));
  expect(env.has("A")).toBe(false);
});

test("services announce themselves, kubernetes always", async () => {
  const service = (name: string, namespace: string, clusterIP: string): Service => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace, uid: name, resourceVersion: "1", creationTimestamp: "" },
    spec: { clusterIP, ports: [{ port: 443, name: "https" }] },
  });
  const services = [
    service("kubernetes", "default", "198.19.0.1"),
    service("my-db", "ns", "198.19.0.9"),
    service("other", "else", "198.19.0.8"),
  ];

  const linked = await resolveEnvironment(context(container(), { services }));
  const unlinked = await resolveEnvironment(
    context(container(), { services, pod: pod({ enableServiceLinks: false }) }),
  );

  expect([
    linked.get("KUBERNETES_SERVICE_HOST"),
    linked.get("MY_DB_SERVICE_PORT_HTTPS"),
    linked.get("OTHER_SERVICE_HOST"),
  ]).toEqual(["198.19.0.1", "443", undefined]);
  expect([unlinked.get("KUBERNETES_SERVICE_PORT"), unlinked.get("MY_DB_SERVICE_HOST")]).toEqual(["443", undefined]);
});

test("text without a dollar is never changed by expansion, and escaping survives", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const plain = text.replaceAll("$", "");
      expect(expandVariables(plain, new Map())).toBe(plain);
      expect(expandVariables(text.replaceAll("$", "$$$$"), new Map([["A", "1"]]))).toBe(text);
    }),
  );
});

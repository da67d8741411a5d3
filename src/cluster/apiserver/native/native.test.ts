import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { createRegistry } from "../registry/index.js";
import type { ResourceType } from "../types.js";

const registry = createRegistry();
const context = { now: "2026-01-01T00:00:00Z", user: { username: "u", groups: [] }, subresource: "" };

function typeOf(group: string, version: string, plural: string): ResourceType {
  const type = registry.find(group, version, plural);
  if (type === undefined) throw new Error(`${plural} is not served`);
  return type;
}

function made(type: ResourceType, object: JsonObject): JsonObject {
  const decoded = type.decode(object).object;
  type.applyDefaults(decoded);
  type.prepareForCreate(decoded, context);
  return decoded;
}

async function faults(type: ResourceType, object: JsonObject): Promise<string[]> {
  const causes = await type.validateCreate(made(type, object), context);
  return causes.map((cause) => `${cause.field}: ${cause.message}`);
}

const pods = typeOf("", "v1", "pods");
const pod = (container: JsonObject, spec: JsonObject = {}): JsonObject => ({
  metadata: { name: "p" },
  spec: { containers: [{ name: "c", image: "i:1", ...container }], ...spec },
});

test("a StatefulSet's containers mount its claim templates", async () => {
  const set = (mount: string): JsonObject => ({
    metadata: { name: "s" },
    spec: {
      serviceName: "s",
      selector: { matchLabels: { a: "b" } },
      template: {
        metadata: { labels: { a: "b" } },
        spec: { containers: [{ name: "c", image: "i:1", volumeMounts: [{ name: mount, mountPath: "/d" }] }] },
      },
      volumeClaimTemplates: [
        {
          metadata: { name: "data" },
          spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
        },
      ],
    },
  });
  const type = typeOf("apps", "v1", "statefulsets");

  expect(await faults(type, set("data"))).toEqual([]);
  expect(await faults(type, set("dat"))).toHaveLength(1);
});

test("pods get upstream's defaults", () => {
  const object = made(
    pods,
    pod(
      { image: "i", livenessProbe: { httpGet: { port: 80 } } },
      { volumes: [{ name: "v" }, { name: "s", secret: { secretName: "x" } }] },
    ),
  );
  const spec = object["spec"] as JsonObject;

  expect(spec).toMatchObject({
    restartPolicy: "Always",
    terminationGracePeriodSeconds: 30,
    dnsPolicy: "ClusterFirst",
    schedulerName: "default-scheduler",
    enableServiceLinks: true,
    volumes: [
      { name: "v", emptyDir: {} },
      { name: "s", secret: { secretName: "x", defaultMode: 420 } },
    ],
  });
  expect((spec["containers"] as JsonObject[])[0]).toMatchObject({
    imagePullPolicy: "Always",
    livenessProbe: { httpGet: { path: "/", port: 80, scheme: "HTTP" }, timeoutSeconds: 1, periodSeconds: 10 },
    resources: {},
  });
  expect(object["status"]).toEqual({ phase: "Pending", qosClass: "BestEffort" });
});

test.each([
  ["a missing image", pod({ image: "" }), "spec.containers[0].image: Required value"],
  [
    "an unknown volume",
    pod({ volumeMounts: [{ name: "v", mountPath: "/v" }] }),
    'spec.containers[0].volumeMounts[0].name: Not found: "v"',
  ],
  [
    "a port out of range",
    pod({ ports: [{ containerPort: 70_000 }] }),
    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
  ],
  [
    "a request above its limit",
    pod({ resources: { requests: { cpu: "2" }, limits: { cpu: "1" } } }),
    'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
  ],
  [
    "an unknown policy",
    pod({}, { restartPolicy: "Sometimes" }),
    'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
  ],
])("pods with %s are refused", async (_, object, fault) => {
  expect(await faults(pods, object)).toEqual([fault]);
});

test("what a pod asks for as a whole is completed from its containers and its limits", () => {
  const container = { resources: { requests: { cpu: "100m", memory: "10Mi" } } };
  const given = { limits: { cpu: "1", memory: "1Gi", "hugepages-2Mi": "4Mi" } };

  const { spec, status } = made(pods, pod(container, { resources: given })) as Record<string, JsonObject>;

  expect(spec?.["resources"]).toEqual({
    ...given,
    requests: { cpu: "100m", memory: "10Mi", "hugepages-2Mi": "4Mi" },
  });
  expect(status?.["qosClass"]).toBe("Burstable");
});

test("a pod's containers cannot change, their images can", async () => {
  const old = made(pods, pod({}));
  const image = made(pods, pod({ image: "i:2" }));
  const command = made(pods, pod({ command: ["x"] }));

  expect(await pods.validateUpdate(image, old, context)).toEqual([]);
  expect((await pods.validateUpdate(command, old, context)).map((cause) => cause.field)).toEqual(["spec"]);
});

const template = { metadata: { labels: { app: "a" } }, spec: { containers: [{ name: "c", image: "i:1" }] } };

test("deployments roll a quarter at a time by default, and their selector must match and stay", async () => {
  const type = typeOf("apps", "v1", "deployments");
  const object = (labels: JsonObject): JsonObject => ({
    metadata: { name: "d" },
    spec: { selector: { matchLabels: labels }, template },
  });
  const first = made(type, object({ app: "a" }));

  expect(first["spec"]).toMatchObject({
    replicas: 1,
    strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: "25%" } },
  });
  expect(await faults(type, object({ app: "b" }))).toEqual([
    'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`',
  ]);
  const other = structuredClone(first);
  (other["spec"] as JsonObject)["selector"] = { matchLabels: { app: "b" } };
  expect((await type.validateUpdate(other, first, context)).map((cause) => cause.message)).toContain(
    'Invalid value: {"matchLabels":{"app":"b"}}: field is immutable',
  );
});

test("the generation follows the spec, not metadata and not status", () => {
  const type = typeOf("apps", "v1", "deployments");
  const old = made(type, { metadata: { name: "d" }, spec: { selector: { matchLabels: { app: "a" } }, template } });
  const labelled = { ...structuredClone(old), metadata: { name: "d", labels: { a: "b" } } };
  const scaled = structuredClone(old);
  (scaled["spec"] as JsonObject)["replicas"] = 5;
  type.prepareForUpdate(labelled, old, context);
  type.prepareForUpdate(scaled, old, context);

  expect([labelled, scaled].map((object) => (object["metadata"] as JsonObject)["generation"])).toEqual([1, 2]);
});

test("jobs select their pods by uid and do not let them restart for ever", async () => {
  const type = typeOf("batch", "v1", "jobs");
  const job = made(type, {
    metadata: { name: "j", uid: "u-1" },
    spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i:1" }] } } },
  });

  expect(job["spec"]).toMatchObject({
    selector: { matchLabels: { "batch.kubernetes.io/controller-uid": "u-1" } },
    backoffLimit: 6,
    completions: 1,
    template: { metadata: { labels: { "batch.kubernetes.io/job-name": "j" } } },
  });
  expect(await type.validateCreate(job, context)).toEqual([]);
  expect(
    await faults(type, {
      metadata: { name: "j" },
      spec: { template: { spec: { containers: [{ name: "c", image: "i:1" }] } } },
    }),
  ).toContain('spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"');
});

test("secrets take plain text and keep it encoded", () => {
  const secret = made(typeOf("", "v1", "secrets"), {
    metadata: { name: "s" },
    stringData: { a: "b" },
    data: { c: "ZA==" },
  });

  expect(secret).toEqual(expect.objectContaining({ type: "Opaque", data: { a: "Yg==", c: "ZA==" } }));
  expect(secret).not.toHaveProperty("stringData");
});

test("pods are summed up as kubectl users know it", () => {
  const running: JsonObject = {
    ...made(pods, pod({})),
    status: {
      phase: "Running",
      podIP: "198.18.0.2",
      containerStatuses: [
        {
          name: "c",
          ready: true,
          restartCount: 2,
          state: { running: {} },
          lastState: { terminated: { finishedAt: "2026-01-01T00:00:00Z" } },
        },
      ],
    },
  };
  const waiting: JsonObject = {
    ...running,
    status: { phase: "Pending", containerStatuses: [{ name: "c", state: { waiting: { reason: "ErrImagePull" } } }] },
  };
  const now = Date.parse("2026-01-01T00:05:00Z");

  expect(pods.columns.slice(0, 5).map((column) => column.name)).toEqual(["Name", "Ready", "Status", "Restarts", "Age"]);
  expect(pods.cells(running, now).slice(1, 4)).toEqual(["1/1", "Running", "2 (5m ago)"]);
  expect(pods.cells(waiting, now).slice(1, 3)).toEqual(["0/1", "ErrImagePull"]);
});

test.each([
  ["every day", "expected exactly 5 fields, found 2: [every day]"],
  ["61 * * * *", "end of range (61) above maximum (59): 61"],
])("cron schedule %s is refused", async (schedule, fault) => {
  const jobTemplate = {
    spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i:1" }] } } },
  };
  const type = typeOf("batch", "v1", "cronjobs");

  expect(await faults(type, { metadata: { name: "c" }, spec: { schedule, jobTemplate } })).toEqual([
    `spec.schedule: Invalid value: "${schedule}": ${fault}`,
  ]);
});

import { expect, test } from "vitest";
import type { ClusterAccess } from "../../../kernel/control/types.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import { knativeAdmission } from "./admission.js";

const admissions = new Map(knativeAdmission().map((one) => [one.kind?.kind, one]));
const nowhere = {} as ClusterAccess;
const context = { now: "2026-01-01T00:00:00Z", uuid: () => "u" };

/** What is wrong with an object, as `field: message`, after it was completed. */
async function faults(kind: string, object: JsonObject, old?: JsonObject): Promise<string[]> {
  const admission = admissions.get(kind);
  admission?.complete?.(object, old, context);
  const review = await admission?.review?.(object, old, nowhere);
  return (review?.faults ?? []).map(({ field, message }) => `${field}: ${message}`);
}

const service = (spec: JsonObject = {}, template: JsonObject = {}, metadata: JsonObject = {}): JsonObject => ({
  metadata: { name: "hello", ...metadata },
  spec: { template: { spec: { containers: [{ image: "i" }] }, ...template }, ...spec },
});
const withSpec = (spec: JsonObject): JsonObject => service({}, { spec: { containers: [{ image: "i" }], ...spec } });

test("what is left out is filled in as Knative does", async () => {
  const object = service();
  expect(await faults("Service", object)).toEqual([]);
  expect(object["spec"]).toMatchObject({
    traffic: [{ latestRevision: true, percent: 100 }],
    template: {
      spec: {
        containerConcurrency: 0,
        timeoutSeconds: 300,
        enableServiceLinks: false,
        containers: [{ name: "user-container", readinessProbe: { successThreshold: 1, tcpSocket: { port: 0 } } }],
      },
    },
  });
});

test.each([
  [
    withSpec({ containerConcurrency: 1001 }),
    "spec.template.spec.containerConcurrency: must be a whole number from 0 to 1000",
  ],
  [withSpec({ timeoutSeconds: 601 }), "spec.template.spec.timeoutSeconds: must be a whole number from 0 to 600"],
  [
    withSpec({ timeoutSeconds: 10, idleTimeoutSeconds: 20 }),
    "spec.template.spec.idleTimeoutSeconds: must not be more than timeoutSeconds, which is 10",
  ],
  [withSpec({ containers: [] }), "spec.template.spec.containers: must have a container"],
  [withSpec({ containers: [{ image: "" }] }), "spec.template.spec.containers[0].image: must name an image"],
  [
    withSpec({ containers: [{ image: "i", ports: [{ containerPort: 8012 }] }] }),
    "spec.template.spec.containers[0].ports[0].containerPort: 8012 is Knative's own; use another one",
  ],
  [
    withSpec({ containers: [{ image: "i" }, { image: "j" }] }),
    "spec.template.spec.containers: exactly one of several containers must have a port: it gets the requests",
  ],
  [service({ traffic: [{ percent: 50 }] }), "spec.traffic: the percents add up to 50; they must add up to 100"],
  [
    service({ traffic: [{ percent: 100, revisionName: "a", latestRevision: true }] }),
    "spec.traffic[0].latestRevision: must not be true where revisionName is set",
  ],
  [service({ traffic: [{ percent: 100, tag: "a" }, { tag: "a" }] }), 'spec.traffic[1].tag: "a" is there twice'],
  [
    service({ traffic: [{ percent: 100, configurationName: "x" }] }),
    "spec.traffic[0].configurationName: is for Routes; a Service has one Configuration",
  ],
  [service({}, { metadata: { name: "other-1" } }), 'spec.template.metadata.name: "other-1" must begin with "hello-"'],
  [
    service({}, { metadata: { annotations: { "autoscaling.knative.dev/window": "1s" } } }),
    'spec.template.metadata.annotations[autoscaling.knative.dev/window]: "1s" must be a duration from 6s to 3600s',
  ],
  [
    service({}, {}, { annotations: { "autoscaling.knative.dev/min-scale": "1" } }),
    "metadata.annotations[autoscaling.knative.dev/min-scale]: belongs under spec.template.metadata.annotations",
  ],
  [
    service({}, {}, { labels: { "networking.knative.dev/visibility": "private" } }),
    "metadata.labels[networking.knative.dev/visibility]: must be cluster-local, or not be there",
  ],
  [
    service({}, {}, { annotations: { "serving.knative.dev/rollout-duration": "1.5s" } }),
    "metadata.annotations[serving.knative.dev/rollout-duration]: must be a duration of whole seconds such as 120s",
  ],
])("a Service is refused: %j", async (object, fault) => {
  expect(await faults("Service", object)).toEqual([fault]);
});

test("a Revision never changes, and its name is given once", async () => {
  const revision = (image: string): JsonObject => ({ metadata: { name: "r" }, spec: { containers: [{ image }] } });
  const before = revision("a");
  expect(await faults("Revision", before)).toEqual([]);
  expect(await faults("Revision", revision("a"), before)).toEqual([]);
  expect(await faults("Revision", revision("b"), before)).toEqual([
    "spec: a Revision never changes; change the template of its Configuration",
  ]);
  const named = (image: string): JsonObject =>
    service({}, { metadata: { name: "hello-a" }, spec: { containers: [{ image }] } });
  const old = named("a");
  expect(await faults("Service", old)).toEqual([]);
  expect(await faults("Service", named("b"), old)).toEqual([
    'spec.template.metadata.name: Revision "hello-a" is made already and never changes: give another name, or none',
  ]);
});

test("a Route names Revisions or Configurations", async () => {
  const route = (target: JsonObject): JsonObject => ({
    metadata: { name: "r" },
    spec: { traffic: [{ percent: 100, ...target }] },
  });
  expect(await faults("Route", route({ configurationName: "c" }))).toEqual([]);
  expect(await faults("Route", route({ revisionName: "c-1" }))).toEqual([]);
  expect(await faults("Route", route({}))).toEqual([
    "spec.traffic[0]: must have either revisionName or configurationName",
  ]);
});

import { afterEach, expect, test } from "vitest";
import type { ApplyObject } from "../../../kernel/client/types.js";
import { EndpointSliceKind, type Kind, type KubeObject, ServiceKind } from "../../../kernel/kinds/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import type { InferenceService } from "./inference-service-kind.js";
import { servicesOf } from "./inside.js";

const namespace = "default";
const options = { namespace, fieldManager: "test", force: true };
const service = { metadata: { name: "digits", namespace } } as InferenceService;
const asked = { base: "digits-predictor", deployment: "digits-predictor", isThrough: true };
let cluster: TestCluster | undefined;
afterEach(async () => cluster?.close());

const slice = (name: string, of: string, address: string): ApplyObject => ({
  metadata: { name, labels: { "kubernetes.io/service-name": of } },
  addressType: "IPv4",
  endpoints: [{ addresses: [address], conditions: { ready: true } }],
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
});

test("Ingresses lead to the second Service as soon as it has as many pods as the first, however many slices these stand in", async () => {
  cluster = await startTestCluster();
  const { client, informers } = cluster;
  const slices = client.resource(EndpointSliceKind);
  const seen = () => servicesOf(service, asked, informers).backend;
  const isSeen = <T extends KubeObject>(kind: Kind<T>, name: string): Promise<void> =>
    expect.poll(() => informers.informer(kind).get({ namespace, name })?.metadata.name).toBe(name);
  await slices.apply(slice("first-a", "digits-predictor", "10.0.0.1"), options);
  const ports = [{ port: 80 }];
  await client.resource(ServiceKind).apply({ metadata: { name: "digits-predictor-pods" }, spec: { ports } }, options);
  await isSeen(ServiceKind, "digits-predictor-pods");
  await isSeen(EndpointSliceKind, "first-a");
  expect(seen()).toBe("digits-predictor");

  await slices.apply(slice("second", "digits-predictor-pods", "10.0.0.1"), options);
  await isSeen(EndpointSliceKind, "second");
  expect(seen()).toBe("digits-predictor-pods");
  await slices.apply(slice("first-b", "digits-predictor", "10.0.0.1"), options);
  await isSeen(EndpointSliceKind, "first-b");
  expect(seen()).toBe("digits-predictor-pods");
  await slices.apply(slice("first-c", "digits-predictor", "10.0.0.2"), options);
  await isSeen(EndpointSliceKind, "first-c");
  expect(seen()).toBe("digits-predictor");
});

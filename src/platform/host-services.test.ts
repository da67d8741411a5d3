import { expect, onTestFinished, test } from "vitest";
import { EndpointSliceKind, ServiceKind } from "../kernel/kinds/index.js";
import { startTestCluster } from "../testing/index.js";
import { publishHostServices } from "./host-services.js";

test("pods find a service of the machine by name; a port that moved is followed", async () => {
  const member = await startTestCluster();
  onTestFinished(() => member.close());
  const namespace = "argosy-system";

  await publishHostServices(member.client, [{ name: "tracking", port: 5000, targetPort: 5000 }]);
  const first = await member.client.resource(ServiceKind).get("tracking", { namespace });
  await publishHostServices(member.client, [{ name: "tracking", port: 5000, targetPort: 5007 }]);

  const service = await member.client.resource(ServiceKind).get("tracking", { namespace });
  const slice = await member.client.resource(EndpointSliceKind).get("tracking", { namespace });
  expect(service.spec?.selector).toBeUndefined();
  expect(service.spec?.clusterIP).toBe(first.spec?.clusterIP);
  expect(service.spec?.ports).toMatchObject([{ port: 5000, targetPort: 5007 }]);
  expect(slice).toMatchObject({
    metadata: { labels: { "kubernetes.io/service-name": "tracking" } },
    endpoints: [{ addresses: ["127.0.0.1"] }],
    ports: [{ port: 5007 }],
  });
});

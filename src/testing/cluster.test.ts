import { expect, test } from "vitest";
import { ConfigMapKind } from "../kernel/kinds/index.js";
import { startTestCluster } from "./index.js";

test("a test cluster keeps what it is given", async () => {
  const cluster = await startTestCluster();
  const configMaps = cluster.client.resource(ConfigMapKind);

  const made = await configMaps.create(
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a", namespace: "default" }, data: { x: "1" } },
    { namespace: "default" },
  );
  const listed = await configMaps.list({ namespace: "default" });
  await configMaps.apply({ metadata: { name: "a", namespace: "default" }, data: { y: "2" } }, { fieldManager: "t" });
  const read = await configMaps.get("a", { namespace: "default" });
  await cluster.close();

  expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
  expect(listed.items.map((item) => item.metadata.name)).toContain("a");
  expect(read.data).toEqual({ x: "1", y: "2" });
});

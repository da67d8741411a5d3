import { expect, onTestFinished, test } from "vitest";
import { ConfigMapKind, findCondition, NamespaceKind } from "../../kernel/kinds/index.js";
import { ENGINE_KINDS, eventually, startFleet } from "./fixture.js";
import { HyperMLServiceKind } from "./kinds.js";

test("a namespace that the hub sends to all members is added to by a manifest, and stays, with what others put into it", async () => {
  const fleet = await startFleet(["edge"], { hubKinds: ENGINE_KINDS });
  onTestFinished(() => fleet.close());
  const edge = fleet.members.get("edge");
  const space = () => edge?.client.resource(NamespaceKind).find("demo") ?? Promise.resolve(undefined);
  const byHub = (found: Awaited<ReturnType<typeof space>>) =>
    found?.metadata.annotations?.["work.karmada.io/name"]?.startsWith("demo-") === true;
  await eventually(space, byHub, "the hub has sent its namespace");
  await edge?.client
    .resource(ConfigMapKind)
    .apply({ metadata: { name: "own", namespace: "demo" }, data: {} }, { namespace: "demo", fieldManager: "test" });

  const named = { apiVersion: "v1", kind: "Namespace", metadata: { name: "demo", labels: { team: "vision" } } };
  const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a", namespace: "demo" }, data: { a: "b" } };
  await fleet.createHyper("spaces", { workloads: [{ clusters: ["edge"], manifests: [named, map] }] });
  const isWhole = (hyper: Awaited<ReturnType<typeof fleet.getHyper>>) =>
    findCondition(hyper.status?.conditions, "FullyApplied")?.status === "True";
  await eventually(() => fleet.getHyper("spaces"), isWhole, "all of it is applied");
  expect((await space())?.metadata.labels).toMatchObject({ team: "vision" });

  const hypers = fleet.hub.client.resource(HyperMLServiceKind);
  await hypers.delete("spaces", { namespace: "demo" });
  const gone = async () => (await hypers.find("spaces", { namespace: "demo" })) === undefined;
  await eventually(gone, (isGone) => isGone, "the service is gone");
  const maps = await edge?.client.resource(ConfigMapKind).list({ namespace: "demo" });
  expect(maps?.items.map(({ metadata }) => metadata.name)).toContain("own");
  expect(maps?.items.map(({ metadata }) => metadata.name)).not.toContain("a");
  expect((await space())?.metadata.deletionTimestamp).toBeUndefined();
});

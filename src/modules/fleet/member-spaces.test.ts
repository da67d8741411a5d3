import { expect, test } from "vitest";
import { NamespaceKind } from "../../kernel/kinds/index.js";
import { eventually, startFleet } from "./fixture.js";
import { WorkKind } from "./kinds.js";

test("where a Karmada delivers, namespaces that neither the hub nor a manifest has are sent before what lives in them, and are nobody's", async () => {
  const fleet = await startFleet(["edge"], { fleet: { engine: "karmada" } });
  try {
    const works = fleet.hub.client.resource(WorkKind);
    const space = { namespace: "karmada-es-edge" };
    // Karmada makes it.
    await fleet.hub.client
      .resource(NamespaceKind)
      .apply({ metadata: { name: space.namespace } }, { fieldManager: "test" });
    const map = (namespace: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a", namespace } });
    const own = { apiVersion: "v1", kind: "Namespace", metadata: { name: "told" } };
    // `demo` is the hub's own.
    await fleet.createHyper("spaces", {
      workloads: [{ clusters: ["edge"], manifests: [own, map("far"), map("demo")] }],
    });
    const sent = async (): Promise<string[]> =>
      (await works.list(space)).items.flatMap(({ metadata: { name, labels }, spec }) =>
        (spec.workload?.manifests ?? []).map((manifest) =>
          [manifest.kind, name.split("-")[0], spec.preserveResourcesOnDeletion, labels === undefined].join(" "),
        ),
      );
    const told = await eventually(sent, (found) => found.length === 1, "the namespace that is told goes first");
    expect(told).toEqual(["Namespace told  false"]);
    const [work] = (await works.list(space)).items;
    const said = { type: "Applied", status: "True", reason: "AppliedSuccessful", message: "" };
    const status = { conditions: [{ ...said, lastTransitionTime: "2026-01-01T00:00:00Z" }] };
    await works.patch(work?.metadata.name ?? "", "merge", { status }, { ...space, subresource: "status" });
    const all = await eventually(sent, (found) => found.length === 4, "all are sent");
    expect(all.filter((line) => line.startsWith("Namespace")).sort()).toEqual([
      "Namespace far true true",
      "Namespace told  false",
    ]);
  } finally {
    await fleet.close();
  }
});

import { expect, test } from "vitest";
import { NamespaceKind } from "../kernel/kinds/index.js";
import { ClusterKind } from "../modules/fleet/index.js";
import { startTestCluster } from "../testing/index.js";
import { registerMembers } from "./register-members.js";

test("a member that a start leaves out is drained until it is back; what people wrote stays", async () => {
  const hub = await startTestCluster({ kinds: [ClusterKind] });
  const clusters = hub.client.resource(ClusterKind);
  const [cloud, edge] = [
    { name: "cloud", client: hub.client, url: "https://127.0.0.1:6441", ingressPort: 8081 },
    { name: "edge", client: hub.client, url: "https://127.0.0.1:6442", ingressPort: 8082 },
  ] as const;
  await registerMembers(hub.client, [cloud, edge], []);
  await clusters.patch("edge", "merge", { metadata: { annotations: { "argosy.dev/ingress-weight": "7" } } });

  await registerMembers(hub.client, [cloud], ["edge", "never-there"]);
  const resting = await clusters.get("edge");
  const other = await clusters.get("cloud");
  const unknown = await clusters.find("never-there");
  await registerMembers(hub.client, [cloud, edge], []);
  const back = await clusters.get("edge");
  const id = (await hub.client.resource(NamespaceKind).get("kube-system")).metadata.uid;
  await hub.close();

  expect(resting.metadata.annotations).toMatchObject({
    "argosy.dev/drain": "it is not among the members of this start",
    "argosy.dev/ingress-weight": "7",
  });
  expect(resting.spec).toMatchObject({ syncMode: "Push", apiEndpoint: "https://127.0.0.1:6442" });
  expect(other.metadata.annotations).not.toHaveProperty("argosy.dev/drain");
  expect(unknown).toBeUndefined();
  expect(back.metadata.annotations).toEqual({
    "argosy.dev/ingress-address": "127.0.0.1:8082",
    "argosy.dev/ingress-weight": "7",
  });
  expect(back.spec).toMatchObject({ id, apiEndpoint: "https://127.0.0.1:6442" });
});

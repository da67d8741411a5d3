import { expect, test } from "vitest";
import { apiVersionOf, DeploymentKind, type KindDefinition } from "../../kernel/kinds/index.js";
import { ClusterResourceBindingKind, ResourceBindingKind } from "./bindings/kinds.js";
import { eventually, startFleet } from "./fixture.js";
import { ClusterKind, WorkKind } from "./kinds.js";
import {
  ClusterOverridePolicyKind,
  ClusterPropagationPolicyKind,
  ClusterTaintPolicyKind,
  OverridePolicyKind,
  PropagationPolicyKind,
  WorkloadRebalancerKind,
} from "./policies/kinds.js";

const kinds: KindDefinition[] = [
  ResourceBindingKind,
  ClusterResourceBindingKind,
  PropagationPolicyKind,
  ClusterPropagationPolicyKind,
  OverridePolicyKind,
  ClusterOverridePolicyKind,
  ClusterTaintPolicyKind,
  WorkloadRebalancerKind,
];

const inDemo = { namespace: "demo" };

test("a Deployment reaches the clusters that its policy names", async () => {
  const fleet = await startFleet(["member1", "member2"], { hubKinds: kinds });
  try {
    const { hub, members } = fleet;
    await eventually(
      () => hub.client.resource(ClusterKind).get("member2"),
      ({ status }) => (status?.apiEnablements ?? []).length > 0,
      "kinds are known",
    );
    await hub.client.resource(DeploymentKind).create(
      {
        apiVersion: apiVersionOf(DeploymentKind),
        kind: "Deployment",
        metadata: { name: "web", namespace: "demo" },
        spec: {
          replicas: 3,
          selector: { matchLabels: { app: "web" } },
          template: {
            metadata: { labels: { app: "web" } },
            spec: { containers: [{ name: "app", image: "registry.example/app:1.0" }] },
          },
        },
      },
      inDemo,
    );
    await hub.client.resource(PropagationPolicyKind).create(
      {
        apiVersion: apiVersionOf(PropagationPolicyKind),
        kind: "PropagationPolicy",
        metadata: { name: "p", namespace: "demo" },
        spec: {
          resourceSelectors: [{ apiVersion: "apps/v1", kind: "Deployment", name: "web" }],
          priority: 0,
          preemption: "Never",
          schedulerName: "default-scheduler",
          conflictResolution: "Abort",
          placement: {
            replicaScheduling: { replicaSchedulingType: "Divided", replicaDivisionPreference: "Weighted" },
          },
        },
      },
      inDemo,
    );
    for (const member of members.values()) {
      const found = await eventually(
        () => member.client.resource(DeploymentKind).find("web", inDemo),
        (object) => object !== undefined,
        "it is there",
      );
      expect(found?.spec?.replicas).toBeGreaterThan(0);
    }
    const binding = await hub.client.resource(ResourceBindingKind).get("web-deployment", inDemo);
    expect(binding.spec.clusters?.map(({ replicas }) => replicas).sort()).toEqual([1, 2]);
    await hub.client.resource(DeploymentKind).delete("web", inDemo);
    await eventually(
      () => hub.client.resource(WorkKind).list(),
      ({ items }) => items.length === 0,
      "Works are gone",
    );
    for (const member of members.values())
      await eventually(
        () => member.client.resource(DeploymentKind).find("web", inDemo),
        (object) => object === undefined,
        "it is gone",
      );
  } finally {
    await fleet.close();
  }
});

import { afterEach, expect, test } from "vitest";
import { apiVersionOf, ConfigMapKind, DeploymentKind, isDeleting } from "../../../kernel/kinds/index.js";
import { ResourceBindingKind } from "../bindings/kinds.js";
import { ENGINE_KINDS, eventually, startFleet, type TestFleet } from "../fixture.js";
import { ClusterKind } from "../kinds.js";
import { PropagationPolicyKind } from "../policies/kinds.js";

const inDemo = { namespace: "demo" };
const fleets: TestFleet[] = [];
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.close();
});

async function begin() {
  const fleet = await startFleet(["member1", "member2"], { hubKinds: ENGINE_KINDS });
  fleets.push(fleet);
  const { hub, members } = fleet;
  await eventually(
    () => hub.client.resource(ClusterKind).list(),
    ({ items }) => items.every(({ status }) => (status?.apiEnablements ?? []).length > 0),
    "kinds are known",
  );
  const bindings = hub.client.resource(ResourceBindingKind);
  return {
    hub,
    bindings,
    maps: hub.client.resource(ConfigMapKind),
    deployments: hub.client.resource(DeploymentKind),
    mapIn: (member: string, isThere: boolean) =>
      eventually(
        async () => members.get(member)?.client.resource(ConfigMapKind).find("conf", inDemo),
        (found) => (found !== undefined) === isThere,
        `the map ${isThere ? "is" : "is not"} in ${member}`,
      ),
    needs: (isTrue: (names: string[]) => boolean, what: string) =>
      eventually(
        async () => (await bindings.find("conf-configmap", inDemo))?.spec.requiredBy?.map(({ name }) => name) ?? [],
        isTrue,
        what,
      ),
  };
}

const conf = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "conf", ...inDemo }, data: { k: "v" } };

function deployment(name: string, usesMap: boolean) {
  const container = { name: "app", image: "registry.example/app:1.0" };
  const containers = [usesMap ? { ...container, envFrom: [{ configMapRef: { name: "conf" } }] } : container];
  return {
    apiVersion: apiVersionOf(DeploymentKind),
    kind: "Deployment",
    metadata: { name, ...inDemo },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers } },
    },
  };
}

function policy(name: string, target: string, cluster: string) {
  return {
    apiVersion: apiVersionOf(PropagationPolicyKind),
    kind: "PropagationPolicy",
    metadata: { name, ...inDemo },
    spec: {
      resourceSelectors: [{ apiVersion: "apps/v1", kind: "Deployment", name: target }],
      propagateDeps: true,
      priority: 0,
      preemption: "Never" as const,
      schedulerName: "default-scheduler",
      conflictResolution: "Abort" as const,
      placement: { clusterAffinity: { clusterNames: [cluster] } },
    },
  };
}

test("what a Deployment reads goes where it goes, whenever it comes, and leaves with the last that needs it", async () => {
  const { hub, bindings, maps, deployments, mapIn, needs } = await begin();
  const policies = hub.client.resource(PropagationPolicyKind);
  await deployments.create(deployment("web", true), inDemo);
  await policies.create(policy("p", "web", "member1"), inDemo);
  await eventually(
    () => bindings.find("web-deployment", inDemo),
    (found) => (found?.spec.clusters ?? []).length > 0,
    "placed",
  );
  expect(await bindings.find("conf-configmap", inDemo)).toBeUndefined();
  await maps.create(conf, inDemo);
  await mapIn("member1", true);
  await mapIn("member2", false);

  await deployments.create(deployment("two", true), inDemo);
  await policies.create(policy("q", "two", "member2"), inDemo);
  await mapIn("member2", true);
  await needs((names) => names.join() === "two-deployment,web-deployment", "both need it");
  const attached = await bindings.get("conf-configmap", inDemo);
  expect(attached.spec).toMatchObject({ conflictResolution: "Abort", preserveResourcesOnDeletion: false });
  expect(attached.spec.clusters ?? []).toEqual([]);
  const marks = Object.keys(attached.metadata.labels ?? {}).filter((label) => label.includes("/depended-by-"));
  expect(marks).toHaveLength(2);

  await policies.patch(
    "p",
    "merge",
    { spec: { placement: { clusterAffinity: { clusterNames: ["member2"] } } } },
    inDemo,
  );
  await mapIn("member1", false);

  await deployments.delete("two", inDemo);
  await needs((names) => names.join() === "web-deployment", "one needs it");
  const unused = deployment("web", false).spec.template.spec;
  await deployments.patch("web", "merge", { spec: { template: { spec: unused } } }, inDemo);
  await mapIn("member2", false);
  await eventually(
    () => bindings.find("conf-configmap", inDemo),
    (found) => found === undefined || isDeleting(found),
    "gone",
  );
});

test("a map with a policy of its own is in its own clusters besides, and stays there when nobody needs it", async () => {
  const { hub, bindings, maps, deployments, mapIn, needs } = await begin();
  const policies = hub.client.resource(PropagationPolicyKind);
  await maps.create(conf, inDemo);
  const own = policy("m", "", "member2");
  await policies.create(
    {
      ...own,
      spec: {
        ...own.spec,
        propagateDeps: false,
        resourceSelectors: [{ apiVersion: "v1", kind: "ConfigMap", name: "conf" }],
      },
    },
    inDemo,
  );
  await mapIn("member2", true);
  await deployments.create(deployment("web", true), inDemo);
  await policies.create(policy("p", "web", "member1"), inDemo);
  await mapIn("member1", true);
  await deployments.delete("web", inDemo);
  await mapIn("member1", false);
  await needs((names) => names.length === 0, "nobody needs it");
  expect((await bindings.get("conf-configmap", inDemo)).spec.clusters).toEqual([{ name: "member2" }]);
  await mapIn("member2", true);
});

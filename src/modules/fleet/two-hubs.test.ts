import { afterEach, expect, test } from "vitest";
import { ConfigMapKind, findCondition } from "../../kernel/kinds/index.js";
import { playClock } from "../../testing/play-clock.js";
import { ENGINE_KINDS, startFleet, type TestFleet, TestRuntimeKind, TestServiceKind } from "./fixture.js";
import { WorkKind } from "./kinds.js";
import { PropagationPolicyKind } from "./policies/kinds.js";

const inDemo = { namespace: "demo" };
const fleets: TestFleet[] = [];
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.close();
});

async function deliverSettings(fleet: TestFleet, text: string): Promise<void> {
  const { client } = fleet.hub;
  await client
    .resource(ConfigMapKind)
    .create({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "settings", ...inDemo }, data: { text } }, inDemo);
  await client.resource(PropagationPolicyKind).create(
    {
      apiVersion: "policy.karmada.io/v1alpha1",
      kind: "PropagationPolicy",
      metadata: { name: "settings", ...inDemo },
      spec: {
        resourceSelectors: [{ apiVersion: "v1", kind: "ConfigMap", name: "settings" }],
        placement: { clusterAffinity: { clusterNames: ["edge"] } },
        priority: 0,
        preemption: "Never",
        schedulerName: "default-scheduler",
        conflictResolution: "Abort",
      },
    },
    inDemo,
  );
}

test("two hubs that deliver one object to one member by mistake do not fight: the last keeps it, the other says so", async () => {
  const clock = playClock();
  const first = await startFleet(["edge"], { clock, hubKinds: ENGINE_KINDS });
  fleets.push(first);
  const member = first.members.get("edge");
  if (member === undefined) throw new Error("there is no member");
  const delivered = () => member.client.resource(ConfigMapKind).find("settings", inDemo);
  const textIs = (text: string) => clock.runUntil(async () => (await delivered())?.data?.["text"] === text, 60_000);
  const applied = async (fleet: TestFleet) => {
    const works = await fleet.hub.client.resource(WorkKind).list({ namespace: "karmada-es-edge" });
    const work = works.items.find(({ spec }) => JSON.stringify(spec).includes('"settings"'));
    return findCondition(work?.status?.conditions, "Applied");
  };
  await deliverSettings(first, "of the first");
  await textIs("of the first");
  await clock.runUntil(async () => (await applied(first))?.status === "True", 60_000);

  const shared = first.members;
  const second = await startFleet(["edge"], {
    clock,
    hubKinds: ENGINE_KINDS,
    shared,
    memberKinds: [TestServiceKind, TestRuntimeKind],
  });
  fleets.unshift(second);
  await deliverSettings(second, "of the second");
  await textIs("of the second");
  await clock.runUntil(async () => (await applied(first))?.status === "False", 60_000);
  const before = (await delivered())?.metadata.resourceVersion;
  // The first hub changes what it wants, and both go on for a while.
  await first.hub.client
    .resource(ConfigMapKind)
    .patch("settings", "merge", { data: { text: "newer of the first" } }, inDemo);
  await clock.advance(120_000);

  expect((await delivered())?.metadata.resourceVersion).toBe(before);
  expect((await applied(first))?.message).toMatch(
    /ConfigMap demo\/settings was taken over by another hub: two hubs deliver/,
  );
  expect((await applied(second))?.status).toBe("True");

  // The second lets it go: the first is whole again.
  await second.hub.client.resource(PropagationPolicyKind).delete("settings", inDemo);
  await second.hub.client.resource(ConfigMapKind).delete("settings", inDemo);
  await textIs("newer of the first");
  await clock.runUntil(async () => (await applied(first))?.status === "True", 120_000);
}, 240_000);

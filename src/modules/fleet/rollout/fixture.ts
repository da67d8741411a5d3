import type { VirtualClock } from "../../../kernel/clock/index.js";
import { type ControllerSpec, createManager } from "../../../kernel/control/index.js";
import type { JsonObject, KubeObject } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { asObjects, asString } from "../../../kernel/schema/index.js";
import type { TestCluster } from "../../../testing/index.js";
import { type TestFleet, TestServiceKind } from "../fixture.js";
import { HyperMLServiceKind } from "../kinds.js";
import { type HyperRollout, HyperRolloutKind, type HyperRolloutSpec } from "./kind.js";

const inDemo = { namespace: "demo" };

/** For tests: releases that never answer, by `cluster/release`. */
export type Broken = Set<string>;

/** For tests: the serving module's part, in two virtual seconds; `broken` releases never answer. */
function playServing(
  cluster: string,
  broken: Broken,
): ControllerSpec<KubeObject & { spec: JsonObject; status?: JsonObject }> {
  return {
    name: "play-serving",
    kind: TestServiceKind,
    async reconcile(_key, service, context) {
      if (service === undefined) return;
      await context.clock.sleep(2000);
      const { spec, metadata } = service;
      const name = asString(spec["default"]);
      const canary = asString(spec["canary"]);
      const share = canary === "" ? 0 : Number(spec["canaryTrafficPercent"]);
      const shares = new Map([[name, 100 - share], ...(canary === "" ? [] : [[canary, share] as const])]);
      const releases = asObjects(spec["releases"]).map((release) => asString(release["name"]));
      const sick = [...shares.keys()].filter((release) => broken.has(`${cluster}/${release}`));
      const status: JsonObject = {
        observedGeneration: metadata.generation ?? 0,
        address: { url: `http://digits.${cluster}` },
        defaultRelease: name,
        ...(canary === "" ? {} : { canaryRelease: canary }),
        releases: releases.map((release) => ({
          name: release,
          ready: !broken.has(`${cluster}/${release}`),
          trafficPercent: shares.get(release) ?? 0,
          url: `http://digits-predict-${release}.${cluster}`,
        })),
        conditions: [
          sick.length === 0
            ? { type: "Ready", status: "True", reason: "Answers", message: "" }
            : { type: "Ready", status: "False", reason: "NotAnswering", message: `${sick.join(", ")} crashes` },
        ],
      };
      await context.cluster.client.resource(TestServiceKind).updateStatus({ ...service, status }, inDemo);
    },
  };
}

/** For tests: starts it in every member. Call what it returns before the fleet is closed. */
export function startServing(fleet: TestFleet, clock: VirtualClock, broken: Broken): () => Promise<void> {
  const managers = [...fleet.members.values()].map((member: TestCluster) => {
    const manager = createManager({ cluster: member, clock, random: member.random, log: silentLogger });
    manager.add(playServing(member.name, broken));
    manager.start();
    return manager;
  });
  return async () => {
    for (const manager of managers) {
      const closed = manager.close();
      await clock.advance(5000);
      await closed;
    }
  };
}

/** For tests: an MLService with one release. */
export function serviceOf(release: string, more: JsonObject = {}): JsonObject & { apiVersion: string; kind: string } {
  return {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "MLService",
    metadata: { name: "digits", ...inDemo },
    spec: { default: release, releases: [{ name: release, ...more }] },
  };
}

/** For tests: calls on the fleet's one rollout and what it rules. */
export function rolloutCalls(fleet: TestFleet) {
  const rollouts = fleet.hub.client.resource(HyperRolloutKind);
  const hypers = fleet.hub.client.resource(HyperMLServiceKind);
  return {
    create: (spec: Omit<HyperRolloutSpec, "hyperMLServiceRef">): Promise<HyperRollout> =>
      rollouts.create(
        {
          apiVersion: "argosy.dev/v1alpha1",
          kind: "HyperRollout",
          metadata: { name: "careful", ...inDemo },
          spec: { hyperMLServiceRef: { name: "digits" }, ...spec },
        },
        inDemo,
      ),
    get: (): Promise<HyperRollout> => rollouts.get("careful", inDemo),
    change: (spec: JsonObject): Promise<HyperRollout> => rollouts.patch("careful", "merge", { spec }, inDemo),
    release: (clusters: string[], manifests: (JsonObject & { apiVersion: string; kind: string })[]) =>
      hypers.patch("digits", "merge", { spec: { workloads: [{ clusters, manifests }] } }, inDemo),
    /** Default release that a member's MLService has, with its canary. */
    async served(cluster: string): Promise<string> {
      const service = await fleet.members.get(cluster)?.client.resource(TestServiceKind).find("digits", inDemo);
      if (service === undefined) return "nothing";
      const { default: release, canary, canaryTrafficPercent } = service.spec;
      return `${asString(release)}${canary === undefined ? "" : ` + ${asString(canary)} ${JSON.stringify(canaryTrafficPercent)}%`}`;
    },
  };
}

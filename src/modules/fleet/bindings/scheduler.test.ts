import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createManager } from "../../../kernel/control/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import { findCondition, NamespaceKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { memoryLedger } from "../../../stores/ledger/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { ClusterKind } from "../kinds.js";
import { ClusterBook } from "../placement/cluster-book.js";
import { BINDING } from "../policies/marks.js";
import { Pace } from "../status/pace.js";
import { placementText } from "./decide.js";
import { Decided } from "./decided.js";
import { ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "./kinds.js";
import { Reports } from "./reports.js";
import { schedulerControllers } from "./scheduler.js";

const inDemo = { namespace: "demo" };

/** The first write of a placement meets somebody else's. */
async function hubWithConflict() {
  const kinds = [ClusterKind, ResourceBindingKind, ClusterResourceBindingKind];
  const hub = await startTestCluster({ kinds, clock: systemClock });
  let refused = 0;
  const resource: typeof hub.client.resource = (kind) => {
    const real = hub.client.resource(kind);
    const patch: typeof real.patch = (name, type, change, options) => {
      if (type !== "json" || refused > 0) return real.patch(name, type, change, options);
      refused += 1;
      const status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure" } as const;
      return Promise.reject(
        new ApiError({ ...status, message: "the object was modified", reason: "Conflict", code: 409 }),
      );
    };
    return Object.assign(Object.create(real), { patch });
  };
  return {
    hub,
    access: { ...hub, client: Object.assign(Object.create(hub.client), { resource }) },
    refused: () => refused,
  };
}

type Hub = Awaited<ReturnType<typeof hubWithConflict>>["hub"];

/** A cluster with room, and a Deployment's binding. */
async function furnish(
  hub: Hub,
  binding: Pick<ResourceBinding, "spec"> & { readonly annotations?: Record<string, string> },
) {
  await hub.client.resource(NamespaceKind).apply({ metadata: { name: "demo" } }, { fieldManager: "test" });
  const clusters = hub.client.resource(ClusterKind);
  await clusters.apply({ metadata: { name: "m1" }, spec: { syncMode: "Push" } }, { fieldManager: "test" });
  const allocatable = { cpu: "4", memory: "10Gi", pods: "110" };
  const apiEnablements = [{ groupVersion: "apps/v1", resources: [{ kind: "Deployment", name: "deployments" }] }];
  const status = { apiEnablements, resourceSummary: { allocatable, allocated: { cpu: "0", pods: "1" } } };
  await clusters.patch("m1", "merge", { status }, { subresource: "status" });
  const { annotations = {}, spec } = binding;
  const bindings = hub.client.resource(ResourceBindingKind);
  await bindings.create(
    {
      apiVersion: "work.karmada.io/v1alpha2",
      kind: "ResourceBinding",
      metadata: { name: "web-deployment", annotations, ...inDemo },
      spec,
    },
    inDemo,
  );
  return bindings;
}

const spec: ResourceBinding["spec"] = {
  resource: { apiVersion: "apps/v1", kind: "Deployment", name: "web", namespace: "demo", uid: "web" },
  replicas: 4,
  replicaRequirements: { resourceRequest: { cpu: "1" } },
  placement: { replicaScheduling: { replicaSchedulingType: "Divided", replicaDivisionPreference: "Aggregated" } },
  conflictResolution: "Abort",
};

/** The scheduler's controllers, to be started. */
function schedulerOn(hub: Hub, access: Hub) {
  const { clock, random } = hub;
  const ledger = memoryLedger({ clock });
  const manager = createManager({ cluster: access, clock, random, log: silentLogger });
  const book = new ClusterBook(hub);
  book.promises.seeNodes("m1", true);
  const parts = { book, ledger, reports: new Reports(new Pace()), decided: new Decided() };
  for (const controller of schedulerControllers(parts)) manager.add(controller);
  onTestFinished(async () => {
    await manager.close();
    await hub.close();
  });
  return { manager, ledger };
}

test("a decision that could not be written gives away no room, and is not told", async () => {
  const { hub, access, refused } = await hubWithConflict();
  const bindings = await furnish(hub, { spec });
  const { manager, ledger } = schedulerOn(hub, access);
  const { informers } = hub;
  const informer = informers.informer(ResourceBindingKind);
  const scheduled = new Promise<string>((done) => {
    informer.onChange((now) => {
      const condition = findCondition(now?.status?.conditions, "Scheduled");
      if (condition !== undefined) done(condition.message ?? "");
      else if ((now?.spec.clusters ?? []).length > 0) done("placed");
    });
  });
  manager.start();

  expect(await scheduled).toBe("placed");
  expect(refused()).toBe(1);
  const placed = await bindings.get("web-deployment", inDemo);
  expect(placed.spec.clusters).toEqual([{ name: "m1", replicas: 4 }]);
  expect((await ledger.query({ topic: "placement" })).map(({ outcome }) => outcome)).toEqual(["m1 4"]);
});

test("of a binding that was made with its place, by a hub that ended before it said so, it is said which affinity it is placed by", async () => {
  const { hub } = await hubWithConflict();
  const placement = { ...spec.placement, clusterAffinities: [{ affinityName: "near" }, { affinityName: "far" }] };
  const annotations = { [BINDING.appliedPlacement]: placementText(placement) };
  const bindings = await furnish(hub, {
    annotations,
    spec: { ...spec, placement, clusters: [{ name: "m1", replicas: 4 }] },
  });
  const { manager, ledger } = schedulerOn(hub, hub);
  const informer = hub.informers.informer(ResourceBindingKind);
  const told = new Promise<void>((done) => {
    informer.onChange((now) => {
      if (findCondition(now?.status?.conditions, "Scheduled") !== undefined) done();
    });
  });
  manager.start();
  await told;

  const { status } = await bindings.get("web-deployment", inDemo);
  expect(status?.schedulerObservingAffinityName).toBe("near");
  expect(await ledger.query({ topic: "placement" })).toEqual([]);
});

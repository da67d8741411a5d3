import { afterAll, beforeAll, expect, test } from "vitest";
import { virtualClock } from "../../../kernel/clock/index.js";
import { NamespaceKind } from "../../../kernel/kinds/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { ClusterKind } from "../kinds.js";
import { ClusterBook } from "../placement/cluster-book.js";
import { decide, takeNote } from "./decide.js";
import { ClusterResourceBindingKind, ResourceBindingKind } from "./kinds.js";
import { recallPromises } from "./recall.js";

const clock = virtualClock();
const inDemo = { namespace: "demo" };
const requests = { cpu: "1" };
let hub: TestCluster;

beforeAll(async () => {
  hub = await startTestCluster({ clock, kinds: [ClusterKind, ResourceBindingKind, ClusterResourceBindingKind] });
  const metadata = { name: "demo" };
  await hub.client.resource(NamespaceKind).create({ apiVersion: "v1", kind: "Namespace", metadata, spec: {} });
  const clusters = hub.client.resource(ClusterKind);
  for (const name of ["m1", "m2"]) {
    await clusters.create({
      apiVersion: "cluster.karmada.io/v1alpha1",
      kind: "Cluster",
      metadata: { name },
      spec: { syncMode: "Push" },
    });
    const allocatable = { cpu: "10", memory: "10Gi", pods: "110" };
    const apiEnablements = [{ groupVersion: "apps/v1", resources: [{ kind: "Deployment", name: "deployments" }] }];
    const status = { apiEnablements, resourceSummary: { allocatable, allocated: { cpu: "2", pods: "2" } } };
    await clusters.patch(name, "merge", { status }, { subresource: "status" });
  }
});
afterAll(() => hub.close());

async function bind(name: string, replicas: Record<string, number>, aggregatedStatus: object[] = []) {
  const bindings = hub.client.resource(ResourceBindingKind);
  const clusters = Object.entries(replicas).map(([cluster, count]) => ({ name: cluster, replicas: count }));
  const resource = { apiVersion: "apps/v1", kind: "Deployment", name, namespace: "demo", uid: name };
  const sum = clusters.reduce((total, target) => total + target.replicas, 0);
  await bindings.create(
    {
      apiVersion: "work.karmada.io/v1alpha2",
      kind: "ResourceBinding",
      metadata: { name: `${name}-deployment`, ...inDemo },
      spec: {
        resource,
        replicas: sum,
        replicaRequirements: { resourceRequest: requests },
        clusters,
        conflictResolution: "Abort",
      },
    },
    inDemo,
  );
  const patch = { status: { aggregatedStatus } };
  await bindings.patch(`${name}-deployment`, "merge", patch as never, { ...inDemo, subresource: "status" });
}

/** A hub's process that starts now. */
async function startedBook(): Promise<ClusterBook> {
  const { signal } = new AbortController();
  const book = new ClusterBook(hub, (promises) => recallPromises(hub, promises, signal));
  book.promises.start(clock);
  for (const name of ["m1", "m2"]) book.promises.seeNodes(name, true);
  await book.synced(signal);
  return book;
}

test("room that was given away just before a restart is not given away again, until it is seen or nobody takes it", async () => {
  // m1 shows two of five, and m2 has not heard of it.
  const status = { replicas: 2, readyReplicas: 1 };
  await bind("web", { m1: 5, m2: 4 }, [{ clusterName: "m1", applied: true, status }]);
  // Long there: what the clusters use shows it.
  await bind("old", { m1: 2 }, [{ clusterName: "m1", applied: true, status }]);
  const book = await startedBook();
  const cpu = new Map([["cpu", 1000n]]);

  expect(book.promises.in("m1").taken(cpu, "")).toEqual({ pods: 3, replicas: 3 });
  expect(book.promises.in("m2").taken(cpu, "")).toEqual({ pods: 4, replicas: 4 });

  const placement = {
    replicaScheduling: {
      replicaSchedulingType: "Divided" as const,
      replicaDivisionPreference: "Weighted" as const,
      weightPreference: { dynamicWeight: "AvailableReplicas" as const },
    },
  };
  const resource = { apiVersion: "apps/v1", kind: "Deployment", name: "more", namespace: "demo", uid: "more" };
  const spec = { resource, replicas: 9, replicaRequirements: { resourceRequest: requests }, placement };
  const bound = { spec: { ...spec, conflictResolution: "Abort" as const }, annotations: {} };
  const result = decide(bound, book.list, false);
  // By what the clusters tell each has room for eight.
  expect(result).toMatchObject({
    isPlaced: true,
    targets: [
      { name: "m1", replicas: 5 },
      { name: "m2", replicas: 4 },
    ],
  });
  takeNote(book, bound, result);
  expect(
    decide({ ...bound, spec: { ...bound.spec, resource: { ...resource, uid: "third" } } }, book.list, false),
  ).toMatchObject({ isPlaced: false });

  await clock.advance(31_000);
  expect(book.promises.in("m1").isEmpty).toBe(true);
});

test("what a status does not count is there once somebody began with it", async () => {
  await bind("begun", { m1: 3 }, [{ clusterName: "m1", applied: true, status: { phase: "Running" } }]);
  await bind("unbegun", { m2: 1 }, [{ clusterName: "m2", applied: true, status: { generation: 1 } }]);
  const book = await startedBook();

  expect(book.promises.in("m1").taken(new Map(), "")).toEqual({ pods: 3, replicas: 0 });
  expect(book.promises.in("m2").taken(new Map(), "")).toEqual({ pods: 5, replicas: 0 });
  await clock.advance(3000);
  // Taken by the member, and nobody there begins.
  expect(book.promises.in("m2").taken(new Map(), "")).toEqual({ pods: 4, replicas: 0 });
});

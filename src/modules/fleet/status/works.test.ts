import { afterEach, expect, test } from "vitest";
import {
  ConfigMapKind,
  DeploymentKind,
  EventKind,
  findCondition,
  HorizontalPodAutoscalerKind,
  type JsonObject,
  NamespaceKind,
} from "../../../kernel/kinds/index.js";
import { eventually, startFleet, type TestFleet } from "../fixture.js";
import { type Work, WorkKind } from "../kinds.js";
import { EXECUTION_FINALIZER, KARMADA } from "../names.js";

const SPACE = { namespace: "karmada-es-member1" };
const inDemo = { namespace: "demo" };
const fleets: TestFleet[] = [];
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.close();
});

async function begin() {
  const fleet = await startFleet(["member1"]);
  fleets.push(fleet);
  const member = fleet.members.get("member1");
  if (member === undefined) throw new Error("no member");
  const { client } = member;
  await client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" }, spec: {} });
  const works = fleet.hub.client.resource(WorkKind);
  const spaces = fleet.hub.client.resource(NamespaceKind);
  await eventually(
    () => spaces.find(SPACE.namespace),
    (found) => found !== undefined,
    "the member has its space",
  );
  return {
    fleet,
    works,
    maps: client.resource(ConfigMapKind),
    deployments: client.resource(DeploymentKind),
    autoscalers: client.resource(HorizontalPodAutoscalerKind),
    until: (name: string, isTrue: (work: Work) => boolean, what: string) =>
      eventually(() => works.get(name, SPACE), isTrue, what),
  };
}

/** A manifest as Karmada's binding controller marks it. */
function marked(work: string, manifest: JsonObject & { metadata: JsonObject }): JsonObject {
  return {
    ...manifest,
    metadata: {
      namespace: "demo",
      ...manifest.metadata,
      labels: { [KARMADA.managed]: "true", ...(manifest.metadata["labels"] as JsonObject | undefined) },
      annotations: {
        [KARMADA.workName]: work,
        [KARMADA.workNamespace]: SPACE.namespace,
        [KARMADA.templateGeneration]: "1",
        ...(manifest.metadata["annotations"] as JsonObject | undefined),
      },
    },
  };
}

function map(data: Record<string, string>, metadata: JsonObject = {}): JsonObject & { metadata: JsonObject } {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "conf", ...metadata }, data };
}

function draft(name: string, manifests: JsonObject[], more: Partial<Work["spec"]> = {}) {
  return {
    apiVersion: "work.karmada.io/v1alpha1",
    kind: "Work",
    metadata: { name, ...SPACE, finalizers: [EXECUTION_FINALIZER] },
    spec: { workload: { manifests: manifests as never[] }, ...more },
  };
}

function says(work: Work, type: string): string[] {
  const condition = findCondition(work.status?.conditions, type);
  return condition === undefined ? [] : [condition.status, condition.reason, condition.message];
}

const applied = ["True", "AppliedSuccessful", "Manifest has been successfully applied"];
const isApplied = (work: Work): boolean => says(work, "Applied")[0] === "True";

test("a Work that is applied says so in Karmada's words, with the status and health of each manifest that names it", async () => {
  const { works, until } = await begin();
  await works.create(draft("w", [marked("w", map({ k: "v" }))]), SPACE);
  const work = await until("w", isApplied, "applied");
  expect(says(work, "Applied")).toEqual(applied);
  expect(says(work, "Dispatching")).toEqual(["True", "Dispatching", "Work is being dispatched to member clusters."]);
  expect(work.status?.conditions).toHaveLength(2);
  expect(work.status?.manifestStatuses).toMatchObject([
    { identifier: { ordinal: 0, kind: "ConfigMap" }, health: "Healthy" },
  ]);
  await works.create(draft("bare", [{ ...map({ k: "v" }), metadata: { name: "bare", namespace: "demo" } }]), SPACE);
  const bare = await until("bare", isApplied, "applied");
  expect(bare.status?.manifestStatuses ?? []).toEqual([]);
});

test("an object that is the member's own is left alone until it goes, or the manifest takes it over", async () => {
  const { works, maps, until } = await begin();
  const own = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "conf", namespace: "demo" },
    data: { mine: "1" },
  };
  await maps.create(own, inDemo);
  await works.create(draft("w", [marked("w", map({ k: "v" }))]), SPACE);
  const refused = await until("w", (work) => says(work, "Applied")[0] === "False", "refused");
  expect(says(refused, "Applied")).toEqual([
    "False",
    "AppliedFailed",
    "Failed to apply all manifests (0/1): resource(kind=ConfigMap, demo/conf) already exists in the cluster member1 and the work.karmada.io/conflict-resolution strategy value is empty, Karmada will not manage this resource",
  ]);
  expect((await maps.get("conf", inDemo)).data).toEqual({ mine: "1" });
  await maps.delete("conf", inDemo);
  await until("w", isApplied, "applied once it is gone");
  expect((await maps.get("conf", inDemo)).data).toEqual({ k: "v" });

  await maps.create({ ...own, metadata: { name: "other", namespace: "demo" } }, inDemo);
  const taking = marked(
    "t",
    map({ k: "v" }, { name: "other", annotations: { [KARMADA.conflictResolution]: "overwrite" } }),
  );
  await works.create(draft("t", [taking]), SPACE);
  await until("t", isApplied, "taken over");
  expect((await maps.get("other", inDemo)).data).toMatchObject({ k: "v" });
});

test("of two Works with one object the later one has it; the earlier does not fight, and its end leaves it there", async () => {
  const { works, maps, until } = await begin();
  await works.create(draft("a", [marked("a", map({ from: "a" }))]), SPACE);
  await until("a", isApplied, "first");
  await works.create(draft("b", [marked("b", map({ from: "b" }))]), SPACE);
  await until("b", isApplied, "second");
  expect((await maps.get("conf", inDemo)).data).toEqual({ from: "b" });
  await works.patch("a", "merge", { metadata: { labels: { woken: "yes" } } }, SPACE);
  await works.delete("a", SPACE);
  await eventually(
    () => works.find("a", SPACE),
    (found) => found === undefined,
    "the first is gone",
  );
  expect((await maps.get("conf", inDemo)).data).toEqual({ from: "b" });
  await works.delete("b", SPACE);
  await eventually(
    () => maps.find("conf", inDemo),
    (found) => found === undefined,
    "it goes with its Work",
  );
});

test("what somebody changes or removes in the member comes back; a suspended Work waits, but tells what is there", async () => {
  const { works, maps, until } = await begin();
  await works.create(draft("w", [marked("w", map({ k: "v" }))]), SPACE);
  await until("w", isApplied, "applied");
  await maps.patch("conf", "merge", { data: { k: "drifted" } }, inDemo);
  await eventually(
    () => maps.get("conf", inDemo),
    ({ data }) => data?.["k"] === "v",
    "drift is repaired",
  );
  await maps.delete("conf", inDemo);
  await eventually(
    () => maps.find("conf", inDemo),
    (found) => found !== undefined,
    "it is made again",
  );
  await until("w", (work) => says(work, "Applied")[1] === "ReCreateSuccessful", "and told so");

  await works.patch(
    "w",
    "merge",
    { spec: { suspendDispatching: true, workload: { manifests: [marked("w", map({ k: "new" }))] } } },
    SPACE,
  );
  const suspended = await until("w", (work) => says(work, "Dispatching")[0] === "False", "suspended");
  expect(says(suspended, "Dispatching").slice(1)).toEqual([
    "SuspendDispatching",
    "Work dispatching is in a suspended state.",
  ]);
  expect(isApplied(suspended)).toBe(true);
  expect((await maps.get("conf", inDemo)).data).toEqual({ k: "v" });
  await works.patch("w", "merge", { spec: { suspendDispatching: false } }, SPACE);
  await eventually(
    () => maps.get("conf", inDemo),
    ({ data }) => data?.["k"] === "new",
    "it goes on",
  );
});

test("several manifests fail one by one, in the member's words; what a namespace lacks is not made up", async () => {
  const { works, until } = await begin();
  const thing = { apiVersion: "nowhere.example.com/v1", kind: "Thing", metadata: { name: "t" } };
  const lost = { ...map({}), metadata: { name: "conf", namespace: "nowhere" } };
  await works.create(draft("w", [marked("w", thing), marked("w", map({ k: "v" })), marked("w", lost)]), SPACE);
  const work = await until("w", (one) => says(one, "Applied").length > 0, "tried");
  expect(says(work, "Applied")).toEqual([
    "False",
    "AppliedFailed",
    'Failed to apply all manifests (1/3): [no matches for kind "Thing" in version "nowhere.example.com/v1", namespaces "nowhere" not found]',
  ]);
  expect(work.status?.manifestStatuses?.map(({ identifier }) => identifier.name)).toEqual(["conf"]);
});

test("a member decides about replicas where the template says so, and keeps what is let go of without the hub's marks", async () => {
  const { works, deployments, until } = await begin();
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", labels: { "resourcetemplate.karmada.io/retain-replicas": "true", keep: "me" } },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "app", image: "a:1" }] } },
    },
  };
  await works.create(draft("w", [marked("w", deployment)]), SPACE);
  await until("w", isApplied, "applied");
  await deployments.patch("web", "merge", { spec: { replicas: 7 } }, inDemo);
  const changed = marked("w", { ...deployment, spec: { ...deployment.spec, minReadySeconds: 3 } });
  await works.patch(
    "w",
    "merge",
    { spec: { workload: { manifests: [changed] }, preserveResourcesOnDeletion: true } },
    SPACE,
  );
  const now = await eventually(
    () => deployments.get("web", inDemo),
    ({ spec }) => spec?.minReadySeconds === 3,
    "changed",
  );
  expect(now.spec?.replicas).toBe(7);
  await works.delete("w", SPACE);
  await eventually(
    () => works.find("w", SPACE),
    (found) => found === undefined,
    "the Work is gone",
  );
  const { metadata } = await deployments.get("web", inDemo);
  expect(metadata.labels).toEqual({ "resourcetemplate.karmada.io/retain-replicas": "true", keep: "me" });
  expect(metadata.annotations ?? {}).toEqual({});
});

function deployment(replicas: number, image = "registry.example/app:1.0"): JsonObject & { metadata: JsonObject } {
  const labels = { app: "web" };
  const containers = [{ name: "app", image }];
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  };
}

const eventsOf = async (fleet: TestFleet, reason: string): Promise<string[]> =>
  (await fleet.hub.client.resource(EventKind).list()).items.flatMap((event) =>
    event.reason === reason ? [event.message ?? ""] : [],
  );

test("what a member's autoscaler has set is its own until it goes; all else is put back, and said whose it was", async () => {
  const { fleet, works, deployments, autoscalers, until } = await begin();
  await works.create(draft("w", [marked("w", deployment(2))]), SPACE);
  await until("w", isApplied, "applied");
  await autoscalers.create(
    {
      apiVersion: "autoscaling/v2",
      kind: "HorizontalPodAutoscaler",
      metadata: { name: "web", namespace: "demo" },
      spec: {
        scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" },
        minReplicas: 1,
        maxReplicas: 9,
      },
    },
    inDemo,
  );
  const scaling = { ...inDemo, subresource: "scale", fieldManager: "horizontal-pod-autoscaler" };
  await deployments.patch("web", "merge", { spec: { replicas: 7 } }, scaling);
  await eventually(
    () => eventsOf(fleet, "ReplicasKept"),
    (messages) => messages.join().includes("HorizontalPodAutoscaler web of the member decides"),
    "it is said who decides",
  );
  // A change of the template comes through, and the replicas stay.
  await works.patch(
    "w",
    "merge",
    { spec: draft("w", [marked("w", deployment(3, "registry.example/app:2.0"))]).spec },
    SPACE,
  );
  const imageOf = async () => (await deployments.get("web", inDemo)).spec?.template.spec?.containers[0]?.image;
  await eventually(imageOf, (image) => image === "registry.example/app:2.0", "the new image is there");
  const scaled = await deployments.get("web", inDemo);
  expect(scaled.spec?.replicas).toBe(7);
  const owners = scaled.metadata.managedFields?.flatMap(({ manager, fieldsV1 }) =>
    JSON.stringify(fieldsV1).includes('"f:replicas"') ? [manager] : [],
  );
  expect(owners).toEqual(["horizontal-pod-autoscaler"]);

  const editing = { ...inDemo, fieldManager: "kubectl-edit" };
  await deployments.patch("web", "merge", { spec: { minReadySeconds: 5, paused: true } }, editing);
  await works.patch(
    "w",
    "merge",
    { spec: draft("w", [marked("w", deployment(3, "registry.example/app:3.0"))]).spec },
    SPACE,
  );
  await eventually(imageOf, (image) => image === "registry.example/app:3.0", "the next image is there");
  await deployments.patch(
    "web",
    "json",
    [{ op: "replace", path: "/spec/template/spec/containers/0/image", value: "registry.example/evil:1.0" }],
    editing,
  );
  const told = await eventually(
    () => eventsOf(fleet, "DriftRepaired"),
    (messages) => messages.length > 0,
    "it is said what was put back",
  );
  expect(told[0]).toBe(
    "Deployment demo/web in cluster member1: put back spec.template.spec.containers (changed by kubectl-edit)",
  );
  // What the manifest says nothing of is the member's.
  expect((await deployments.get("web", inDemo)).spec).toMatchObject({ minReadySeconds: 5, paused: true, replicas: 7 });

  await autoscalers.delete("web", inDemo);
  await deployments.patch("web", "merge", { spec: { minReadySeconds: 6 } }, editing);
  await eventually(
    () => deployments.get("web", inDemo),
    ({ spec }) => spec?.replicas === 3,
    "the hub decides again",
  );
});

test("who scales without an autoscaler is put right", async () => {
  const { fleet, works, deployments, until } = await begin();
  await works.create(draft("w", [marked("w", deployment(2))]), SPACE);
  await until("w", isApplied, "applied");
  const scaling = { ...inDemo, subresource: "scale", fieldManager: "kubectl" };
  await deployments.patch("web", "merge", { spec: { replicas: 7 } }, scaling);
  await eventually(
    () => eventsOf(fleet, "DriftRepaired"),
    (messages) =>
      messages.join() === "Deployment demo/web in cluster member1: put back spec.replicas (changed by kubectl)",
    "it is said",
  );
  expect((await deployments.get("web", inDemo)).spec?.replicas).toBe(2);
});

test("two who undo each other's changes do not keep each other busy", async () => {
  const { works, deployments, until } = await begin();
  await works.create(draft("w", [marked("w", deployment(2))]), SPACE);
  await until("w", isApplied, "applied");
  const scaling = { ...inDemo, subresource: "scale", fieldManager: "other-hub" };
  const ending = new AbortController();
  let undone = 0;
  const other = (async () => {
    for (;;) {
      const { spec } = await deployments.get("web", inDemo);
      if (ending.signal.aborted) return;
      if (spec?.replicas === 2) undone++;
      if (spec?.replicas === 2) await deployments.patch("web", "merge", { spec: { replicas: 7 } }, scaling);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const held = await until("w", (work) => says(work, "Applied").join(" ").includes("again and again"), "it is told");
  expect(says(held, "Applied")[2]).toContain(
    "Deployment web in cluster member1 is changed again and again: spec.replicas (changed by other-hub); it is put back, each time later",
  );
  expect(undone).toBeLessThanOrEqual(8);
  ending.abort();
  await other;
  await until("w", isApplied, "and when the other is still, it is as the hub wants it");
  expect((await deployments.get("web", inDemo)).spec?.replicas).toBe(2);
});

test("what the member spells differently is not at odds with the hub, however often its status changes", async () => {
  const { fleet, works, deployments, until } = await begin();
  const manifest = deployment(2);
  const spelled = JSON.parse(
    JSON.stringify(manifest).replace('"image":', '"resources":{"limits":{"cpu":"1000m"}},"image":'),
  ) as typeof manifest;
  await works.create(draft("w", [marked("w", spelled)]), SPACE);
  await until("w", isApplied, "applied");
  expect((await deployments.get("web", inDemo)).spec?.template.spec?.containers[0]?.resources?.limits).toEqual({
    cpu: "1",
  });
  for (let ready = 1; ready <= 8; ready++) {
    await deployments.patch(
      "web",
      "merge",
      { status: { replicas: ready, readyReplicas: ready } },
      { ...inDemo, subresource: "status" },
    );
    await until("w", (work) => JSON.stringify(work.status).includes(`"readyReplicas":${ready}`), "the status is told");
  }
  const work = await works.get("w", SPACE);
  expect(says(work, "Applied")).toEqual(applied);
  expect(await eventsOf(fleet, "DriftRepaired")).toEqual([]);
});

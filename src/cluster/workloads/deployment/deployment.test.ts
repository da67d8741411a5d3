import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type Deployment,
  DeploymentKind,
  EventKind,
  findCondition,
  type Pod,
  PodKind,
  type ReplicaSet,
  ReplicaSetKind,
} from "../../../kernel/kinds/index.js";
import { type PlayCluster, startPlayCluster } from "../../../testing/play-cluster.js";

let play: PlayCluster;
beforeAll(async () => {
  play = await startPlayCluster();
});
afterAll(() => play.close());

const deployments = () => play.client.resource(DeploymentKind);
const at = { namespace: "default" };

function draft(
  name: string,
  replicas: number,
  spec: Partial<Deployment["spec"]> = {},
  annotations: Record<string, string> = {},
) {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "default" },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name }, annotations },
        spec: { containers: [{ name: "main", image: "one" }] },
      },
      ...spec,
    },
  };
}

const get = (name: string): Promise<Deployment> => deployments().get(name, at);
const list = async <T extends { metadata: { labels?: Record<string, string> } }>(
  items: Promise<{ items: T[] }>,
  app: string,
): Promise<T[]> => (await items).items.filter((item) => item.metadata.labels?.["app"] === app);
const pods = (app: string): Promise<Pod[]> => list(play.client.resource(PodKind).list(at), app);
const sets = (app: string): Promise<ReplicaSet[]> => list(play.client.resource(ReplicaSetKind).list(at), app);
const isDone = async (name: string, image = "one"): Promise<boolean> => {
  const { status, spec, metadata } = await get(name);
  const all = await pods(name);
  return (
    status?.observedGeneration === metadata.generation &&
    status?.availableReplicas === spec.replicas &&
    status?.updatedReplicas === spec.replicas &&
    all.length === spec.replicas &&
    all.every((pod) => pod.spec.containers[0]?.image === image)
  );
};

test("a deployment becomes available through one ReplicaSet", async () => {
  await deployments().create(draft("web", 3));

  await play.until(() => isDone("web"));

  const { status, metadata } = await get("web");
  expect(status).toMatchObject({
    replicas: 3,
    readyReplicas: 3,
    availableReplicas: 3,
    updatedReplicas: 3,
    observedGeneration: metadata.generation,
  });
  expect(status?.unavailableReplicas).toBeUndefined();
  expect(findCondition(status?.conditions, "Available")).toMatchObject({
    status: "True",
    reason: "MinimumReplicasAvailable",
  });
  await play.until(
    async () =>
      findCondition((await get("web")).status?.conditions, "Progressing")?.reason === "NewReplicaSetAvailable",
  );
  expect(metadata.annotations?.["deployment.kubernetes.io/revision"]).toBe("1");
  const [set] = await sets("web");
  expect(set?.metadata.name).toMatch(/^web-[a-z0-9]+$/);
  expect(set?.metadata.labels?.["pod-template-hash"]).toBe(set?.metadata.name.slice(4));
  expect((await pods("web"))[0]?.metadata.labels?.["pod-template-hash"]).toBe(
    set?.metadata.labels?.["pod-template-hash"],
  );
  expect((await play.client.resource(EventKind).list(at)).items.map((event) => event.message)).toContain(
    `Scaled up replica set ${set?.metadata.name} from 0 to 3`,
  );
});

test("a rolling update keeps its bounds at every moment and remembers revisions; undoing reuses the old set", async () => {
  await deployments().create(
    draft("roll", 4, { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } } }),
  );
  await play.until(() => isDone("roll"));
  const [first] = await sets("roll");

  await deployments().patch(
    "roll",
    "strategic",
    { spec: { template: { spec: { containers: [{ name: "main", image: "two" }] } } } },
    at,
  );
  let most = 0;
  let least = 9;
  await play.until(async () => {
    const all = (await pods("roll")).filter((pod) => pod.metadata.deletionTimestamp === undefined);
    most = Math.max(most, all.length);
    least = Math.min(
      least,
      all.filter((pod) => findCondition(pod.status?.conditions, "Ready")?.status === "True").length,
    );
    return isDone("roll", "two");
  });
  expect(most).toBe(5);
  expect(least).toBeGreaterThanOrEqual(3);
  expect((await get("roll")).metadata.annotations?.["deployment.kubernetes.io/revision"]).toBe("2");

  await deployments().patch(
    "roll",
    "strategic",
    { spec: { template: { spec: { containers: [{ name: "main", image: "one" }] } } } },
    at,
  );
  await play.until(() => isDone("roll", "one"));
  const both = await sets("roll");
  expect(both).toHaveLength(2);
  expect(both.find((set) => set.metadata.uid === first?.metadata.uid)).toMatchObject({
    spec: { replicas: 4 },
    metadata: {
      annotations: { "deployment.kubernetes.io/revision": "3", "deployment.kubernetes.io/revision-history": "1" },
    },
  });
});

test("Recreate lets no two templates run at once", async () => {
  await deployments().create(draft("swap", 2, { strategy: { type: "Recreate" } }));
  await play.until(() => isDone("swap"));
  await deployments().patch(
    "swap",
    "strategic",
    { spec: { template: { spec: { containers: [{ name: "main", image: "two" }] } } } },
    at,
  );

  const mixes = new Set<string>();
  await play.until(async () => {
    mixes.add(
      [...new Set((await pods("swap")).map((pod) => pod.spec.containers[0]?.image ?? ""))].toSorted().join("+"),
    );
    return isDone("swap", "two");
  });

  expect(mixes).not.toContain("one+two");
});

test("a paused deployment scales but does not roll out; a stuck one says so and recovers", async () => {
  await deployments().create(draft("calm", 2, { progressDeadlineSeconds: 30 }));
  await play.until(() => isDone("calm"));
  await deployments().patch("calm", "merge", { spec: { paused: true, replicas: 3 } }, at);
  await deployments().patch(
    "calm",
    "strategic",
    { spec: { template: { metadata: { annotations: { "play/ready": "false" } } } } },
    at,
  );
  await play.until(async () => (await pods("calm")).length === 3);
  await play.clock.advance(60_000);
  expect(await sets("calm")).toHaveLength(1);
  expect(findCondition((await get("calm")).status?.conditions, "Progressing")?.reason).toBe("DeploymentPaused");

  await deployments().patch("calm", "merge", { spec: { paused: false } }, at);
  await play.until(
    async () =>
      findCondition((await get("calm")).status?.conditions, "Progressing")?.reason === "ProgressDeadlineExceeded",
    120_000,
  );
  expect(findCondition((await get("calm")).status?.conditions, "Available")?.status).toBe("True");

  await deployments().patch(
    "calm",
    "strategic",
    { spec: { template: { metadata: { annotations: { "play/ready": "true" } } } } },
    at,
  );
  await play.until(() => isDone("calm"));
});

test("old sets beyond the history limit go", async () => {
  await deployments().create(draft("short", 1, { revisionHistoryLimit: 1 }));
  for (const image of ["two", "three", "four"]) {
    await deployments().patch(
      "short",
      "strategic",
      { spec: { template: { spec: { containers: [{ name: "main", image }] } } } },
      at,
    );
    await play.until(() => isDone("short", image));
  }

  await play.until(async () => (await sets("short")).length === 2);
});

test("controllers killed in the middle of a roll-out carry on, and adopt what runs", async () => {
  await deployments().create(draft("tough", 4));
  await play.until(() => isDone("tough"));
  const before = new Set((await pods("tough")).map((pod) => pod.metadata.uid));
  await play.restartControllers();
  await play.clock.advance(10_000);
  expect(new Set((await pods("tough")).map((pod) => pod.metadata.uid))).toEqual(before);

  await deployments().patch(
    "tough",
    "strategic",
    { spec: { template: { spec: { containers: [{ name: "main", image: "two" }] } } } },
    at,
  );
  await play.until(async () => (await pods("tough")).some((pod) => pod.spec.containers[0]?.image === "two"));
  await play.restartControllers();

  await play.until(() => isDone("tough", "two"));
});

test("a ReplicaSet adopts matching orphans and lets go of pods whose labels changed", async () => {
  await play.client.resource(PodKind).create({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "orphan", namespace: "default", labels: { app: "keeper" } },
    spec: { containers: [{ name: "main", image: "one" }] },
  });
  // Whoever knows of the ReplicaSet first makes one pod too many, which is right too.
  await play.clock.settle();
  await play.client.resource(ReplicaSetKind).create({
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: { name: "keeper", namespace: "default", labels: { app: "keeper" } },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: "keeper" } },
      template: { metadata: { labels: { app: "keeper" } }, spec: { containers: [{ name: "main", image: "one" }] } },
    },
  });
  await play.until(async () => (await sets("keeper"))[0]?.status?.availableReplicas === 2);
  expect(await pods("keeper")).toHaveLength(2);

  await play.client.resource(PodKind).patch("orphan", "merge", { metadata: { labels: { app: "free" } } }, at);
  await play.until(
    async () => (await sets("keeper"))[0]?.status?.availableReplicas === 2 && (await pods("keeper")).length === 2,
  );

  expect((await play.client.resource(PodKind).get("orphan", at)).metadata.ownerReferences ?? []).toEqual([]);
});

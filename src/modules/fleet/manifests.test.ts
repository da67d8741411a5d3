import { afterEach, expect, test } from "vitest";
import {
  CustomResourceDefinitionKind,
  defineKind,
  findCondition,
  type JsonObject,
  toCrd,
} from "../../kernel/kinds/index.js";
import { isObject, s } from "../../kernel/schema/index.js";
import { startTestCluster } from "../../testing/index.js";
import { eventually, startFleet, type TestFleet } from "./fixture.js";
import { KindSchemas } from "./kind-schemas.js";
import { HyperMLServiceKind } from "./kinds.js";
import { checkManifest } from "./manifest-check.js";

/** As strict as the serving module's. */
const StrictServiceKind = defineKind({
  group: "tensorstack.dev",
  version: "v1beta1",
  kind: "MLService",
  plural: "mlservices",
  description: "test",
  spec: s.object({
    default: s.string({ min: 1 }),
    replicas: s.integer({ min: 0 }).optional(),
    releases: s.listMap(s.object({ name: s.string() }), ["name"]).optional(),
  }),
});

const fleets: TestFleet[] = [];
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.close();
});

async function begin(options: Parameters<typeof startFleet>[1], ...names: string[]): Promise<TestFleet> {
  const fleet = await startFleet(names, options);
  fleets.push(fleet);
  return fleet;
}

type Manifest = JsonObject & { apiVersion: string; kind: string };
const metadata = { name: "digits", namespace: "demo" };
const service = (spec: JsonObject): Manifest => ({
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLService",
  metadata,
  spec,
});
const inEdge = (...manifests: Manifest[]) => ({ workloads: [{ clusters: ["edge"], manifests }] });
const strictHub = { hubKinds: [StrictServiceKind], memberKinds: [StrictServiceKind] };

/** Posts it as a client does that shows warnings. */
async function post(
  fleet: TestFleet,
  name: string,
  spec: JsonObject,
): Promise<{ status: number; warnings: string; body: string }> {
  const answer = await fleet.hub.client.transport.request({
    method: "POST",
    path: "/apis/tensorstack.dev/v1beta1/namespaces/demo/hypermlservices",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      apiVersion: "tensorstack.dev/v1beta1",
      kind: "HyperMLService",
      metadata: { name, namespace: "demo" },
      spec,
    }),
  });
  const pieces: Uint8Array[] = [];
  for await (const piece of answer.body) pieces.push(piece);
  return { status: answer.status, warnings: answer.headers["warning"] ?? "", body: Buffer.concat(pieces).toString() };
}

test("what no member can accept is refused by the hub, with its path from the HyperMLService's root", async () => {
  const fleet = await begin(strictHub, "edge");
  const refused: [string, Manifest, string][] = [
    ["a wrong type", service({ default: "v1", replicas: "two" }), '.spec.replicas: Invalid value: "string"'],
    [
      "an unknown field",
      service({ default: "v1", replcas: 2 }),
      '.spec.replcas: unknown field; did you mean "replicas"?',
    ],
    ["a required field", service({ replicas: 2 }), ".spec.default: Required value"],
    [
      "an item",
      service({ default: "v1", releases: [{ name: "v1" }, { nam: "v2" }] }),
      ".spec.releases[1].name: Required value",
    ],
    [
      "an apiVersion",
      { apiVersion: "apps/v1/x", kind: "Deployment", metadata },
      '.apiVersion: Invalid value: "apps/v1/x"',
    ],
    [
      "a name",
      { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "demo" } },
      ".metadata.name: Invalid value: is required",
    ],
    [
      "a namespace",
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" } },
      ".metadata.namespace: Required value",
    ],
    [
      "a name that no object can have",
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "Bad_Name", namespace: "demo" } },
      '.metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain',
    ],
    [
      "a namespace that there cannot be",
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c", namespace: "UP" } },
      '.metadata.namespace: Invalid value: "UP"',
    ],
    [
      "a label",
      { apiVersion: "v1", kind: "ConfigMap", metadata: { ...metadata, labels: { "bad key!": "v" } } },
      '.metadata.labels: Invalid value: "bad key!"',
    ],
    [
      "Kubernetes' own kinds",
      {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata,
        spec: { replicas: "2", selector: {}, template: { spec: { containrs: [] } } },
      },
      '.spec.template.spec.containrs: unknown field; did you mean "containers"?',
    ],
  ];

  for (const [what, manifest, words] of refused) {
    const { status, body } = await post(
      fleet,
      "faulty",
      inEdge({ ...service({ default: "v1" }), metadata: { name: "good", namespace: "demo" } }, manifest),
    );
    const { message } = JSON.parse(body) as { message: string };
    expect(status, `${what}: ${body}`).toBe(422);
    expect(message).toContain(`spec.workloads[0].manifests[1]${words}`);
    expect(message).not.toContain("valueUnstructured");
  }
});

test("the value of a Secret is not in the refusal", async () => {
  const fleet = await begin(strictHub, "edge");
  const secret = { apiVersion: "v1", kind: "Secret", metadata, data: { key: "hidden value!" }, strngData: {} };
  const { status, body } = await post(fleet, "faulty", inEdge(secret));

  expect(status).toBe(422);
  expect(body).toContain("spec.workloads[0].manifests[0].strngData");
  expect(body).not.toContain("hidden value");
});

test("what only a member knows is a warning and a condition", async () => {
  const fleet = await begin(strictHub, "edge");
  const gadget = { apiVersion: "tensorstack.dev/v1beta1", kind: "MLServce", metadata };
  const { status, warnings } = await post(fleet, "odd", {
    workloads: [{ clusters: ["edge", "edgy"], manifests: [gadget] }],
  });
  const seen = await eventually(
    () => fleet.getHyper("odd"),
    (object) => findCondition(object.status?.conditions, "ManifestsChecked") !== undefined,
    "the condition is there",
  );

  expect(status).toBe(201);
  expect(warnings).toContain(
    'spec.workloads[0].manifests[0]: the hub knows no kind MLServce in tensorstack.dev/v1beta1 (did you mean \\"MLService\\"?); whether edge, edgy can take it',
  );
  expect(warnings).toContain(
    'spec.workloads[0].clusters[1]: cluster \\"edgy\\" is not registered; did you mean \\"edge\\"?',
  );
  expect(findCondition(seen.status?.conditions, "ManifestsChecked")).toMatchObject({
    status: "Unknown",
    reason: "UnknownKinds",
  });
});

test("what of a manifest is not delivered is a warning and in the condition; names of RBAC are free", async () => {
  const fleet = await begin({}, "edge");
  const { status, warnings } = await post(
    fleet,
    "owned",
    inEdge(
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { ...metadata, finalizers: ["example.org/hold"] },
        status: { phase: "x" },
      },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "Role",
        metadata: { name: "system:reader", namespace: "demo" },
        rules: [],
      },
    ),
  );
  const words = "spec.workloads[0].manifests[0]: metadata.finalizers, status are not delivered";
  expect(status).toBe(201);
  expect(warnings).toContain(words);
  const seen = await eventually(
    () => fleet.getHyper("owned"),
    (object) => findCondition(object.status?.conditions, "ManifestsChecked") !== undefined,
    "the condition is there",
  );
  const condition = findCondition(seen.status?.conditions, "ManifestsChecked");
  expect(condition).toMatchObject({ status: "True", reason: "NotAllDelivered" });
  expect(condition?.message).toContain(words);
});

test("an object from before the hub knew its kinds can be changed where it is not faulty, and its status says what is", async () => {
  const fleet = await begin({ memberKinds: [StrictServiceKind] }, "edge");
  await fleet.createHyper("early", inEdge(service({ default: "v1", replicas: "two" })));
  const hypers = fleet.hub.client.resource(HyperMLServiceKind);
  await fleet.hub.client
    .resource(CustomResourceDefinitionKind)
    .apply(
      { metadata: { name: "mlservices.tensorstack.dev" }, spec: toCrd(StrictServiceKind)["spec"] },
      { fieldManager: "test", force: true },
    );
  await hypers.patch("early", "merge", { metadata: { labels: { seen: "yes" } } }, { namespace: "demo" });
  const config = { apiVersion: "v1", kind: "ConfigMap", metadata };
  const spec = inEdge(service({ default: "v1", replicas: "two" }), config);
  const changed = await hypers.patch("early", "merge", { spec }, { namespace: "demo" });
  const later = inEdge(service({ default: "v1", replicas: "three" }), config);

  expect(changed.metadata.generation).toBe(2);
  await expect(hypers.patch("early", "merge", { spec: later }, { namespace: "demo" })).rejects.toThrow(
    /spec\.workloads\[0\]\.manifests\[0\]\.spec\.replicas/,
  );
  await eventually(
    () => fleet.getHyper("early"),
    (object) => findCondition(object.status?.conditions, "ManifestsChecked")?.reason === "Faulty",
    "the status names the fault",
  );
});

test("a member's refusal names cluster, object and field, and nothing of the server's insides", async () => {
  const fleet = await begin({ memberKinds: [StrictServiceKind] }, "edge");
  await fleet.createHyper("late", inEdge(service({ default: { a: 1 }, replicas: "two" })));
  const failed = await eventually(
    () => fleet.getHyper("late"),
    (object) => object.status?.aggregatedStatus?.[0]?.reason === "AppliedFailed",
    "the refusal is reported",
  );
  const message = failed.status?.aggregatedStatus?.[0]?.appliedMessage ?? "";

  expect(message).toContain("cluster edge refuses MLService demo/digits: ");
  // A server written in Go prints what it got in a way that nobody shall read.
  expect(message).toMatch(/spec\.default: expected string, got (\{"a":1\}|something else)/);
  expect(message).toContain("correct the manifest");
  expect(JSON.stringify(failed.status)).not.toMatch(/valueUnstructured|map\[/);
});

test("whatever an API server has accepted passes its published schema", async () => {
  const cluster = await startTestCluster({ kinds: [StrictServiceKind, HyperMLServiceKind] });
  const schemas = new KindSchemas();
  const faults: string[] = [];
  let count = 0;
  const groups = (await cluster.client.json("GET", "/apis")) as { groups: { versions: { groupVersion: string }[] }[] };
  for (const apiVersion of [
    "v1",
    ...groups.groups.flatMap(({ versions }) => versions.map((one) => one.groupVersion)),
  ]) {
    const root = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
    const { resources } = (await cluster.client.json("GET", root)) as {
      resources: { name: string; kind: string; verbs: string[] }[];
    };
    for (const { name, kind, verbs } of resources) {
      if (!verbs.includes("list") || name.includes("/")) continue;
      const known = await schemas.find(cluster.client.transport, apiVersion, kind);
      const { items } = (await cluster.client.json("GET", `${root}/${name}`)) as { items: JsonObject[] };
      for (const item of items.filter(isObject)) {
        count += 1;
        if (!("schema" in known)) faults.push(`${apiVersion} ${kind} has no schema`);
        else
          faults.push(...checkManifest(known.schema, item, kind).map(({ field, message }) => `${field}: ${message}`));
      }
    }
  }
  await cluster.close();

  expect([...new Set(faults)]).toEqual([]);
  expect(count).toBeGreaterThan(30);
});

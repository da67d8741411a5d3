import { afterAll, beforeAll, expect, test } from "vitest";
import { checksOf } from "../../../cluster/apiserver/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject, KindDefinition } from "../../../kernel/kinds/index.js";
import { NamespaceKind } from "../../../kernel/kinds/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { ClusterResourceBindingKind, ResourceBindingKind } from "../bindings/kinds.js";
import { FederatedResourceQuotaKind } from "../clusters/quota-kind.js";
import { ClusterKind, WorkKind } from "../kinds.js";
import {
  ClusterOverridePolicyKind,
  ClusterPropagationPolicyKind,
  ClusterTaintPolicyKind,
  OverridePolicyKind,
  PropagationPolicyKind,
} from "../policies/kinds.js";
import { CronFederatedHPAKind, FederatedHPAKind, MultiClusterServiceKind } from "../unserved/kinds.js";
import { engineAdmission } from "./index.js";
import { isSchedule } from "./schedule.js";

const kinds: KindDefinition[] = [
  PropagationPolicyKind,
  ClusterPropagationPolicyKind,
  OverridePolicyKind,
  ClusterOverridePolicyKind,
  ClusterTaintPolicyKind,
  ClusterKind,
  WorkKind,
  ResourceBindingKind,
  ClusterResourceBindingKind,
  FederatedResourceQuotaKind,
  FederatedHPAKind,
  CronFederatedHPAKind,
  MultiClusterServiceKind,
];

let hub: TestCluster;

beforeAll(async () => {
  hub = await startTestCluster({ name: "hub", kinds, checks: checksOf(engineAdmission(), () => hub) });
  await hub.client.resource(NamespaceKind).apply({ metadata: { name: "demo" } }, { fieldManager: "test" });
});
afterAll(() => hub.close());

const web = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };
const inDemo = (definition: KindDefinition) => (definition.namespaced ? { namespace: "demo" } : {});

async function create(definition: KindDefinition, name: string, spec: JsonObject, dryRun = true): Promise<JsonObject> {
  const { group, version, kind } = definition;
  const object = { apiVersion: `${group}/${version}`, kind, metadata: { name, ...inDemo(definition) }, spec };
  const made = await hub.client.dynamic(definition).create(object, { ...inDemo(definition), dryRun });
  return JSON.parse(JSON.stringify(made));
}

/** `403 message` of a refused write. */
async function refusal(write: Promise<unknown>): Promise<string> {
  try {
    await write;
  } catch (error) {
    if (error instanceof ApiError) return `${error.httpCode} ${error.message}`;
    throw error;
  }
  return "accepted";
}

const propagation = (placement: JsonObject, more: JsonObject = {}) =>
  refusal(create(PropagationPolicyKind, "p", { resourceSelectors: [web], placement, ...more }));
const policyDenied = 'admission webhook "propagationpolicy.karmada.io" denied the request: ';

test("spread constraints are refused as Karmada does", async () => {
  const spread = (...spreadConstraints: JsonObject[]) => propagation({ spreadConstraints });
  const at = `403 ${policyDenied}spec.placement.spreadConstraints`;
  expect(await spread({ spreadByField: "cluster", spreadByLabel: "x", minGroups: 1 })).toBe(
    `${at}[0]: Invalid value: {"spreadByField":"cluster","spreadByLabel":"x","minGroups":1}: spreadByLabel should not co-exist with spreadByField`,
  );
  expect(await spread({ spreadByField: "cluster", maxGroups: -1 })).toBe(
    `${at}[0]: Invalid value: {"spreadByField":"cluster","maxGroups":-1,"minGroups":1}: maxGroups lower than 0 is not allowed`,
  );
  expect(await spread({ spreadByField: "region", minGroups: 1 })).toBe(
    `${at}: Invalid value: [{"spreadByField":"region","minGroups":1}]: the cluster spread constraint must be enabled in one of the constraints in case of SpreadByField is enabled`,
  );
  expect(await spread({ minGroups: 1 }, { spreadByField: "cluster", minGroups: 2 })).toBe(
    `${at}: Invalid value: [{"spreadByField":"cluster","minGroups":1},{"spreadByField":"cluster","minGroups":2}]: multiple cluster spread constraints are not allowed`,
  );
});

test("several faults come in brackets; affinities, failover, preemption and suspension are checked", async () => {
  const found = await propagation(
    {
      clusterAffinity: { fieldSelector: { matchExpressions: [{ key: "name", operator: "In", values: ["x"] }] } },
      clusterAffinities: [{ affinityName: "a" }, { affinityName: "a", clusterNames: ["m"] }],
    },
    {
      preemption: "Always",
      resourceSelectors: [{ apiVersion: "apps/v1", kind: "Deployment" }],
      failover: { application: { decisionConditions: {}, purgeMode: "Never", gracePeriodSeconds: 0 } },
      suspension: { dispatching: true, dispatchingOnClusters: { clusterNames: ["m"] } },
    },
  );
  expect(found.slice(policyDenied.length + 4).split(", spec.")).toEqual([
    '[spec.placement: Invalid value: {"clusterAffinity":{"fieldSelector":{"matchExpressions":[{"key":"name","operator":"In","values":["x"]}]}},"clusterAffinities":[{"affinityName":"a"},{"affinityName":"a","clusterNames":["m"]}]}: clusterAffinities cannot co-exist with clusterAffinity',
    'placement.clusterAffinity.fieldSelector: Invalid value: {"matchExpressions":[{"key":"name","operator":"In","values":["x"]}]}: unsupported key "name", must be provider, region, or zone',
    'placement.clusterAffinities: Invalid value: [{"affinityName":"a"},{"affinityName":"a","clusterNames":["m"]}]: each affinity term in a policy must have a unique name',
    "propagateDeps: Invalid value: false: application failover is set, propagateDeps must be true",
    "failover.application.gracePeriodSeconds: Invalid value: 0: only takes effect when purgeMode is gracefully",
    "failover.application.gracePeriodSeconds: Invalid value: 0: must be greater than 0",
    'resourceSelectors[0].name: Invalid value: "": name cannot be empty if preemption is Always, the empty name may cause unexpected resources preemption',
    'suspension.suspension: Invalid value: {"dispatching":true,"dispatchingOnClusters":{"clusterNames":["m"]}}: suspension dispatching cannot co-exist with dispatchingOnClusters.clusterNames]',
  ]);
});

test("state that would not be carried over is warned of", async () => {
  const check = engineAdmission().find(({ kind }) => kind === PropagationPolicyKind);
  const warnings = async (purgeMode: string, jsonPath = "{ .jobId }") => {
    const statePreservation = { rules: [{ aliasLabelName: "job", jsonPath }] };
    const application = { decisionConditions: {}, purgeMode, statePreservation };
    const object = { metadata: {}, spec: { resourceSelectors: [web], propagateDeps: true, failover: { application } } };
    check?.complete?.(object, undefined, { uuid: () => "u", now: "2026-01-01T00:00:00Z" });
    return (await check?.review?.(object, undefined, hub))?.warnings;
  };
  expect(await warnings("Directly")).toEqual([]);
  const path = "spec.failover.application.statePreservation";
  expect(await warnings("Gracefully")).toEqual([`${path}: only takes effect when purgeMode is Directly`]);
  expect(await warnings("Directly", "{..jobId}")).toEqual([
    `${path}.rules[0].jsonPath: "{..jobId}" is no JSONPath that is read here, so that nothing moves`,
  ]);
});

test("enumerations are the schema's affair", async () => {
  expect(await propagation({ replicaScheduling: { replicaSchedulingType: "Tripled" } })).toBe(
    '422 PropagationPolicy.policy.karmada.io "p" is invalid: spec.placement.replicaScheduling.replicaSchedulingType: Unsupported value: "Tripled": supported values: "Duplicated", "Divided"',
  );
});

test("a policy is completed, and keeps what the system gave it", async () => {
  const spec = {
    resourceSelectors: [web],
    placement: { spreadConstraints: [{}], replicaScheduling: { replicaSchedulingType: "Divided" } },
    propagateDeps: true,
    failover: { application: { decisionConditions: {} } },
  };
  const made = await create(PropagationPolicyKind, "kept", spec, false);
  const id = "propagationpolicy.karmada.io/permanent-id";
  expect(made).toMatchObject({
    metadata: {
      labels: { [id]: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      finalizers: ["karmada.io/propagation-policy-controller"],
    },
    spec: {
      resourceSelectors: [{ ...web, namespace: "demo" }],
      placement: {
        spreadConstraints: [{ spreadByField: "cluster", minGroups: 1 }],
        replicaScheduling: { replicaDivisionPreference: "Weighted" },
      },
      failover: { application: { gracePeriodSeconds: 600 } },
    },
  });
  const patch = (change: JsonObject) =>
    refusal(hub.client.dynamic(PropagationPolicyKind).patch("kept", "merge", change, { namespace: "demo" }));
  const immutable = `403 ${policyDenied}label ${id} is immutable, it can only be set by the system during creation`;
  expect(await patch({ metadata: { labels: { [id]: null } } })).toBe(immutable);
  expect(await patch({ metadata: { labels: { [id]: "other" } } })).toBe(immutable);
  expect(await patch({ spec: { schedulerName: "other" } })).toBe(
    `403 ${policyDenied}the schedulerName should not be updated`,
  );
  expect(await patch({ metadata: { annotations: { a: "b" } } })).toBe("accepted");
});

test("what is as if it were not said is not stored; the older form of an override of a namespace is", async () => {
  const spec = { resourceSelectors: [web], placement: {}, propagateDeps: false };
  expect(await create(PropagationPolicyKind, "silent", spec)).not.toHaveProperty("spec.propagateDeps");
  const rules = { resourceSelectors: [{ ...web, namespace: "demo" }], overrideRules: [{ overriders: {} }] };
  expect(await create(OverridePolicyKind, "o", rules)).toHaveProperty("spec.overriders", {});
  expect(await create(ClusterOverridePolicyKind, "o", rules)).not.toHaveProperty("spec.overriders");
});

test("override policies are checked", async () => {
  const override = (overriders: JsonObject, more: JsonObject = {}) =>
    refusal(create(OverridePolicyKind, "o", { resourceSelectors: [web], overrideRules: [{ overriders, ...more }] }));
  const at = '403 admission webhook "overridepolicy.karmada.io" denied the request: spec.overrideRules[0]';
  const remove = [{ subPath: "/a", operator: "remove" }];
  expect(await override({ fieldOverrider: [{ fieldPath: "/data/x", json: remove, yaml: remove }] })).toBe(
    `${at}.overriders.fieldOverrider[0]: Invalid value: {"fieldPath":"/data/x","json":[{"subPath":"/a","operator":"remove","value":null}],"yaml":[{"subPath":"/a","operator":"remove","value":null}]}: FieldOverrider has both YAML and JSON set. Only one is allowed`,
  );
  expect(await override({ fieldOverrider: [{ fieldPath: "/x", yaml: [{ ...remove[0], value: 1 }] }] })).toBe(
    `${at}.overriders.fieldOverrider[0].yaml[0].value: Invalid value: 1: value is not allowed for remove operation`,
  );
  expect(await override({ imageOverrider: [{ component: "Tag", operator: "add", predicate: { path: "x" } }] })).toBe(
    `${at}.overriders.imageOverrider[0].predicate.path: Invalid value: "x": JSON pointer must be empty or start with a "/`,
  );
  expect(await override({ labelsOverrider: [{ operator: "add", value: { "a b": "ok" } }] })).toContain(
    `${at}.overriders.labelsOverrider[0].value: Invalid value: "a b": name part must consist of`,
  );
});

test("clusters get their classes of nodes, and are refused as invalid", async () => {
  const spec = { syncMode: "Push", apiEndpoint: "https://127.0.0.1:9" };
  const made = await create(ClusterKind, "m", { ...spec, zone: "z", taints: [{ key: "a", effect: "NoExecute" }] });
  expect(made).toMatchObject({
    spec: { zones: ["z"], taints: [{ timeAdded: expect.any(String) }], resourceModels: { length: 9 } },
  });
  // A real server says by which webhook it knows.
  const refused = async (name: string, more: JsonObject) =>
    (await refusal(create(ClusterKind, name, { ...spec, ...more }))).replace(
      'admission webhook "cluster.karmada.io" denied the request: ',
      "",
    );
  expect(await refused("x".repeat(49), {})).toContain(
    `422 Cluster.cluster.karmada.io "${"x".repeat(49)}" is invalid: metadata.name: Invalid value: "${"x".repeat(49)}": must be no more than 48 characters`,
  );
  expect(await refused("m", { syncMode: "Shove" })).toBe(
    '422 Cluster.cluster.karmada.io "m" is invalid: spec.syncMode: Unsupported value: "Shove": supported values: "Pull", "Push"',
  );
  const both = await refused("m", { zone: "a", zones: ["b"], resourceModels: [{ grade: 0, ranges: [] }] });
  expect(both).toBe(
    '422 Cluster.cluster.karmada.io "m" is invalid: spec.spec: Invalid value: {"SyncMode":"Push","APIEndpoint":"https://127.0.0.1:9","SecretRef":null,"ImpersonatorSecretRef":null,"InsecureSkipTLSVerification":false,"ProxyURL":"","ProxyHeader":null,"Provider":"","Region":"","Zone":"a","zones":["b"],"Taints":null,"ResourceModels":[{"Grade":0,"Ranges":[]}]}: Zone and Zones cannot co-exist',
  );
  const range = (min: string, max: string) => [{ name: "cpu", min, max }];
  expect(
    await refused("m", {
      resourceModels: [
        { grade: 0, ranges: range("0", "2") },
        { grade: 1, ranges: range("3", "4") },
      ],
    }),
  ).toContain("Model intervals for resources must be contiguous and non-overlapping");
});

test("Works are given an identifier, and manifests lose what only one server means", async () => {
  const manifest = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: "j", uid: "u", resourceVersion: "3", ownerReferences: [], labels: { a: "b" } },
    spec: { ttlSecondsAfterFinished: 3, selector: { matchLabels: { "controller-uid": "x", a: "b" } } },
    status: {},
  };
  const made = await create(WorkKind, "w", { workload: { manifests: [manifest] } });
  const id = "work.karmada.io/permanent-id";
  const uid = (made["metadata"] as { labels: Record<string, string> }).labels[id];
  expect(made["spec"]).toEqual({
    workload: {
      manifests: [
        {
          apiVersion: "batch/v1",
          kind: "Job",
          metadata: {
            name: "j",
            labels: { a: "b", [id]: uid },
            annotations: {
              "resourcetemplate.karmada.io/managed-annotations":
                "resourcetemplate.karmada.io/managed-annotations,resourcetemplate.karmada.io/managed-labels",
              "resourcetemplate.karmada.io/managed-labels": `a,${id}`,
            },
          },
          spec: { selector: { matchLabels: { a: "b" } } },
        },
      ],
    },
  });
});

test("quotas, autoscalers, services and taint policies are checked", async () => {
  const quota = (spec: JsonObject) => refusal(create(FederatedResourceQuotaKind, "q", spec));
  expect(
    await quota({
      overall: { cpu: "5", "count/pods": "1.5" },
      staticAssignments: [{ clusterName: "m", hard: { cpu: "6000m", memory: "1Gi" } }],
    }),
  ).toBe(
    '403 admission webhook "federatedresourcequota.karmada.io" denied the request: [spec.overall[count/pods]: Invalid value: "1500m": must be an integer, spec.overall[cpu]: Invalid value: "5": overall is less than assignments, spec.staticAssignments[0].hard[memory]: Invalid value: "memory": assignment resourceName is not exist in overall]',
  );
  const scaleTargetRef = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };
  expect(await refusal(create(FederatedHPAKind, "h", { scaleTargetRef, minReplicas: 1, maxReplicas: 0 }))).toBe(
    '403 admission webhook "federatedhpa.karmada.io" denied the request: [spec.maxReplicas: Invalid value: 0: must be greater than 0, spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`]',
  );
  const rule = { name: "a", schedule: "0 0 * * *", targetReplicas: 1 };
  const cron = (more: JsonObject) =>
    refusal(create(CronFederatedHPAKind, "c", { scaleTargetRef, rules: [{ ...rule, ...more }] }));
  expect(await cron({ timeZone: "Moon/Crater" })).toBe(
    '403 admission webhook "cronfederatedhpa.karmada.io" denied the request: spec.rules[0].timeZone: Invalid value: "Moon/Crater": unknown time zone Moon/Crater',
  );
  expect(await cron({})).toBe("accepted");
  expect(await refusal(create(MultiClusterServiceKind, "m", { types: ["CrossCluster", "LoadBalancer"] }))).toBe(
    '403 admission webhook "multiclusterservice.karmada.io" denied the request: spec.types: Invalid value: ["CrossCluster","LoadBalancer"]: MultiClusterService types should not contain more than one type',
  );
  const taint = { key: "a", effect: "NoSchedule" };
  expect(await refusal(create(ClusterTaintPolicyKind, "t", { taints: [taint, { ...taint, value: "x" }] }))).toBe(
    '403 admission webhook "clustertaintpolicy.karmada.io" denied the request: spec.taints[0]: Duplicate value: "Duplicate taint with the same key(a) and effect(NoSchedule) is not allowed"',
  );
});

test("what is protected is not deleted, whatever its kind", async () => {
  const label = "resourcetemplate.karmada.io/deletion-protected";
  const spaces = hub.client.resource(NamespaceKind);
  await spaces.apply({ metadata: { name: "guarded", labels: { [label]: "Always" } } }, { fieldManager: "test" });
  expect(await refusal(spaces.delete("guarded"))).toBe(
    `403 admission webhook "resourcedeletionprotection.karmada.io" denied the request: This resource is protected, please make sure to remove the label: ${label}`,
  );
  await spaces.patch("guarded", "merge", { metadata: { labels: { [label]: "maybe" } } });
  expect(await refusal(spaces.delete("guarded"))).toBe("accepted");
});

test("schedules", () => {
  for (const good of [
    "0 0 * * *",
    "*/5 1-3 1,15 JAN MON-FRI",
    "@daily",
    "0 0 L * *",
    "0 0 * * * 2030",
    "0 0 0 * * * *",
  ])
    expect(isSchedule(good), good).toBe(true);
  for (const bad of ["now", "60 0 * * *", "0 0 * *", "*/0 * * * *", "5-1 * * * *", "0 0 * * MOO", "@never", ""])
    expect(isSchedule(bad), bad).toBe(false);
});

import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import { asObject, asString } from "../../../src/kernel/schema/index.js";
import { broken } from "./sides.js";
import type { Stage } from "./stage.js";

/** One thing that happens in both fleets, and what must be seen of it. */
export interface Step {
  readonly say: string;
  readonly act: (stage: Stage) => Promise<void>;
  readonly shows: readonly RegExp[];
}

/** A namespace of that name in which things happen one after the other. */
export interface Scenario {
  readonly name: string;
  readonly steps: readonly Step[];
}

const CLUSTERS = ["cloud", "edge", "far-edge"];

const service = (namespace: string, release: string, more: JsonObject = {}): JsonObject => ({
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "MLService",
  metadata: { name: "digits", namespace },
  spec: { default: release, releases: [{ name: release }], ...more },
});
const config = (namespace: string, name: string, data: JsonObject): JsonObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace },
  data,
});
const hyper = (namespace: string, workloads: JsonObject[], annotations: JsonObject = {}): JsonObject => ({
  apiVersion: "tensorstack.dev/v1beta1",
  kind: "HyperMLService",
  metadata: { name: "digits", namespace, annotations },
  spec: { workloads },
});
const workload = (clusters: string[], ...manifests: JsonObject[]): JsonObject => ({ clusters, manifests });
const spec = (...workloads: JsonObject[]): JsonObject => ({ spec: { workloads } });

const applied = /^hyper digits FullyApplied=True FullyAppliedSuccess/;
const ready = /^hyper digits Ready=True/;

const hypers = "hypermlservices";
const rollouts = "hyperrollouts";

const delivery: Scenario = {
  name: "delivery",
  steps: [
    {
      say: "each cluster gets what it is given",
      act: (stage) => {
        const { namespace } = stage;
        const secret = {
          apiVersion: "v1",
          kind: "Secret",
          metadata: { name: "key", namespace },
          stringData: { k: "v" },
        };
        return stage.create(
          hyper(
            namespace,
            [
              workload(
                ["cloud"],
                service(namespace, "v1", { replicas: 2 }),
                secret,
                config(namespace, "settings", { a: "1" }),
              ),
              workload(["edge"], service(namespace, "v1", { replicas: 1 })),
            ],
            { "argosy.dev/ingress-weights": "cloud=30,edge=70" },
          ),
        );
      },
      shows: [
        applied,
        ready,
        /^hyper digits 4\/4 in cloud,edge; traffic/,
        /^cloud has mlservices\/digits .*"replicas":2/,
        /^edge has mlservices\/digits .*"replicas":1/,
        /^cloud has secrets\/key /,
        /^head digits cloud .* 30 /,
      ],
    },
    {
      say: "a change reaches the members",
      act: (stage) =>
        stage.change(
          hypers,
          "digits",
          spec(
            workload(["cloud"], service(stage.namespace, "v2"), config(stage.namespace, "settings", { a: "2" })),
            workload(["edge"], service(stage.namespace, "v1")),
          ),
        ),
      shows: [
        applied,
        ready,
        /^cloud has mlservices\/digits .*"default":"v2"/,
        /^cloud has configmaps\/settings .*"2"/,
      ],
    },
    {
      say: "what somebody changes in a member is put back",
      act: (stage) => stage.change("configmaps", "settings", { data: { a: "mine" } }, "cloud"),
      shows: [applied, /^cloud has configmaps\/settings .*"a":"2"/],
    },
    {
      say: "what somebody removes from a member comes back",
      act: (stage) => stage.remove("configmaps", "settings", "cloud"),
      shows: [applied, /^cloud has configmaps\/settings .*"a":"2"/],
    },
    {
      say: "a cluster leaves",
      act: (stage) => stage.change(hypers, "digits", spec(workload(["cloud"], service(stage.namespace, "v2")))),
      shows: [applied, ready, /^hyper digits 1\/1 in cloud;/],
    },
    { say: "it is deleted", act: (stage) => stage.remove(hypers, "digits"), shows: [/^empty$/] },
  ],
};

const conflicts: Scenario = {
  name: "conflicts",
  steps: [
    {
      say: "what a member has of its own is left alone",
      act: async (stage) => {
        const { namespace } = stage;
        const known = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
        await stage.side.members
          .get("cloud")
          ?.json("POST", "/api/v1/namespaces", known)
          .catch(() => undefined);
        await stage.create(config(namespace, "mine", { whose: "the member's" }), "cloud");
        await stage.create(hyper(namespace, [workload(["cloud"], config(namespace, "mine", { whose: "the hub's" }))]));
      },
      shows: [/^hyper digits FullyApplied=False/, /^cloud has configmaps\/mine .*the member's/],
    },
    {
      say: "it is taken over when that is said",
      act: (stage) => {
        const overwrite = { "work.karmada.io/conflict-resolution": "overwrite" };
        const { namespace } = stage;
        const taken = { ...config(namespace, "mine", { whose: "the hub's" }) };
        return stage.change(
          hypers,
          "digits",
          spec(workload(["cloud"], { ...taken, metadata: { name: "mine", namespace, annotations: overwrite } })),
        );
      },
      shows: [applied, /^cloud has configmaps\/mine .*the hub's/],
    },
    {
      say: "nobody can carry out what is refused",
      act: async (stage) => {
        const { namespace } = stage;
        const one = config(namespace, "twice", { a: "1" });
        await stage.create({
          ...hyper(namespace, [workload(["cloud"], one), workload(["cloud", "edge"], one)]),
          metadata: { name: "twice", namespace },
        });
        await stage.create({
          apiVersion: "argosy.dev/v1alpha1",
          kind: "HyperRollout",
          metadata: { name: "wrong", namespace },
          spec: { hyperMLServiceRef: { name: "digits" }, waves: [{ name: "rest", count: 1 }, { name: "none" }] },
        });
      },
      shows: [/^refused: .*is given to cluster cloud already/, /^refused: .*spec\.waves\[1\]/],
    },
  ],
};

const careful = (namespace: string, more: JsonObject = {}): JsonObject => ({
  apiVersion: "argosy.dev/v1alpha1",
  kind: "HyperRollout",
  metadata: { name: "careful", namespace },
  spec: {
    hyperMLServiceRef: { name: "digits" },
    waves: [
      { name: "first", clusters: ["edge"] },
      { name: "second", clusters: ["cloud"], approval: true },
    ],
    bake: "1s",
    ...more,
  },
});
const release = (stage: Stage, name: string): Promise<void> =>
  stage.change(hypers, "digits", spec(workload(CLUSTERS, service(stage.namespace, name))));
const steer = (stage: Stage, how: JsonObject): Promise<void> => stage.change(rollouts, "careful", { spec: how });
/** Name of the revision that is rolled out. */
async function targetOf(stage: Stage): Promise<string> {
  const { target } = asObject((await stage.get(rollouts, "careful"))["status"]);
  return asString(asObject(target)["name"]);
}
const serves = (...releases: string[]): RegExp[] =>
  releases.map((name, index) => new RegExp(`^${CLUSTERS[index]} has mlservices/digits .*"default":"${name}"`));
const begun = (more: JsonObject = {}): Step => ({
  say: "the first revision goes everywhere",
  act: async (stage) => {
    await stage.create(careful(stage.namespace, more));
    await stage.create(hyper(stage.namespace, [workload(CLUSTERS, service(stage.namespace, "v1"))]));
  },
  shows: [applied, ready, /^rollout careful Complete 3\/3 target 1 stable 1/, ...serves("v1", "v1", "v1")],
});

const waves: Scenario = {
  name: "waves",
  steps: [
    begun(),
    {
      say: "the next goes to the first wave and waits for approval",
      act: (stage) => release(stage, "v2"),
      shows: [/^rollout careful Waiting .*target 2 stable 1/, ...serves("v1", "v2", "v1")],
    },
    {
      say: "nothing moves while it is paused",
      act: (stage) => steer(stage, { paused: true }),
      shows: [/^rollout careful Paused/, ...serves("v1", "v2", "v1")],
    },
    {
      say: "promoted, it goes on through all waves",
      act: async (stage) =>
        steer(stage, { paused: false, promoted: { revision: await targetOf(stage), through: "second" } }),
      shows: [/^rollout careful Complete 3\/3 target 2 stable 2/, applied, ...serves("v2", "v2", "v2")],
    },
    {
      say: "aborted, it is taken back",
      act: async (stage) => {
        await release(stage, "v3");
        await stage.seen(/^edge has mlservices\/digits .*"default":"v3"/);
        await steer(stage, { aborted: { revision: await targetOf(stage) } });
      },
      shows: [/^rollout careful RolledBack .*stable 2/, ...serves("v2", "v2", "v2")],
    },
    {
      say: "an earlier revision comes back at once when it is asked for",
      act: async (stage) => {
        await steer(stage, { aborted: null });
        await release(stage, "v2");
      },
      shows: [/^rollout careful Complete 3\/3 .*stable \d/, applied, ...serves("v2", "v2", "v2")],
    },
    {
      say: "without a rollout a change goes everywhere at once",
      act: async (stage) => {
        await stage.remove(rollouts, "careful");
        await release(stage, "v4");
      },
      shows: [applied, ready, ...serves("v4", "v4", "v4")],
    },
  ],
};

const gates: Scenario = {
  name: "gates",
  steps: [
    begun({
      waves: [{ name: "first", clusters: ["edge"] }],
      progressDeadline: "6s",
      maxUnavailable: 1,
      onFailure: "Rollback",
    }),
    {
      say: "a release that does not answer is taken back by itself",
      act: async (stage) => {
        broken.add(`${stage.namespace}/edge/v2`);
        await release(stage, "v2");
      },
      shows: [/^rollout careful RolledBack .*stable 1/, /^rollout careful failure /, ...serves("v1", "v1", "v1")],
    },
    {
      say: "the next one goes through",
      act: (stage) => release(stage, "v3"),
      shows: [/^rollout careful Complete 3\/3 /, applied, ready, ...serves("v3", "v3", "v3")],
    },
  ],
};

const deployment = (namespace: string, replicas: number): JsonObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace, labels: { app: "web" } },
  spec: {
    replicas,
    selector: { matchLabels: { app: "web" } },
    template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image: "registry/web:1" }] } },
  },
});
const weigh = (name: string, weight: number): JsonObject => ({ targetCluster: { clusterNames: [name] }, weight });

const policies: Scenario = {
  name: "policies",
  steps: [
    {
      say: "a Deployment is divided by weights, with another image for the edge",
      act: async (stage) => {
        const { namespace } = stage;
        const resourceSelectors = [{ apiVersion: "apps/v1", kind: "Deployment", name: "web" }];
        await stage.create({
          apiVersion: "policy.karmada.io/v1alpha1",
          kind: "OverridePolicy",
          metadata: { name: "web", namespace },
          spec: {
            resourceSelectors,
            overrideRules: [
              {
                targetCluster: { clusterNames: ["edge"] },
                overriders: { imageOverrider: [{ component: "Tag", operator: "replace", value: "2" }] },
              },
            ],
          },
        });
        await stage.create({
          apiVersion: "policy.karmada.io/v1alpha1",
          kind: "PropagationPolicy",
          metadata: { name: "web", namespace },
          spec: {
            resourceSelectors,
            placement: {
              clusterAffinity: { clusterNames: ["cloud", "edge"] },
              replicaScheduling: {
                replicaSchedulingType: "Divided",
                replicaDivisionPreference: "Weighted",
                weightPreference: { staticWeightList: [weigh("cloud", 2), weigh("edge", 1)] },
              },
            },
          },
        });
        await stage.create(deployment(namespace, 3));
      },
      shows: [
        /^binding web-deployment cloud=2 edge=1$/,
        /^binding web-deployment FullyApplied=True/,
        /^cloud has deployments\/web .*registry\/web:1/,
        /^edge has deployments\/web .*registry\/web:2/,
      ],
    },
    {
      say: "it is scaled",
      act: (stage) => stage.change("deployments", "web", { spec: { replicas: 6 } }),
      shows: [/^binding web-deployment cloud=4 edge=2$/, /^cloud has deployments\/web .*"replicas":4/],
    },
    {
      say: "a policy that cannot be carried out is refused",
      act: (stage) =>
        stage.create({
          apiVersion: "policy.karmada.io/v1alpha1",
          kind: "PropagationPolicy",
          metadata: { name: "wrong", namespace: stage.namespace },
          spec: {
            resourceSelectors: [{ apiVersion: "v1", kind: "ConfigMap" }],
            placement: { spreadConstraints: [{ spreadByField: "cluster", maxGroups: -1 }] },
          },
        }),
      shows: [/^refused: spec\.placement\.spreadConstraints\[0\]/],
    },
    { say: "the template is deleted", act: (stage) => stage.remove("deployments", "web"), shows: [/^empty$/] },
  ],
};

/** All of them. */
export const scenarios: readonly Scenario[] = [delivery, conflicts, waves, gates, policies];

import { defineKind, type KindDefinition, type Resource } from "../../../kernel/kinds/index.js";
import { type Infer, s } from "../../../kernel/schema/index.js";

const duration = () => s.string({ min: 2, max: 32, pattern: "^([0-9]+(ms|s|m|h))+$" });
const count = () => s.intOrString();
const name = () => s.string({ min: 1, max: 63, pattern: "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$" });

const gate = s.object({
  name: name().describe("Name in status and ledger."),
  source: s
    .enum("Gateway", "ModelServer", "Prometheus")
    .describe(
      "Who is asked. Gateway: the head ingress, about the requests that it sent to each cluster of the wave. ModelServer: the model servers there. Prometheus: a server at an address.",
    ),
  metric: s
    .enum("SuccessRate", "P99", "P50")
    .optional()
    .describe(
      "Of Gateway and ModelServer. SuccessRate: answers below 500 of all requests, 0 to 1. P99, P50: milliseconds until the answer, by the histogram's buckets.",
    ),
  prometheus: s
    .object({
      address: s.string({ pattern: "^https?://[^/?#@\\s]+", max: 2048 }).describe("Where /api/v1/query is."),
      query: s
        .string({ min: 1, max: 4096 })
        .describe(
          "PromQL; $cluster, $namespace and $name stand for the cluster, and the HyperMLService. Its value is one number, or a vector of which every number must pass.",
        ),
    })
    .optional()
    .describe("With source Prometheus."),
  min: s.number().optional().describe("What is less has failed."),
  max: s.number().optional().describe("What is more has failed."),
  minRequests: s
    .integer({ min: 0, max: 1_000_000_000 })
    .optional()
    .describe(
      "Requests that must have been seen since the clusters were ready before the value counts. Default 1; not with Prometheus.",
    ),
});

const wave = s.object({
  name: name().describe("Name in status and ledger."),
  clusters: s
    .array(s.string({ min: 1, max: 253 }), { max: 1000 })
    .optional()
    .describe("Clusters by name."),
  selector: s.labelSelector().optional().describe("Clusters by the labels of their Cluster objects."),
  count: count()
    .optional()
    .describe(
      "At most so many of those that no wave before has, by name; 25%: of all clusters, rounded up. With clusters or selector: of those.",
    ),
  bake: duration().optional().describe("How long the wave is watched when it is ready. Default: spec.bake."),
  approval: s.boolean().optional().describe("It begins only when it is promoted (spec.promoted)."),
});

const rolloutSpec = s.object({
  hyperMLServiceRef: s
    .object({ name: s.string({ min: 1 }).describe("A HyperMLService of the same namespace.") })
    .describe("What is rolled out."),
  waves: s
    .array(wave, { max: 64 })
    .optional()
    .describe("Which clusters come when. Clusters that no wave has come last, together. Default: all together."),
  steps: s
    .array(
      s.object({
        canaryPercent: s
          .integer({ min: 1, max: 99 })
          .optional()
          .describe("Share of a cluster's requests that its new release gets. Either this or shadowPercent."),
        shadowPercent: s
          .integer({ min: 1, max: 100 })
          .optional()
          .describe(
            "Share of a cluster's requests of which its new release gets copies; it answers nobody, and gates look at the copies.",
          ),
        bake: duration().optional().describe("How long the step is watched. Default: spec.bake."),
      }),
      { max: 16 },
    )
    .optional()
    .describe(
      "Inside the clusters of each wave: the new default release of their MLServices first runs beside the old one, and gets copies of requests, or is its canary, with these shares. Where the release keeps its name there is no such step.",
    ),
  maxUnavailable: count()
    .optional()
    .describe(
      "How many clusters may be without a ready service, or be changed, at once; 25%: of all, rounded down, at least 1. Default 1.",
    ),
  bake: duration().optional().describe("How long a wave or step is watched when it is ready. Default 30s."),
  progressDeadline: duration()
    .optional()
    .describe(
      "How long a cluster may take to be ready, and a gate to see enough requests after the bake. Default 10m.",
    ),
  gates: s.array(gate, { max: 32 }).optional().describe("What must hold while a wave or step is watched."),
  onFailure: s
    .enum("Rollback", "Pause")
    .optional()
    .describe("What a failed gate or a missed deadline leads to. Default Rollback."),
  paused: s
    .boolean()
    .optional()
    .describe("Nothing is begun, nothing goes on, and nothing is taken back but what is aborted."),
  promoted: s
    .object({
      revision: s.string({ min: 1 }).describe("Name of the revision; of any other this says nothing."),
      number: s
        .integer()
        .optional()
        .describe("Its number: when its content comes back later, with another, this says nothing of it. Absent: any."),
      through: s.string({ min: 1 }).describe("Name of the last wave that it is meant for; *: all."),
    })
    .optional()
    .describe("Approves waves of a revision: they are begun, and go on when they are ready, without bake and gates."),
  aborted: s
    .object({
      revision: s.string({ min: 1 }).describe("Name of the revision."),
      number: s.integer().optional().describe("Its number, as with promoted."),
    })
    .optional()
    .describe("A revision that is not to be rolled out: it is taken back."),
  revisionHistoryLimit: s
    .integer({ min: 0, max: 1000 })
    .optional()
    .describe("How many revisions are kept that no cluster has. Default 10."),
});

const revisionOf = () =>
  s.object({
    name: s.string().describe("Name of the ControllerRevision."),
    number: s.integer().describe("Its number."),
  });

const rolloutStatus = s.object({
  observedGeneration: s
    .integer()
    .optional()
    .describe("metadata.generation of the object that this status was computed from."),
  phase: s
    .enum("Waiting", "Progressing", "Baking", "Paused", "Complete", "RollingBack", "RolledBack", "Failed")
    .optional()
    .describe("Where it stands."),
  message: s.string().optional().describe("The same for people."),
  stable: revisionOf().optional().describe("The last revision that every wave took; rollbacks lead there."),
  target: revisionOf().optional().describe("The revision that is rolled out, or was last."),
  wave: s
    .object({
      index: s.integer().describe("From 0."),
      name: s.string().describe("Its name."),
      count: s.integer().describe("How many waves there are."),
      step: s.integer().describe("Step inside the clusters, from 0; the last is the revision as it is."),
      steps: s.integer().describe("How many steps there are before the last."),
      readySince: s.dateTime().optional().describe("Since when all its clusters are ready: its bake began then."),
    })
    .optional()
    .describe("The wave that is on."),
  awaits: s.string().optional().describe("Name of the wave that begins when it is promoted."),
  failure: s
    .object({
      revision: s.string().describe("Name of the revision that failed or was aborted."),
      reason: s.string().describe("Why, as one word."),
      message: s.string().describe("The same for people."),
      time: s.dateTime().describe("When."),
    })
    .optional()
    .describe("Why the target is taken back, or waits."),
  clusters: s
    .array(
      s.object({
        cluster: s.string().describe("The member cluster."),
        wave: s.string().describe("Name of its wave."),
        revision: s.string().describe("Name of the revision that it is given."),
        number: s.integer().describe("Its number."),
        from: s
          .string()
          .optional()
          .describe("During a step: name of the revision whose releases have the rest of the requests."),
        canaryPercent: s.integer().optional().describe("During a step: share of the new release."),
        shadowPercent: s
          .integer()
          .optional()
          .describe("During a step in shadow: share of the requests of which the new release gets copies."),
        since: s.dateTime().describe("When it was given that."),
        state: s
          .enum("Waiting", "Updating", "Ready", "Unreachable", "NotReady")
          .describe("How it is with what it is given; Waiting: its wave is still to come."),
        message: s.string().optional().describe("Why it is not ready."),
      }),
    )
    .optional()
    .describe("What each cluster is given. The HyperMLService's controller carries this out."),
  gates: s
    .array(
      s.object({
        name: s.string().describe("Name of the gate."),
        cluster: s.string().describe("The cluster that it was asked about."),
        verdict: s.enum("Passed", "Failed", "Waiting").describe("Waiting: not enough was seen."),
        value: s.number().optional().describe("What was seen."),
        message: s.string().describe("The same for people."),
      }),
    )
    .optional()
    .describe("What the gates said last about the wave that is on."),
  summary: s.string().optional().describe("Clusters that are ready with the target, of all."),
  conditions: s
    .conditions()
    .optional()
    .describe(
      "Progressing: the target is on its way. Complete: every cluster has it. Healthy: no gate failed, no deadline was missed. WavesMatched: every wave has clusters, and those that it names are the HyperMLService's.",
    ),
});

export type HyperRolloutSpec = Infer<typeof rolloutSpec>;
export type HyperRolloutStatus = Infer<typeof rolloutStatus>;
export type HyperRollout = Resource<HyperRolloutSpec, HyperRolloutStatus>;
/** One entry of `spec.waves`. */
export type WaveSpec = NonNullable<HyperRolloutSpec["waves"]>[number];
/** One entry of `spec.gates`. */
export type GateSpec = NonNullable<HyperRolloutSpec["gates"]>[number];
/** One entry of `status.gates`. */
export type GateReport = NonNullable<HyperRolloutStatus["gates"]>[number];
/** One entry of `status.clusters`. */
export type ClusterAssignment = NonNullable<HyperRolloutStatus["clusters"]>[number];

/** How revisions of a HyperMLService reach its clusters: in waves, watched, and back again when they fail. */
export const HyperRolloutKind: KindDefinition<HyperRollout> = defineKind<HyperRolloutSpec, HyperRolloutStatus>({
  group: "argosy.dev",
  version: "v1alpha1",
  kind: "HyperRollout",
  shortNames: ["hro"],
  categories: ["argosy"],
  description:
    "How revisions of a HyperMLService reach its clusters: in waves, watched by gates, and back again when one fails.",
  spec: rolloutSpec,
  status: rolloutStatus.optional(),
  printerColumns: [
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Target", type: "integer", jsonPath: ".status.target.number" },
    { name: "Stable", type: "integer", jsonPath: ".status.stable.number" },
    { name: "Wave", type: "string", jsonPath: ".status.wave.name" },
    { name: "Clusters", type: "string", jsonPath: ".status.summary" },
    { name: "Message", type: "string", jsonPath: ".status.message", priority: 1 },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

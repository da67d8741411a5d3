/** Service, Configuration, Revision and Route (`serving.knative.dev/v1`). */
import type { Resource } from "../../../kernel/kinds/index.js";
import { defineKind } from "../../../kernel/kinds/index.js";
import type { Infer } from "../../../kernel/schema/index.js";
import { s } from "../../../kernel/schema/index.js";

const GROUP = "serving.knative.dev";
const DNS_1035 = "^[a-z]([-a-z0-9]*[a-z0-9])?$";

const template = s
  .object({
    metadata: s
      .object({
        name: s
          .string({ min: 1, max: 63 })
          .optional()
          .describe("Name of the Revision; must begin with the Service's and a dash."),
        labels: s.map(s.string()).optional().describe("Labels of the Revision and its pods."),
        annotations: s
          .map(s.string())
          .optional()
          .describe("Annotations of the Revision and its pods; autoscaling.knative.dev/* say how it is scaled."),
      })
      .optional()
      .describe("Of the Revision."),
    spec: s
      .preserveUnknown()
      .describe(
        "A PodSpec with containerConcurrency, timeoutSeconds, responseStartTimeoutSeconds and idleTimeoutSeconds beside its fields.",
      ),
  })
  .describe("What the next Revision is made of; each change makes one.");

const target = s.object({
  configurationName: s.string().optional().describe("The latest ready Revision of this Configuration; in Routes only."),
  revisionName: s.string().optional().describe("This Revision."),
  latestRevision: s.boolean().optional().describe("The latest ready Revision; default where no Revision is named."),
  percent: s.integer({ min: 0, max: 100 }).optional().describe("Share of the requests; all together are 100."),
  tag: s.string({ max: 63, pattern: DNS_1035 }).optional().describe("Gives it an address of its own, TAG-ROUTE."),
  url: s.string().optional().describe("That address, in statuses."),
});

const traffic = s.array(target, { max: 100 }).describe("Who gets which share of the requests.");

const seen = {
  observedGeneration: s.integer().optional().describe("metadata.generation that this status was computed from."),
  conditions: s.conditions().optional().describe("Ready and what it is made of."),
  annotations: s.map(s.string()).optional().describe("Further facts."),
};
const names = {
  latestCreatedRevisionName: s.string().optional().describe("The Revision of the present template."),
  latestReadyRevisionName: s.string().optional().describe("The newest Revision that has answered."),
};
const place = {
  url: s.string().optional().describe("Where it answers."),
  address: s
    .object({ url: s.string().optional().describe("Where it answers.") })
    .optional()
    .describe("Where it answers, as addressable resources say it."),
  traffic: s.array(target).optional().describe("Who gets which share now."),
};

const serviceSpec = s.object({ template, traffic: traffic.optional() });
const configurationSpec = s.object({ template });
const routeSpec = s.object({ traffic: traffic.optional() });

const READY = '.status.conditions[?(@.type=="Ready")].status';
const REASON = '.status.conditions[?(@.type=="Ready")].reason';
const readiness = [
  { name: "Ready", type: "string", jsonPath: READY },
  { name: "Reason", type: "string", jsonPath: REASON },
] as const;

/** One share of the requests. */
export type TrafficTarget = Infer<typeof target>;
/** What a Revision is made of. */
export type RevisionTemplate = Infer<typeof template>;

/** A container behind an address, with all its Revisions. */
export type KnativeService = Resource<Infer<typeof serviceSpec>, Infer<typeof serviceStatus>>;
const serviceStatus = s.object({ ...seen, ...names, ...place });
export const KnativeServiceKind = defineKind({
  group: GROUP,
  version: "v1",
  kind: "Service",
  shortNames: ["kservice", "ksvc"],
  categories: ["all", "knative", "serving"],
  description: "A container behind an address, scaled by its requests: each change of its template is a Revision.",
  spec: serviceSpec,
  status: serviceStatus.optional(),
  printerColumns: [
    { name: "URL", type: "string", jsonPath: ".status.url" },
    { name: "LatestCreated", type: "string", jsonPath: ".status.latestCreatedRevisionName" },
    { name: "LatestReady", type: "string", jsonPath: ".status.latestReadyRevisionName" },
    ...readiness,
  ],
});

/** The template of Revisions. */
export type Configuration = Resource<Infer<typeof configurationSpec>, Infer<typeof configurationStatus>>;
const configurationStatus = s.object({ ...seen, ...names });
export const ConfigurationKind = defineKind({
  group: GROUP,
  version: "v1",
  kind: "Configuration",
  shortNames: ["config", "cfg"],
  categories: ["all", "knative", "serving"],
  description: "The template of Revisions: each change of it makes one.",
  spec: configurationSpec,
  status: configurationStatus.optional(),
  printerColumns: [
    { name: "LatestCreated", type: "string", jsonPath: ".status.latestCreatedRevisionName" },
    { name: "LatestReady", type: "string", jsonPath: ".status.latestReadyRevisionName" },
    ...readiness,
  ],
});

/** One state of a template, for good. */
export type Revision = Resource<Infer<typeof revisionSpec>, Infer<typeof revisionStatus>>;
const revisionSpec = s.preserveUnknown();
const revisionStatus = s.object({
  ...seen,
  actualReplicas: s.integer().optional().describe("How many pods are ready."),
  desiredReplicas: s.integer().optional().describe("How many the autoscaler wants."),
});
export const RevisionKind = defineKind({
  group: GROUP,
  version: "v1",
  kind: "Revision",
  shortNames: ["rev"],
  categories: ["all", "knative", "serving"],
  description: "One state of a template; it never changes.",
  spec: revisionSpec.describe("A PodSpec with containerConcurrency and timeouts, as in the template."),
  status: revisionStatus.optional(),
  printerColumns: [
    { name: "Config Name", type: "string", jsonPath: ".metadata.labels['serving\\.knative\\.dev/configuration']" },
    {
      name: "Generation",
      type: "string",
      jsonPath: ".metadata.labels['serving\\.knative\\.dev/configurationGeneration']",
    },
    ...readiness,
    { name: "Actual Replicas", type: "integer", jsonPath: ".status.actualReplicas" },
    { name: "Desired Replicas", type: "integer", jsonPath: ".status.desiredReplicas" },
  ],
});

/** An address and who answers there. */
export type Route = Resource<Infer<typeof routeSpec>, Infer<typeof routeStatus>>;
const routeStatus = s.object({ ...seen, ...place });
export const RouteKind = defineKind({
  group: GROUP,
  version: "v1",
  kind: "Route",
  shortNames: ["rt"],
  categories: ["all", "knative", "serving"],
  description: "An address, and which Revisions answer there with which shares.",
  spec: routeSpec,
  status: routeStatus.optional(),
  printerColumns: [{ name: "URL", type: "string", jsonPath: ".status.url" }, ...readiness],
});

/** All four. */
export const KNATIVE_KINDS = [KnativeServiceKind, ConfigurationKind, RevisionKind, RouteKind] as const;

/** Labels that Knative puts on what it makes. */
export const KNATIVE_LABELS = {
  service: "serving.knative.dev/service",
  configuration: "serving.knative.dev/configuration",
  configurationGeneration: "serving.knative.dev/configurationGeneration",
  revision: "serving.knative.dev/revision",
  route: "serving.knative.dev/route",
  /** `cluster-local`: of a Service or Route that has no address outside of the cluster. */
  visibility: "networking.knative.dev/visibility",
} as const;

/** Annotations with a meaning here. */
export const KNATIVE_ANNOTATIONS = {
  rolloutDuration: "serving.knative.dev/rollout-duration",
  noGc: "serving.knative.dev/no-gc",
  /** Of a Revision: when it was last given a share. RFC 3339. */
  lastRouted: "serving.argosy.dev/last-routed",
  /** Of a Route: how far a gradual rollout has come. JSON. */
  rollout: "serving.argosy.dev/rollout",
} as const;

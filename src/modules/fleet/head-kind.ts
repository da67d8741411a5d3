import { defineKind, type KindDefinition, type Resource } from "../../kernel/kinds/index.js";
import { type Infer, s } from "../../kernel/schema/index.js";

const observedGeneration = () =>
  s.integer().optional().describe("metadata.generation of the object that this status was computed from.");

const weight = (): ReturnType<typeof s.integer> => s.integer({ min: 0, max: 1_000_000 });

const headSpec = s.object({
  listener: s.string().optional().describe("Listener of the gateway; default: the head listener."),
  hosts: s
    .array(s.string({ min: 1, max: 253, pattern: "^(\\*|(\\*\\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)$" }), {
      max: 64,
    })
    .optional()
    .describe("Host names; default: all."),
  path: s
    .string({ pattern: "^/[!-~]*$", max: 1024 })
    .optional()
    .describe("Prefix of the public path; default /t9k/hypermlservices/namespaces/NAMESPACE/NAME/."),
  rewrite: s.string({ pattern: "^/[!-~]*$", max: 1024 }).optional().describe("What the prefix becomes; default /."),
  hyperMLServiceRef: s
    .object({
      name: s.string({ min: 1 }).describe("A HyperMLService of the same namespace."),
      service: s.string().optional().describe("Name of the MLService; default: the only one of each cluster."),
    })
    .optional()
    .describe("Backends are the addresses that the MLServices of this HyperMLService report."),
  weights: s
    .map(weight())
    .optional()
    .describe(
      "Weight by cluster; a cluster that is not named has its Cluster's default weight (annotation argosy.dev/ingress-weight), or 1.",
    ),
  backends: s
    .array(
      s.object({
        name: s.string({ min: 1, max: 253 }).describe("Name in status, in weights and in answers' headers."),
        url: s.string({ pattern: "^https?://[^/]+", max: 2048 }).describe("Scheme, host and port."),
        host: s.string().optional().describe("Host header; default: the host of the URL."),
        address: s.string().optional().describe("host:port to connect to instead of the URL's."),
        weight: weight().optional().describe("Default 1."),
      }),
      { max: 256 },
    )
    .optional()
    .describe("Backends by hand, beside or instead of hyperMLServiceRef."),
  health: s
    .object({
      path: s
        .string({ pattern: "^/" })
        .optional()
        .describe("Asked twice a second; any answer below 500 is alive. Default /v2/health/ready."),
      intervalMs: s
        .integer({ min: 50, max: 600_000 })
        .optional()
        .describe("Milliseconds between two questions. Default 500."),
      timeoutMs: s
        .integer({ min: 10, max: 600_000 })
        .optional()
        .describe("Milliseconds until a question without an answer has failed. Default 500."),
    })
    .optional()
    .describe("How the gateway learns whether a backend is alive."),
  timeouts: s
    .object({
      connectMs: s
        .integer({ min: 1, max: 86_400_000 })
        .optional()
        .describe("Milliseconds until a connection to a backend stands. Default 1000."),
      responseMs: s
        .integer({ min: 1, max: 86_400_000 })
        .optional()
        .describe("Milliseconds until the answer begins. Default 60000."),
      idleMs: s
        .integer({ min: 1, max: 86_400_000 })
        .optional()
        .describe("Milliseconds without a byte in either direction. Default 300000."),
    })
    .optional()
    .describe("How long the gateway waits for a backend."),
  retry: s
    .object({
      attempts: s
        .integer({ min: 0, max: 10 })
        .optional()
        .describe("How often a request is sent once more, to another backend if there is one. Default 2."),
      nonIdempotent: s
        .boolean()
        .optional()
        .describe(
          "Repeat also POST when a connection broke before any answer. Default: true with hyperMLServiceRef, because predictions change nothing; else false.",
        ),
    })
    .optional()
    .describe("What happens to a request that got no answer."),
});

const headStatus = s.object({
  observedGeneration: observedGeneration(),
  address: s.string().optional().describe("Where clients send requests."),
  backends: s
    .array(
      s.object({
        name: s.string().describe("Name of the backend."),
        cluster: s.string().optional().describe("Its cluster; absent for backends by hand."),
        url: s.string().describe("Scheme, host and port that requests are sent to."),
        address: s.string().optional().describe("host:port that is connected to, where it is not the URL's."),
        weight: s.integer().describe("Asked for."),
        weightEffective: s.integer().describe("In force now."),
        percent: s.number().describe("Share of new requests now."),
        reason: s.string().optional().describe("Why the two weights differ, as one word."),
        message: s.string().optional().describe("The same for people."),
        requests: s.integer().describe("Since the gateway began."),
        failures: s.integer().describe("Attempts that got no answer, or one that broke off."),
      }),
    )
    .optional()
    .describe("Each backend as the gateway has it."),
  summary: s.string().optional().describe("Effective percentages by backend."),
  conditions: s
    .conditions()
    .optional()
    .describe(
      "Programmed: the gateway carries the route. Ready: requests have somewhere to go. WeightsEffective: every backend has the weight asked for.",
    ),
});

export type HeadIngressSpec = Infer<typeof headSpec>;
export type HeadIngressStatus = Infer<typeof headStatus>;
export type HeadIngress = Resource<HeadIngressSpec, HeadIngressStatus>;
/** One entry of a HeadIngress' `status.backends`. */
export type HeadBackendStatus = NonNullable<HeadIngressStatus["backends"]>[number];

/** One public address in front of several clusters. */
export const HeadIngressKind: KindDefinition<HeadIngress> = defineKind<HeadIngressSpec, HeadIngressStatus>({
  group: "argosy.dev",
  version: "v1alpha1",
  kind: "HeadIngress",
  plural: "headingresses",
  shortNames: ["hi"],
  categories: ["argosy"],
  description:
    "Splits the requests to one public path by weight over the clusters of a HyperMLService, or over given addresses.",
  spec: headSpec,
  status: headStatus.optional(),
  printerColumns: [
    { name: "Address", type: "string", jsonPath: ".status.address" },
    { name: "Weights", type: "string", jsonPath: ".status.summary" },
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: "Message", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].message', priority: 1 },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

import { defineKind, type KindDefinition, type Resource } from "../../kernel/kinds/index.js";
import { type Infer, s } from "../../kernel/schema/index.js";
import { shadowSpec, shadowStatus } from "./head-shadow-kind.js";

const observedGeneration = () =>
  s.integer().optional().describe("metadata.generation of the object that this status was computed from.");

const weight = (): ReturnType<typeof s.integer> => s.integer({ min: 0, max: 1_000_000 });

const milliseconds = (): ReturnType<typeof s.integer> => s.integer({ min: 1, max: 86_400_000 });

const tokenName = (): ReturnType<typeof s.string> => s.string({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$" });

const weighting = s.object({
  by: s
    .enum("Fixed", "ReadyReplicas", "FreeCapacity", "Latency")
    .optional()
    .describe(
      "What a weight is multiplied by: 1 (Fixed, default); the ready replicas of the model; what the cluster has free of a resource; how quickly it answers.",
    ),
  resource: s.string({ min: 1, max: 253 }).optional().describe("For FreeCapacity: the resource. Default cpu."),
  minPercent: s
    .integer({ min: 0, max: 100 })
    .optional()
    .describe(
      "A backend that is in use counts at least as much as this share of the best one, in percent. Default 10.",
    ),
});

const affinity = s.object({
  header: tokenName().optional().describe("Requests with the same value of this header go to the same backend."),
  cookie: s
    .object({
      name: tokenName().describe("Name of the cookie."),
      ttlSeconds: s
        .integer({ min: 0, max: 31_536_000 })
        .optional()
        .describe("How long the client keeps it; 0 (default): until it ends."),
    })
    .optional()
    .describe("The gateway gives clients a cookie that names their backend."),
});

const policies = {
  weighting: weighting.optional().describe("What weights follow while nobody edits them."),
  priorities: s
    .map(s.integer({ min: 0, max: 1000 }))
    .optional()
    .describe("Failover order by cluster: requests go to the lowest number that has a backend in use. Default 0."),
  affinity: affinity.optional().describe("Keeps clients where they are: by a header or by a cookie."),
  shadows: s
    .array(shadowSpec, { max: 16 })
    .optional()
    .describe(
      "Who gets copies of a share of the requests. Clients never see their answers, never wait for them, and no weight or gate counts them.",
    ),
  hedge: s
    .object({
      afterMs: milliseconds().describe("Milliseconds without an answer until a second backend is asked as well."),
      maxPercent: s
        .number({ min: 0, max: 100 })
        .optional()
        .describe("Share of requests that may be sent twice. Default 10."),
    })
    .optional()
    .describe("Asks a second backend when the first one is slow; only for requests that may be sent twice."),
  outlierEjection: s
    .object({
      consecutiveErrors: s
        .integer({ min: 1, max: 1_000_000 })
        .optional()
        .describe("Answers of 500 and above in a row. Default 5."),
      baseEjectionMs: milliseconds()
        .optional()
        .describe("How long it is out of use at first; each time again as much longer. Default 30000."),
      maxEjectedPercent: s
        .number({ min: 0, max: 100 })
        .optional()
        .describe("Share of the backends that may be out at a time; the last one always stays. Default 50."),
    })
    .optional()
    .describe("Takes a backend that answers badly out of use for a while."),
  slowStartMs: s
    .integer({ min: 0, max: 86_400_000 })
    .optional()
    .describe("A backend that is new or back gets its full share only after this long. Default 0."),
  protocol: s
    .enum("HTTP", "GRPC")
    .optional()
    .describe("GRPC: backends are spoken to in HTTP/2, and clients must speak it. Default HTTP: HTTP/1.1 to backends."),
  tls: s
    .object({
      secretName: s
        .string({ min: 1, max: 253 })
        .describe("Secret of type kubernetes.io/tls in the same namespace: certificate and key for spec.hosts."),
    })
    .optional()
    .describe("Clients must come over TLS."),
  backendTLS: s
    .object({
      serverName: s
        .string({ min: 1, max: 253 })
        .optional()
        .describe("Name in the backends' certificates; default: their host."),
      caSecretName: s
        .string({ min: 1, max: 253 })
        .optional()
        .describe("Secret with ca.crt: who may have signed them. Default: the usual authorities."),
      clientSecretName: s
        .string({ min: 1, max: 253 })
        .optional()
        .describe("Secret of type kubernetes.io/tls: the gateway's own certificate towards backends."),
      insecureSkipVerify: s.boolean().optional().describe("Takes any certificate. Default false."),
    })
    .optional()
    .describe("TLS towards backends whose URL is https."),
};

const rendering = {
  class: s
    .enum("auto", "builtin", "nginx", "haproxy", "istio", "gateway-api")
    .optional()
    .describe(
      "Who carries it out: the built-in gateway, or a program for which it is rendered. auto (default): the built-in gateway, and rendered for haproxy too once the load was high.",
    ),
  ingressCluster: s
    .string({ min: 1, max: 253 })
    .optional()
    .describe("Cluster in which what is rendered is applied; default: the hub."),
  rendering: s
    .object({
      configMap: s
        .string({ min: 1, max: 253 })
        .optional()
        .describe(
          "nginx, haproxy: ConfigMap for the configuration; HeadIngresses of a namespace that name the same one share it. Default argosy-CLASS.",
        ),
      listen: s
        .string({ pattern: "^([0-9.]+|\\*|\\[[0-9a-fA-F:]+\\]):[0-9]{1,5}$" })
        .optional()
        .describe("nginx, haproxy: where it listens. Default *:8080; with tls *:8443."),
      report: s
        .object({
          listen: s
            .string({ pattern: "^([0-9.]+|\\*|\\[[0-9a-fA-F:]+\\]):[0-9]{1,5}$" })
            .describe("Where the program listens for who asks how it is; open to nobody else."),
          url: s.string({ pattern: "^https?://[^/?#@\\s]+", max: 2048 }).describe("Where the hub asks there."),
        })
        .optional()
        .describe(
          "nginx, haproxy: the configuration opens a report of the program, and the hub reads it. haproxy's tells of each backend, nginx' only sums.",
        ),
      gateways: s
        .array(s.string({ min: 1, max: 253 }), { max: 16 })
        .optional()
        .describe("istio: the VirtualService's gateways. Default t9k-system/t9k."),
      parentRefs: s
        .array(
          s.object({
            name: s.string({ min: 1, max: 253 }).describe("Name of the Gateway."),
            namespace: s
              .string({ min: 1, max: 63 })
              .optional()
              .describe("Its namespace; default: that of the HeadIngress."),
            sectionName: s.string({ min: 1, max: 253 }).optional().describe("One of its listeners."),
          }),
          { max: 16 },
        )
        .optional()
        .describe("gateway-api: the HTTPRoute's Gateways."),
    })
    .optional()
    .describe("Details of what is rendered."),
};

const headSpec = s.object({
  ...rendering,
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
        priority: s
          .integer({ min: 0, max: 1000 })
          .optional()
          .describe("Failover order: requests go to the lowest number that has a backend in use. Default 0."),
        drain: s
          .boolean()
          .optional()
          .describe("It gets no new clients; those whose cookie names it stay. Default false."),
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
      streamIdleMs: milliseconds()
        .optional()
        .describe("The same for WebSockets, server-sent events and gRPC. Default: idleMs."),
      requestMs: milliseconds()
        .optional()
        .describe("Milliseconds for the whole request, retries included; streams are exempt. Default: no limit."),
    })
    .optional()
    .describe("How long the gateway waits for a backend."),
  retry: s
    .object({
      attempts: s
        .integer({ min: 0, max: 10 })
        .optional()
        .describe("How often a request is sent once more, to another backend if there is one. Default 2."),
      statuses: s
        .array(s.integer({ min: 400, max: 599 }), { max: 64 })
        .optional()
        .describe("Answers with these statuses are no answers: the request is repeated elsewhere if it may be."),
      nonIdempotent: s
        .boolean()
        .optional()
        .describe(
          "Repeat also POST when a connection broke before any answer. Default: true with hyperMLServiceRef, because predictions change nothing; else false.",
        ),
    })
    .optional()
    .describe("What happens to a request that got no answer."),
  ...policies,
});

const headStatus = s.object({
  observedGeneration: observedGeneration(),
  address: s.string().optional().describe("Where clients send requests."),
  inEffect: s
    .object({
      generation: s
        .integer()
        .describe("Of the spec that is carried; another one than observedGeneration where the present spec cannot be."),
      spec: s.preserveUnknown().describe("That spec. It stays in effect while a later one cannot be carried."),
    })
    .optional()
    .describe("What requests are carried by."),
  backends: s
    .array(
      s.object({
        name: s.string().describe("Name of the backend."),
        cluster: s.string().optional().describe("Its cluster; absent for backends by hand."),
        url: s.string().describe("Scheme, host and port that requests are sent to."),
        address: s.string().optional().describe("host:port that is connected to, where it is not the URL's."),
        weight: s.integer().describe("Asked for."),
        weightEffective: s.number().describe("In force now."),
        percent: s.number().describe("Share of new requests now."),
        reason: s.string().optional().describe("Why the two weights differ, as one word."),
        message: s.string().optional().describe("The same for people."),
        requests: s.integer().describe("Since the gateway began."),
        failures: s.integer().describe("Attempts that got no answer, or one that broke off."),
      }),
    )
    .optional()
    .describe("Each backend as the gateway has it."),
  shadows: s
    .array(shadowStatus)
    .optional()
    .describe("Each shadow: those of the spec, then those that a rollout makes."),
  rendered: s
    .object({
      class: s.string().describe("For whom."),
      cluster: s.string().optional().describe("Where; absent: in the hub."),
      objects: s
        .array(
          s.object({
            apiVersion: s.string().describe("Group and version."),
            kind: s.string().describe("Its kind."),
            namespace: s.string().describe("Its namespace."),
            name: s.string().describe("Its name."),
          }),
        )
        .describe("What is there for this HeadIngress."),
    })
    .optional()
    .describe("What was applied in the ingress cluster."),
  requestsPerSecond: s
    .number()
    .optional()
    .describe("Measured by the built-in gateway over the last half minute, or told by haproxy."),
  summary: s.string().optional().describe("Effective percentages by backend."),
  conditions: s
    .conditions()
    .optional()
    .describe(
      "Programmed: the gateway carries the route. Ready: requests have somewhere to go. WeightsEffective: every backend has the weight asked for. FieldsHonoured: each field that is set is made true; else the message says which are not, and why. Rendered: what was rendered is in the ingress cluster. Observed: what the program that it was rendered for tells of its backends and load, and what it does not. HighTraffic: the load is so high that haproxy carries it cheaper.",
    ),
});

export type HeadIngressSpec = Infer<typeof headSpec>;
export type HeadIngressStatus = Infer<typeof headStatus>;
export type HeadIngress = Resource<HeadIngressSpec, HeadIngressStatus>;
/** One entry of a HeadIngress' `status.backends`. */
export type HeadBackendStatus = NonNullable<HeadIngressStatus["backends"]>[number];

/** One entry of a HeadIngress' `status.shadows`. */
export type HeadShadowStatus = NonNullable<HeadIngressStatus["shadows"]>[number];

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

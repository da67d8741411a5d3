/** InferenceGraph (serving.kserve.io/v1alpha1). */
import { OPERATORS } from "../../../dataplane/graph/index.js";
import type { Resource } from "../../../kernel/kinds/index.js";
import type { Infer } from "../../../kernel/schema/index.js";
import { s } from "../../../kernel/schema/index.js";
import { defineLazily } from "./kind.js";
import { native } from "./pod-fields.js";

const seconds = (what: string) => s.integer().optional().describe(`Seconds ${what}.`);

const when = () =>
  s.object({
    path: s.string().describe("A GJSON path, as in `condition`."),
    operator: s
      .string()
      .optional()
      .describe(`How what it leads to is compared: ${OPERATORS.join(", ")}; Exists unless told.`),
    value: s.any().optional().describe("What it is compared with; of the same type, or it does not hold."),
  });

const retry = () =>
  s.object({
    attempts: s.integer().optional().describe("Tries after the first, 1 to 10; 1 unless told."),
    backoffMs: s.integer().optional().describe("Milliseconds before the second try, doubled for each further one; 25."),
    onStatus: s
      .array(s.integer())
      .optional()
      .describe("Which answers are worth another try beside none; 429, 502, 503 and 504 unless told."),
  });

const spec = () =>
  s.object({
    nodes: s
      .map(
        s.object({
          routerType: s.enum("Sequence", "Splitter", "Ensemble", "Switch").describe("How its steps are gone through."),
          steps: s
            .array(
              s.object({
                name: s.string().optional().describe("Name of the step, unique in its node."),
                nodeName: s.string().optional().describe("Another node of this graph."),
                serviceName: s.string().optional().describe("An InferenceService of this namespace."),
                serviceUrl: s.string().optional().describe("Any address."),
                data: s.string().optional().describe("`$request` or `$response`: what it is sent."),
                weight: s.integer().optional().describe("Splitter: percent of the requests."),
                condition: s
                  .string()
                  .optional()
                  .describe("A path that must lead to something for the step to be taken."),
                dependency: s.enum("Soft", "Hard").optional().describe("Hard: the graph fails with the step."),
                mapPredictionsToInstances: s
                  .boolean()
                  .optional()
                  .describe("What was `predictions` goes on as `instances`."),
                when: when().optional().describe("A comparison that must hold for the step to be taken. Argosy's own."),
                timeoutMs: s
                  .integer()
                  .optional()
                  .describe("Milliseconds for each try of the step; of a stream, to its head. Argosy's own."),
                retry: retry().optional().describe("Whether the step is asked again. Argosy's own."),
              }),
            )
            .optional()
            .describe("Where requests go."),
        }),
      )
      .describe("The nodes by name; `root` is entered first."),
    resources: native("core.v1.ResourceRequirements").optional().describe("Of the router's pods."),
    affinity: native("core.v1.Affinity").optional().describe("Of the router's pods."),
    tolerations: s.array(native("core.v1.Toleration")).optional().describe("Of the router's pods."),
    nodeSelector: s.map(s.string()).optional().describe("Of the router's pods."),
    nodeName: s.string().optional().describe("Of the router's pods."),
    serviceAccountName: s.string().optional().describe("Of the router's pods."),
    timeout: seconds("for a whole request"),
    routerTimeouts: s
      .object({
        serverRead: seconds("to read a request"),
        serverWrite: seconds("to write an answer"),
        serverIdle: seconds("that an unused connection is kept"),
        serviceClient: seconds("for one step"),
      })
      .optional()
      .describe("Limits of the router."),
    minReplicas: s.integer().optional().describe("Fewest router pods."),
    maxReplicas: s.integer().optional().describe("Most router pods."),
    scaleTarget: s.integer().optional().describe("What one pod should bear of scaleMetric."),
    scaleMetric: s.enum("cpu", "memory", "concurrency", "rps").optional().describe("What the number of pods follows."),
  });

const status = () =>
  s.object({
    observedGeneration: s.integer().optional().describe("The generation that this status was computed from."),
    annotations: s.map(s.string()).optional().describe("Not used here."),
    conditions: s.conditions().optional().describe("What holds of it."),
    url: s.string().optional().describe("Where the graph answers."),
    deploymentMode: s.string().optional().describe("How it was deployed."),
  });

/** What an InferenceGraph asks for. */
export type InferenceGraphSpec = Infer<ReturnType<typeof spec>>;
/** What is seen of it. */
export type InferenceGraphStatus = Infer<ReturnType<typeof status>>;
/** Several models behind one address. */
export type InferenceGraph = Resource<InferenceGraphSpec, InferenceGraphStatus>;

/** InferenceGraph. */
export const InferenceGraphKind = defineLazily<InferenceGraphSpec, InferenceGraphStatus>({
  version: "v1alpha1",
  kind: "InferenceGraph",
  shortNames: ["ig"],
  description: "Several models behind one address: in sequence, split, together, or by condition.",
  hasStatus: true,
  shape: () => ({ spec: spec(), status: status().optional() }),
  printerColumns: [
    { name: "URL", type: "string", jsonPath: ".status.url" },
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
});

/** The parts of an LLMInferenceService that are about its router. */
import { s } from "../../../kernel/schema/index.js";
import { native, podSpec } from "./pod-fields.js";

const reference = (what: string) => s.object({ name: s.string().optional().describe(`Name of ${what}.`) });
const references = (what: string) =>
  s.array(
    s.object({
      name: s.string().optional().describe(`Name of ${what}.`),
      namespace: s.string().optional().describe("Its namespace."),
      sectionName: s.string().optional().describe("A listener of it."),
    }),
  );

/** Of the Gateway API's HTTPRoute: what is below a rule's members is that API's own. */
const httpRoute = () =>
  s.object({
    parentRefs: s
      .array(
        s.object({
          group: s.string().optional().describe("API group of the parent."),
          kind: s.string().optional().describe("Kind of the parent."),
          name: s.string().describe("Name of the parent."),
          namespace: s.string().optional().describe("Namespace of the parent."),
          port: s.integer({ format: "int32" }).optional().describe("Port of the parent."),
          sectionName: s.string().optional().describe("A listener of the parent."),
        }),
      )
      .optional()
      .describe("Gateways that carry the route."),
    hostnames: s.array(s.string()).optional().describe("Hosts that it is for."),
    useDefaultGateways: s.string().optional().describe("Which default gateways carry it."),
    rules: s
      .array(
        s.object({
          name: s.string().optional().describe("Name of the rule."),
          matches: s.array(s.preserveUnknown()).optional().describe("Requests that it is for."),
          filters: s.array(s.preserveUnknown()).optional().describe("What is done with them."),
          backendRefs: s.array(s.preserveUnknown()).optional().describe("Where they go."),
          timeouts: s.preserveUnknown().optional().describe("How long they may take."),
          retry: s.preserveUnknown().optional().describe("When they are sent again."),
          sessionPersistence: s.preserveUnknown().optional().describe("How clients keep a backend."),
        }),
      )
      .optional()
      .describe("Which requests go where."),
  });

const pool = () =>
  s.object({
    ref: reference("an InferencePool").optional().describe("A pool that is there already."),
    spec: s
      .object({
        selector: s
          .object({ matchLabels: s.map(s.string()).describe("Labels of the pods.") })
          .describe("Which pods belong to it."),
        targetPorts: s
          .array(
            s.object({ number: s.integer({ format: "int32", min: 1, max: 65_535 }).describe("Port of the pods.") }),
            {
              min: 1,
              max: 8,
            },
          )
          .describe("Where they answer."),
        appProtocol: s.string().optional().describe("What they speak."),
        endpointPickerRef: s
          .object({
            group: s.string().optional().describe("API group of the picker."),
            kind: s.string().optional().describe("Kind of the picker."),
            name: s.string().describe("Name of the picker."),
            port: s
              .object({ number: s.integer({ format: "int32", min: 1, max: 65_535 }).describe("Number of the port.") })
              .optional()
              .describe("Where it answers."),
            failureMode: s.enum("FailOpen", "FailClose").optional().describe("What happens without it."),
          })
          .describe("What chooses a pod for a request."),
      })
      .optional()
      .describe("A pool of its own."),
  });

/** Route, gateway, ingress and scheduler. */
export const llmRouter = () =>
  s.object({
    route: s
      .object({
        http: s
          .object({
            refs: s.array(reference("an HTTPRoute")).optional().describe("Routes that are there already."),
            spec: httpRoute().optional().describe("A route of its own."),
          })
          .optional()
          .describe("HTTP."),
        group: s.string().optional().describe("Services that share a route."),
        weight: s.integer({ format: "int32" }).optional().describe("Its share in the group."),
      })
      .optional()
      .describe("How requests come to it."),
    gateway: s
      .object({ refs: references("a Gateway").optional().describe("Gateways that are there already.") })
      .optional()
      .describe("Which gateway carries the route."),
    ingress: s
      .object({ refs: references("an Ingress").optional().describe("Ingresses that are there already.") })
      .optional()
      .describe("Instead of route and gateway."),
    scheduler: s
      .object({
        pool: pool().optional().describe("The pods among which it chooses."),
        labels: s.map(s.string()).optional().describe("Labels of the scheduler's pods."),
        annotations: s.map(s.string()).optional().describe("Annotations of the scheduler's pods."),
        template: podSpec("lean").optional().describe("The scheduler's pods."),
        config: s
          .object({
            inline: s.preserveUnknown().optional().describe("An EndpointPickerConfig."),
            ref: native("core.v1.ConfigMapKeySelector").optional().describe("Where the configuration is."),
          })
          .optional()
          .describe("How it chooses."),
        replicas: s.integer({ format: "int32" }).optional().describe("Number of the scheduler's pods."),
        tokenizer: s
          .object({
            enabled: s.boolean().optional().describe("It has a tokenizer beside it."),
            replicas: s.integer({ format: "int32" }).optional().describe("Number of the tokenizer's pods."),
            template: podSpec("lean").optional().describe("The tokenizer's pods."),
            labels: s.map(s.string()).optional().describe("Labels of the tokenizer's pods."),
            annotations: s.map(s.string()).optional().describe("Annotations of the tokenizer's pods."),
          })
          .optional()
          .describe("Turns prompts into tokens for the scheduler."),
      })
      .optional()
      .describe("Chooses a pod for each request by cache and load."),
  });

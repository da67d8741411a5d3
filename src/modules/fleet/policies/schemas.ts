import { s } from "../../../kernel/schema/index.js";

const purgeModes = ["Directly", "Gracefully", "Never", "Immediately", "Graciously"] as const;

const statePreservation = () =>
  s
    .object({
      rules: s
        .array(
          s.object({
            aliasLabelName: s.string().describe("Label that the new object gets the value in."),
            jsonPath: s.string().describe("Where the value is in the old object's status."),
          }),
        )
        .describe("What is carried over."),
    })
    .optional()
    .describe("State of the failed object that the new one is given as labels.");

/** `spec.failover` of policies and bindings. */
export const failoverSchema = s.object({
  application: s
    .object({
      decisionConditions: s
        .object({
          tolerationSeconds: s
            .integer({ format: "int32" })
            .default(300)
            .describe("How long an object may be unhealthy before it moves."),
        })
        .describe("When an object moves."),
      purgeMode: s
        .enum(...purgeModes)
        .default("Gracefully")
        .describe("What becomes of the old object: removed at once, when the new one is healthy, or never."),
      gracePeriodSeconds: s
        .integer({ format: "int32" })
        .optional()
        .describe("How long the old object stays at most; with Gracefully."),
      statePreservation: statePreservation(),
    })
    .optional()
    .describe("When the object itself is unhealthy."),
  cluster: s
    .object({
      purgeMode: s
        .enum("Directly", "Gracefully")
        .default("Gracefully")
        .describe("What becomes of the object in the failed cluster."),
      statePreservation: statePreservation(),
    })
    .optional()
    .describe("When its cluster fails."),
});

/** `spec.suspension` of policies; bindings have one field more. */
export const suspensionFields = {
  dispatching: s.boolean().optional().describe("Nothing is sent to any cluster."),
  dispatchingOnClusters: s
    .object({ clusterNames: s.array(s.string()).optional().describe("The clusters.") })
    .optional()
    .describe("Nothing is sent to these clusters."),
};

const operator = (meaning: string) => s.enum("add", "remove", "replace").describe(meaning);

const mapOverrider = (what: string) =>
  s
    .array(
      s.object({
        operator: operator("add, remove or replace."),
        value: s.map(s.string()).describe(`The ${what}; of remove only the keys count.`),
      }),
    )
    .optional()
    .describe(`Changes of ${what}.`);

const wordsOverrider = (what: string) =>
  s
    .array(
      s.object({
        containerName: s.string().describe("Which container."),
        operator: s.enum("add", "remove").describe("Append, or take out."),
        value: s.array(s.string()).optional().describe("The words."),
      }),
    )
    .optional()
    .describe(`Changes of the ${what} of containers.`);

const innerPatches = (format: string) =>
  s
    .array(
      s.object({
        subPath: s.string().describe("JSON pointer inside the document."),
        operator: operator("add, remove or replace."),
        value: s.any().optional().describe("New value."),
      }),
    )
    .optional()
    .describe(`Changes of a field that holds ${format}.`);

const overriders = s.object({
  plaintext: s
    .array(
      s.object({
        path: s.string().describe("JSON pointer."),
        operator: operator("add, remove or replace."),
        value: s.any().optional().describe("New value."),
      }),
    )
    .optional()
    .describe("Changes by JSON pointer."),
  imageOverrider: s
    .array(
      s.object({
        predicate: s
          .object({ path: s.string().describe("JSON pointer of an image.") })
          .optional()
          .describe("Only this image; absent: all containers'."),
        component: s.enum("Registry", "Repository", "Tag").describe("Which part of the image's name."),
        operator: operator("add appends, replace puts instead, remove empties."),
        value: s.string().optional().describe("Text."),
      }),
    )
    .optional()
    .describe("Changes of images."),
  commandOverrider: wordsOverrider("command"),
  argsOverrider: wordsOverrider("arguments"),
  labelsOverrider: mapOverrider("labels"),
  annotationsOverrider: mapOverrider("annotations"),
  fieldOverrider: s
    .array(
      s.object({
        fieldPath: s.string().describe("JSON pointer of a text field."),
        json: innerPatches("JSON"),
        yaml: innerPatches("YAML"),
      }),
    )
    .optional()
    .describe("Changes inside a field that holds a document."),
});

/** `spec.overriders` of an override policy and its rules. */
export const overridersSchema = overriders;

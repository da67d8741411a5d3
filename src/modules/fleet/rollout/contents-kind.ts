import { defineKind, type KindDefinition, type Resource } from "../../../kernel/kinds/index.js";
import { type Infer, s } from "../../../kernel/schema/index.js";

const contentsSpec = s
  .object({
    secrets: s
      .array(
        s.object({
          workload: s.integer().describe("Place in spec.workloads, from 0."),
          manifest: s.integer().describe("Place in its manifests, from 0."),
          fields: s.preserveUnknown().describe("data and stringData of the Secret there."),
        }),
      )
      .describe("One entry for each Secret that holds something."),
  })
  .rule("self == oldSelf", "a revision does not change");

type RevisionContentsSpec = Infer<typeof contentsSpec>;

/** What Secrets in a revision of a HyperMLService hold. */
export type RevisionContents = Resource<RevisionContentsSpec>;

/**
 * The part of a revision that not everybody may see who may read ControllerRevisions (`view` may); it has the revision's name. A kind of its own, so
 * that the controller needs no right to read Secrets.
 */
export const RevisionContentsKind: KindDefinition<RevisionContents> = defineKind<RevisionContentsSpec>({
  group: "argosy.dev",
  version: "v1alpha1",
  kind: "RevisionContents",
  plural: "revisioncontents",
  description: "What Secrets in a revision of a HyperMLService hold. Made and removed with its ControllerRevision.",
  spec: contentsSpec,
});

import type { BindingSpec, ResourceBinding } from "../bindings/kinds.js";
import { BINDING, DEPENDED_BY, dependedByLabel } from "../policies/marks.js";

/** A binding that needs another one's object, and where it is. */
export type Requirement = NonNullable<BindingSpec["requiredBy"]>[number];

/** What an attached binding says of those that need it. */
export interface Attachment {
  readonly requiredBy: Requirement[];
  /** Labels that name them; the binding's other labels are not among them. */
  readonly labels: Record<string, string>;
  readonly conflictResolution: BindingSpec["conflictResolution"];
  readonly preserveResourcesOnDeletion: boolean;
}

/** What is to be said when these bindings need an object; of several wishes the more careful with the members' own objects loses. */
export function attachmentOf(sources: readonly ResourceBinding[]): Attachment {
  const ordered = sources.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  return {
    requiredBy: ordered.map(({ metadata, spec }) => ({
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      name: metadata.name,
      clusters: (spec.clusters ?? []).map(({ name, replicas }) => ({
        name,
        ...(replicas === undefined ? {} : { replicas }),
      })),
    })),
    labels: Object.fromEntries(
      ordered.map(({ metadata }) => [
        dependedByLabel(metadata.namespace ?? "", metadata.name),
        metadata.labels?.[BINDING.id] ?? "",
      ]),
    ),
    conflictResolution: ordered.some(({ spec }) => spec.conflictResolution === "Overwrite") ? "Overwrite" : "Abort",
    preserveResourcesOnDeletion: ordered.some(({ spec }) => spec.preserveResourcesOnDeletion === true),
  };
}

function nameOf({ metadata }: ResourceBinding): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

/** The labels of a binding with these attachments instead of those that it has. */
export function withAttachmentLabels(
  labels: Readonly<Record<string, string>> | undefined,
  attachments: Readonly<Record<string, string>>,
): Record<string, string> {
  const others = Object.entries(labels ?? {}).filter(([label]) => !label.startsWith(DEPENDED_BY));
  return { ...Object.fromEntries(others), ...attachments };
}

import { type Draft, findCondition, type JsonObject } from "../../kernel/kinds/index.js";
import { cloneObject, equalJson, isObject } from "../../kernel/schema/index.js";
import type { PlannedObject } from "./hyper-plan.js";
import { asManifest, WORK_ID } from "./interpreters/index.js";
import { type HyperMLService, type Work, WorkKind } from "./kinds.js";
import { ARGOSY, EXECUTION_FINALIZER, executionSpaceOf, KARMADA } from "./names.js";

/**
 * The Work for an object, with everything that Karmada's execution and status controllers need to keep it up to date. The
 * manifest's template generation is that of the HyperMLService when the manifest last changed, so that editing one workload
 * does not touch the others.
 */
export function workFor(owner: HyperMLService, object: PlannedObject, existing: Work | undefined): Draft<Work> {
  const namespace = executionSpaceOf(object.cluster);
  const id = existing?.metadata.labels?.[WORK_ID] ?? "";
  const now = String(owner.metadata.generation ?? 1);
  const { apiVersion, kind } = object;
  const manifestAt = (generation: string): JsonObject => {
    const manifest = cloneObject(object.manifest);
    const metadata = isObject(manifest["metadata"]) ? manifest["metadata"] : {};
    const labels = { ...stringMap(metadata["labels"]), [KARMADA.managed]: "true" };
    const annotations = {
      ...stringMap(metadata["annotations"]),
      [KARMADA.workName]: object.workName,
      [KARMADA.workNamespace]: namespace,
      [KARMADA.templateGeneration]: generation,
    };
    // As the hub stores it, so that the two can be compared.
    return asManifest({ ...manifest, apiVersion, kind, metadata: { ...metadata, labels, annotations } }, id);
  };
  const unchanged = manifestAt(templateGenerationOf(existing) ?? now);
  const isSame = existing === undefined || equalJson(manifestOf(existing), unchanged);
  return {
    apiVersion: `${WorkKind.group}/${WorkKind.version}`,
    kind: WorkKind.kind,
    metadata: {
      name: object.workName,
      namespace,
      labels: { [ARGOSY.ownerUid]: owner.metadata.uid, ...(id === "" ? {} : { [WORK_ID]: id }) },
      annotations: { [ARGOSY.ownerName]: owner.metadata.name, [ARGOSY.ownerNamespace]: owner.metadata.namespace ?? "" },
      finalizers: [EXECUTION_FINALIZER],
    },
    spec: { workload: { manifests: [{ ...(isSame ? unchanged : manifestAt(now)), apiVersion, kind }] } },
  };
}

/** The one manifest of a Work of ours. */
export function manifestOf(work: Work): JsonObject | undefined {
  return work.spec.workload?.manifests?.[0];
}

function templateGenerationOf(work: Work | undefined): string | undefined {
  const metadata = work === undefined ? undefined : manifestOf(work)?.["metadata"];
  return isObject(metadata) ? stringMap(metadata["annotations"])[KARMADA.templateGeneration] : undefined;
}

function stringMap(value: unknown): Record<string, string> {
  if (!isObject(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => (typeof item === "string" ? [[key, item]] : [])),
  );
}

/** How far the delivery of a Work's present content is. */
export interface Delivery {
  readonly isApplied: boolean;
  readonly reason: string;
  readonly message: string;
}

/** Reads a Work's Applied condition; one that speaks of an earlier generation says nothing about this one. */
export function deliveryOf(work: Work): Delivery {
  const applied = findCondition(work.status?.conditions, "Applied");
  const isFresh =
    applied?.observedGeneration === undefined || applied.observedGeneration >= (work.metadata.generation ?? 0);
  if (applied === undefined || !isFresh) return { isApplied: false, reason: "Pending", message: "is being delivered" };
  return { isApplied: applied.status === "True", reason: applied.reason, message: applied.message };
}

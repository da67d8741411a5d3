import type { ClusterAccess } from "../../kernel/control/index.js";
import type { StatusCause } from "../../kernel/errors/index.js";
import { findCondition, type JsonObject } from "../../kernel/kinds/index.js";
import type { AdmissionReview, ModuleAdmission } from "../../kernel/module/types.js";
import { equalJson, isObject } from "../../kernel/schema/index.js";
import { weightWarnings } from "./head-maker.js";
import { describeUnknownCluster, planParts, type SpecParts, specPartsOf } from "./hyper-plan.js";
import { KindSchemas } from "./kind-schemas.js";
import { ClusterKind, type ConditionDraft, type HyperMLService, HyperMLServiceKind } from "./kinds.js";
import { checkManifest, checkMetadata, undeliveredFields } from "./manifest-check.js";

/** What the hub can say of a HyperMLService's manifests before any member saw them. */
export interface ManifestFindings {
  /** What no member can accept. */
  readonly faults: readonly StatusCause[];
  /** What only members know. */
  readonly unsure: readonly string[];
  /** What is in a manifest, and not delivered. */
  readonly dropped: readonly string[];
}

/** Holds the manifests of HyperMLServices against the kinds that the hub's API knows. */
export class ManifestChecker {
  readonly #schemas = new KindSchemas();

  /** `skip` are manifests that were accepted before. Throws when the hub's API does not answer. */
  async check(hub: ClusterAccess, parts: SpecParts, skip: readonly JsonObject[] = []): Promise<ManifestFindings> {
    const plan = planParts(parts);
    const faults: StatusCause[] = plan.faults.map(({ field, message }) => ({
      reason: "FieldValueInvalid",
      field,
      message,
    }));
    const unsure: string[] = [];
    const dropped: string[] = [];
    for (const [w, { clusters, manifests }] of parts.workloads.entries()) {
      for (const [m, manifest] of manifests.entries()) {
        const place = `spec.workloads[${w}].manifests[${m}]`;
        const fields = undeliveredFields(manifest);
        if (fields.length > 0)
          dropped.push(`${place}: ${fields.join(", ")} are not delivered: they are the member's own`);
        const isFaulty = plan.faults.some(({ field }) => field.startsWith(place));
        if (isFaulty || skip.some((accepted) => equalJson(accepted, manifest))) continue;
        const found = await this.#checkOne(hub, manifest, place);
        if (typeof found === "string")
          unsure.push(`${found}; whether ${clusters.join(", ")} can take it shows when it is delivered`);
        else faults.push(...found);
      }
    }
    return { faults, unsure, dropped };
  }

  async #checkOne(hub: ClusterAccess, manifest: JsonObject, place: string): Promise<readonly StatusCause[] | string> {
    const { apiVersion, kind, metadata } = manifest;
    if (typeof apiVersion !== "string" || typeof kind !== "string") return [];
    const known = await this.#schemas.find(hub.client.transport, apiVersion, kind);
    if (!("schema" in known)) {
      const hint = known.near === undefined ? "" : ` (did you mean "${known.near}"?)`;
      return `${place}: the hub knows no kind ${kind} in ${apiVersion}${hint}`;
    }
    const faults = [...checkMetadata(manifest, place), ...checkManifest(known.schema, manifest, place)];
    const namespace = isObject(metadata) ? metadata["namespace"] : undefined;
    const isNamespaced = (await hub.client.findKind(apiVersion, kind))?.namespaced === true;
    if (isNamespaced && (namespace === undefined || namespace === ""))
      faults.push({ reason: "FieldValueRequired", field: `${place}.metadata.namespace`, message: "Required value" });
    return faults;
  }
}

/** Refuses HyperMLServices that no member can carry out; warns of what only members know. */
export function hyperMLServiceAdmission(checker: ManifestChecker): ModuleAdmission {
  return {
    kind: HyperMLServiceKind,
    level: "continuum",
    async review(object, old, hub) {
      const parts = specPartsOf(object);
      const before = old === undefined ? undefined : specPartsOf(old);
      // Finalizers and labels must be writable whatever the spec is.
      if (isDeleted(object)) return NOTHING;
      const slips = weightWarnings(object, old);
      if (before !== undefined && equalJson(old?.["spec"], object["spec"])) return { faults: [], warnings: slips };
      const skip = before?.workloads.flatMap(({ manifests }) => manifests) ?? [];
      const { faults, unsure, dropped } = await checker.check(hub, parts, skip);
      return { faults, warnings: [...slips, ...unsure, ...dropped, ...(await clusterWarnings(parts, hub))] };
    },
  };
}

const NOTHING: AdmissionReview = { faults: [], warnings: [] };

async function clusterWarnings(parts: SpecParts, hub: ClusterAccess): Promise<string[]> {
  const clusters = await hub.client.resource(ClusterKind).list();
  const known = clusters.items.map(({ metadata }) => metadata.name);
  return parts.workloads.flatMap((workload, w) =>
    workload.clusters.flatMap((cluster, c) =>
      known.includes(cluster) ? [] : [`spec.workloads[${w}].clusters[${c}]: ${describeUnknownCluster(cluster, known)}`],
    ),
  );
}

/** Says in the status what the hub found: for objects that were stored before it looked, and for kinds that it does not know. */
export function checkedCondition(findings: ManifestFindings): ConditionDraft {
  const draft = { type: "ManifestsChecked" };
  if (findings.faults.length > 0) {
    const message = findings.faults.map(({ field, message: text }) => `${field}: ${text}`).join("; ");
    return { ...draft, status: "False", reason: "Faulty", message: shortened(message) };
  }
  if (findings.unsure.length > 0)
    return { ...draft, status: "Unknown", reason: "UnknownKinds", message: shortened(findings.unsure.join("; ")) };
  if (findings.dropped.length > 0)
    return { ...draft, status: "True", reason: "NotAllDelivered", message: shortened(findings.dropped.join("; ")) };
  return { ...draft, status: "True", reason: "Known", message: "every manifest is as the hub knows its kind" };
}

/** Whether the status speaks of the present spec already. */
export function isChecked(object: HyperMLService): boolean {
  const condition = findCondition(object.status?.conditions, "ManifestsChecked");
  return condition !== undefined && condition.observedGeneration === object.metadata.generation;
}

function shortened(text: string): string {
  return text.length <= 2000 ? text : `${text.slice(0, 2000)}…`;
}

function isDeleted(object: JsonObject): boolean {
  const { metadata } = object;
  return isObject(metadata) && typeof metadata["deletionTimestamp"] === "string";
}

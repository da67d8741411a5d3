import { Faults, type JsonObject, label1035Faults, labelFaults } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { ClusterTaintPolicyKind } from "../policies/kinds.js";
import { MultiClusterServiceKind } from "../unserved/kinds.js";
import { clusterNameFaults } from "./clusters.js";
import {
  ACCEPTED,
  denied,
  deniedFor,
  isUntouched,
  labelOf,
  metadataOf,
  numberIn,
  objectIn,
  objectsIn,
  setLabel,
  textIn,
} from "./denial.js";

const SERVICE_ID = "multiclusterservice.karmada.io/permanent-id";
const PROTECTION = "resourcetemplate.karmada.io/deletion-protected";
const PROTECTION_WEBHOOK = "resourcedeletionprotection.karmada.io";

/** Checks services over several clusters. */
export function multiClusterServiceAdmission(): ModuleAdmission {
  return {
    kind: MultiClusterServiceKind,
    level: "continuum",
    complete: (object, _old, { uuid }) => {
      if (labelOf(object, SERVICE_ID) === "") setLabel(object, SERVICE_ID, uuid());
    },
    review: async (object, old) =>
      isUntouched(object, old) ? ACCEPTED : deniedFor("multiclusterservice.karmada.io", serviceFaults(object, old)),
  };
}

function serviceFaults(object: JsonObject, old: JsonObject | undefined): Faults {
  const faults = new Faults();
  const spec = objectIn(object, "spec");
  const before = old === undefined ? undefined : objectIn(old, "spec")["types"];
  if (before !== undefined && !equalJson(before, spec["types"]))
    faults.invalid("spec.types", before, "MultiClusterService types are immutable");
  const name = textIn(metadataOf(object), "name");
  for (const fault of label1035Faults(name)) faults.invalid("metadata.name", name, fault);
  portFaults(objectsIn(spec, "ports"), faults);
  const types = Array.isArray(spec["types"]) ? spec["types"] : [];
  for (const [index, type] of types.entries())
    if (type !== "CrossCluster" && type !== "LoadBalancer")
      faults.invalid(`spec.types[${index}]`, type, "ExposureType Error");
  if (new Set(types).size > 1)
    faults.invalid("spec.types", types, "MultiClusterService types should not contain more than one type");
  for (const field of ["providerClusters", "consumerClusters"]) {
    for (const [index, cluster] of objectsIn(spec, field).entries()) {
      const wrong = clusterNameFaults(textIn(cluster, "name"));
      if (wrong.length > 0) faults.invalid(`spec.range.${field}[${index}]`, textIn(cluster, "name"), wrong.join(","));
    }
  }
  return faults;
}

function portFaults(ports: readonly JsonObject[], faults: Faults): void {
  const names = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const path = `spec.ports[${index}]`;
    const name = textIn(port, "name");
    if (name !== "") {
      for (const fault of labelFaults(name)) faults.invalid(`${path}.name`, name, fault);
      if (names.has(name)) faults.duplicate(`${path}.name`, name);
      names.add(name);
    }
    const number = numberIn(port, "port") ?? 0;
    if (number < 1 || number > 65535) faults.invalid(`${path}.port`, number, "must be between 1 and 65535, inclusive");
  }
}

/** Checks policies that taint clusters. */
export function taintPolicyAdmission(): ModuleAdmission {
  return {
    kind: ClusterTaintPolicyKind,
    level: "continuum",
    review: async (object, old) => {
      if (isUntouched(object, old)) return ACCEPTED;
      const faults = new Faults();
      const taints = objectsIn(objectIn(object, "spec"), "taints");
      const markOf = (taint: JsonObject): string => JSON.stringify([taint["key"], taint["effect"]]);
      for (const [index, taint] of taints.entries()) {
        if (!taints.slice(index + 1).some((other) => markOf(other) === markOf(taint))) continue;
        const [key, effect] = [textIn(taint, "key"), textIn(taint, "effect")];
        faults.duplicate(
          `spec.taints[${index}]`,
          `Duplicate taint with the same key(${key}) and effect(${effect}) is not allowed`,
        );
      }
      return deniedFor("clustertaintpolicy.karmada.io", faults);
    },
  };
}

/** Keeps what is labelled so from being deleted, whatever its kind. */
export function deletionProtection(): ModuleAdmission {
  return {
    level: "continuum",
    label: { key: PROTECTION, value: "Always", webhook: PROTECTION_WEBHOOK },
    reviewDeletion: (object) =>
      labelOf(object, PROTECTION) === "Always"
        ? denied(PROTECTION_WEBHOOK, `This resource is protected, please make sure to remove the label: ${PROTECTION}`)
        : ACCEPTED,
  };
}

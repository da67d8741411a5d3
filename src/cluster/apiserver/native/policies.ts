import type { JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { ageColumn, column, nameColumn } from "../registry/columns.js";
import type { Faults } from "../registry/faults.js";
import { pathSegmentFaults, subdomainFaults } from "../registry/names.js";
import { asObject, asObjects, asString, at, ensureObject, isEmpty, setDefaultText } from "../registry/read.js";
import { countAt, textAt, validatePercent } from "./common.js";
import { validateSelector } from "./pod-validation.js";

const rbacGroup = "rbac.authorization.k8s.io";

function validatePolicyRule(
  rule: JsonObject,
  path: string,
  { faults, namespaced }: { readonly faults: Faults; readonly namespaced: boolean },
): void {
  if (isEmpty(rule["verbs"])) faults.required(`${path}.verbs`, "verbs must contain at least one value");
  const urls = rule["nonResourceURLs"];
  if (isEmpty(urls)) {
    if (isEmpty(rule["apiGroups"]))
      faults.required(`${path}.apiGroups`, "resource rules must supply at least one api group");
    if (isEmpty(rule["resources"]))
      faults.required(`${path}.resources`, "resource rules must supply at least one resource");
    return;
  }
  if (namespaced) faults.invalid(`${path}.nonResourceURLs`, urls, "namespaced rules cannot apply to non-resource URLs");
  if (["apiGroups", "resources", "resourceNames"].some((field) => !isEmpty(rule[field])))
    faults.invalid(
      `${path}.nonResourceURLs`,
      urls,
      "rules cannot apply to both regular resources and non-resource URLs",
    );
}

const role = (namespaced: boolean): Behaviour => ({
  nameFaults: pathSegmentFaults,
  validate(object, faults) {
    for (const [index, rule] of asObjects(object["rules"]).entries())
      validatePolicyRule(rule, `rules[${index}]`, { faults, namespaced });
  },
  allColumns: true,
  columns: [
    nameColumn,
    {
      ...ageColumn,
      name: "Created At",
      type: "date",
      cell: (object) => textAt(object, "metadata", "creationTimestamp"),
    },
  ],
});

function subjectsOf(object: JsonObject, kind: string): string {
  return asObjects(object["subjects"])
    .filter((subject) => subject["kind"] === kind)
    .map((subject) =>
      kind === "ServiceAccount"
        ? `${asString(subject["namespace"])}/${asString(subject["name"])}`
        : asString(subject["name"]),
    )
    .join(", ");
}

const binding: Behaviour = {
  nameFaults: pathSegmentFaults,
  defaults(object) {
    setDefaultText(ensureObject(object, "roleRef"), "apiGroup", rbacGroup);
    for (const subject of asObjects(object["subjects"]))
      if (subject["kind"] === "User" || subject["kind"] === "Group") setDefaultText(subject, "apiGroup", rbacGroup);
  },
  validate(object, faults) {
    const reference = asObject(object["roleRef"]);
    if (asString(reference["apiGroup"]) !== rbacGroup)
      faults.unsupported("roleRef.apiGroup", reference["apiGroup"], [rbacGroup]);
    const kind = asString(reference["kind"]);
    const allowed = object["kind"] === "ClusterRoleBinding" ? ["ClusterRole"] : ["Role", "ClusterRole"];
    if (!allowed.includes(kind)) faults.unsupported("roleRef.kind", kind, allowed);
    for (const [index, subject] of asObjects(object["subjects"]).entries())
      validateSubject(subject, `subjects[${index}]`, { faults, clusterWide: object["kind"] === "ClusterRoleBinding" });
  },
  validateUpdate(object, old, faults) {
    if (!equalJson(object["roleRef"], old["roleRef"])) {
      const { apiGroup, kind, name } = asObject(object["roleRef"]);
      faults.invalid("roleRef", { APIGroup: apiGroup, Kind: kind, Name: name }, "cannot change roleRef");
    }
  },
  columns: [
    column("Role", (object) => `${textAt(object, "roleRef", "kind")}/${textAt(object, "roleRef", "name")}`),
    column("Users", (object) => subjectsOf(object, "User"), { wide: true }),
    column("Groups", (object) => subjectsOf(object, "Group"), { wide: true }),
    column("ServiceAccounts", (object) => subjectsOf(object, "ServiceAccount"), { wide: true }),
  ],
};

function validateSubject(
  subject: JsonObject,
  path: string,
  { faults, clusterWide }: { faults: Faults; clusterWide: boolean },
): void {
  const kind = asString(subject["kind"]);
  const group = asString(subject["apiGroup"]);
  if (kind === "ServiceAccount") {
    if (group !== "") faults.unsupported(`${path}.apiGroup`, group, [""]);
    if (clusterWide && asString(subject["namespace"]) === "") faults.required(`${path}.namespace`);
    const name = asString(subject["name"]);
    if (name !== "") for (const fault of subdomainFaults(name)) faults.invalid(`${path}.name`, name, fault);
  } else if (kind === "User" || kind === "Group") {
    if (group !== rbacGroup) faults.unsupported(`${path}.apiGroup`, group, [rbacGroup]);
  } else faults.unsupported(`${path}.kind`, kind, ["ServiceAccount", "User", "Group"]);
}

const disruptionBudget: Behaviour = {
  needsVersion: true,
  generation: true,
  validate(object, faults) {
    const spec = asObject(object["spec"]);
    if (spec["minAvailable"] !== undefined && spec["maxUnavailable"] !== undefined)
      faults.invalid(
        "spec",
        {
          MinAvailable: spec["minAvailable"],
          Selector: spec["selector"] ?? null,
          MaxUnavailable: spec["maxUnavailable"],
          UnhealthyPodEvictionPolicy: spec["unhealthyPodEvictionPolicy"] ?? null,
        },
        "minAvailable and maxUnavailable cannot be both set",
      );
    for (const field of ["minAvailable", "maxUnavailable"]) {
      const value = spec[field];
      validatePercent(value, `spec.${field}`, faults);
    }
    validateSelector(spec["selector"], "spec.selector", faults);
  },
  columns: [
    column("Min Available", (object) => showCount(at(object, "spec", "minAvailable"))),
    column("Max Unavailable", (object) => showCount(at(object, "spec", "maxUnavailable"))),
    column("Allowed Disruptions", (object) => countAt(object, "status", "disruptionsAllowed")),
  ],
};

function showCount(value: JsonObject[string]): string {
  return typeof value === "number" || typeof value === "string" ? String(value) : "N/A";
}

const highestUserPriority = 1_000_000_000;

const priorityClass: Behaviour = {
  generation: "once",
  defaults: (object) => setDefaultText(object, "preemptionPolicy", "PreemptLowerPriority"),
  validate(object, faults) {
    const system = asString(asObject(object["metadata"])["name"]).startsWith("system-");
    if (!system && countAt(object, "value") > highestUserPriority)
      faults.forbidden("value", `maximum allowed value of a user defined priority is ${highestUserPriority}`);
  },
  validateUpdate(object, old, faults) {
    for (const field of ["value", "preemptionPolicy"])
      if (!equalJson(object[field], old[field])) faults.forbidden(field, "may not be changed in an update.");
  },
  columns: [
    column("Value", (object) => countAt(object, "value")),
    column("Global-Default", (object) => object["globalDefault"] === true, { type: "boolean" }),
    column("PreemptionPolicy", (object) => asString(object["preemptionPolicy"])),
  ],
};

const storageClass: Behaviour = {
  defaults(object) {
    setDefaultText(object, "reclaimPolicy", "Delete");
    setDefaultText(object, "volumeBindingMode", "Immediate");
  },
  validateUpdate(object, old, faults) {
    for (const field of ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"])
      if (!equalJson(object[field], old[field]))
        faults.forbidden(
          field,
          field === "parameters" ? "updates to parameters are forbidden." : `updates to ${field} are forbidden.`,
        );
  },
  columns: [
    column("Provisioner", (object) => asString(object["provisioner"])),
    column("ReclaimPolicy", (object) => asString(object["reclaimPolicy"])),
    column("VolumeBindingMode", (object) => asString(object["volumeBindingMode"])),
    column("AllowVolumeExpansion", (object) => object["allowVolumeExpansion"] === true, { type: "boolean" }),
  ],
};

/** Who may do what, and what must hold while it is done. */
export const policyBehaviours: BehaviourTable = {
  [`${rbacGroup}/Role`]: role(true),
  [`${rbacGroup}/ClusterRole`]: role(false),
  [`${rbacGroup}/RoleBinding`]: binding,
  [`${rbacGroup}/ClusterRoleBinding`]: binding,
  "policy/PodDisruptionBudget": disruptionBudget,
  "scheduling.k8s.io/PriorityClass": priorityClass,
  "storage.k8s.io/StorageClass": storageClass,
  "flowcontrol.apiserver.k8s.io/FlowSchema": { generation: true },
  "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration": { generation: true },
};

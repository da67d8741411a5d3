import type { Faults } from "../../../kernel/kinds/index.js";
import { pathSegmentFaults, subdomainFaults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { Behaviour, BehaviourTable } from "../registry/behaviour.js";
import { ageColumn, column, nameColumn } from "../registry/columns.js";
import {
  asObject,
  asObjects,
  asString,
  at,
  ensureObject,
  isEmpty,
  setDefault,
  setDefaultText,
} from "../registry/read.js";
import { countAt, immutable, nonNegative, textAt } from "./common.js";
import { checkConditions } from "./conditions.js";
import { checkAtMostAll, checkCountOrPercent } from "./rollouts.js";
import { oneOfIfSet } from "./rules.js";
import { validateSelector } from "./selectors.js";

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

function validateAggregation(rule: JsonObject, faults: Faults): void {
  const path = "aggregationRule.clusterRoleSelectors";
  const selectors = asObjects(rule["clusterRoleSelectors"]);
  if (selectors.length === 0)
    faults.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
  for (const [index, selector] of selectors.entries()) validateSelector(selector, `${path}[${index}]`, faults);
}

const role = (namespaced: boolean): Behaviour => ({
  createsOnUpdate: true,
  checkedTwice: "all",
  complete: true,
  nameFaults: pathSegmentFaults,
  validate(object, faults) {
    for (const [index, rule] of asObjects(object["rules"]).entries())
      validatePolicyRule(rule, `rules[${index}]`, { faults, namespaced });
    if (object["aggregationRule"] !== undefined) validateAggregation(asObject(object["aggregationRule"]), faults);
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
  createsOnUpdate: true,
  checkedTwice: "all",
  complete: true,
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
    const name = asString(reference["name"]);
    if (name === "") faults.required("roleRef.name");
    for (const fault of pathSegmentFaults(name)) faults.invalid("roleRef.name", name, fault);
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
  if (asString(subject["name"]) === "") faults.required(`${path}.name`);
  if (kind === "ServiceAccount") {
    const name = asString(subject["name"]);
    if (name !== "") for (const fault of subdomainFaults(name)) faults.invalid(`${path}.name`, name, fault);
    if (group !== "") faults.unsupported(`${path}.apiGroup`, group, [""]);
    if (clusterWide && asString(subject["namespace"]) === "") faults.required(`${path}.namespace`);
  } else if (kind === "User" || kind === "Group") {
    if (group !== rbacGroup) faults.unsupported(`${path}.apiGroup`, group, [rbacGroup]);
  } else faults.unsupported(`${path}.kind`, kind, ["ServiceAccount", "User", "Group"]);
}

const disruptionBudget: Behaviour = {
  needsVersion: true,
  generation: true,
  complete: true,
  plainNames: true,
  statusOnly: true,
  updateChecks: { "": [0, 0], status: [0, 0] },
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
      checkCountOrPercent(spec[field], `spec.${field}`, faults);
      checkAtMostAll(spec[field], `spec.${field}`, faults);
    }
    validateSelector(spec["selector"], "spec.selector", faults);
    const policies = ["AlwaysAllow", "IfHealthyBudget"];
    oneOfIfSet(spec["unhealthyPodEvictionPolicy"], policies, "spec.unhealthyPodEvictionPolicy", faults);
  },
  validateUpdate(object, _old, faults, { subresource }) {
    if (subresource !== "status") return;
    const status = asObject(object["status"]);
    checkConditions(asObjects(status["conditions"]), "status.conditions", faults);
    for (const field of ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"])
      nonNegative(status, field, "status", faults);
  },
  columns: [
    column("Min Available", (object) => showCount(at(object, "spec", "minAvailable"))),
    column("Max Unavailable", (object) => showCount(at(object, "spec", "maxUnavailable"))),
    column("Allowed Disruptions", (object) => countAt(object, "status", "disruptionsAllowed"), { type: "integer" }),
  ],
};

function showCount(value: JsonObject[string]): string {
  return typeof value === "number" || typeof value === "string" ? String(value) : "N/A";
}

const highestUserPriority = 1_000_000_000;

const systemPriorities: Readonly<Record<string, number>> = {
  "system-node-critical": 2_000_001_000,
  "system-cluster-critical": 2_000_000_000,
};

function validateSystemPriority(object: JsonObject, faults: Faults): void {
  const name = textAt(object, "metadata", "name");
  const value = systemPriorities[name];
  const refuse = (why: string): void =>
    faults.forbidden(
      "metadata.name",
      `priority class names with 'system-' prefix are reserved for system use only. error: ${why}`,
    );
  if (value === undefined) refuse(`${name} is not a known system priority class`);
  else if (value !== countAt(object, "value")) refuse(`value of ${name} PriorityClass must be ${value}`);
  else if (object["globalDefault"] === true) refuse(`globalDefault of ${name} PriorityClass must be false`);
}

const priorityClass: Behaviour = {
  complete: true,
  updateChecks: { "": [0, 1] },
  generation: "once",
  defaults: (object) => setDefault(object, "preemptionPolicy", "PreemptLowerPriority"),
  validateCreate(object, faults) {
    const isSystem = asString(asObject(object["metadata"])["name"]).startsWith("system-");
    if (isSystem) validateSystemPriority(object, faults);
    else if (countAt(object, "value") > highestUserPriority)
      faults.forbidden("value", `maximum allowed value of a user defined priority is ${highestUserPriority}`);
    const policy = asString(object["preemptionPolicy"]);
    const policies = ["PreemptLowerPriority", "Never"];
    if (policy === "") faults.required("preemptionPolicy");
    else if (!policies.includes(policy)) faults.unsupported("preemptionPolicy", policy, policies);
  },
  validateUpdate(object, old, faults) {
    if (countAt(object, "value") !== countAt(old, "value"))
      faults.forbidden("value", "may not be changed in an update.");
    immutable(object, old, ["preemptionPolicy"], faults);
  },
  allColumns: true,
  columns: [
    nameColumn,
    column("Value", (object) => countAt(object, "value"), { type: "integer" }),
    column("Global-Default", (object) => object["globalDefault"] === true, { type: "boolean" }),
    ageColumn,
    column("PreemptionPolicy", (object) => asString(object["preemptionPolicy"])),
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
  "flowcontrol.apiserver.k8s.io/FlowSchema": { generation: true },
  "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration": { generation: true },
};

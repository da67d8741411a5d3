import { Faults, type JsonObject, qualifiedNameFaults } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { isObject, JsonPath } from "../../../kernel/schema/index.js";
import { ClusterPropagationPolicyKind, PropagationPolicyKind } from "../policies/kinds.js";
import {
  addFinalizer,
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
import { SHAPES, shown } from "./shown.js";

/** What differs between the policy of a namespace and that of the whole cluster. */
interface Flavour {
  readonly kind: typeof PropagationPolicyKind | typeof ClusterPropagationPolicyKind;
  readonly webhook: string;
  readonly idLabel: string;
  readonly finalizer: string;
}

const FLAVOURS: readonly Flavour[] = [
  {
    kind: PropagationPolicyKind,
    webhook: "propagationpolicy.karmada.io",
    idLabel: "propagationpolicy.karmada.io/permanent-id",
    finalizer: "karmada.io/propagation-policy-controller",
  },
  {
    kind: ClusterPropagationPolicyKind,
    webhook: "clusterpropagationpolicy.karmada.io",
    idLabel: "clusterpropagationpolicy.karmada.io/permanent-id",
    finalizer: "karmada.io/cluster-propagation-policy-controller",
  },
];

const DEFAULT_GRACE_SECONDS = 600;

/** Completes and checks propagation policies. */
export function propagationAdmission(): ModuleAdmission[] {
  return FLAVOURS.map((flavour) => ({
    kind: flavour.kind,
    level: "continuum",
    complete: (object, old, { uuid }) => {
      completeSpec(objectIn(object, "spec"), textIn(metadataOf(object), "namespace"));
      if (old !== undefined) return;
      setLabel(object, flavour.idLabel, uuid());
      addFinalizer(object, flavour.finalizer);
    },
    review: async (object, old) => {
      if (isUntouched(object, old)) return { faults: [], warnings: [] };
      const spec = objectIn(object, "spec");
      if (old !== undefined && textIn(spec, "schedulerName") !== textIn(objectIn(old, "spec"), "schedulerName"))
        return denied(flavour.webhook, "the schedulerName should not be updated");
      const id = labelOf(object, flavour.idLabel);
      if (old !== undefined && id !== labelOf(old, flavour.idLabel))
        return denied(
          flavour.webhook,
          `label ${flavour.idLabel} is immutable, it can only be set by the system during creation`,
        );
      if (id === "")
        return denied(
          flavour.webhook,
          `label ${flavour.idLabel} is required, it should be set by the mutating admission webhook during creation`,
        );
      return deniedFor(flavour.webhook, propagationFaults(spec));
    },
  }));
}

/** `namespace` is that of the policy; empty for one of the whole cluster. */
function completeSpec(spec: JsonObject, namespace: string): void {
  const selectors = objectsIn(spec, "resourceSelectors");
  completeSelectors(selectors, namespace);
  const isImport = (selector: JsonObject): boolean =>
    selector["kind"] === "ServiceImport" && selector["apiVersion"] === "multicluster.x-k8s.io/v1alpha1";
  if (selectors.some(isImport)) spec["propagateDeps"] = true;
  // As if it were not said.
  if (spec["propagateDeps"] === false) delete spec["propagateDeps"];
  spec["placement"] ??= {};
  const placement = objectIn(spec, "placement");
  for (const constraint of objectsIn(placement, "spreadConstraints")) {
    if (textIn(constraint, "spreadByField") === "" && textIn(constraint, "spreadByLabel") === "")
      constraint["spreadByField"] = "cluster";
    if ((constraint["minGroups"] ?? 0) === 0) constraint["minGroups"] = 1;
  }
  const scheduling = placement["replicaScheduling"];
  if (isObject(scheduling) && scheduling["replicaSchedulingType"] !== "Duplicated")
    scheduling["replicaDivisionPreference"] ??= "Weighted";
  const application = objectIn(spec, "failover")["application"];
  if (isObject(application) && isGraceful(application)) application["gracePeriodSeconds"] ??= DEFAULT_GRACE_SECONDS;
}

/** Selectors of a policy of a namespace are about that namespace. */
export function completeSelectors(selectors: readonly JsonObject[], namespace: string): void {
  if (namespace === "") return;
  for (const selector of selectors) if (textIn(selector, "namespace") === "") selector["namespace"] = namespace;
}

function isGraceful(application: JsonObject): boolean {
  const mode = application["purgeMode"] ?? "Gracefully";
  return mode === "Gracefully" || mode === "Graciously";
}

/** What is wrong with the spec of a propagation policy, in Karmada's words. */
function propagationFaults(spec: JsonObject): Faults {
  const faults = new Faults();
  placementFaults(objectIn(spec, "placement"), faults);
  const failover = objectIn(spec, "failover");
  if (isObject(failover["application"]) && spec["propagateDeps"] !== true)
    faults.invalid("spec.propagateDeps", false, "application failover is set, propagateDeps must be true");
  failoverFaults(failover, faults);
  if (spec["preemption"] === "Always") {
    for (const [index, selector] of objectsIn(spec, "resourceSelectors").entries())
      if (textIn(selector, "name") === "")
        faults.invalid(
          `spec.resourceSelectors[${index}].name`,
          "",
          "name cannot be empty if preemption is Always, the empty name may cause unexpected resources preemption",
        );
  }
  const suspension = objectIn(spec, "suspension");
  const named = objectIn(suspension, "dispatchingOnClusters")["clusterNames"];
  if (suspension["dispatching"] === true && Array.isArray(named) && named.length > 0)
    faults.invalid(
      "spec.suspension.suspension",
      shown(suspension, SHAPES.suspension),
      "suspension dispatching cannot co-exist with dispatchingOnClusters.clusterNames",
    );
  return faults;
}

function placementFaults(placement: JsonObject, faults: Faults): void {
  const path = "spec.placement";
  const { clusterAffinity, clusterAffinities } = placement;
  if (clusterAffinity !== undefined && clusterAffinities !== undefined)
    faults.invalid(path, shown(placement, SHAPES.placement), "clusterAffinities cannot co-exist with clusterAffinity");
  if (isObject(clusterAffinity)) affinityFaults(clusterAffinity, `${path}.clusterAffinity`, faults);
  affinitiesFaults(placement, `${path}.clusterAffinities`, faults);
  spreadFaults(objectsIn(placement, "spreadConstraints"), `${path}.spreadConstraints`, faults);
  for (const term of ["affinity", "antiAffinity"]) {
    const key = objectIn(objectIn(placement, "workloadAffinity"), term)["groupByLabelKey"];
    for (const fault of typeof key === "string" ? qualifiedNameFaults(key) : [])
      faults.invalid(`${path}.workloadAffinity.${term}.groupByLabelKey`, key, fault);
  }
}

/** What is wrong with a choice of clusters. */
export function affinityFaults(affinity: JsonObject, path: string, faults: Faults): void {
  const selector = objectIn(affinity, "fieldSelector");
  const why = objectsIn(selector, "matchExpressions")
    .map(expressionFault)
    .find((fault) => fault !== "");
  if (why !== undefined) faults.invalid(`${path}.fieldSelector`, shown(selector, SHAPES.fieldSelector), why);
}

function expressionFault(expression: JsonObject): string {
  const [key, operator] = [textIn(expression, "key"), textIn(expression, "operator")];
  if (!["provider", "region", "zone"].includes(key))
    return `unsupported key ${JSON.stringify(key)}, must be provider, region, or zone`;
  if (operator !== "In" && operator !== "NotIn")
    return `unsupported operator ${JSON.stringify(operator)}, must be In or NotIn`;
  return "";
}

function affinitiesFaults(placement: JsonObject, path: string, faults: Faults): void {
  const terms = objectsIn(placement, "clusterAffinities");
  const names = new Set<string>();
  for (const [index, term] of terms.entries()) {
    const name = textIn(term, "affinityName");
    for (const fault of qualifiedNameFaults(name)) faults.invalid(`${path}[${index}]`, name, fault);
    if (names.has(name))
      faults.invalid(path, shown(terms, SHAPES.affinities), "each affinity term in a policy must have a unique name");
    names.add(name);
    affinityFaults(term, `${path}[${index}]`, faults);
  }
}

function spreadFaults(constraints: readonly JsonObject[], path: string, faults: Faults): void {
  const seen = new Map<string, number>();
  for (const [index, constraint] of constraints.entries()) {
    const refuse = (why: string): void =>
      faults.invalid(`${path}[${index}]`, shown(constraint, SHAPES.spreadConstraint), why);
    const field = textIn(constraint, "spreadByField");
    const [least, most] = [numberIn(constraint, "minGroups") ?? 0, numberIn(constraint, "maxGroups") ?? 0];
    if (field !== "" && textIn(constraint, "spreadByLabel") !== "")
      refuse("spreadByLabel should not co-exist with spreadByField");
    if (least < 0) refuse("minGroups lower than 0 is not allowed");
    if (most < 0) refuse("maxGroups lower than 0 is not allowed");
    if (most > 0 && most < least) refuse("maxGroups lower than minGroups is not allowed");
    if (field === "") continue;
    const times = (seen.get(field) ?? 0) + 1;
    seen.set(field, times);
    // Told once, however often it comes.
    if (times === 2)
      faults.invalid(
        path,
        shown([...constraints], SHAPES.spreadConstraint),
        `multiple ${field} spread constraints are not allowed`,
      );
  }
  if (seen.size > 0 && !seen.has("cluster"))
    faults.invalid(
      path,
      shown([...constraints], SHAPES.spreadConstraint),
      "the cluster spread constraint must be enabled in one of the constraints in case of SpreadByField is enabled",
    );
}

function failoverFaults(failover: JsonObject, faults: Faults): void {
  const path = "spec.failover";
  const { application, cluster } = failover;
  if (isObject(application)) applicationFaults(application, `${path}.application`, faults);
  if (isObject(cluster)) preservationFaults(cluster, `${path}.cluster`, faults);
}

function applicationFaults(application: JsonObject, path: string, faults: Faults): void {
  const toleration = numberIn(objectIn(application, "decisionConditions"), "tolerationSeconds");
  if (toleration !== undefined && toleration < 0)
    faults.invalid(`${path}.decisionConditions.tolerationSeconds`, toleration, "must be greater than or equal to 0");
  const grace = numberIn(application, "gracePeriodSeconds");
  const gracePath = `${path}.gracePeriodSeconds`;
  if (grace !== undefined && !isGraceful(application))
    faults.invalid(gracePath, grace, "only takes effect when purgeMode is gracefully");
  if (grace === undefined && isGraceful(application))
    faults.invalid(gracePath, null, "should not be empty when purgeMode is gracefully");
  if (grace !== undefined && grace <= 0) faults.invalid(gracePath, grace, "must be greater than 0");
  preservationFaults(application, path, faults);
}

function preservationFaults(behaviour: JsonObject, path: string, faults: Faults): void {
  for (const [index, rule] of objectsIn(objectIn(behaviour, "statePreservation"), "rules").entries()) {
    const label = textIn(rule, "aliasLabelName");
    for (const fault of qualifiedNameFaults(label))
      faults.invalid(`${path}.statePreservation.rules[${index}].aliasLabelName`, label, fault);
    const jsonPath = textIn(rule, "jsonPath");
    if (JsonPath.parse(jsonPath) === undefined)
      faults.warn(
        `${path}.statePreservation.rules[${index}].jsonPath: ${JSON.stringify(jsonPath)} is no JSONPath that is read here, so that nothing moves`,
      );
  }
  const mode = textIn(behaviour, "purgeMode");
  if (isObject(behaviour["statePreservation"]) && !["Directly", "Immediately"].includes(mode))
    faults.warn(`${path}.statePreservation: only takes effect when purgeMode is Directly`);
}

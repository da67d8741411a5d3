import type { JsonObject } from "../../../kernel/kinds/object.js";
import { forbidden, notFound } from "../failures.js";
import { equalJson, isObject, objectAt } from "../fields.js";
import type { AdmissionPlugin, AdmissionRequest, Authorizer } from "../types.js";
import { attributesOf, type RbacAuthorizer, rbacGroup, roleReferenceOf } from "./rbac.js";
import { describeRule, missingRules, quoteList, type Rule, rulesOf } from "./rules.js";

/**
 * Nobody gives away rights that they do not hold: roles and bindings are checked against the rules of their author, unless
 * the author may `escalate` (roles) or `bind` (bindings).
 */
export function escalationGuard(rbac: RbacAuthorizer, authorizer: Authorizer): AdmissionPlugin {
  return {
    name: "RBACEscalation",
    validate(request) {
      const { type, object } = request;
      const isWrite = request.operation === "CREATE" || request.operation === "UPDATE";
      if (type.group !== rbacGroup || object === undefined || !isWrite || request.subresource !== "") return;
      if (request.user.groups.includes("system:masters")) return;
      if (type.plural === "roles" || type.plural === "clusterroles") checkRole(request, object, { rbac, authorizer });
      else if (type.plural === "rolebindings" || type.plural === "clusterrolebindings")
        checkBinding(request, object, { rbac, authorizer });
    },
  };
}

interface Judges {
  readonly rbac: RbacAuthorizer;
  readonly authorizer: Authorizer;
}

function checkRole(request: AdmissionRequest, role: JsonObject, judges: Judges): void {
  const { type, old, user, namespace, name } = request;
  const isSame =
    old !== undefined &&
    equalJson(old["rules"], role["rules"]) &&
    equalJson(old["aggregationRule"], role["aggregationRule"]);
  if (isSame) return;
  const about = { group: rbacGroup, resource: type.plural, namespace, name };
  if (judges.authorizer.authorize(attributesOf(user, "escalate", about)).allowed) return;
  confirm(request, rulesOf(role), judges);
  // A role that gathers others' rules may come to hold anything.
  if (!isObject(role["aggregationRule"])) return;
  if (missingRules(judges.rbac.heldBy(user, namespace).rules, everything).length === 0) return;
  const why = "must have cluster-admin privileges to use the aggregationRule";
  throw forbidden({ group: type.group, plural: type.plural }, name, why);
}

function checkBinding(request: AdmissionRequest, binding: JsonObject, judges: Judges): void {
  const { old, user } = request;
  const isSame =
    old !== undefined &&
    equalJson(old["roleRef"], binding["roleRef"]) &&
    equalJson(old["subjects"], binding["subjects"]);
  if (isSame) return;
  const reference = roleReferenceOf({
    ...binding,
    metadata: { ...objectAt(binding, "metadata"), namespace: request.namespace },
  });
  const resource = reference.kind === "Role" ? "roles" : "clusterroles";
  const about = { group: rbacGroup, resource, namespace: request.namespace, name: reference.name };
  if (judges.authorizer.authorize(attributesOf(user, "bind", about)).allowed) return;
  const rules = judges.rbac.rulesBehind(reference);
  if (rules === undefined) throw notFound({ group: rbacGroup, plural: request.type.plural }, reference.name);
  confirm(request, rules, judges);
}

const nothing: Rule = { apiGroups: [], resources: [], verbs: ["*"], resourceNames: [], nonResourceURLs: [] };
const everything: readonly Rule[] = [
  { ...nothing, apiGroups: ["*"], resources: ["*"] },
  { ...nothing, nonResourceURLs: ["*"] },
];

function confirm(request: AdmissionRequest, wanted: readonly Rule[], { rbac }: Judges): void {
  const { user, namespace, type, name } = request;
  const held = rbac.heldBy(user, namespace);
  const missing = missingRules(held.rules, wanted);
  if (missing.length === 0) return;
  const lines = [...new Set(missing.map(describeRule))].toSorted();
  const errors = held.errors.length === 0 ? "" : `; resolution errors: [${held.errors.join(", ")}]`;
  throw forbidden(
    { group: type.group, plural: type.plural },
    name,
    `user ${JSON.stringify(user.username)} (groups=${quoteList(user.groups)}) is attempting to grant RBAC permissions not currently held:\n${lines.join("\n")}${errors}`,
  );
}

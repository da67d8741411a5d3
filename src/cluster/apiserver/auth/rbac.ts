import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import { listPrefix } from "../store/keys.js";
import type { AuthorizationAttributes, Authorizer, Store, UserInfo } from "../types.js";
import { follow, lookUp } from "./objects.js";
import { type Rule, ruleAllows, rulesOf } from "./rules.js";

export const rbacGroup = "rbac.authorization.k8s.io";

/** A reference to a role, and the rules behind it. */
export interface RoleReference {
  readonly kind: "Role" | "ClusterRole";
  readonly name: string;
  /** Of the binding, and so of a Role. */
  readonly namespace: string;
}

/** What a user holds, for escalation checks and SelfSubjectRulesReview. */
export interface HeldRules {
  readonly rules: readonly Rule[];
  /** References that lead nowhere. */
  readonly errors: readonly string[];
}

export interface RbacAuthorizer extends Authorizer {
  /** Rules that hold cluster-wide and, unless empty, in `namespace`. */
  heldBy(user: UserInfo, namespace: string): HeldRules;
  /** `undefined` when there is no such role. */
  rulesBehind(reference: RoleReference): readonly Rule[] | undefined;
  close(): void;
}

interface Grant {
  /** `ClusterRoleBinding "x"` or `RoleBinding "x/ns"`. */
  readonly binding: string;
  readonly role: RoleReference;
  /** `User "alice"`. */
  readonly subject: string;
}

interface Holding {
  readonly grant: Grant;
  /** `undefined`: there is no such role. */
  readonly rules: readonly Rule[] | undefined;
}

/** Of one user; more are found anew. */
const maxKnownNamespaces = 1024;

/** Grants by subject (`U:name`, `G:name`); cluster-wide ones under the empty namespace. */
type Index = ReadonlyMap<string, ReadonlyMap<string, readonly Grant[]>>;

/** Role-based authorization from the roles and bindings in the store; reads them as they are at the time of the question. */
export function createRbacAuthorizer(store: Store): RbacAuthorizer {
  let index: Index | undefined;
  /** What users held when they last asked, by namespace: the same ones ask again and again. */
  let known = new WeakMap<UserInfo, Map<string, readonly Holding[]>>();
  const forget = () => {
    index = undefined;
    known = new WeakMap();
  };
  const watches = ["clusterrolebindings", "rolebindings", "clusterroles", "roles"].map((plural) =>
    follow(store, listPrefix({ group: rbacGroup, plural }, ""), { onEvents: forget, onGap: forget }),
  );
  // Stored objects never change, so their parsed rules are kept beside them.
  const parsed = new WeakMap<JsonObject, readonly Rule[]>();
  const rulesBehind = (reference: RoleReference): readonly Rule[] | undefined => {
    const isRole = reference.kind === "Role";
    const at = { namespace: isRole ? reference.namespace : "", name: reference.name };
    const role = lookUp(store, rbacGroup, isRole ? "roles" : "clusterroles", at);
    if (role === undefined) return undefined;
    const rules = parsed.get(role) ?? rulesOf(role);
    parsed.set(role, rules);
    return rules;
  };
  const grantsOf = function* (user: UserInfo, namespace: string): Generator<Grant> {
    index ??= buildIndex(store);
    const keys = [`U:${user.username}`, ...user.groups.map((group) => `G:${group}`)];
    for (const key of keys) yield* index.get(key)?.get("") ?? [];
    if (namespace === "") return;
    for (const key of keys) yield* index.get(key)?.get(namespace) ?? [];
  };
  const holdingsOf = (user: UserInfo, namespace: string): readonly Holding[] => {
    const ofUser = known.get(user) ?? new Map<string, readonly Holding[]>();
    const found = ofUser.get(namespace);
    if (found !== undefined) return found;
    const made = [...grantsOf(user, namespace)].map((grant) => ({ grant, rules: rulesBehind(grant.role) }));
    if (ofUser.size >= maxKnownNamespaces) ofUser.clear();
    ofUser.set(namespace, made);
    known.set(user, ofUser);
    return made;
  };
  return {
    rulesBehind,
    authorize(attributes) {
      const errors: string[] = [];
      for (const { grant, rules } of holdingsOf(attributes.user, attributes.namespace)) {
        if (rules === undefined) errors.push(missing(grant.role));
        else if (rules.some((rule) => ruleAllows(rule, attributes))) return { allowed: true, reason: reasonOf(grant) };
      }
      return { allowed: false, reason: errors.length === 0 ? "" : `RBAC: ${joinErrors(errors)}` };
    },
    heldBy(user, namespace) {
      const all = holdingsOf(user, namespace);
      return {
        rules: all.flatMap(({ rules = [] }) => rules),
        errors: all.flatMap(({ grant, rules }) => (rules === undefined ? [missing(grant.role)] : [])),
      };
    },
    close() {
      for (const watch of watches) watch.close();
    },
  };
}

/** Asks several authorizers; the first that allows decides. Members of `system:masters` may do anything. */
export function anyOf(authorizers: readonly Authorizer[]): Authorizer {
  return {
    authorize(attributes) {
      if (attributes.user.groups.includes("system:masters")) return { allowed: true, reason: "" };
      const reasons: string[] = [];
      for (const authorizer of authorizers) {
        const { allowed, reason } = authorizer.authorize(attributes);
        if (allowed) return { allowed, reason };
        if (reason !== "") reasons.push(reason);
      }
      return { allowed: false, reason: reasons.join("; ") };
    },
  };
}

/** The role that a binding refers to. */
export function roleReferenceOf(binding: JsonObject): RoleReference {
  const reference = objectAt(binding, "roleRef");
  return {
    kind: stringAt(reference, "kind") === "Role" ? "Role" : "ClusterRole",
    name: stringAt(reference, "name"),
    namespace: stringAt(objectAt(binding, "metadata"), "namespace"),
  };
}

/** Attributes of a question about one resource, the rest empty. */
export function attributesOf(
  user: UserInfo,
  verb: string,
  what: Partial<Omit<AuthorizationAttributes, "user" | "verb">>,
): AuthorizationAttributes {
  return { user, verb, group: "", version: "*", resource: "", subresource: "", namespace: "", name: "", ...what };
}

function buildIndex(store: Store): Index {
  const index = new Map<string, Map<string, Grant[]>>();
  for (const plural of ["clusterrolebindings", "rolebindings"]) {
    for (const { value } of store.list(listPrefix({ group: rbacGroup, plural }, "")).items) addBinding(index, value);
  }
  return index;
}

function addBinding(index: Map<string, Map<string, Grant[]>>, binding: JsonObject): void {
  const metadata = objectAt(binding, "metadata");
  const [name, namespace] = [stringAt(metadata, "name"), stringAt(metadata, "namespace")];
  const label = namespace === "" ? `ClusterRoleBinding "${name}"` : `RoleBinding "${name}/${namespace}"`;
  const role = roleReferenceOf(binding);
  const { subjects } = binding;
  if (!Array.isArray(subjects)) return;
  for (const subject of subjects.filter(isObject)) {
    const parsed = subjectOf(subject, namespace);
    if (parsed === undefined) continue;
    const byNamespace = index.get(parsed.key) ?? new Map<string, Grant[]>();
    index.set(parsed.key, byNamespace);
    const grants = byNamespace.get(namespace) ?? [];
    byNamespace.set(namespace, grants);
    grants.push({ binding: label, role, subject: parsed.label });
  }
}

function subjectOf(subject: JsonObject, bindingNamespace: string): { key: string; label: string } | undefined {
  const [kind, name] = [stringAt(subject, "kind"), stringAt(subject, "name")];
  switch (kind) {
    case "User":
      return { key: `U:${name}`, label: `User "${name}"` };
    case "Group":
      return { key: `G:${name}`, label: `Group "${name}"` };
    case "ServiceAccount": {
      const namespace = stringAt(subject, "namespace") || bindingNamespace;
      // Without a namespace it names nobody.
      if (namespace === "") return undefined;
      return { key: `U:system:serviceaccount:${namespace}:${name}`, label: `ServiceAccount "${name}/${namespace}"` };
    }
    default:
      return undefined;
  }
}

function reasonOf({ binding, role, subject }: Grant): string {
  return `RBAC: allowed by ${binding} of ${role.kind} "${role.name}" to ${subject}`;
}

function missing({ kind, name }: RoleReference): string {
  return `${kind.toLowerCase()}.${rbacGroup} "${name}" not found`;
}

function joinErrors(errors: readonly string[]): string {
  const distinct = [...new Set(errors)];
  return distinct.length === 1 ? (distinct[0] ?? "") : `[${distinct.join(", ")}]`;
}

import type { Clock } from "../../../kernel/clock/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, failure, invalid } from "../failures.js";
import { isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import type { AuthorizationAttributes, Authorizer, UserInfo, VirtualResource } from "../types.js";
import type { Authentication } from "./authentication.js";
import { attributesOf, type RbacAuthorizer } from "./rbac.js";
import { compact, type Rule } from "./rules.js";

export interface ReviewOptions {
  readonly authentication: Authentication;
  readonly authorizer: Authorizer;
  readonly rbac: RbacAuthorizer;
  readonly clock: Clock;
}

const authentication = "authentication.k8s.io";
const authorization = "authorization.k8s.io";

/** The kinds by which clients ask who somebody is and what they may do. */
export function reviewResources(options: ReviewOptions): VirtualResource[] {
  const { authorizer } = options;
  const version = "v1";
  const access = (
    plural: string,
    whose: (object: JsonObject, caller: UserInfo, namespace: string) => AuthorizationAttributes,
  ) => ({
    group: authorization,
    version,
    plural,
    async create({ object, user, namespace }: Parameters<VirtualResource["create"]>[0]) {
      const { allowed, reason } = authorizer.authorize(whose(object, user, namespace));
      return { ...object, status: { allowed, ...(reason === "" ? {} : { reason }) } };
    },
  });
  return [
    {
      group: authentication,
      version,
      plural: "tokenreviews",
      create: ({ object }) => reviewToken(options.authentication, object),
    },
    {
      group: authentication,
      version,
      plural: "selfsubjectreviews",
      async create({ object, user }) {
        const now = new Date(options.clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
        const metadata = { ...objectAt(object, "metadata"), creationTimestamp: now };
        return { ...object, metadata, status: { userInfo: userInfoOf(user) } };
      },
    },
    access("subjectaccessreviews", (object) => subjectAttributes(object, "")),
    access("localsubjectaccessreviews", (object, _caller, namespace) => subjectAttributes(object, namespace)),
    access("selfsubjectaccessreviews", (object, caller) => {
      const spec = specOf(object);
      checkKinds(spec);
      return questionOf(spec, caller);
    }),
    {
      group: authorization,
      version,
      plural: "selfsubjectrulesreviews",
      create: async ({ object, user }) => reviewRules(options.rbac, object, user),
    },
  ];
}

async function reviewToken(tokens: Authentication, object: JsonObject): Promise<JsonObject> {
  const spec = specOf(object);
  const token = stringAt(spec, "token");
  if (token === "") throw badRequest("token is required for TokenReview in authentication");
  const identity = await tokens.reviewToken(token, stringsAt(spec, "audiences"));
  if (identity === undefined)
    return { ...object, status: { user: {}, error: "the token is not valid for this server and these audiences" } };
  const status = { authenticated: true, user: userInfoOf(identity.user), audiences: [...identity.audiences] };
  return { ...object, status };
}

function userInfoOf(user: UserInfo): JsonObject {
  const extra = Object.entries(user.extra ?? {}).map(([key, values]): [string, string[]] => [key, [...values]]);
  return {
    username: user.username,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: [...user.groups],
    ...(extra.length === 0 ? {} : { extra: Object.fromEntries(extra) }),
  };
}

/** The question of a (Local)SubjectAccessReview. `namespace` is the path's, empty for the cluster-wide kind. */
function subjectAttributes(object: JsonObject, namespace: string): AuthorizationAttributes {
  const spec = specOf(object);
  checkKinds(spec);
  const username = stringAt(spec, "user");
  const groups = stringsAt(spec, "groups");
  if (username === "" && groups.length === 0)
    throw wrong("spec.user", `Invalid value: "": at least one of user or group must be specified`);
  if (namespace !== "") {
    if (isObject(spec["nonResourceAttributes"]))
      throw wrong("spec.nonResourceAttributes", "Forbidden: disallowed on this kind of request", "FieldValueForbidden");
    const asked = stringAt(objectAt(spec, "resourceAttributes"), "namespace");
    if (asked !== namespace)
      throw wrong(
        "spec.resourceAttributes.namespace",
        `Invalid value: ${JSON.stringify(asked)}: must match metadata.namespace`,
      );
  }
  const uid = stringAt(spec, "uid");
  const extra = Object.keys(objectAt(spec, "extra")).map(
    (key) => [key, stringsAt(objectAt(spec, "extra"), key)] as const,
  );
  return questionOf(spec, {
    username,
    groups,
    ...(uid === "" ? {} : { uid }),
    ...(extra.length === 0 ? {} : { extra: Object.fromEntries(extra) }),
  });
}

function checkKinds(spec: JsonObject): void {
  const [resource, path] = [spec["resourceAttributes"], spec["nonResourceAttributes"]];
  if (isObject(resource) && isObject(path)) {
    const shown = JSON.stringify({ Path: stringAt(path, "path"), Verb: stringAt(path, "verb") });
    throw wrong(
      "spec.nonResourceAttributes",
      `Invalid value: ${shown}: cannot be specified in combination with resourceAttributes`,
    );
  }
  if (!isObject(resource) && !isObject(path))
    throw wrong(
      "spec.resourceAttributes",
      "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
    );
}

function questionOf(spec: JsonObject, user: UserInfo): AuthorizationAttributes {
  const path = spec["nonResourceAttributes"];
  if (isObject(path)) return attributesOf(user, stringAt(path, "verb"), { nonResourcePath: stringAt(path, "path") });
  const asked = objectAt(spec, "resourceAttributes");
  return attributesOf(user, stringAt(asked, "verb"), {
    group: stringAt(asked, "group"),
    version: stringAt(asked, "version"),
    resource: stringAt(asked, "resource"),
    subresource: stringAt(asked, "subresource"),
    namespace: stringAt(asked, "namespace"),
    name: stringAt(asked, "name"),
  });
}

function reviewRules(rbac: RbacAuthorizer, object: JsonObject, user: UserInfo): JsonObject {
  const namespace = stringAt(specOf(object), "namespace");
  if (namespace === "") throw badRequest("no namespace on request");
  const held = rbac.heldBy(user, namespace);
  const everything: Rule = { verbs: ["*"], apiGroups: ["*"], resources: ["*"], resourceNames: [], nonResourceURLs: [] };
  const anyPath: Rule = { verbs: ["*"], apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: ["*"] };
  const rules = user.groups.includes("system:masters") ? [everything, anyPath] : held.rules;
  const ofResources = compact(rules.filter((rule) => rule.nonResourceURLs.length === 0));
  const ofPaths = rules.filter((rule) => rule.nonResourceURLs.length > 0);
  return {
    ...object,
    spec: {},
    status: {
      resourceRules: ofResources.map((rule) => ({
        verbs: [...rule.verbs],
        apiGroups: [...rule.apiGroups],
        resources: [...rule.resources],
        ...(rule.resourceNames.length === 0 ? {} : { resourceNames: [...rule.resourceNames] }),
      })),
      nonResourceRules: ofPaths.map((rule) => ({ verbs: [...rule.verbs], nonResourceURLs: [...rule.nonResourceURLs] })),
      incomplete: held.errors.length > 0,
      ...(held.errors.length === 0 ? {} : { evaluationError: held.errors.join(", ") }),
    },
  };
}

function specOf(object: JsonObject): JsonObject {
  return objectAt(object, "spec");
}

function wrong(field: string, message: string, reason = "FieldValueInvalid") {
  const { status } = invalid({ group: authorization, kind: "" }, "", [{ reason, message, field }]);
  // The kind is left open in these errors, as upstream's are.
  const { kind: _kind, ...details } = status.details ?? {};
  return failure(status.code, status.reason, status.message, details);
}

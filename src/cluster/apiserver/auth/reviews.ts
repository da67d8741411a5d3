import type { Clock } from "../../../kernel/clock/index.js";
import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, failure, invalid } from "../failures.js";
import { isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import type { AuthorizationAttributes, Authorizer, UserInfo, VirtualResource } from "../types.js";
import type { Authentication } from "./authentication.js";
import { attributesOf, type RbacAuthorizer } from "./rbac.js";
import {
  checkEmptyMetadata,
  checkLocalQuestion,
  checkQuestion,
  fieldSelectorOf,
  unusableSelectors,
} from "./review-checks.js";
import { compact } from "./rules.js";

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
      const errors = unusableSelectors(specOf(object));
      return {
        ...object,
        status: {
          allowed,
          ...(reason === "" ? {} : { reason }),
          ...(errors.length === 0 ? {} : { evaluationError: errors.join(", ") }),
        },
      };
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
        const { kind, apiVersion } = object;
        return { kind, apiVersion, metadata: { creationTimestamp: now }, status: { userInfo: userInfoOf(user) } };
      },
    },
    access("subjectaccessreviews", (object) => subjectAttributes(object, "")),
    access("localsubjectaccessreviews", (object, _caller, namespace) => subjectAttributes(object, namespace)),
    access("selfsubjectaccessreviews", (object, caller) => {
      const spec = specOf(object);
      refuse([...checkQuestion(spec, false), ...checkEmptyMetadata(object, false)]);
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
    return { ...object, status: { user: {}, error: await tokens.refusalOf(token, stringsAt(spec, "audiences")) } };
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
  refuse(
    namespace === ""
      ? [...checkQuestion(spec, true), ...checkEmptyMetadata(object, false)]
      : checkLocalQuestion(object, namespace),
  );
  const uid = stringAt(spec, "uid");
  const extra = Object.keys(objectAt(spec, "extra")).map(
    (key) => [key, stringsAt(objectAt(spec, "extra"), key)] as const,
  );
  return questionOf(spec, {
    username: stringAt(spec, "user"),
    groups: stringsAt(spec, "groups"),
    ...(uid === "" ? {} : { uid }),
    ...(extra.length === 0 ? {} : { extra: Object.fromEntries(extra) }),
  });
}

function questionOf(spec: JsonObject, user: UserInfo): AuthorizationAttributes {
  const path = spec["nonResourceAttributes"];
  if (isObject(path)) return attributesOf(user, stringAt(path, "verb"), { nonResourcePath: stringAt(path, "path") });
  const asked = objectAt(spec, "resourceAttributes");
  const fieldSelector = fieldSelectorOf(spec);
  return attributesOf(user, stringAt(asked, "verb"), {
    ...(fieldSelector === undefined ? {} : { fieldSelector }),
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
  const ofResources = compact(held.rules.filter((rule) => rule.nonResourceURLs.length === 0));
  const ofPaths = held.rules.filter((rule) => rule.nonResourceURLs.length > 0);
  const { kind, apiVersion } = object;
  return {
    kind,
    apiVersion,
    metadata: {},
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

/** Throws 422 when there is anything wrong. The kind is left open in these errors, as upstream's are. */
function refuse(causes: readonly StatusCause[]): void {
  if (causes.length === 0) return;
  const { status } = invalid({ group: authorization, kind: "" }, "", causes);
  const { kind: _kind, ...details } = status.details ?? {};
  throw failure(status.code, status.reason, status.message, details);
}

import type { JsonObject } from "../../../kernel/kinds/object.js";
import { accountUser, attributesOf } from "../auth/index.js";
import {
  type AdmissionVariables,
  authorizerValues,
  dynamicValue,
  type Judge,
  namespaceValue,
  requestValue,
} from "../cel/index.js";
import { objectKey } from "../store/keys.js";
import type { AdmissionRequest, Authorizer, Store } from "../types.js";
import { kindOf, optionsOf, shown, userInfoOf } from "./review.js";

/** What the expressions of one request may cost together. */
export const requestBudget = 10_000_000;

/** What expressions are told by. */
export interface Sources {
  readonly store: Store;
  readonly authorizer: Authorizer;
}

/** `object`, `oldObject`, `request`, `namespaceObject` and `authorizer` of a request, made when they are first read. */
export function requestVariables({ store, authorizer }: Sources, request: AdmissionRequest): AdmissionVariables {
  const made = new Map<string, unknown>();
  const once = (name: string, make: () => unknown) => (): unknown => {
    if (!made.has(name)) made.set(name, make());
    return made.get(name);
  };
  const variables = {};
  const makers: Record<string, () => unknown> = {
    object: () => dynamicValue(shown(request.object, request)),
    oldObject: () => dynamicValue(shown(request.old, request)),
    request: () => requestValue(requestOf(request)),
    namespaceObject: () => {
      const namespace = namespaceOf(store, request);
      return namespace === null ? null : namespaceValue(namespace);
    },
    authorizer: () => authorizerValues(judgeOf(authorizer, request)).authorizer,
    "authorizer.requestResource": () => authorizerValues(judgeOf(authorizer, request)).requestResource,
  };
  for (const [name, make] of Object.entries(makers))
    Object.defineProperty(variables, name, { enumerable: true, get: once(name, make) });
  return variables;
}

function judgeOf(authorizer: Authorizer, request: AdmissionRequest): Judge {
  const { type, subresource, namespace, name } = request;
  return {
    requestResource: { group: type.group, resource: type.plural, subresource, namespace, name },
    ask({ verb, path, account, ...about }) {
      const user = account === undefined ? request.user : accountUser(account.namespace, account.name);
      return authorizer.authorize(attributesOf(user, verb, path === undefined ? about : { nonResourcePath: path }));
    },
  };
}

function requestOf(request: AdmissionRequest): JsonObject {
  const { type, subresource, name, namespace, operation, dryRun } = request;
  const kind = kindOf(request);
  const resource = { group: type.group, version: type.version, resource: type.plural };
  // What is empty is not there.
  const texts = { subResource: subresource, requestSubResource: subresource, name, namespace };
  return {
    kind,
    resource,
    requestKind: kind,
    requestResource: resource,
    ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== "")),
    operation,
    userInfo: userInfoOf(request),
    dryRun,
    options: optionsOf(request),
  };
}

function namespaceOf(store: Store, { type, namespace }: AdmissionRequest): JsonObject | null {
  if (!type.namespaced) return null;
  return store.get(objectKey({ group: "", plural: "namespaces" }, "", namespace))?.value ?? null;
}

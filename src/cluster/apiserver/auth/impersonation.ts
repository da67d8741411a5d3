import { badRequest, PlainFailure } from "../failures.js";
import type { ApiRequest, Authorizer, UserInfo } from "../types.js";
import { deniedBy } from "./attributes.js";
import { anonymousUser, serviceAccountGroups } from "./authentication.js";
import { attributesOf } from "./rbac.js";

const extraPrefix = "impersonate-extra-";
/** More values than any real proxy sends; each costs an authorization. */
const maxValues = 256;

/** The user that the impersonation headers ask for, each part of which `user` must be allowed to impersonate; `user` without such headers. */
export function impersonate(request: ApiRequest, user: UserInfo, authorizer: Authorizer): UserInfo {
  const name = request.headers["impersonate-user"] ?? "";
  const groups = valuesOf(request, "impersonate-group");
  const uid = request.headers["impersonate-uid"] ?? "";
  const extra = extrasOf(request);
  if (name === "") {
    if (groups.length === 0 && uid === "" && extra.size === 0) return user;
    throw withoutUser(request, { groups, uid, extra });
  }
  const count = groups.length + [...extra.values()].reduce((sum, values) => sum + values.length, 0);
  if (count > maxValues) throw badRequest(`too many impersonation values: ${count}, at most ${maxValues}`);
  const demand = (what: {
    group?: string;
    resource: string;
    subresource?: string;
    namespace?: string;
    name: string;
  }) => {
    const attributes = attributesOf(user, "impersonate", what);
    const { allowed, reason } = authorizer.authorize(attributes);
    if (!allowed) throw deniedBy(attributes, reason);
  };
  const account = serviceAccountOf(name);
  if (account === undefined) demand({ resource: "users", name });
  else demand({ resource: "serviceaccounts", ...account });
  for (const group of groups) demand({ resource: "groups", name: group });
  for (const [key, values] of extra)
    for (const value of values)
      demand({ group: "authentication.k8s.io", resource: "userextras", subresource: key, name: value });
  if (uid !== "") demand({ group: "authentication.k8s.io", resource: "uids", name: uid });
  return {
    username: name,
    groups: groupsAs(name, groups),
    ...(uid === "" ? {} : { uid }),
    ...(extra.size === 0 ? {} : { extra: Object.fromEntries(extra) }),
  };
}

/** In upstream's words, which show the parts as references: kind, namespace, name, uid, version, resourceVersion, field. */
function withoutUser(
  request: ApiRequest,
  asked: { readonly groups: readonly string[]; readonly uid: string; readonly extra: ReadonlyMap<string, string[]> },
): PlainFailure {
  const version = "authentication.k8s.io/v1";
  const parts = [
    ...asked.groups.map((group) => `{Group  ${group}    }`),
    ...[...asked.extra].flatMap(([key, values]) => values.map((value) => `{UserExtra  ${value}  ${version}  ${key}}`)),
    ...(asked.uid === "" ? [] : [`{UID  ${asked.uid}  ${version}  }`]),
  ];
  const query = request.query.toString();
  const address = JSON.stringify(query === "" ? request.path : `${request.path}?${query}`);
  const why = `requested [${parts.join(" ")}] without impersonating a user`;
  return new PlainFailure(500, "InternalError", `Internal Server Error: ${address}: ${why}\n`);
}

function groupsAs(name: string, groups: readonly string[]): string[] {
  const namespace = serviceAccountOf(name)?.namespace;
  const given = groups.length === 0 && namespace !== undefined ? serviceAccountGroups(namespace) : [...groups];
  const common = name === anonymousUser.username ? "system:unauthenticated" : "system:authenticated";
  return given.includes(common) || given.includes("system:unauthenticated") ? given : [...given, common];
}

function serviceAccountOf(username: string): { namespace: string; name: string } | undefined {
  const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username) ?? [];
  return namespace === undefined || name === undefined ? undefined : { namespace, name };
}

function valuesOf(request: ApiRequest, header: string): readonly string[] {
  const repeated = request.repeatedHeaders?.[header];
  if (repeated !== undefined) return repeated;
  const value = request.headers[header];
  return value === undefined ? [] : [value];
}

function extrasOf(request: ApiRequest): Map<string, string[]> {
  const extra = new Map<string, string[]>();
  for (const header of Object.keys(request.headers)) {
    if (!header.startsWith(extraPrefix)) continue;
    const key = decodeKey(header.slice(extraPrefix.length));
    extra.set(key, [...(extra.get(key) ?? []), ...valuesOf(request, header)]);
  }
  return extra;
}

/** Keys are percent-encoded, as header names may hold no slash; one that is not stays as it is. */
function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

import type { ApiError } from "../../../kernel/errors/index.js";
import { failure, forbidden } from "../failures.js";
import type { ApiRequest, AuthorizationAttributes, RequestInfo, UserInfo } from "../types.js";

/** What is asked of the authorizers about a request. */
export function requestAttributes(
  user: UserInfo,
  info: RequestInfo,
  { query }: Pick<ApiRequest, "query">,
): AuthorizationAttributes {
  const fieldSelector = query.get("fieldSelector");
  const { verb, group, version, resource, subresource, namespace, name, path } = info;
  return {
    ...{ user, verb, group, version, resource, subresource, namespace, name },
    ...(info.isResource ? {} : { nonResourcePath: path }),
    ...(fieldSelector === null ? {} : { fieldSelector }),
  };
}

/** The 403 for a request that no authorizer allows; `reason` is the authorizers' own word, often empty. */
export function deniedBy(attributes: AuthorizationAttributes, reason: string): ApiError {
  const { user, verb, group, resource, subresource, namespace, name, nonResourcePath } = attributes;
  const tail = reason === "" ? "" : `: ${reason}`;
  const who = `User ${JSON.stringify(user.username)}`;
  if (nonResourcePath !== undefined)
    return failure(
      403,
      "Forbidden",
      `forbidden: ${who} cannot ${verb} path ${JSON.stringify(nonResourcePath)}${tail}`,
      {},
    );
  const what = subresource === "" ? resource : `${resource}/${subresource}`;
  const where = namespace === "" ? "at the cluster scope" : `in the namespace ${JSON.stringify(namespace)}`;
  const sentence = `${who} cannot ${verb} resource ${JSON.stringify(what)} in API group ${JSON.stringify(group)} ${where}`;
  return forbidden({ group, plural: resource }, name, sentence + tail);
}

/**
 * Who sends a request and what they may do. In: requests, the store (roles, bindings, pods, accounts). Out: users,
 * decisions, 401 and 403 errors, the review kinds. May use: kernel identity, the API server's store and types.
 *
 * The request line: `user = await authentication.identify(request, authorizer)`, then
 * `authorizer.authorize(attributes)`, and `throw deniedBy(attributes, reason)` where it says no.
 */
import type { Clock } from "../../../kernel/clock/index.js";
import type { ServiceAccountTokens } from "../../../kernel/identity/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import type {
  AdmissionPlugin,
  ApiRequest,
  ApiResponse,
  Authorizer,
  Store,
  UserInfo,
  VirtualResource,
} from "../types.js";
import { type Authentication, createAuthentication } from "./authentication.js";
import { escalationGuard } from "./escalation.js";
import { issuerDiscovery } from "./issuer-discovery.js";
import { createNodeAuthorizer } from "./node-authorizer.js";
import { type AuthenticationConfig, createJwtAuthenticator } from "./oidc/index.js";
import { anyOf, createRbacAuthorizer } from "./rbac.js";
import { reviewResources } from "./reviews.js";
import { createStanding, type Standing } from "./standing.js";

export { deniedBy, requestAttributes } from "./attributes.js";
export { type Authentication, accountUser } from "./authentication.js";
export { bootstrapRoles } from "./bootstrap-roles.js";
export { isPodOn, nodeNameOf } from "./node-authorizer.js";
export { follow, lookUp } from "./objects.js";
export { type AuthenticationConfig, ownIssuer, readAuthenticationConfig } from "./oidc/index.js";
export { attributesOf } from "./rbac.js";
export type { Standing } from "./standing.js";

export interface AuthOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Bearer tokens that are valid as long as the server runs. */
  readonly tokens: readonly { readonly token: string; readonly user: UserInfo }[];
  readonly serviceAccountTokens: ServiceAccountTokens;
  readonly log: Logger;
  /** Issuers whose tokens count, and whether anonymous requests do; default: none, and they do. */
  readonly config?: AuthenticationConfig;
}

/** Everything about identity that an API server is assembled from. */
export interface Auth {
  readonly authentication: Authentication;
  /** system:masters, nodes, RBAC. */
  readonly authorizer: Authorizer;
  /** Ends what outlives the right to it. */
  readonly standing: Standing;
  /** TokenReview, SelfSubjectReview, SubjectAccessReview and its kin. */
  readonly virtualResources: readonly VirtualResource[];
  /** OpenID Connect discovery of ServiceAccount tokens. */
  readonly answerPath: (request: ApiRequest) => ApiResponse | undefined;
  /** Checks on writes of roles and bindings. */
  readonly admission: readonly AdmissionPlugin[];
  close(): void;
}

/** Authenticators, authorizers and the kinds that ask them, over one store. */
export function createAuth(options: AuthOptions): Auth {
  const { store, clock } = options;
  const { issuers = [], anonymous } = options.config ?? {};
  const authentication = createAuthentication({
    ...options,
    ...(issuers.length === 0 ? {} : { jwt: createJwtAuthenticator(issuers, options) }),
    ...(anonymous === undefined ? {} : { anonymous }),
  });
  const rbac = createRbacAuthorizer(store);
  const nodes = createNodeAuthorizer(store);
  const authorizer = anyOf([nodes, rbac]);
  const standing = createStanding(store, authorizer, clock);
  return {
    authentication,
    authorizer,
    standing,
    virtualResources: reviewResources({ authentication, authorizer, rbac, clock }),
    answerPath: issuerDiscovery(options.serviceAccountTokens),
    admission: [escalationGuard(rbac, authorizer)],
    close() {
      standing.close();
      rbac.close();
      nodes.close();
    },
  };
}

import { fingerprintOf, type ServiceAccountClaims, type ServiceAccountTokens } from "../../../kernel/identity/index.js";
import { unauthorized } from "../failures.js";
import { objectAt, stringAt } from "../fields.js";
import type { ApiRequest, Authenticator, Authorizer, Store, UserInfo } from "../types.js";
import { impersonate } from "./impersonation.js";
import { lookUp } from "./objects.js";
import type { AnonymousAccess, JwtAuthenticator } from "./oidc/index.js";
import { quoteList } from "./rules.js";

export const anonymousUser: UserInfo = { username: "system:anonymous", groups: ["system:unauthenticated"] };

export interface AuthenticationOptions {
  readonly store: Store;
  readonly tokens: readonly { readonly token: string; readonly user: UserInfo }[];
  readonly serviceAccountTokens: ServiceAccountTokens;
  /** Audiences by which this API server goes; default: the issuer. */
  readonly audiences?: readonly string[];
  /** Judges tokens of other issuers; absent: there are none. */
  readonly jwt?: JwtAuthenticator;
  /** Default: requests without credentials are let in as `system:anonymous`. */
  readonly anonymous?: AnonymousAccess;
}

/** A token that was accepted, and for which of the wanted audiences. */
export interface TokenIdentity {
  readonly user: UserInfo;
  readonly audiences: readonly string[];
}

export interface Authentication extends Authenticator {
  /** Who sends this request; anonymous without credentials. Throws 401 for bad ones. Impersonation is not applied. */
  authenticate(request: ApiRequest): Promise<UserInfo>;
  /** `authenticate`, then impersonation headers, each of which `authorizer` must allow; `seen` is told who sends it before that. Throws 401, 403. */
  identify(request: ApiRequest, authorizer: Authorizer, seen?: (user: UserInfo) => void): Promise<UserInfo>;
  /** Who a bearer token is; `undefined` when it is not valid for any of `audiences` (empty: this server's own). */
  reviewToken(token: string, audiences: readonly string[]): Promise<TokenIdentity | undefined>;
  /** Why `reviewToken` knows nobody by that token, as far as whoever asks may know. */
  refusalOf(token: string, audiences: readonly string[]): Promise<string>;
  readonly audiences: readonly string[];
}

/**
 * Who the holders of tokens are that never change. These are looked up by hash, so that the comparison's time says nothing about any; one that was
 * right before is found by itself, which tells whoever sends another one nothing either.
 */
function fixedUsers(tokens: AuthenticationOptions["tokens"]): (token: string) => UserInfo | undefined {
  const fixed = new Map(tokens.map(({ token, user }) => [fingerprintOf(token), authenticated(user)]));
  const shown = new Map<string, UserInfo>();
  return (token) => {
    const before = shown.get(token);
    if (before !== undefined || token.length > 4096) return before;
    const user = fixed.get(fingerprintOf(token));
    if (user !== undefined) shown.set(token, user);
    return user;
  };
}

/** The authenticators in order: client certificate, bearer token (header or WebSocket subprotocol), anonymous. */
export function createAuthentication(options: AuthenticationOptions): Authentication {
  const { store, serviceAccountTokens } = options;
  const own = options.audiences ?? [serviceAccountTokens.issuer];
  const fixedUser = fixedUsers(options.tokens);

  const reviewToken = async (token: string, audiences: readonly string[]): Promise<TokenIdentity | undefined> => {
    if (token === "") return undefined;
    const wanted = audiences.length === 0 ? own : audiences;
    const known = fixedUser(token);
    if (known !== undefined) return accepted(known, wanted, own);
    const claims = await serviceAccountTokens.verify(token);
    if (claims !== undefined)
      return stillLives(store, claims) ? accepted(serviceAccountUser(claims), wanted, claims.audiences) : undefined;
    const foreign = await options.jwt?.verify(token);
    return foreign === undefined ? undefined : accepted(authenticated(foreign), wanted, own);
  };
  const ownUser = (token: string, request: ApiRequest): UserInfo | undefined =>
    request.remoteAddress === undefined ? fixedUser(token) : undefined;
  const authenticate = async (request: ApiRequest): Promise<UserInfo> => {
    const certificate = request.clientCertificate;
    if (certificate !== undefined && certificate.commonName !== "") {
      const { commonName, organizations, fingerprint } = certificate;
      const extra = { "authentication.kubernetes.io/credential-id": [`X509SHA256=${fingerprint ?? ""}`] };
      const user = { username: commonName, groups: organizations };
      return authenticated(fingerprint === undefined ? user : { ...user, extra });
    }
    const token = bearerTokenOf(request);
    if (token === undefined) {
      // Whoever shows credentials is not anonymous.
      if (request.hasStrangeCertificate === true) throw unauthorized();
      if (!letsInAnonymous(options.anonymous, request.path)) throw unauthorized();
      return anonymousUser;
    }
    const user = ownUser(token, request);
    if (user !== undefined) return user;
    const identity = await reviewToken(token, own);
    if (identity === undefined) throw unauthorized();
    return identity.user;
  };
  return {
    audiences: own,
    reviewToken,
    async refusalOf(token, audiences) {
      const wanted = audiences.length === 0 ? own : audiences;
      const claims = await serviceAccountTokens.verify(token);
      if (claims === undefined || !stillLives(store, claims)) return "invalid bearer token";
      const targets = `is invalid for the target audiences ${quoteList(wanted)}`;
      return `[invalid bearer token, token audiences ${quoteList(claims.audiences)} ${targets}]`;
    },
    authenticate,
    async identify(request, authorizer, seen) {
      const user = await authenticate(request);
      seen?.(user);
      return impersonate(request, user, authorizer);
    },
  };
}

/** Adds the group that all who showed credentials are in. */
export function authenticated(user: UserInfo): UserInfo {
  return user.groups.includes("system:authenticated")
    ? user
    : { ...user, groups: [...user.groups, "system:authenticated"] };
}

function letsInAnonymous(access: AnonymousAccess | undefined, path: string): boolean {
  return access === undefined || (access.enabled && (access.paths?.includes(path) ?? true));
}

/** A ServiceAccount as the user that its tokens make. */
export function accountUser(namespace: string, name: string): UserInfo {
  const groups = serviceAccountGroups(namespace);
  return authenticated({ username: `system:serviceaccount:${namespace}:${name}`, groups });
}

/** Groups of a ServiceAccount. */
export function serviceAccountGroups(namespace: string): string[] {
  return ["system:serviceaccounts", `system:serviceaccounts:${namespace}`];
}

function accepted(user: UserInfo, wanted: readonly string[], valid: readonly string[]): TokenIdentity | undefined {
  const audiences = wanted.filter((audience) => valid.includes(audience));
  return audiences.length === 0 ? undefined : { user, audiences };
}

/** Token of `Authorization: Bearer x`, or of the WebSocket subprotocol by which browsers send it. */
function bearerTokenOf(request: ApiRequest): string | undefined {
  const match = /^bearer +(\S+)\s*$/i.exec(request.headers["authorization"] ?? "");
  if (match?.[1] !== undefined) return match[1];
  const prefix = "base64url.bearer.authorization.k8s.io.";
  const protocols = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((item) => item.trim());
  const encoded = protocols.find((protocol) => protocol.startsWith(prefix))?.slice(prefix.length);
  return encoded === undefined ? undefined : Buffer.from(encoded, "base64url").toString("utf8");
}

/** A token dies with its ServiceAccount, pod, secret or node: each must be there with the uid that the token names. */
function stillLives(store: Store, claims: ServiceAccountClaims): boolean {
  const { namespace } = claims;
  const isThere = (plural: string, object: { name: string; uid: string } | undefined, scope = namespace) => {
    if (object === undefined) return true;
    const found = lookUp(store, "", plural, { namespace: scope, name: object.name });
    if (found === undefined) return false;
    return stringAt(objectAt(found, "metadata"), "uid") === object.uid;
  };
  return (
    isThere("serviceaccounts", claims.serviceAccount) &&
    isThere("pods", claims.pod) &&
    isThere("secrets", claims.secret) &&
    // A node claim beside a pod is information; alone it is a binding.
    (claims.pod !== undefined || isThere("nodes", claims.node, ""))
  );
}

function serviceAccountUser(claims: ServiceAccountClaims): UserInfo {
  const extra: Record<string, string[]> = { "authentication.kubernetes.io/credential-id": [`JTI=${claims.id}`] };
  const add = (what: "node" | "pod", object: { name: string; uid: string } | undefined) => {
    if (object === undefined) return;
    extra[`authentication.kubernetes.io/${what}-name`] = [object.name];
    extra[`authentication.kubernetes.io/${what}-uid`] = [object.uid];
  };
  add("node", claims.node);
  add("pod", claims.pod);
  return authenticated({
    username: `system:serviceaccount:${claims.namespace}:${claims.serviceAccount.name}`,
    uid: claims.serviceAccount.uid,
    groups: serviceAccountGroups(claims.namespace),
    extra,
  });
}

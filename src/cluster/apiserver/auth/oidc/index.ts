/**
 * Tokens of other issuers (OIDC). In: an AuthenticationConfiguration, bearer tokens. Out: users, or nobody. May use: the API
 * server's config, cel and types; kernel clock and log; jose; HTTPS to the issuers.
 */
import { createHash } from "node:crypto";
import { decodeJwt, decodeProtectedHeader, errors as joseErrors, jwtVerify } from "jose";
import type { Clock } from "../../../../kernel/clock/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import type { Logger } from "../../../../kernel/log/index.js";
import { toJsonObject } from "../../../../kernel/schema/index.js";
import type { UserInfo } from "../../types.js";
import type { JwtIssuer } from "./config.js";
import { type IssuerKey, IssuerKeys } from "./keys.js";

export {
  type AnonymousAccess,
  type AuthenticationConfig,
  type JwtIssuer,
  ownIssuer,
  parseAuthenticationConfig,
  readAuthenticationConfig,
} from "./config.js";

/** Signatures with public keys only: with a shared secret, whoever knows the published key could sign. */
const algorithms = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"];
const maxTokenBytes = 16_384;
/** Clocks of issuers may be ahead this much. */
const notBeforeLeewaySeconds = 300;
/** A token is looked at again after this: its key may have been withdrawn. */
const rememberMs = 10_000;
const maxRemembered = 4096;

/** Judges bearer tokens that are not the cluster's own. */
export interface JwtAuthenticator {
  /** Who it is; `undefined` for a token that no issuer vouches for. */
  verify(token: string): Promise<UserInfo | undefined>;
}

/** An authenticator for these issuers. */
export function createJwtAuthenticator(
  issuers: readonly JwtIssuer[],
  surroundings: { readonly clock: Clock; readonly log: Logger },
): JwtAuthenticator {
  const { clock, log } = surroundings;
  const known = new Map(issuers.map((issuer) => [issuer.url, { issuer, keys: new IssuerKeys(issuer, surroundings) }]));
  const remembered = new Map<string, { readonly user: UserInfo; readonly until: number }>();
  return {
    async verify(token) {
      if (token.length > maxTokenBytes) return undefined;
      const head = headOf(token);
      const found = head === undefined ? undefined : known.get(head.issuer);
      if (head === undefined || found === undefined || !algorithms.includes(head.alg)) return undefined;
      const hash = createHash("sha256").update(token).digest("base64");
      const before = remembered.get(hash);
      if (before !== undefined && before.until > clock.now()) return before.user;
      remembered.delete(hash);
      const claims = await checkSignature(token, await found.keys.find(head), { issuer: found.issuer, clock });
      if (claims === undefined) return undefined;
      const verdict = found.issuer.claims(claims);
      if ("refused" in verdict) {
        log.info("a token was refused", { issuer: found.issuer.url, why: verdict.refused });
        return undefined;
      }
      const until = Math.min(clock.now() + rememberMs, Number(claims["exp"]) * 1000);
      remember(remembered, hash, { user: verdict.user, until });
      return verdict.user;
    },
  };
}

function headOf(token: string): { readonly alg: string; readonly kid?: string; readonly issuer: string } | undefined {
  try {
    const { alg, kid, crit } = decodeProtectedHeader(token);
    const { iss } = decodeJwt(token);
    if (typeof alg !== "string" || typeof iss !== "string" || crit !== undefined) return undefined;
    return { alg, issuer: iss, ...(typeof kid === "string" ? { kid } : {}) };
  } catch {
    return undefined;
  }
}

/** The claims, if one of the keys signed them and their times and audience are good. */
async function checkSignature(
  token: string,
  keys: readonly IssuerKey[],
  { issuer, clock }: { readonly issuer: JwtIssuer; readonly clock: Clock },
): Promise<JsonObject | undefined> {
  const now = clock.now();
  for (const { key } of keys) {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms,
        issuer: issuer.url,
        audience: [...issuer.audiences],
        requiredClaims: ["exp", "aud"],
        currentDate: new Date(now),
        clockTolerance: notBeforeLeewaySeconds,
      });
      // The leeway is for the beginning alone.
      return typeof payload.exp === "number" && payload.exp * 1000 > now ? toJsonObject(payload) : undefined;
    } catch (error) {
      if (!(error instanceof joseErrors.JOSEError || error instanceof TypeError)) throw error;
    }
  }
  return undefined;
}

/** The oldest entry makes room. */
function remember<T>(remembered: Map<string, T>, hash: string, entry: T): void {
  if (remembered.size >= maxRemembered) {
    const oldest = remembered.keys().next();
    if (oldest.done !== true) remembered.delete(oldest.value);
  }
  remembered.set(hash, entry);
}

/**
 * Who is who: certificates, ServiceAccount tokens and plain bearer tokens of a cluster.
 * In: a directory (0600 files), clock and chance. Out: PEM pairs, signed tokens, checked claims.
 * May use: kernel clock, errors, files, log; node:crypto and jose. Knows nothing of requests or stores.
 */
export { type Authority, createAuthority, loadAuthority, needsRenewal, openAuthority } from "./authority.js";
export { type KeptCertificate, keepCertificate } from "./renewal.js";
export { constantTimeEqual, fingerprintOf, keepToken, randomToken } from "./secrets.js";
export {
  type BoundObject,
  openServiceAccountTokens,
  type ServiceAccountClaims,
  type ServiceAccountTokens,
} from "./service-account-tokens.js";

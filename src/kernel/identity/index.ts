/**
 * Who is who: certificates, ServiceAccount tokens and plain bearer tokens of a cluster.
 * In: a directory (0600 files), clock and chance. Out: PEM pairs, signed tokens, checked claims.
 * May use: kernel clock, errors, log; node:crypto and jose. Knows nothing of requests or stores.
 */
export {
  type Authority,
  type AuthorityOptions,
  createAuthority,
  fingerprintOfCertificate,
  type IssuedCertificate,
  loadAuthority,
  needsRenewal,
  openAuthority,
} from "./authority.js";
export { IdentityError } from "./errors.js";
export { readSecretFile, writeSecretFile } from "./files.js";
export { type KeptCertificate, type KeptCertificateOptions, keepCertificate } from "./renewal.js";
export { constantTimeEqual, fingerprintOf, keepToken, randomToken } from "./secrets.js";
export {
  type BoundObject,
  openServiceAccountTokens,
  type ServiceAccountClaims,
  type ServiceAccountTokens,
  type TokenDraft,
} from "./service-account-tokens.js";

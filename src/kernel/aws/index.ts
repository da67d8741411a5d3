/**
 * Amazon's Signature Version 4. In: a request and keys. Out: its headers signed, or what a server holds them against. May use: nothing but
 * Node's cryptography, because programs that pods wait for load it.
 */

export {
  awsEncode,
  EMPTY_SHA256,
  hmac,
  type Scope,
  type Signable,
  scopeText,
  sha256Hex,
  signatureOf,
  signingKey,
} from "./signature.js";
export { type AwsKeys, type SignedBy, type SignedRequest, signedHeaders } from "./signed-headers.js";

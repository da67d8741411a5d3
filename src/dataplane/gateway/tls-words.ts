/** What TLS calls failures of a backend's certificate that an operator would call otherwise. */
const UNTRUSTED = new Set([
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
]);

/** A failure of TLS towards a backend, in words and in one line. */
export function describeTlsFailure(error: Error): Error {
  const code = "code" in error ? String(error.code) : "";
  if (UNTRUSTED.has(code))
    return new Error(`its certificate is of no authority that is trusted (${error.message})`, { cause: error });
  // OpenSSL's own: place, library, function, what it was.
  const [, said] = /:SSL routines:[^:]*:([^:\n]+)/.exec(error.message) ?? [];
  if (said === undefined) return error;
  const isPlain = /wrong version number|packet length too long|http request/.test(said);
  const words = isPlain ? "it does not speak TLS" : "TLS was refused";
  return new Error(`${words} (${said})`, { cause: error });
}

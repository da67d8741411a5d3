/** Whom the router trusts of services that are asked over https. */
import { X509Certificate } from "node:crypto";
import { type ConnectionOptions, createSecureContext, rootCertificates } from "node:tls";
import { InputError } from "../../kernel/errors/index.js";

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
/** More than all public authorities together. */
const MAX_BYTES = 1 << 20;

/** What is wrong with a bundle of authorities in PEM; `undefined`: nothing. */
export function bundleFault(pem: string): string | undefined {
  if (pem.length > MAX_BYTES) return `is longer than ${MAX_BYTES} bytes`;
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length === 0) return "holds no certificate in PEM";
  const wrong = blocks.findIndex((block) => !isCertificate(block));
  return wrong < 0 ? undefined : `certificate ${wrong + 1} of ${blocks.length} in it cannot be read`;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}

/** Trust in the public authorities, and in those of a bundle. Throws `InputError`. */
export function trustWith(pem: string, what: string): ConnectionOptions {
  const fault = bundleFault(pem);
  if (fault !== undefined) throw new InputError(`${what} ${fault}`);
  // Once for all connections: reading the public ones takes milliseconds.
  return { secureContext: createSecureContext({ ca: [...rootCertificates, ...(pem.match(BLOCK) ?? [])] }) };
}

import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Clock } from "../clock/types.js";
import { messageOf } from "../errors/index.js";
import { type CertificateIssuer, signCertificate } from "./certificate.js";
import { IdentityError } from "./errors.js";
import { readSecretFile, writeSecretFile } from "./files.js";

/** A certificate with its private key (PKCS #8), both PEM. */
export interface IssuedCertificate {
  readonly certPem: string;
  readonly keyPem: string;
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
}

export interface IssueOptions {
  /** Default: one year. Never beyond the authority's own end. */
  readonly validityMs?: number;
}

/** A cluster's certificate authority (EC P-256). */
export interface Authority {
  readonly caPem: string;
  /** SHA-256 over the DER certificate, upper-case hex with colons. */
  readonly fingerprint: string;
  readonly notAfterMs: number;
  /** For a TLS server that answers under these DNS names and IP addresses. */
  issueServer(names: readonly string[], options?: IssueOptions & { commonName?: string }): Promise<IssuedCertificate>;
  /** For a client: CN is the user, O are the groups. */
  issueClient(user: string, groups: readonly string[], options?: IssueOptions): Promise<IssuedCertificate>;
}

export interface AuthorityOptions {
  readonly clock: Clock;
  /** Common name of a new authority. */
  readonly name: string;
  /** Where `ca.crt` and `ca.key` are kept (0600); absent: in memory only. */
  readonly directory?: string;
}

const dayMs = 86_400_000;
/** Clocks of a fleet differ: certificates are valid from an hour ago. */
const backdateMs = 3_600_000;
const newKeyPair = promisify(generateKeyPair);

/** Loads the authority of `directory`; makes and keeps a new one when there is none. */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  if (options.directory === undefined) return createAuthority(options);
  return (await loadAuthority(options.directory, options.clock)) ?? createAuthority(options);
}

/** Makes a new authority, valid for ten years. The key is written before the certificate: only a whole pair is ever loaded. */
export async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const keys = await newKeyPair("ec", { namedCurve: "P-256" });
  const now = options.clock.now();
  const issuer: CertificateIssuer = { commonName: options.name, ...keys };
  const caPem = signCertificate(
    {
      commonName: options.name,
      publicKey: keys.publicKey,
      notBeforeMs: now - backdateMs,
      notAfterMs: now + 3653 * dayMs,
      use: "authority",
    },
    issuer,
  );
  if (options.directory !== undefined) {
    await writeSecretFile(join(options.directory, "ca.key"), exportKey(keys.privateKey));
    await writeSecretFile(join(options.directory, "ca.crt"), caPem);
  }
  return authorityFrom(caPem, issuer, options.clock);
}

/** The authority kept in `directory`; `undefined` when there is none. Throws `IdentityError` for files that cannot be used. */
export async function loadAuthority(directory: string, clock: Clock): Promise<Authority | undefined> {
  const caPem = await readSecretFile(join(directory, "ca.crt"));
  if (caPem === undefined) return undefined;
  const keyPem = await readSecretFile(join(directory, "ca.key"));
  if (keyPem === undefined)
    throw new IdentityError(
      `${join(directory, "ca.key")} is missing; restore it, or remove ca.crt to start a new authority`,
    );
  let certificate: X509Certificate;
  let privateKey: KeyObject;
  try {
    certificate = new X509Certificate(caPem);
    privateKey = createPrivateKey(keyPem);
  } catch (error) {
    throw new IdentityError(`the authority in ${directory} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  if (!certificate.checkPrivateKey(privateKey))
    throw new IdentityError(`ca.crt and ca.key in ${directory} do not belong together; restore both from one backup`);
  const commonName = /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? "";
  return authorityFrom(caPem, { commonName, privateKey, publicKey: createPublicKey(privateKey) }, clock);
}

/** Whether less than a third of a certificate's life is left, or it does not name all of `names`. */
export function needsRenewal(certPem: string, nowMs: number, names: readonly string[] = []): boolean {
  const certificate = new X509Certificate(certPem);
  const from = Date.parse(certificate.validFrom);
  const until = Date.parse(certificate.validTo);
  if (until - nowMs < (until - from) / 3) return true;
  const named = new Set(certificate.subjectAltName?.split(", "));
  return names.some((name) => (isIP(name) === 0 ? !named.has(`DNS:${name}`) : certificate.checkIP(name) === undefined));
}

function authorityFrom(caPem: string, issuer: CertificateIssuer, clock: Clock): Authority {
  const certificate = new X509Certificate(caPem);
  const notAfterMs = Date.parse(certificate.validTo);
  const issue = async (
    about: {
      commonName: string;
      organizations?: readonly string[];
      names?: readonly string[];
      use: "server" | "client";
    },
    validityMs = 365 * dayMs,
  ): Promise<IssuedCertificate> => {
    const keys = await newKeyPair("ec", { namedCurve: "P-256" });
    const now = clock.now();
    const end = Math.min(now + validityMs, notAfterMs);
    const template = { ...about, publicKey: keys.publicKey, notBeforeMs: now - backdateMs, notAfterMs: end };
    return { certPem: signCertificate(template, issuer), keyPem: exportKey(keys.privateKey), notAfterMs: end };
  };
  return {
    caPem,
    fingerprint: certificate.fingerprint256,
    notAfterMs,
    issueServer: (names, options = {}) =>
      issue({ commonName: options.commonName ?? names[0] ?? "server", names, use: "server" }, options.validityMs),
    issueClient: (user, groups, options = {}) =>
      issue({ commonName: user, organizations: groups, use: "client" }, options.validityMs),
  };
}

function exportKey(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

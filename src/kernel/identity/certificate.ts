import { createHash, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";
import * as der from "./der.js";

/** What a certificate is to say. */
export interface CertificateTemplate {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly publicKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly use: "authority" | "server" | "client";
  /** DNS names and IP addresses (subjectAltName). */
  readonly names?: readonly string[];
}

/** Who signs; for an authority's own certificate, itself. */
export interface CertificateIssuer {
  readonly commonName: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

const oids = {
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** Signs an X.509 v3 certificate (RFC 5280) with an EC key; returns it as PEM. */
export function signCertificate(template: CertificateTemplate, issuer: CertificateIssuer): string {
  const algorithm = der.sequence(der.objectIdentifier(oids.ecdsaWithSha256));
  const body = der.sequence(
    der.explicit(0, der.unsignedInteger(Buffer.from([2]))),
    der.unsignedInteger(serialNumber()),
    algorithm,
    distinguishedName(issuer.commonName, []),
    der.sequence(der.time(template.notBeforeMs), der.time(template.notAfterMs)),
    distinguishedName(template.commonName, template.organizations ?? []),
    template.publicKey.export({ type: "spki", format: "der" }),
    der.explicit(3, der.sequence(...extensions(template, issuer))),
  );
  const signature = sign("sha256", body, issuer.privateKey);
  return toPem(der.sequence(body, algorithm, der.bitString(signature)));
}

/** 127 random bits, positive (CA/Browser baseline: at least 64). */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function distinguishedName(commonName: string, organizations: readonly string[]): Buffer {
  const attribute = (oid: string, text: string) =>
    der.set(der.sequence(der.objectIdentifier(oid), der.utf8String(text)));
  return der.sequence(
    ...organizations.map((organization) => attribute(oids.organization, organization)),
    attribute(oids.commonName, commonName),
  );
}

function extensions(template: CertificateTemplate, issuer: CertificateIssuer): Buffer[] {
  const isAuthority = template.use === "authority";
  const list = [
    extension(oids.basicConstraints, der.sequence(...(isAuthority ? [der.boolean(true)] : [])), true),
    // digitalSignature, or keyCertSign + cRLSign + digitalSignature
    extension(
      oids.keyUsage,
      isAuthority ? der.bitString(Buffer.from([0x86]), 1) : der.bitString(Buffer.from([0x80]), 7),
      true,
    ),
    extension(oids.subjectKeyIdentifier, der.octetString(keyIdentifier(template.publicKey))),
    extension(oids.authorityKeyIdentifier, der.sequence(der.implicit(0, keyIdentifier(issuer.publicKey)))),
  ];
  if (!isAuthority) {
    const usage = template.use === "server" ? oids.serverAuth : oids.clientAuth;
    list.push(extension(oids.extendedKeyUsage, der.sequence(der.objectIdentifier(usage))));
  }
  if (template.names !== undefined && template.names.length > 0)
    list.push(extension(oids.subjectAltName, der.sequence(...template.names.map(generalName))));
  return list;
}

function extension(oid: string, value: Buffer, critical = false): Buffer {
  return der.sequence(der.objectIdentifier(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(value));
}

function generalName(name: string): Buffer {
  const family = isIP(name);
  if (family === 4) return der.implicit(7, Buffer.from(name.split(".").map(Number)));
  if (family === 6) return der.implicit(7, ipv6Bytes(name));
  return der.implicit(2, Buffer.from(name, "ascii"));
}

function ipv6Bytes(address: string): Buffer {
  // The URL parser writes every form (embedded IPv4, zeros) as plain hexadecimal groups.
  const plain = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = "", tail] = plain.split("::");
  const groups = (text: string) => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

/** SHA-1 of the public point (RFC 5280 §4.2.1.2, method 1): a name, not a protection. */
function keyIdentifier(key: KeyObject): Buffer {
  // An EC P-256 SubjectPublicKeyInfo ends with the 65 bytes of the uncompressed point.
  const point = key.export({ type: "spki", format: "der" }).subarray(-65);
  return createHash("sha1").update(point).digest();
}

function toPem(bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

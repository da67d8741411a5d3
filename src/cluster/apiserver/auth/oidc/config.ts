import { createPublicKey, X509Certificate } from "node:crypto";
import { messageOf } from "../../../../kernel/errors/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asObjects } from "../../../../kernel/schema/index.js";
import { ConfigFaults, parseConfig, readConfig } from "../../config/index.js";
import { objectAt, stringAt, stringsAt } from "../../fields.js";
import { type ClaimRules, compileClaims } from "./claims.js";
import { authenticationShape } from "./shape.js";

/** One issuer whose tokens are accepted, and what its claims mean. */
export interface JwtIssuer {
  readonly url: string;
  /** Where the discovery document is. */
  readonly discoveryUrl: string;
  /** PEM of the CAs that its server's certificate may come from; absent: the ones that Node.js trusts. */
  readonly caPem?: string;
  /** One of them must be among the token's. */
  readonly audiences: readonly string[];
  readonly claims: ClaimRules;
}

/** Whether requests without credentials are let in as `system:anonymous`. */
export interface AnonymousAccess {
  readonly enabled: boolean;
  /** Paths for which they are; absent: all. */
  readonly paths?: readonly string[];
}

/** What an AuthenticationConfiguration says. */
export interface AuthenticationConfig {
  readonly issuers: readonly JwtIssuer[];
  readonly anonymous?: AnonymousAccess;
}

/** Issuers that nobody else may be: the cluster's own. */
export const ownIssuer = "https://kubernetes.default.svc.cluster.local";

/** Reads an AuthenticationConfiguration (apiserver.config.k8s.io). Throws `InputError` with file and field. */
export async function readAuthenticationConfig(file: string): Promise<AuthenticationConfig> {
  return interpret(file, await readConfig(file, authenticationShape));
}

/** The same for a text; `file` is for messages. Throws `InputError`. */
export function parseAuthenticationConfig(file: string, text: string): AuthenticationConfig {
  return interpret(file, parseConfig(file, text, authenticationShape));
}

function interpret(file: string, config: JsonObject): AuthenticationConfig {
  const faults = new ConfigFaults(file);
  const seen = new Map<string, string>();
  const issuers = asObjects(config["jwt"]).map((jwt, index) => issuerOf(jwt, `jwt[${index}]`, { faults, seen }));
  const anonymous = objectAt(config, "anonymous");
  const paths = asObjects(anonymous["conditions"]).map((condition) => stringAt(condition, "path"));
  if (anonymous["enabled"] === false && paths.length > 0)
    faults.add("anonymous.conditions", "only make sense where anonymous.enabled is true");
  faults.check();
  return {
    issuers,
    ...(config["anonymous"] === undefined
      ? {}
      : { anonymous: { enabled: anonymous["enabled"] === true, ...(paths.length === 0 ? {} : { paths }) } }),
  };
}

interface Checks {
  readonly faults: ConfigFaults;
  /** URLs that were given before, with their fields. */
  readonly seen: Map<string, string>;
}

function issuerOf(jwt: JsonObject, field: string, checks: Checks): JwtIssuer {
  const { faults } = checks;
  const issuer = objectAt(jwt, "issuer");
  const url = stringAt(issuer, "url");
  checkUrl(url, `${field}.issuer.url`, checks);
  if (url === ownIssuer) faults.add(`${field}.issuer.url`, "is the issuer of this cluster's own ServiceAccount tokens");
  const discovery = stringAt(issuer, "discoveryURL");
  if (discovery !== "") {
    if (discovery.replace(/\/$/, "") === url.replace(/\/$/, ""))
      faults.add(`${field}.issuer.discoveryURL`, "must be another URL than issuer.url; leave it out otherwise");
    else checkUrl(discovery, `${field}.issuer.discoveryURL`, checks);
  }
  if (stringAt(issuer, "egressSelectorType") !== "")
    faults.add(`${field}.issuer.egressSelectorType`, "there are no egress selectors here; leave it out");
  const audiences = stringsAt(issuer, "audiences");
  const repeated = audiences.find((audience, index) => audiences.indexOf(audience) !== index);
  if (repeated !== undefined) faults.add(`${field}.issuer.audiences`, `${JSON.stringify(repeated)} is given twice`);
  if (audiences.length > 1 && stringAt(issuer, "audienceMatchPolicy") === "")
    faults.add(`${field}.issuer.audienceMatchPolicy`, "must be MatchAny where there are several audiences");
  const caPem = stringAt(issuer, "certificateAuthority");
  if (caPem !== "") checkCertificates(caPem, `${field}.issuer.certificateAuthority`, faults);
  return {
    url,
    discoveryUrl: discovery === "" ? `${url.replace(/\/$/, "")}/.well-known/openid-configuration` : discovery,
    ...(caPem === "" ? {} : { caPem }),
    audiences,
    claims: compileClaims(jwt, field, faults),
  };
}

function checkUrl(url: string, field: string, { faults, seen }: Checks): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || parsed.protocol !== "https:") faults.add(field, "must be an https URL");
  else if (parsed.username !== "" || parsed.password !== "") faults.add(field, "must not hold a user or password");
  else if (parsed.search !== "" || parsed.hash !== "" || /[?#]/.test(url))
    faults.add(field, "must hold neither query nor fragment");
  const before = seen.get(url);
  if (before !== undefined) faults.add(field, `is the same as ${before}`);
  seen.set(url, field);
}

function checkCertificates(pem: string, field: string, faults: ConfigFaults): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) faults.add(field, "holds no certificate in PEM form (the certificates themselves, no path)");
  for (const block of blocks) {
    try {
      createPublicKey(new X509Certificate(block).publicKey.export({ type: "spki", format: "pem" }));
    } catch (error) {
      faults.add(field, `holds a certificate that cannot be read: ${messageOf(error)}`);
    }
  }
}

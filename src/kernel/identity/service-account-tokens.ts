import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import { errors as joseErrors, jwtVerify, SignJWT } from "jose";
import type { Clock, Random } from "../clock/types.js";
import { messageOf } from "../errors/index.js";
import { IdentityError } from "./errors.js";
import { readSecretFile, writeSecretFile } from "./files.js";
import { fingerprintOf } from "./secrets.js";

/** An object that a token is tied to: it dies with it. */
export interface BoundObject {
  readonly name: string;
  readonly uid: string;
}

/** What a ServiceAccount token says, as upstream's `kubernetes.io` claim lays it out. */
export interface ServiceAccountClaims {
  readonly namespace: string;
  readonly serviceAccount: BoundObject;
  readonly pod?: BoundObject;
  readonly secret?: BoundObject;
  readonly node?: BoundObject;
  readonly audiences: readonly string[];
  /** `jti`. */
  readonly id: string;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
  readonly issuedAt: number;
}

export interface TokenDraft {
  readonly namespace: string;
  readonly serviceAccount: BoundObject;
  readonly pod?: BoundObject;
  readonly secret?: BoundObject;
  readonly node?: BoundObject;
  readonly audiences: readonly string[];
  readonly lifetimeSeconds: number;
  /** Seconds after which a client that still uses the token is warned of (kubelet's hour in a year-long token). */
  readonly warnAfterSeconds?: number;
}

/** Signs and checks the ServiceAccount tokens of one cluster. */
export interface ServiceAccountTokens {
  readonly issuer: string;
  /** JWKs by which others check the tokens. */
  readonly publicKeys: readonly (Readonly<Record<string, string>> & { readonly alg: string })[];
  issue(draft: TokenDraft): Promise<{ token: string; claims: ServiceAccountClaims }>;
  /** Claims of a token of ours whose signature and times are good; `undefined` for anything else. Whether its objects still live is for the caller to look up. */
  verify(token: string): Promise<ServiceAccountClaims | undefined>;
}

export interface ServiceAccountTokensOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly issuer: string;
  /** The signing key's file (0600); absent: in memory only. */
  readonly file?: string;
  /** For a new key. RS256 is what every OIDC relying party must understand; ES256 is made in a millisecond. Default ES256. */
  readonly algorithm?: "ES256" | "RS256";
}

const newKeyPair = promisify(generateKeyPair);
const maxTokenBytes = 16_384;
const maxRemembered = 4096;

/** Loads the signing key, or makes one. Throws `IdentityError` for a file that holds no usable key. */
export async function openServiceAccountTokens(options: ServiceAccountTokensOptions): Promise<ServiceAccountTokens> {
  const { clock, random, issuer } = options;
  const key = await signingKey(options);
  const algorithm = key.asymmetricKeyType === "rsa" ? "RS256" : "ES256";
  const publicKey = createPublicKey(key);
  const kid = fingerprintOf(publicKey.export({ type: "spki", format: "pem" }).toString());
  const remembered = new Map<string, ServiceAccountClaims>();
  const verifyNew = async (token: string): Promise<ServiceAccountClaims | undefined> => {
    try {
      const currentDate = new Date(clock.now());
      const { payload } = await jwtVerify(token, publicKey, { algorithms: [algorithm], issuer, currentDate });
      return parseClaims(payload);
    } catch (error) {
      if (error instanceof joseErrors.JOSEError || error instanceof TypeError) return undefined;
      throw error;
    }
  };
  return {
    issuer,
    publicKeys: [{ ...publicPart(publicKey), kid, alg: algorithm, use: "sig" }],
    async issue(draft) {
      const issuedAt = Math.floor(clock.now() / 1000);
      const claims = { ...claimsOf(draft), id: random.uuid(), issuedAt, expiresAt: issuedAt + draft.lifetimeSeconds };
      const token = await new SignJWT(payloadOf(claims, issuer, draft.warnAfterSeconds))
        .setProtectedHeader({ alg: algorithm, kid })
        .sign(key);
      return { token, claims };
    },
    async verify(token) {
      if (token.length > maxTokenBytes) return undefined;
      const hash = fingerprintOf(token);
      const known = remembered.get(hash);
      if (known !== undefined) {
        if (known.expiresAt > clock.now() / 1000) return known;
        remembered.delete(hash);
        return undefined;
      }
      const claims = await verifyNew(token);
      if (claims !== undefined) remember(remembered, hash, claims);
      return claims;
    },
  };
}

function publicPart(key: KeyObject): Record<string, string> {
  const entries = Object.entries(key.export({ format: "jwk" }));
  return Object.fromEntries(
    entries.flatMap(([name, value]) => (typeof value === "string" ? [[name, value] as const] : [])),
  );
}

/** The oldest entry makes room: tokens are few and used often. */
function remember(remembered: Map<string, ServiceAccountClaims>, hash: string, claims: ServiceAccountClaims): void {
  if (remembered.size >= maxRemembered) {
    const oldest = remembered.keys().next();
    if (oldest.done !== true) remembered.delete(oldest.value);
  }
  remembered.set(hash, claims);
}

async function signingKey(options: ServiceAccountTokensOptions): Promise<KeyObject> {
  const kept = options.file === undefined ? undefined : await readSecretFile(options.file);
  if (kept !== undefined) {
    try {
      return createPrivateKey(kept);
    } catch (error) {
      throw new IdentityError(
        `${options.file} holds no private key: ${messageOf(error)}; restore it, or remove it (all tokens end)`,
      );
    }
  }
  const { privateKey } =
    options.algorithm === "RS256"
      ? await newKeyPair("rsa", { modulusLength: 2048 })
      : await newKeyPair("ec", { namedCurve: "P-256" });
  if (options.file !== undefined)
    await writeSecretFile(options.file, privateKey.export({ type: "pkcs8", format: "pem" }));
  return privateKey;
}

function claimsOf(draft: TokenDraft): Omit<ServiceAccountClaims, "id" | "issuedAt" | "expiresAt"> {
  const { namespace, serviceAccount, audiences, pod, secret, node } = draft;
  return {
    namespace,
    serviceAccount,
    audiences,
    ...(pod === undefined ? {} : { pod }),
    ...(secret === undefined ? {} : { secret }),
    ...(node === undefined ? {} : { node }),
  };
}

function payloadOf(claims: ServiceAccountClaims, issuer: string, warnAfterSeconds: number | undefined) {
  const { namespace, serviceAccount, pod, secret, node } = claims;
  const bound = (object: BoundObject) => ({ name: object.name, uid: object.uid });
  return {
    aud: [...claims.audiences],
    exp: claims.expiresAt,
    iat: claims.issuedAt,
    iss: issuer,
    jti: claims.id,
    "kubernetes.io": {
      namespace,
      ...(node === undefined ? {} : { node: bound(node) }),
      ...(pod === undefined ? {} : { pod: bound(pod) }),
      ...(secret === undefined ? {} : { secret: bound(secret) }),
      serviceaccount: bound(serviceAccount),
      ...(warnAfterSeconds === undefined ? {} : { warnafter: claims.issuedAt + warnAfterSeconds }),
    },
    nbf: claims.issuedAt,
    sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
  };
}

function parseClaims(payload: Record<string, unknown>): ServiceAccountClaims | undefined {
  const own = recordOf(payload["kubernetes.io"]);
  const serviceAccount = boundOf(own?.["serviceaccount"]);
  const { exp, iat, jti, aud } = payload;
  const namespace = own?.["namespace"];
  if (own === undefined || serviceAccount === undefined || typeof namespace !== "string") return undefined;
  if (typeof exp !== "number" || typeof iat !== "number") return undefined;
  const audiences = (Array.isArray(aud) ? aud : [aud]).filter((item) => typeof item === "string");
  const pod = boundOf(own["pod"]);
  const secret = boundOf(own["secret"]);
  const node = boundOf(own["node"]);
  return {
    namespace,
    serviceAccount,
    audiences,
    id: typeof jti === "string" ? jti : "",
    expiresAt: exp,
    issuedAt: iat,
    ...(pod === undefined ? {} : { pod }),
    ...(secret === undefined ? {} : { secret }),
    ...(node === undefined ? {} : { node }),
  };
}

function boundOf(value: unknown): BoundObject | undefined {
  const record = recordOf(value);
  const name = record?.["name"];
  const uid = record?.["uid"];
  return typeof name === "string" && typeof uid === "string" ? { name, uid } : undefined;
}

function recordOf(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : undefined;
}

import { createServer, type Server } from "node:https";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { systemClock } from "../../../../kernel/clock/index.js";
import { openAuthority } from "../../../../kernel/identity/index.js";

/** A small token issuer on loopback, for tests. */
export interface TestIssuer {
  readonly url: string;
  readonly caPem: string;
  /** How often each path was asked for. */
  readonly asked: Map<string, number>;
  /** Paths that are answered with something else: a status, or a document. */
  readonly answers: Map<string, number | object>;
  /** The public keys as they are published now. */
  readonly keys: JWK[];
  /** Makes a key and publishes it. */
  addKey(kid: string, algorithm?: string): Promise<void>;
  sign(
    claims: JWTPayload,
    how?: { readonly kid?: string; readonly alg?: string; readonly expires?: number },
  ): Promise<string>;
  close(): Promise<void>;
}

/** Starts one with the key `k1` (RS256). */
export async function startIssuer(audience = "argosy"): Promise<TestIssuer> {
  const authority = await openAuthority({ clock: systemClock, name: "issuer-ca" });
  const { certPem, keyPem } = await authority.issueServer(["127.0.0.1"]);
  const asked = new Map<string, number>();
  const answers = new Map<string, number | object>();
  const keys: JWK[] = [];
  const signers = new Map<string, { readonly key: CryptoKey; readonly alg: string }>();
  let url = "";
  const server: Server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    const path = request.url ?? "";
    asked.set(path, (asked.get(path) ?? 0) + 1);
    const answer =
      answers.get(path) ??
      (path === "/.well-known/openid-configuration" ? { issuer: url, jwks_uri: `${url}/keys` } : undefined) ??
      (path === "/keys" ? { keys } : 404);
    response.writeHead(typeof answer === "number" ? answer : 200, { "content-type": "application/json" });
    response.end(typeof answer === "number" ? "" : JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  url = `https://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  const issuer: TestIssuer = {
    url,
    caPem: authority.caPem,
    asked,
    answers,
    keys,
    async addKey(kid, alg = "RS256") {
      const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
      keys.push({ ...(await exportJWK(publicKey)), kid, alg, use: "sig" });
      signers.set(kid, { key: privateKey, alg });
    },
    async sign(claims, { kid = "k1", alg, expires } = {}) {
      const signer = signers.get(kid);
      if (signer === undefined) throw new Error(`no key ${kid}`);
      const now = Math.floor(systemClock.now() / 1000);
      return new SignJWT({ iss: url, aud: audience, iat: now, exp: expires ?? now + 600, ...claims })
        .setProtectedHeader({ alg: alg ?? signer.alg, kid })
        .sign(signer.key);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  await issuer.addKey("k1");
  return issuer;
}

import { type CryptoKey, importJWK, type JWK } from "jose";
import type { Clock } from "../../../../kernel/clock/index.js";
import { messageOf } from "../../../../kernel/errors/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import type { Logger } from "../../../../kernel/log/index.js";
import { asObjects } from "../../../../kernel/schema/index.js";
import { stringAt } from "../../fields.js";
import type { JwtIssuer } from "./config.js";
import { fetchJson, IssuerError } from "./fetch.js";

/** Keys are asked for anew after this, so that one that was withdrawn ends. */
const maxAgeMs = 10 * 60_000;
/** A token with an unknown key makes the server ask again: a few times at once, then not more often than this. */
const cooldownMs = 10_000;
const maxAtOnce = 5;
const maxKeys = 100;

/** A signing key of an issuer, for one algorithm. */
export interface IssuerKey {
  readonly id: string | undefined;
  readonly key: CryptoKey | Uint8Array;
}

const families: Readonly<Record<string, string>> = { RS: "RSA", PS: "RSA", ES: "EC" };

/** The published keys of one issuer: asked for when the first token comes, kept, and asked for again when they may have changed. */
export class IssuerKeys {
  readonly #issuer: Pick<JwtIssuer, "url" | "discoveryUrl" | "caPem">;
  readonly #clock: Clock;
  readonly #log: Logger;
  #keys: readonly JsonObject[] = [];
  #fetchedAt = Number.NEGATIVE_INFINITY;
  /** When the next question may be asked, were they evenly spread. */
  #nextAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | undefined;

  constructor(issuer: Pick<JwtIssuer, "url" | "discoveryUrl" | "caPem">, surroundings: { clock: Clock; log: Logger }) {
    this.#issuer = issuer;
    this.#clock = surroundings.clock;
    this.#log = surroundings.log;
  }

  /** Keys by which a token with this header may be signed. */
  async find(header: { readonly alg: string; readonly kid?: string }): Promise<IssuerKey[]> {
    if (this.#clock.monotonicMs() - this.#fetchedAt > maxAgeMs) await this.#refresh();
    const known = this.#matching(header);
    if (known.length > 0) return imported(known, header.alg);
    await this.#refresh();
    return imported(this.#matching(header), header.alg);
  }

  #matching({ alg, kid }: { readonly alg: string; readonly kid?: string }): JsonObject[] {
    const family = families[alg.slice(0, 2)];
    return this.#keys.filter((key) => {
      if (stringAt(key, "kty") !== family) return false;
      if (key["use"] !== undefined && key["use"] !== "sig") return false;
      if (key["alg"] !== undefined && key["alg"] !== alg) return false;
      return kid === undefined || key["kid"] === undefined || key["kid"] === kid;
    });
  }

  async #refresh(): Promise<void> {
    if (this.#fetching === undefined) {
      const now = this.#clock.monotonicMs();
      if (this.#nextAt - now > cooldownMs * (maxAtOnce - 1)) return;
      this.#nextAt = Math.max(this.#nextAt, now) + cooldownMs;
      this.#fetching = this.#fetch().finally(() => {
        this.#fetching = undefined;
      });
    }
    await this.#fetching;
  }

  /** Keeps the keys it has when the issuer does not answer: an outage of the issuer is none of the cluster. */
  async #fetch(): Promise<void> {
    try {
      const { url, discoveryUrl, caPem } = this.#issuer;
      const document = await fetchJson(discoveryUrl, caPem, this.#clock);
      if (document["issuer"] !== url)
        throw new IssuerError(`its discovery document names another issuer: ${JSON.stringify(document["issuer"])}`);
      const address = stringAt(document, "jwks_uri");
      if (!URL.canParse(address) || !address.startsWith("https://"))
        throw new IssuerError("the jwks_uri of its discovery document is no https URL");
      const keys = asObjects((await fetchJson(address, caPem, this.#clock))["keys"]);
      this.#keys = keys.slice(0, maxKeys);
      this.#fetchedAt = this.#clock.monotonicMs();
    } catch (error) {
      this.#log.warn("the keys of a token issuer could not be had", {
        issuer: this.#issuer.url,
        err: messageOf(error),
      });
    }
  }
}

async function imported(keys: readonly JsonObject[], algorithm: string): Promise<IssuerKey[]> {
  const found: IssuerKey[] = [];
  for (const jwk of keys) {
    try {
      found.push({ id: stringAt(jwk, "kid") || undefined, key: await importJWK(publicPart(jwk), algorithm) });
    } catch {
      // A key that cannot be read signs nothing; the others may do.
    }
  }
  return found;
}

/** Of a private key that somebody published by mistake, only what verifies. */
function publicPart(jwk: JsonObject): JWK {
  const part: Record<string, string> = {};
  for (const name of ["kty", "crv", "x", "y", "n", "e"]) {
    const value = jwk[name];
    if (typeof value === "string") part[name] = value;
  }
  return { kty: stringAt(jwk, "kty"), ...part };
}

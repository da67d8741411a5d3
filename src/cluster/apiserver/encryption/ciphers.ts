import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";

/** How one provider of a configuration makes bytes unreadable. Both depend on `associated`: bytes that were moved to another place are refused. */
export interface Cipher {
  seal(associated: string, plain: Uint8Array): Uint8Array;
  /** Throws when the bytes were not sealed with this key for this place. */
  open(associated: string, sealed: Uint8Array): Uint8Array;
}

/** Providers that there are, with the lengths in bytes that their keys may have. */
export const providers = {
  aesgcm: { keyBytes: [16, 24, 32], make: aesGcm },
  aescbc: { keyBytes: [32], make: aesCbc },
} as const;

export type ProviderName = keyof typeof providers;

const nonceBytes = 12;
const tagBytes = 16;
const blockBytes = 16;
const macBytes = 32;

/** AES-GCM with a random nonce for each write. */
function aesGcm(secret: Uint8Array): Cipher {
  const name = secret.byteLength === 16 ? "aes-128-gcm" : secret.byteLength === 24 ? "aes-192-gcm" : "aes-256-gcm";
  return {
    seal(associated, plain) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv(name, secret, nonce);
      cipher.setAAD(Buffer.from(associated, "utf8"));
      return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    },
    open(associated, sealed) {
      const nonce = sealed.subarray(0, nonceBytes);
      const cipher = createDecipheriv(name, secret, nonce, { authTagLength: tagBytes });
      cipher.setAAD(Buffer.from(associated, "utf8"));
      cipher.setAuthTag(sealed.subarray(-tagBytes));
      return Buffer.concat([cipher.update(sealed.subarray(nonceBytes, -tagBytes)), cipher.final()]);
    },
  };
}

/** AES-CBC, then HMAC-SHA-256 over place, vector and text: CBC alone does not notice changes. Each has a key of its own. */
function aesCbc(secret: Uint8Array): Cipher {
  const derive = (purpose: string) => Buffer.from(hkdfSync("sha256", secret, new Uint8Array(), purpose, 32));
  const [encryption, authentication] = [derive("argosy aescbc encryption"), derive("argosy aescbc authentication")];
  const macOf = (associated: string, text: Uint8Array) => {
    const place = Buffer.from(associated, "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32BE(place.byteLength);
    return createHmac("sha256", authentication).update(length).update(place).update(text).digest();
  };
  return {
    seal(associated, plain) {
      const vector = randomBytes(blockBytes);
      const cipher = createCipheriv("aes-256-cbc", encryption, vector);
      const text = Buffer.concat([vector, cipher.update(plain), cipher.final()]);
      return Buffer.concat([text, macOf(associated, text)]);
    },
    open(associated, sealed) {
      const text = sealed.subarray(0, -macBytes);
      if (!timingSafeEqual(macOf(associated, text), sealed.subarray(-macBytes))) throw new RangeError("wrong seal");
      const cipher = createDecipheriv("aes-256-cbc", encryption, text.subarray(0, blockBytes));
      return Buffer.concat([cipher.update(text.subarray(blockBytes)), cipher.final()]);
    },
  };
}

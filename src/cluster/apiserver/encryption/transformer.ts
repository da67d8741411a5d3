import { parseKey } from "../store/keys.js";
import { type Cipher, providers } from "./ciphers.js";
import type { EncryptedResources, EncryptionConfig, ProviderKey } from "./config.js";
import { EncryptionError } from "./errors.js";

/** Between the store's bytes and those on the disk. Pure but for the nonces. */
export interface Transformer {
  /** The bytes to write for the object under `key`. */
  encode(key: string, bytes: Uint8Array): Uint8Array;
  /** The bytes that were given to `encode`; plain ones as they are. Throws `EncryptionError`. */
  decode(key: string, bytes: Uint8Array): Uint8Array;
  /** Whether these bytes are what `encode` would write now: not plain where they should not be, nor under an old key. */
  isCurrent(key: string, bytes: Uint8Array): boolean;
}

/** Objects are JSON and begin with a brace: nothing plain begins so. */
const mark = Buffer.from("k8s:enc:", "latin1");
const firstByte = mark[0];
/** The mark, the provider and the key's name, each ended by a colon. */
const headPattern = /^k8s:enc:([a-z]+):v1:([^:]*):/;
const maxHeadBytes = 512;

/** Absent configuration: everything stays plain, and what is encrypted cannot be read. */
export function createTransformer(config: EncryptionConfig | undefined): Transformer {
  const ciphers = new Map<string, Cipher>();
  for (const key of config?.keys ?? []) ciphers.set(headOf(key), providers[key.provider].make(key.secret));
  const rules = new Map<string, ProviderKey | undefined>();
  const writerOf = (key: string): ProviderKey | undefined => {
    if (config === undefined) return undefined;
    const { group, plural } = parseKey(key);
    const id = `${plural}.${group}`;
    if (!rules.has(id)) rules.set(id, ruleFor(config.entries, group, plural));
    return rules.get(id);
  };
  return {
    encode(key, bytes) {
      const writer = writerOf(key);
      if (writer === undefined) return bytes;
      const head = headOf(writer);
      const cipher = ciphers.get(head);
      if (cipher === undefined) return bytes;
      return Buffer.concat([Buffer.from(head, "utf8"), cipher.seal(key, bytes)]);
    },
    decode(key, bytes) {
      const head = headIn(bytes);
      if (head === undefined) return bytes;
      const cipher = ciphers.get(head.text);
      if (cipher === undefined)
        throw new EncryptionError(
          `${key} is encrypted (${head.provider}, key ${JSON.stringify(head.name)}), and no encryption configuration has that key: start with the one it was written with, or restore the key as a later provider`,
        );
      try {
        return cipher.open(key, bytes.subarray(head.length));
      } catch (error) {
        throw new EncryptionError(
          `${key} cannot be decrypted (${head.provider}, key ${JSON.stringify(head.name)}): the key is another one, or the bytes were changed`,
          { cause: error },
        );
      }
    },
    isCurrent(key, bytes) {
      const writer = writerOf(key);
      return headIn(bytes)?.text === (writer === undefined ? undefined : headOf(writer));
    },
  };
}

function headOf({ provider, name }: ProviderKey): string {
  return `${mark.toString("latin1")}${provider}:v1:${name}:`;
}

function headIn(bytes: Uint8Array) {
  if (bytes[0] !== firstByte || Buffer.compare(bytes.subarray(0, mark.byteLength), mark) !== 0) return undefined;
  const start = Buffer.from(bytes.subarray(0, maxHeadBytes)).toString("latin1");
  const found = headPattern.exec(start);
  if (found === null) return undefined;
  const [raw, provider = "", name = ""] = found;
  const text = Buffer.from(raw, "latin1").toString("utf8");
  return { text, provider, name: Buffer.from(name, "latin1").toString("utf8"), length: raw.length };
}

function ruleFor(entries: readonly EncryptedResources[], group: string, plural: string): ProviderKey | undefined {
  const names = new Set([group === "" ? plural : `${plural}.${group}`, `${plural}.${group}`, `*.${group}`, "*.*"]);
  return entries.find(({ resources }) => resources.some((resource) => names.has(resource)))?.writeWith;
}

import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObjects, s } from "../../../kernel/schema/index.js";
import { ConfigFaults, type ConfigShape, parseConfig, readConfig } from "../config/index.js";
import { isObject, stringAt, stringsAt } from "../fields.js";
import { type ProviderName, providers } from "./ciphers.js";

/** A key of a provider. */
export interface ProviderKey {
  readonly provider: ProviderName;
  readonly name: string;
  readonly secret: Uint8Array;
}

/** Resources and what is done with them: the first of `providers` writes, all read. */
export interface EncryptedResources {
  /** `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group), `*.*`. */
  readonly resources: readonly string[];
  /** The key that new bytes are written with; absent: they stay plain. */
  readonly writeWith: ProviderKey | undefined;
}

/** What an EncryptionConfiguration says. */
export interface EncryptionConfig {
  /** The first entry that names a resource counts. */
  readonly entries: readonly EncryptedResources[];
  /** Every key that there is: an object is read with the one it was written with. */
  readonly keys: readonly ProviderKey[];
}

const keyed = s.object({ keys: s.array(s.object({ name: s.string({ min: 1 }), secret: s.string() }), { min: 1 }) });
const anything = s.preserveUnknown();

const encryptionShape: ConfigShape = {
  kind: "EncryptionConfiguration",
  apiVersions: ["apiserver.config.k8s.io/v1"],
  schema: s.object({
    resources: s.array(
      s.object({
        resources: s.array(s.string({ min: 1 }), { min: 1 }),
        providers: s.array(
          s.object({
            aesgcm: keyed.optional(),
            aescbc: keyed.optional(),
            identity: anything.optional(),
            secretbox: anything.optional(),
            kms: anything.optional(),
          }),
          { min: 1 },
        ),
      }),
      { min: 1 },
    ),
  }).schema,
};

/** Reads an EncryptionConfiguration. Throws `InputError` with file and field; no message holds a key. */
export async function readEncryptionConfig(file: string): Promise<EncryptionConfig> {
  return interpret(file, await readConfig(file, encryptionShape));
}

/** The same for a text; `file` is for messages. Throws `InputError`. */
export function parseEncryptionConfig(file: string, text: string): EncryptionConfig {
  return interpret(file, parseConfig(file, text, encryptionShape));
}

function interpret(file: string, config: JsonObject): EncryptionConfig {
  const faults = new ConfigFaults(file);
  const keys: ProviderKey[] = [];
  const seen = new Map<string, string>();
  const entries = asObjects(config["resources"]).map((entry, index): EncryptedResources => {
    const field = `resources[${index}]`;
    const resources = stringsAt(entry, "resources");
    for (const [position, resource] of resources.entries()) {
      const at = `${field}.resources[${position}]`;
      checkResource(resource, at, faults);
      const before = seen.get(resource);
      if (before !== undefined) faults.add(at, `${JSON.stringify(resource)} is named before, at ${before}`);
      seen.set(resource, at);
    }
    const found = asObjects(entry["providers"]).map((provider, position) =>
      keysOf(provider, `${field}.providers[${position}]`, faults),
    );
    for (const key of found.flat()) addKey(keys, key, { field, faults });
    return { resources, writeWith: found[0]?.[0] };
  });
  faults.check();
  return { entries, keys };
}

function checkResource(resource: string, field: string, faults: ConfigFaults): void {
  if (!/^(\*|[a-z]([a-z0-9-]*[a-z0-9])?)(\.(\*|[a-z0-9.-]*))?$/.test(resource))
    faults.add(field, "must be like secrets, deployments.apps, *.apps, *. (the core group) or *.*");
  else if (resource === "*") faults.add(field, "must be *. for the core group, or *.* for everything");
  else if (/^[^*]+\.\*$/.test(resource)) faults.add(field, "a resource of all groups cannot be named; name them");
}

/** The keys of one provider; none of `identity`. */
function keysOf(provider: JsonObject, field: string, faults: ConfigFaults): ProviderKey[] {
  const names = Object.keys(provider);
  if (names.length !== 1) {
    faults.add(field, "one provider is wanted here: aesgcm, aescbc or identity");
    return [];
  }
  if (provider["secretbox"] !== undefined || provider["kms"] !== undefined) {
    faults.add(`${field}.${names[0]}`, "is not provided here; use aesgcm with a key of 32 bytes");
    return [];
  }
  const name = names[0] === "aesgcm" || names[0] === "aescbc" ? names[0] : undefined;
  const block = name === undefined ? undefined : provider[name];
  if (name === undefined || !isObject(block)) return [];
  return asObjects(block["keys"]).flatMap((key, index) => {
    const at = `${field}.${name}.keys[${index}]`;
    const label = stringAt(key, "name");
    if (label.includes(":")) faults.add(`${at}.name`, "must not hold a colon");
    const text = stringAt(key, "secret");
    const secret = Buffer.from(text, "base64");
    const lengths: readonly number[] = providers[name].keyBytes;
    if (secret.toString("base64").replace(/=+$/, "") !== text.trim().replace(/=+$/, ""))
      faults.add(`${at}.secret`, "must be base64");
    else if (!lengths.includes(secret.byteLength))
      faults.add(`${at}.secret`, `must be ${lengths.join(", ")} bytes in base64, not ${secret.byteLength}`);
    return [{ provider: name, name: label, secret }];
  });
}

/** The same key may stand in several entries; two keys of one name could not be told apart when they are read. */
function addKey(
  keys: ProviderKey[],
  key: ProviderKey,
  { field, faults }: { readonly field: string; readonly faults: ConfigFaults },
): void {
  const known = keys.find(({ provider, name }) => provider === key.provider && name === key.name);
  if (known === undefined) keys.push(key);
  else if (Buffer.compare(known.secret, key.secret) !== 0)
    faults.add(`${field}.providers`, `two different keys of ${key.provider} are called ${JSON.stringify(key.name)}`);
}

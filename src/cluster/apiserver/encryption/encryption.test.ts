import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseEncryptionConfig } from "./config.js";
import { createTransformer, EncryptionError } from "./index.js";

const secret = (bytes = 32) => randomBytes(bytes).toString("base64");
const [one, two] = [secret(), secret()];
const configOf = (providers: string, resources = "secrets") =>
  `apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [${resources}]\n  providers: [${providers}]\n`;
const transformerOf = (providers: string, resources?: string) =>
  createTransformer(parseEncryptionConfig("e.yaml", configOf(providers, resources)));
const gcm = (name: string, key: string) => `{aesgcm: {keys: [{name: ${name}, secret: "${key}"}]}}`;
const cbc = (name: string, key: string) => `{aescbc: {keys: [{name: ${name}, secret: "${key}"}]}}`;

const place = "//secrets/default/s";
const plain = Buffer.from('{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}');

test.each([
  ["aesgcm", gcm("k", one)],
  ["aesgcm of 16 bytes", gcm("k", secret(16))],
  ["aesgcm of 24 bytes", gcm("k", secret(24))],
  ["aescbc", cbc("k", one)],
])("%s: what is written cannot be read, moved or changed, and is never the same twice", (_name, provider) => {
  const transformer = transformerOf(provider);
  const sealed = Buffer.from(transformer.encode(place, plain));

  expect(sealed.toString("latin1")).toMatch(/^k8s:enc:aes(gcm|cbc):v1:k:/);
  expect(sealed.includes("aHVudGVyMg")).toBe(false);
  expect(Buffer.compare(sealed, transformer.encode(place, plain))).not.toBe(0);
  expect(Buffer.from(transformer.decode(place, sealed)).toString()).toBe(plain.toString());
  expect(() => transformer.decode("//secrets/default/other", sealed)).toThrow(EncryptionError);
  for (let index = sealed.indexOf(":k:") + 3; index < sealed.length; index++) {
    const changed = Buffer.from(sealed);
    changed[index] = (changed[index] ?? 0) ^ 1;
    expect(() => transformer.decode(place, changed)).toThrow(EncryptionError);
  }
  for (const length of [20, 30, 40, sealed.length - 1])
    expect(() => transformer.decode(place, sealed.subarray(0, length))).toThrow(EncryptionError);
});

test("every object comes back as it was", () => {
  const transformers = [transformerOf(gcm("k", one), '"*.*"'), transformerOf(cbc("k", two), '"*.*"')];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), fc.constantFrom(...transformers), (bytes, name, t) => {
      const key = `/apps/deployments/default/${name}`;
      expect(Buffer.compare(Buffer.from(t.decode(key, t.encode(key, bytes))), bytes)).toBe(0);
    }),
  );
});

test("the first provider writes, the others read: keys are rotated by their order", () => {
  const before = transformerOf(gcm("old", one));
  const sealed = before.encode(place, plain);
  const rotated = transformerOf(`${gcm("new", two)}, ${gcm("old", one)}, {identity: {}}`);

  expect(Buffer.from(rotated.decode(place, sealed)).toString()).toBe(plain.toString());
  expect([rotated.isCurrent(place, sealed), before.isCurrent(place, sealed)]).toEqual([false, true]);
  const again = rotated.encode(place, plain);
  expect(rotated.isCurrent(place, again)).toBe(true);
  expect(() => before.decode(place, again)).toThrow('key "new"');
  // Encryption is given up by putting identity first.
  const ended = transformerOf(`{identity: {}}, ${gcm("old", one)}`);
  expect(ended.encode(place, plain)).toBe(plain);
  expect(Buffer.from(ended.decode(place, sealed)).toString()).toBe(plain.toString());
});

test("without the key it says which object and which key", () => {
  const sealed = transformerOf(gcm("k1", one)).encode(place, plain);
  expect(() => createTransformer(undefined).decode(place, sealed)).toThrow(
    '//secrets/default/s is encrypted (aesgcm, key "k1"), and no encryption configuration has that key',
  );
  expect(() => transformerOf(gcm("k1", two)).decode(place, sealed)).toThrow("the key is another one");
  expect(createTransformer(undefined).decode(place, plain)).toBe(plain);
});

test.each([
  ["secrets", place, true],
  ["secrets", "//configmaps/default/c", false],
  ['"*."', "//configmaps/default/c", true],
  ['"*."', "/apps/deployments/default/d", false],
  ["deployments.apps", "/apps/deployments/default/d", true],
  ["deployments.apps", "/x.org/deployments/default/d", false],
  ['"*.apps"', "/apps/replicasets/default/d", true],
  ['"*.*"', "/example.com/widgets/default/w", true],
])("%s is about %s: %j", (resources, key, isMeant) => {
  const bytes = transformerOf(gcm("k", one), resources).encode(key, plain);
  expect(bytes === plain).toBe(!isMeant);
});

test("the first entry that names a resource counts", () => {
  const text = `${configOf("{identity: {}}", "configmaps")}- resources: ["*.*"]\n  providers: [${gcm("k", one)}]\n`;
  const transformer = createTransformer(parseEncryptionConfig("e.yaml", text));
  expect(transformer.encode("//configmaps/default/c", plain)).toBe(plain);
  expect(transformer.encode(place, plain)).not.toBe(plain);
});

test.each([
  [configOf(gcm("k", secret(31))), "resources[0].providers[0].aesgcm.keys[0].secret: must be 16, 24, 32 bytes"],
  [configOf(cbc("k", secret(16))), "must be 32 bytes"],
  [configOf(gcm("k", "?? no base64 ??")), "must be base64"],
  [configOf(gcm('"a:b"', one)), "resources[0].providers[0].aesgcm.keys[0].name: must not hold a colon"],
  [configOf(`{secretbox: {keys: [{name: k, secret: "${one}"}]}}`), "providers[0].secretbox: is not provided here"],
  [configOf("{kms: {name: x}}"), "providers[0].kms: is not provided here"],
  [configOf("{}"), "resources[0].providers[0]: one provider is wanted here"],
  [configOf("{aesgsm: {}}"), "resources[0].providers[0].aesgsm: there is no such field; aesgcm is meant"],
  [configOf(""), "resources[0].providers"],
  [configOf("{identity: {}}", '"*"'), "resources[0].resources[0]: must be *. for the core group"],
  [configOf("{identity: {}}", "Secrets"), "must be like secrets"],
  [configOf("{identity: {}}", "secrets, secrets"), "is named before"],
  [configOf(`${gcm("k", one)}, ${gcm("k", two)}`), 'two different keys of aesgcm are called "k"'],
  ["kind: Other\n", "kind: must be EncryptionConfiguration"],
])("a configuration that cannot be is refused with its place, and says no key: %#", (text, message) => {
  const parse = () => parseEncryptionConfig("e.yaml", text);
  expect(parse).toThrow("e.yaml: ");
  expect(parse).toThrow(message);
  try {
    parse();
  } catch (error) {
    for (const key of [one, two]) expect(String(error)).not.toContain(key);
  }
});

import type { Chance } from "./chance.js";
import type { Sample } from "./samples.js";
import type { Step } from "./types.js";

/** A request that is badly made: its body, its media type, its method, its path or its query. */
export function rawRequest(chance: Chance, sample: Sample, collection: string): Omit<Step, "id"> {
  const kinds: readonly (() => Omit<Step, "id">)[] = [
    () => ({ method: "POST", path: collection, raw: malformedJson(chance, sample) }),
    () => ({ method: "POST", path: collection, raw: malformedJson(chance, sample) }),
    () => ({ method: "POST", path: collection, contentType: "application/yaml", raw: yaml(chance, sample) }),
    () => ({
      method: "POST",
      path: collection,
      contentType: chance.pick([
        "text/plain",
        "application/xml",
        "application/json; charset=utf-8",
        "",
        "a",
        "application/cbor",
        "application/merge-patch+json",
      ]),
      raw: `{"apiVersion":"${sample.apiVersion}","kind":"${sample.kind}","metadata":{"name":"A"}}`,
    }),
    () => ({
      method: chance.pick(["PUT", "PATCH", "OPTIONS", "HEAD", "POST"]),
      path: chance.pick([collection, `${collection}/x`, `${collection}/x/y`, `${collection}/x/status`]),
      raw: "{}",
    }),
    () => ({
      method: "PATCH",
      path: `${collection}/x`,
      contentType: chance.pick([
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "application/json",
      ]),
      raw: malformedJson(chance, sample),
    }),
    () => ({ method: "GET", path: chance.pick(servedPaths) }),
    () => ({ method: "DELETE", path: `${collection}/x`, raw: malformedJson(chance, sample) }),
  ];
  return chance.pick(kinds)();
}

const servedPaths = [
  "/",
  "/api",
  "/apis",
  "/api/v1",
  "/apis/apps",
  "/apis/apps/v1",
  "/apis/batch/v1",
  "/apis/fuzz.example.com",
  "/apis/fuzz.example.com/v1",
  "/apis/fuzz.example.com/v2",
  "/apis/nope",
  "/api/v2",
  "/api/v1/nope",
  "/apis/apps/v1/nope",
  "/nope",
  "/livez/ping",
  "/readyz/nope",
  "/openapi/v3/nope",
  "/api/v1/namespaces/none/pods/x/log",
  "/api/v1/watch/pods?timeoutSeconds=x",
  "/api/v1/pods?watch=x&timeoutSeconds=1",
  "/api/v1/namespaces/%2e%2e/pods",
  "/api/v1/namespaces/a%2fb/pods",
  "//api/v1/pods",
  "/api/v1/",
];

function malformedJson(chance: Chance, sample: Sample): string {
  const head = `{"apiVersion":"${sample.apiVersion}","kind":"${sample.kind}"`;
  const good = `${head},"metadata":{"name":"x"}}`;
  return chance.pick([
    "",
    "{",
    "[",
    "[]",
    "null",
    "1",
    '"x"',
    "{}",
    "x",
    "{a:1}",
    "{'a':1}",
    good.slice(0, 5 + chance.int(good.length - 5)),
    `${good}x`,
    `${good}${good}`,
    `${good} `,
    good.replace('"x"', '"x",'),
    good.replace('"x"', '"\\q"'),
    good.replace('"x"', '"\\u00g0"'),
    good.replace('"x"', "01"),
    good.replace('"x"', "-"),
    good.replace('"x"', "1e"),
    good.replace('"x"', "tru"),
    good.replace('"x"', "nulL"),
    good.replace('"x"', '"a\nb"'),
    good.replace('"x"', '"\u0001"'),
    good.replace(":", " "),
    good.replace(",", ";"),
    `${head.replace(sample.apiVersion, "v9")}}`,
    `${head.replace(`"${sample.kind}"`, '"Bogus"')}}`,
    `{"kind":"${sample.kind}"}`,
    `{"apiVersion":"${sample.apiVersion}"}`,
    `{"apiVersion":1,"kind":"${sample.kind}"}`,
    `{"apiVersion":"a/b/c","kind":"${sample.kind}"}`,
    `${head},"metadata":[]}`,
    `${head},"metadata":null}`,
    `${head},"metadata":{"name":"x","name":"y"}}`,
    `${head},"metadata":{"name":"x"},"metadata":{"name":"y"}}`,
    `${head},"Metadata":{"name":"x"}}`,
    `${head},"metadata":{"name":1}}`,
    `${head},"spec":1,"metadata":{"name":"x"}}`,
    `\ufeff${good}`,
    "[".repeat(20_000),
  ]);
}

function yaml(chance: Chance, sample: Sample): string {
  const head = `apiVersion: ${sample.apiVersion}\nkind: ${sample.kind}\n`;
  return chance.pick([
    `${head}metadata: {name: A}\n`,
    `${head}metadata:\n  name: A\n  name: B\n`,
    `${head}metadata:\n\tname: x\n`,
    `${head}metadata: [\n`,
    `${head}---\n${head}`,
    "a: b: c",
    "",
    "x",
    "- 1",
    `${head}metadata: &a {name: A}\nspec: *a\n`,
    `${head}metadata: *b\n`,
    `${head}metadata: {name: 1}\n`,
    `${head}metadata: {name: A, labels: {a: yes, b: 1}}\n`,
  ]);
}

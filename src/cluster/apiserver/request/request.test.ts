import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { duplicateFields } from "./duplicates.js";
import { parseRequestInfo } from "./info.js";
import { parseLabelSelector } from "./label-selector.js";
import { negotiate } from "./negotiate.js";
import { parseFieldSelector } from "./selectors.js";

const info = (method: string, target: string): string => {
  const [path = "", query = ""] = target.split("?");
  const { isResource, verb, group, version, resource, namespace, name, subresource } = parseRequestInfo(
    method,
    path,
    new URLSearchParams(query),
  );
  return isResource ? [verb, group, version, resource, namespace, name, subresource].join("|") : `${verb} no resource`;
};

test.each([
  ["GET", "/api/v1/namespaces/a/pods/b", "get||v1|pods|a|b|"],
  ["GET", "/api/v1/namespaces/a/pods", "list||v1|pods|a||"],
  ["GET", "/api/v1/pods?watch=true", "watch||v1|pods|||"],
  ["GET", "/api/v1/pods?watch=false", "list||v1|pods|||"],
  ["GET", "/api/v1/watch/namespaces/a/pods", "watch||v1|pods|a||"],
  ["GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "list||v1|pods||x|"],
  ["POST", "/apis/apps/v1/namespaces/a/deployments", "create|apps|v1|deployments|a||"],
  ["PATCH", "/apis/apps/v1/namespaces/a/deployments/d/status", "patch|apps|v1|deployments|a|d|status"],
  ["DELETE", "/apis/apps/v1/namespaces/a/deployments", "deletecollection|apps|v1|deployments|a||"],
  ["GET", "/api/v1/namespaces/a", "get||v1|namespaces|a|a|"],
  ["PUT", "/api/v1/namespaces/a/finalize", "update||v1|namespaces|a|a|finalize"],
  ["GET", "/api/v1/namespaces/a/services/s/proxy/x/y", "get||v1|services|a|s|proxy"],
  ["GET", "/api/v1/namespaces/a/configmaps/x%2Fy", "get||v1|configmaps|a|x/y|"],
  ["GET", "/apis/apps/v1", "get no resource"],
  ["GET", "/openapi/v3", "get no resource"],
])("%s %s", (method, target, expected) => {
  expect(info(method, target)).toBe(expected);
});

describe("label selectors", () => {
  const matches = (selector: string, labels: Readonly<Record<string, string>>): boolean =>
    parseLabelSelector(selector).every((requirement) => requirement.matches(labels[requirement.key]));

  test.each([
    ["a=1,b!=2", { a: "1" }, true],
    ["a in (1, 2),!c", { a: "2" }, true],
    ["a notin (1)", {}, true],
    ["a in (1,)", { a: "" }, true],
    ["a>3", { a: "10" }, true],
    ["a<3", { a: "x" }, false],
    ["example.com/a", { "example.com/a": "" }, true],
    ["a==", { a: "" }, true],
  ])("%s on %j", (selector, labels, expected) => {
    expect(matches(selector, labels)).toBe(expected);
  });

  test("never throw anything but a 400", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...Array.from("ab=!,()<> in/.-_1")) }), (text) => {
        try {
          parseLabelSelector(text);
        } catch (error) {
          expect(error).toMatchObject({ httpCode: 400 });
        }
      }),
    );
  });
});

test("field selectors escape with backslashes", () => {
  expect(parseFieldSelector("a=x\\,y,b!=z")).toEqual([
    { field: "a", value: "x,y", isNegated: false },
    { field: "b", value: "z", isNegated: true },
  ]);
});

test("finds members that a text gives twice, and no others", () => {
  const find = (text: string): string[] => duplicateFields(text, JSON.parse(text));

  expect(find('{"a":{"b":1,"b":{"c":[{"d":1,"d":2}]}},"a":2}')).toEqual(["a.b", "a.b.c[0].d", "a"]);
  expect(find('{ "a" : "\\"b\\":1,\\"b\\"" , "c":[1,2,{"a":[]}] }')).toEqual([]);
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      expect(find(JSON.stringify(value, undefined, 2))).toEqual([]);
    }),
  );
});

test.each([
  [undefined, { format: "json" }],
  ["*/*", { format: "json" }],
  ["application/vnd.kubernetes.protobuf,application/json", { format: "json" }],
  ["application/yaml", { format: "yaml" }],
  ["application/json;q=0.1, application/yaml;q=0.9", { format: "yaml" }],
  [
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    { format: "json", as: { kind: "Table", version: "v1" } },
  ],
  ["application/json;as=Wall;v=v1;g=meta.k8s.io,application/json", { format: "json" }],
])("Accept: %s", (accept, expected) => {
  expect(negotiate(accept)).toEqual(expected);
});

test("what cannot be served is refused with what could", () => {
  expect(() => negotiate("application/vnd.kubernetes.protobuf")).toThrow(/^only the following .*application\/yaml/);
  expect(() => negotiate("text/html")).toThrow(/406: Not Acceptable.*application\/yaml/s);
  // Upstream's router has no partial wildcards; definitions are not behind it.
  expect(() => negotiate("application/*")).toThrow(/406: Not Acceptable/);
  expect(negotiate("application/*", { isCustom: true })).toEqual({ format: "json" });
  expect(() => negotiate("application/json;v=v1")).toThrow(/^only the following/);
});

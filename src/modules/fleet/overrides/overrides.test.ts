import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { ClusterFacts } from "../placement/types.js";
import { overriddenImage } from "./image.js";
import { applyOverrides, describeApplied, OverrideError, type OverridePolicyFacts } from "./index.js";
import type { Overriders } from "./types.js";

function cluster(name: string): ClusterFacts {
  const none = { labels: {}, provider: "", region: "", zones: [], taints: [] };
  return { name, ...none, kinds: new Set(), knowsAllKinds: true, isLeaving: false, capacity: undefined };
}

function deployment(containers: JsonObject[], metadata: JsonObject = {}): JsonObject {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace: "demo", ...metadata },
    spec: { replicas: 2, template: { spec: { containers, initContainers: [{ name: "init", image: "init:1" }] } } },
  };
}

const app = { name: "app", image: "registry.example/app:1.0" };

function policy(
  name: string,
  overriders: Overriders,
  more: Partial<OverridePolicyFacts["spec"]> = {},
): OverridePolicyFacts {
  const spec = { overrideRules: [{ overriders, targetCluster: { clusterNames: ["member1"] } }], ...more };
  return { name, namespace: "demo", spec };
}

function tag(value: string): Overriders {
  return { imageOverrider: [{ component: "Tag", operator: "replace", value }] };
}

function images(object: JsonObject): unknown {
  return JSON.parse(JSON.stringify(object)).spec.template.spec.containers.map(({ image }: { image: string }) => image);
}

function map(data: Record<string, string>): JsonObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "conf", namespace: "demo" }, data };
}

test("a rule means the clusters that it names, and leaves others and its input alone", () => {
  const object = deployment([app]);
  const rules = [policy("o", tag("2.0"))];
  expect(images(applyOverrides(object, cluster("member1"), rules).manifest)).toEqual(["registry.example/app:2.0"]);
  const other = applyOverrides(object, cluster("member2"), rules);
  expect(other).toEqual({ manifest: object, cluster: [], namespaced: [], notes: [] });
  expect(images(object)).toEqual(["registry.example/app:1.0"]);
});

test.each([
  ["registry.example/app:1.0", "Registry", "add", ".cn", "registry.example.cn/app:1.0"],
  ["registry.example:5000/team/app:1.0", "Registry", "replace", "mirror:5000", "mirror:5000/team/app:1.0"],
  ["registry.example/app:1.0", "Registry", "remove", "", "app:1.0"],
  ["app:1.0", "Registry", "add", "registry.example", "registry.example/app:1.0"],
  ["team/app", "Registry", "replace", "localhost", "localhost/team/app"],
  ["registry.example/app:1.0", "Repository", "replace", "team/app", "registry.example/team/app:1.0"],
  ["registry.example/app:1.0", "Repository", "add", "-gpu", "registry.example/app-gpu:1.0"],
  ["registry.example/app:1.0", "Tag", "add", "-arm", "registry.example/app:1.0-arm"],
  ["registry.example/app", "Tag", "add", "2", "registry.example/app:2"],
  ["registry.example/app:1.0", "Tag", "remove", "", "registry.example/app"],
  [`app@sha256:${"a".repeat(64)}`, "Tag", "replace", "v2", "app:v2"],
  [`app:1@sha256:${"a".repeat(64)}`, "Registry", "replace", "r.example", `r.example/app:1@sha256:${"a".repeat(64)}`],
  ["app:1", "Tag", "replace", `sha256:${"b".repeat(64)}`, `app@sha256:${"b".repeat(64)}`],
] as const)("%s: %s %s %s gives %s", (image, component, operator, value, wanted) => {
  expect(overriddenImage(image, { component, operator, value })).toEqual({ image: wanted });
});

test("an image by pointer is the only one that changes, and what is no tag changes nothing but is told", () => {
  const object = deployment([app, { name: "side", image: "side:1" }]);
  const one = {
    component: "Tag",
    operator: "replace",
    predicate: { path: "/spec/template/spec/containers/1/image" },
  } as const;
  const result = applyOverrides(object, cluster("member1"), [
    policy("o", { imageOverrider: [{ ...one, value: "5" }] }),
  ]);
  expect(images(result.manifest)).toEqual(["registry.example/app:1.0", "side:5"]);
  const odd = applyOverrides(object, cluster("member1"), [policy("o", { imageOverrider: [{ ...one, value: "-x" }] })]);
  expect(images(odd.manifest)).toEqual(images(object));
  expect(odd.notes).toEqual(['OverridePolicy demo/o: "-x" is neither a tag nor a digest; side:1 stays']);
});

test("commands and arguments are appended to and taken from", () => {
  const object = deployment([{ ...app, args: ["--a", "--b"] }]);
  const { manifest } = applyOverrides(object, cluster("member1"), [
    policy("o", {
      argsOverrider: [
        { containerName: "app", operator: "add", value: ["--c=1"] },
        { containerName: "app", operator: "remove", value: ["--a"] },
      ],
      commandOverrider: [{ containerName: "app", operator: "add", value: ["x"] }],
    }),
  ]);
  expect(manifest).toMatchObject({
    spec: { template: { spec: { containers: [{ command: ["x"], args: ["--b", "--c=1"] }] } } },
  });

  const bare = applyOverrides(deployment([app]), cluster("member1"), [
    policy("o", { commandOverrider: [{ containerName: "app", operator: "remove", value: ["x"] }] }),
  ]);
  expect(bare.manifest, "none is left of none, as with a real Karmada").toMatchObject({
    spec: { template: { spec: { containers: [{ command: [] }] } } },
  });
});

test("labels that are not there are neither replaced nor removed, but added", () => {
  const of = (operator: "add" | "replace" | "remove", value: Record<string, string>): unknown =>
    applyOverrides(deployment([app], { labels: { a: "1" } }), cluster("member1"), [
      policy("o", { labelsOverrider: [{ operator, value }] }),
    ]).manifest["metadata"];
  expect(of("replace", { a: "9", b: "9" })).toMatchObject({ labels: { a: "9" } });
  expect(of("remove", { a: "x" })).toMatchObject({ labels: {} });
  expect(of("add", { "example.com/b": "2" })).toMatchObject({ labels: { a: "1", "example.com/b": "2" } });
  const bare = applyOverrides(map({}), cluster("member1"), [
    policy("o", { annotationsOverrider: [{ operator: "add", value: { n: "1" } }] }),
  ]);
  expect(bare.manifest["metadata"]).toMatchObject({ annotations: { n: "1" } });
});

test("documents inside of fields are changed in their own language", () => {
  const yaml = "db:\n  host: one\n  port: 1\nlist:\n- a\n- b\n";
  const json = '{"db":{"host":"one","port":1},"list":["a","b"]}';
  const { manifest } = applyOverrides(map({ "app.yaml": yaml, "app.json": json }), cluster("member1"), [
    policy("o", {
      fieldOverrider: [
        { fieldPath: "/data/app.yaml", yaml: [{ subPath: "/db/host", operator: "replace", value: "two" }] },
        {
          fieldPath: "/data/app.json",
          json: [
            { subPath: "/list/-", operator: "add", value: "c" },
            { subPath: "/db/host", operator: "remove" },
          ],
        },
      ],
    }),
  ]);
  expect(manifest["data"]).toEqual({
    "app.yaml": "db:\n  host: two\n  port: 1\nlist:\n- a\n- b\n",
    "app.json": '{"db":{"port":1},"list":["a","b","c"]}',
  });
});

test.each([
  [
    "what is not JSON",
    { "app.yaml": "a: 1\n" },
    { json: [{ subPath: "/x", operator: "replace", value: "y" } as const] },
  ],
  ["what is not YAML", { "app.yaml": "a: [" }, { yaml: [{ subPath: "/x", operator: "add", value: "y" } as const] }],
  ["a path that is not there", { "app.yaml": "{}" }, { json: [{ subPath: "/x", operator: "remove" } as const] }],
  [
    "a number that would lose digits",
    { "app.yaml": '{"id":12345678901234567890}' },
    { json: [{ subPath: "/x", operator: "add" } as const] },
  ],
  ["a field that is not there", {}, { yaml: [{ subPath: "/x", operator: "add" } as const] }],
] as const)("nothing is made of an object with %s, and the policy is named", (_what, data, change) => {
  const rule = policy("o", {
    fieldOverrider: [{ fieldPath: "/data/app.yaml", ...(structuredClone(change) as object) }],
  });
  const attempt = () => applyOverrides(map(data), cluster("member1"), [rule]);
  expect(attempt).toThrow(OverrideError);
  expect(attempt).toThrow(/^OverridePolicy demo\/o: /);
});

test("aliases do not grow without bound", () => {
  const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
  for (let i = 1; i < 9; i += 1)
    lines.push(`a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(", ")}]`);
  const rule = policy("o", {
    fieldOverrider: [{ fieldPath: "/data/y", yaml: [{ subPath: "/z", operator: "add", value: 1 }] }],
  });
  expect(() => applyOverrides(map({ y: lines.join("\n") }), cluster("member1"), [rule])).toThrow(OverrideError);
});

test("in one rule plain changes come last and win", () => {
  const path = "/spec/template/spec/containers/0/image";
  const { manifest } = applyOverrides(deployment([app]), cluster("member1"), [
    policy("o", { plaintext: [{ path, operator: "replace", value: "plain.example/p:p" }], ...tag("tagged") }),
  ]);
  expect(images(manifest)).toEqual(["plain.example/p:p"]);
});

test("policies of the whole cluster come before those of the namespace, all before labels before name, then by their names", () => {
  const selector = { apiVersion: "apps/v1", kind: "Deployment" };
  const wide = (name: string): OverridePolicyFacts => ({
    ...policy(name, tag(name), { resourceSelectors: [{ ...selector, name: "web" }] }),
    namespace: "",
  });
  const all = policy("z-all", tag("all"), { resourceSelectors: [selector] });
  const labels = policy("y-label", tag("label"), {
    resourceSelectors: [{ ...selector, labelSelector: { matchLabels: { t: "a" } } }],
  });
  const named = policy("a-name", tag("name"), { resourceSelectors: [{ ...selector, name: "web" }] });
  const foreign = { ...policy("other", tag("other")), namespace: "elsewhere" };
  const object = deployment([app], { labels: { t: "a" } });
  const result = applyOverrides(object, cluster("member1"), [named, labels, foreign, wide("b"), all, wide("a")]);
  expect(result.cluster.map(({ policyName }) => policyName)).toEqual(["a", "b"]);
  expect(result.namespaced.map(({ policyName }) => policyName)).toEqual(["z-all", "y-label", "a-name"]);
  expect(images(result.manifest)).toEqual(["registry.example/app:name"]);
  expect(describeApplied(result.cluster)).toBe(
    '[{"policyName":"a","overriders":{"imageOverrider":[{"component":"Tag","operator":"replace","value":"a"}]}},{"policyName":"b","overriders":{"imageOverrider":[{"component":"Tag","operator":"replace","value":"b"}]}}]',
  );
});

test("what was applied is told in Karmada's order, whatever order it was written in", () => {
  const overriders = {
    labelsOverrider: [{ value: { c: "d", a: "b" }, operator: "add" as const }],
    plaintext: [{ value: "<x>", operator: "add" as const, path: "/metadata/annotations/y" }],
  };
  expect(describeApplied([{ policyName: "o", overriders }])).toBe(
    '[{"policyName":"o","overriders":{"plaintext":[{"path":"/metadata/annotations/y","operator":"add","value":"\\u003cx\\u003e"}],"labelsOverrider":[{"operator":"add","value":{"a":"b","c":"d"}}]}}]',
  );
});

test("the older form of one rule is a rule", () => {
  const spec = { targetCluster: { clusterNames: ["member1"] }, overriders: tag("old") };
  const { manifest } = applyOverrides(deployment([app]), cluster("member1"), [{ name: "o", namespace: "demo", spec }]);
  expect(images(manifest)).toEqual(["registry.example/app:old"]);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { referencedBy, selectedBy } from "./node-authorizer.js";
import { attributesOf } from "./rbac.js";
import { compact, describeRule, missingRules, type Rule, ruleAllows } from "./rules.js";

const user = { username: "u", groups: [] };
const groups = ["", "apps"];
const resources = ["pods", "secrets"];
const subresources = ["", "log", "scale"];
const names = ["", "one", "two"];
const verbs = ["get", "list", "delete"];
const paths = ["/healthz", "/apis/apps", "/apis"];

const some = (values: readonly string[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
const resourceRule: fc.Arbitrary<Rule> = fc.record({
  apiGroups: some([...groups, "*"]),
  resources: some([...resources, "pods/log", "*/scale", "*", "pods/scale"]),
  verbs: some([...verbs, "*"]),
  resourceNames: fc.oneof(fc.constant([]), some(["one", "two"])),
  nonResourceURLs: fc.constant([]),
});
const pathRule: fc.Arbitrary<Rule> = fc.record({
  apiGroups: fc.constant([]),
  resources: fc.constant([]),
  verbs: some([...verbs, "*"]),
  resourceNames: fc.constant([]),
  nonResourceURLs: some([...paths, "/apis/*", "*", "/heal*"]),
});
const rules = fc.array(fc.oneof(resourceRule, pathRule), { maxLength: 4 });

/** Every question of a small world. */
const questions = [
  ...groups.flatMap((group) =>
    resources.flatMap((resource) =>
      subresources.flatMap((subresource) =>
        names.flatMap((name) => verbs.map((verb) => attributesOf(user, verb, { group, resource, subresource, name }))),
      ),
    ),
  ),
  ...paths.flatMap((nonResourcePath) => verbs.map((verb) => attributesOf(user, verb, { nonResourcePath }))),
];
const allows = (held: readonly Rule[], question: (typeof questions)[number]) =>
  held.some((rule) => ruleAllows(rule, question));

test("who lacks nothing of what is granted may already do everything that it allows", () => {
  fc.assert(
    fc.property(rules, rules, (held, wanted) => {
      fc.pre(missingRules(held, wanted).length === 0);
      for (const question of questions) if (allows(wanted, question)) expect(allows(held, question)).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("what is missing, granted too, leaves nothing missing", () => {
  fc.assert(
    fc.property(rules, rules, (held, wanted) => {
      const missing = missingRules(held, wanted);

      expect(missingRules([...held, ...missing], wanted)).toEqual([]);
      expect(missingRules(wanted, missing)).toEqual([]);
    }),
  );
});

test("putting rules together changes no answer", () => {
  fc.assert(
    fc.property(rules, (given) => {
      const shorter = compact(given);

      expect(shorter.length).toBeLessThanOrEqual(given.length);
      for (const question of questions) expect(allows(shorter, question)).toBe(allows(given, question));
    }),
  );
});

test("rules are described as upstream describes them", () => {
  const rule = {
    apiGroups: [""],
    resources: ["pods"],
    verbs: ["get", "list"],
    resourceNames: ["a"],
    nonResourceURLs: [],
  };

  expect(describeRule(rule)).toBe('{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get" "list"]}');
});

test("the objects that a pod uses are found wherever its spec names them", () => {
  const pod: JsonObject = {
    spec: {
      imagePullSecrets: [{ name: "pull" }],
      volumes: [
        { name: "a", secret: { secretName: "volume" } },
        {
          name: "b",
          projected: { sources: [{ secret: { name: "projected" } }, { configMap: { name: "map-projected" } }] },
        },
        { name: "c", configMap: { name: "map" } },
        { name: "d", persistentVolumeClaim: { claimName: "claim" } },
        { name: "e", csi: { nodePublishSecretRef: { name: "csi" } } },
      ],
      initContainers: [{ envFrom: [{ secretRef: { name: "from" } }, { configMapRef: { name: "map-from" } }] }],
      containers: [
        {
          env: [
            { valueFrom: { secretKeyRef: { name: "key", key: "k" } } },
            { valueFrom: { configMapKeyRef: { name: "map-key", key: "k" } } },
          ],
        },
      ],
    },
  };

  expect([...referencedBy(pod, "secrets")].toSorted()).toEqual(["csi", "from", "key", "projected", "pull", "volume"]);
  expect([...referencedBy(pod, "configmaps")].toSorted()).toEqual(["map", "map-from", "map-key", "map-projected"]);
  expect([...referencedBy(pod, "persistentvolumeclaims")]).toEqual(["claim"]);
});

test("a field selector demands only what it equates", () => {
  expect(selectedBy("spec.nodeName=n1,metadata.name==x", "metadata.name")).toBe("x");
  expect(selectedBy("metadata.name!=x", "metadata.name")).toBe("");
  expect(selectedBy(undefined, "metadata.name")).toBe("");
});

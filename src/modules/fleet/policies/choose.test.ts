import fc from "fast-check";
import { expect, test } from "vitest";
import { choosePolicy, type Policy, type Subject } from "./choose.js";
import { PolicyIndex } from "./policy-index.js";

const web: Subject = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  namespace: "demo",
  name: "web",
  labels: { app: "web" },
};

function policy(name: string, spec: Partial<Policy["spec"]> = {}, more: Partial<Policy> = {}): Policy {
  const namespace = more.isCluster === true ? "" : "demo";
  return {
    key: `${namespace}/${name}`,
    isCluster: false,
    namespace,
    name,
    uid: name,
    id: name,
    createdAt: "",
    generation: 1,
    isDeleting: false,
    ...more,
    spec: {
      resourceSelectors: [{ apiVersion: "apps/v1", kind: "Deployment" }],
      priority: 0,
      preemption: "Never",
      schedulerName: "default-scheduler",
      conflictResolution: "Abort",
      ...spec,
    },
  };
}

const byName = [{ apiVersion: "apps/v1", kind: "Deployment", name: "web" }];
const byLabel = [{ apiVersion: "apps/v1", kind: "Deployment", labelSelector: { matchLabels: { app: "web" } } }];
const chosen = (policies: Policy[], claimant?: Policy) => choosePolicy(policies, web, claimant)?.name;

test("priority first, then how closely an object is meant, then the alphabet; a namespace's own before the cluster's", () => {
  expect(chosen([policy("b"), policy("a")])).toBe("a");
  expect(chosen([policy("a"), policy("b", { resourceSelectors: byLabel })])).toBe("b");
  expect(chosen([policy("a", { resourceSelectors: byLabel }), policy("b", { resourceSelectors: byName })])).toBe("b");
  expect(chosen([policy("a", { resourceSelectors: byName }), policy("b", { priority: 1 })])).toBe("b");
  expect(chosen([policy("c", { priority: 9 }, { isCluster: true }), policy("z")])).toBe("z");
  expect(chosen([policy("c", {}, { isCluster: true })])).toBe("c");
});

test("what means another namespace, another kind or is going, is not chosen", () => {
  expect(chosen([policy("a", {}, { namespace: "other" })])).toBeUndefined();
  expect(chosen([policy("a", { resourceSelectors: [{ apiVersion: "v1", kind: "Deployment" }] })])).toBeUndefined();
  expect(chosen([policy("a", {}, { isDeleting: true })])).toBeUndefined();
  const elsewhere = [{ apiVersion: "apps/v1", kind: "Deployment", namespace: "other" }];
  expect(chosen([policy("a", { resourceSelectors: elsewhere }, { isCluster: true })])).toBeUndefined();
});

test("a claim holds until its policy means the object no more, or another preempts it", () => {
  const first = policy("first", { priority: 5 });
  expect(chosen([first, policy("a", { priority: 9 })], first)).toBe("first");
  expect(chosen([first, policy("a", { priority: 9, preemption: "Always" })], first)).toBe("a");
  expect(chosen([first, policy("a", { priority: 5, preemption: "Always" })], first)).toBe("first");
  const going = policy("first", {}, { isDeleting: true });
  expect(chosen([going, policy("a")], going)).toBe("a");
  expect(chosen([], going)).toBeUndefined();
});

test("a policy of the namespace may take from one of the cluster whatever the priority, never the other way round", () => {
  const wide = policy("wide", { priority: 100 }, { isCluster: true });
  expect(chosen([wide, policy("own", { preemption: "Always" })], wide)).toBe("own");
  expect(chosen([wide, policy("own")], wide)).toBe("wide");
  const own = policy("own");
  expect(chosen([policy("wide", { priority: 100, preemption: "Always" }, { isCluster: true }), own], own)).toBe("own");
});

test("the index leaves nobody out that would be chosen among all", () => {
  const name = fc.constantFrom("a", "b", "web");
  const selector = fc.record(
    { apiVersion: fc.constantFrom("apps/v1", "v1"), kind: fc.constantFrom("Deployment", "Secret"), name },
    { requiredKeys: ["apiVersion", "kind"] },
  );
  const any = fc
    .record({
      name: fc.string({ minLength: 1, maxLength: 3 }),
      isCluster: fc.boolean(),
      priority: fc.nat(2),
      preemption: fc.constantFrom("Always" as const, "Never" as const),
      resourceSelectors: fc.array(selector, { minLength: 1, maxLength: 3 }),
    })
    .map(({ name: own, isCluster, ...spec }) => policy(own, spec, { isCluster }));
  fc.assert(
    fc.property(fc.uniqueArray(any, { maxLength: 12, selector: ({ key }) => key }), fc.nat(12), (policies, gone) => {
      const index = new PolicyIndex();
      for (const each of policies) index.set(each.key, each);
      const removed = policies[gone];
      if (removed !== undefined) index.set(removed.key, undefined);
      const left = policies.filter((each) => each !== removed);
      expect(choosePolicy(index.candidates(web), web, undefined)).toBe(choosePolicy(left, web, undefined));
      const kinds = new Set(left.flatMap(({ spec }) => spec.resourceSelectors.map((s) => `${s.apiVersion}/${s.kind}`)));
      expect(new Set(index.kinds().map((each) => `${each.apiVersion}/${each.kind}`))).toEqual(kinds);
    }),
  );
});

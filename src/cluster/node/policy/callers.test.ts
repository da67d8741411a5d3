import { expect, test } from "vitest";
import type { Namespace, NetworkPolicy, Pod } from "../../../kernel/kinds/index.js";
import { callersOf, notEnforced } from "./callers.js";

const pod = (name: string, namespace: string, labels: Record<string, string>, more: object = {}): Pod =>
  ({
    metadata: { name, namespace, labels, uid: name },
    spec: { containers: [], ...more },
    status: {},
  }) as unknown as Pod;
const policy = (spec: object, namespace = "a"): NetworkPolicy =>
  ({ metadata: { name: "p", namespace }, spec }) as unknown as NetworkPolicy;
const space = (name: string, labels: Record<string, string> = {}): Namespace =>
  ({ metadata: { name, labels } }) as unknown as Namespace;

const world = {
  pods: [
    pod("model", "a", { app: "model" }),
    pod("friend", "a", { app: "client" }),
    pod("stranger", "b", { app: "client" }),
    pod("monitor", "m", { app: "prometheus" }),
    pod("host", "a", { app: "model" }, { hostNetwork: true }),
  ],
  namespaces: [space("a"), space("b"), space("m", { team: "ops" })],
};
const look = {
  podsIn: (namespace: string) => world.pods.filter(({ metadata }) => metadata.namespace === namespace),
  pods: () => world.pods,
  namespaces: () => world.namespaces,
};
const callers = (...policies: NetworkPolicy[]): Record<string, string[]> =>
  Object.fromEntries([...callersOf(policies, look)].map(([uid, who]) => [uid, [...who].sort()]));

test.each([
  ["no rule: nobody", { podSelector: {} }, { friend: [], model: [] }],
  [
    "the own namespace",
    { podSelector: { matchLabels: { app: "model" } }, ingress: [{ from: [{ podSelector: {} }] }] },
    { model: ["friend", "model"] },
  ],
  [
    "a namespace and pods in it",
    {
      podSelector: { matchLabels: { app: "model" } },
      ingress: [
        {
          from: [
            {
              namespaceSelector: { matchLabels: { team: "ops" } },
              podSelector: { matchLabels: { app: "prometheus" } },
            },
          ],
        },
      ],
    },
    { model: ["monitor"] },
  ],
  [
    "all namespaces",
    { podSelector: { matchLabels: { app: "model" } }, ingress: [{ from: [{ namespaceSelector: {} }] }] },
    { model: ["friend", "model", "monitor", "stranger"] },
  ],
  ["a rule without peers: everybody", { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] }, {}],
  ["only what goes out", { podSelector: {}, policyTypes: ["Egress"] }, {}],
])("a policy: %s", (_, spec, wanted) => {
  expect(callers(policy(spec))).toEqual(wanted);
});

test("policies add up; those of other namespaces have no part in it", () => {
  const own = { podSelector: { matchLabels: { app: "model" } }, ingress: [{ from: [{ podSelector: {} }] }] };
  const ops = {
    podSelector: {},
    ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: "ops" } } }] }],
  };

  expect(callers(policy(own), policy(ops), policy({ podSelector: {} }, "b"))).toEqual({
    friend: ["monitor"],
    model: ["friend", "model", "monitor"],
    stranger: [],
  });
  expect(callers(policy(own), policy({ podSelector: {}, ingress: [{}] }))).toEqual({});
});

test("what is not carried out is named", () => {
  expect(notEnforced(policy({ podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] }))).toEqual([]);
  expect(
    notEnforced(policy({ podSelector: {}, policyTypes: ["Ingress", "Egress"], ingress: [{ ports: [{ port: 80 }] }] })),
  ).toHaveLength(2);
});

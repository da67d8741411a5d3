import { expect, test } from "vitest";
import type { ServedResource } from "./discovery.js";
import { resourceName, resourcePath } from "./path.js";
import { parseTargets } from "./target.js";

function resource(group: string, kind: string, rest: Partial<ServedResource> = {}): ServedResource {
  const singular = kind.toLowerCase();
  return {
    group,
    version: "v1",
    kind,
    plural: `${singular}s`,
    singular,
    shortNames: [],
    categories: [],
    namespaced: true,
    ...rest,
  };
}

const served = [
  resource("", "Pod", { shortNames: ["po"], categories: ["all"] }),
  resource("", "Event", { shortNames: ["ev"] }),
  resource("apps", "Deployment", { shortNames: ["deploy"], categories: ["all"] }),
  resource("events.k8s.io", "Event", { shortNames: ["ev"] }),
  resource("tensorstack.dev", "HyperMLService", { shortNames: ["hmls"] }),
];

function read(words: string): string[] {
  return parseTargets(words.split(" "), served).map(
    ({ resource: { kind, group }, names }) => `${kind}.${group}: ${names.join(" ")}`,
  );
}

test.each([
  ["pods", ["Pod.: "]],
  ["po a b", ["Pod.: a b"]],
  ["Deployment web", ["Deployment.apps: web"]],
  ["po,deploy", ["Pod.: ", "Deployment.apps: "]],
  ["all", ["Pod.: ", "Deployment.apps: "]],
  ["po/a hmls/b", ["Pod.: a", "HyperMLService.tensorstack.dev: b"]],
  ["ev", ["Event.: "]],
  ["events.events.k8s.io", ["Event.events.k8s.io: "]],
  ["deployments.v1.apps/web", ["Deployment.apps: web"]],
])("%j means %j", (words, targets) => {
  expect(read(words)).toEqual(targets);
});

test.each([
  ["pds", 'this cluster has no resource type "pds"; did you mean "pods"?'],
  ["hypermlservics", 'did you mean "hypermlservices"?'],
  ["pods.apps", 'no resource type "pods.apps"'],
  ["po/a/b", '"po/a/b" is not of the form TYPE/NAME'],
  ["po/", '"po/" is not of the form TYPE/NAME'],
  ["po/a deploy", '"deploy" is not of the form TYPE/NAME'],
])("%j is refused with what to write", (words, message) => {
  expect(() => read(words)).toThrow(message);
});

test("no word at all is refused with an example", () => {
  expect(() => parseTargets([], served)).toThrow("say which resource type, for instance `pods`");
});

test("paths hold what names contain as text", () => {
  const [pod = resource("", "Pod")] = served;
  const deployment = resource("apps", "Deployment");

  expect(resourcePath(pod, "default")).toBe("/api/v1/namespaces/default/pods");
  expect(resourcePath(deployment, undefined)).toBe("/apis/apps/v1/deployments");
  expect(resourcePath(deployment, "a/b", "c?d")).toBe("/apis/apps/v1/namespaces/a%2Fb/deployments/c%3Fd");
  expect(resourcePath(resource("", "Node", { namespaced: false }), "default", "n")).toBe("/api/v1/nodes/n");
  expect(resourceName(deployment, "web")).toBe("deployment.apps/web");
  expect(resourceName(pod, "a")).toBe("pod/a");
});

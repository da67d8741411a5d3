import { expect, test } from "vitest";
import { planParts } from "./hyper-plan.js";
import { namedAsKarmada } from "./karmada-names.js";
import type { Work } from "./kinds.js";
import { ARGOSY } from "./names.js";

const work = (name: string, labels: Record<string, string>, more: { deletionTimestamp?: string } = {}): Work => ({
  apiVersion: "work.karmada.io/v1alpha1",
  kind: "Work",
  metadata: {
    name,
    namespace: "karmada-es-cloud",
    uid: name,
    resourceVersion: "1",
    creationTimestamp: "2026-01-01T00:00:00Z",
    labels,
    ...more,
  },
  spec: {},
});
const service = (apiVersion: string) => ({
  apiVersion,
  kind: "Service",
  metadata: { name: "web", namespace: "fleet-names" },
});

function names(works: readonly Work[], ...manifests: ReturnType<typeof service>[]): string[] {
  const { objects } = planParts({
    metadata: { name: "h", namespace: "fleet-names" },
    workloads: [{ clusters: ["cloud"], manifests }],
  });
  const standing = (_namespace: string, name: string) => works.find(({ metadata }) => metadata.name === name);
  return namedAsKarmada(objects, { standing, owner: "mine" }).map(({ workName }) => workName);
}

const karmadas = "web-65c4dbb475";
const mine = { [ARGOSY.ownerUid]: "mine" };

test("Works are named as Karmada names them, unless the name is somebody else's", () => {
  const [planned = ""] = names([work(karmadas, {})], service("v1"));
  expect(planned).toMatch(/^h-service-web-[0-9a-f]{10}$/);
  expect(names([], service("v1"))).toEqual([karmadas]);
  expect(names([work(karmadas, mine)], service("v1"))).toEqual([karmadas]);
  // Another HyperMLService's; a policy's that took it; one that is being removed is waited for.
  expect(names([work(karmadas, { [ARGOSY.ownerUid]: "other" })], service("v1"))).toEqual([planned]);
  const bound = { ...mine, "resourcebinding.karmada.io/permanent-id": "x" };
  expect(names([work(karmadas, bound)], service("v1"))).toEqual([planned]);
  expect(names([work(karmadas, {}, { deletionTimestamp: "2026-01-01T00:00:00Z" })], service("v1"))).toEqual([karmadas]);
  // What is delivered under another name stays so; Karmada's names do not tell groups apart.
  expect(names([work(planned, mine)], service("v1"))).toEqual([planned]);
  expect(new Set(names([], service("v1"), service("serving.knative.dev/v1"))).size).toBe(2);
});

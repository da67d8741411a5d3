import { expect, test } from "vitest";
import { createClient } from "../kernel/client/index.js";
import type { Transport, TransportResponse } from "../kernel/client/types.js";
import { systemClock, systemRandom } from "../kernel/clock/index.js";
import type { JsonObject } from "../kernel/kinds/object.js";
import { ClusterKind } from "../modules/fleet/index.js";
import { servesKarmada, withKarmada } from "./karmada.js";

/** An API that answers these paths, and notes what it was asked. */
function api(answers: Readonly<Record<string, JsonObject>>): Transport & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    async request({ path }): Promise<TransportResponse> {
      asked.push(path);
      const answer = answers[path.replace(/\?.*/, "")];
      const text = JSON.stringify(answer ?? { kind: "Status", status: "Failure", reason: "NotFound", code: 404 });
      const body = (async function* () {
        yield Buffer.from(text);
      })();
      return { status: answer === undefined ? 404 : 200, headers: { "content-type": "application/json" }, body };
    },
    upgrade: () => Promise.reject(new TypeError("not in this test")),
    close: async () => {},
  };
}

test("a Karmada with an API server of its own is asked for what is Karmada's, the hub for the rest", async () => {
  const list = {
    apiVersion: "work.karmada.io/v1alpha1",
    kind: "WorkList",
    metadata: { resourceVersion: "7" },
    items: [],
  };
  const karmada = api({ "/apis/cluster.karmada.io/v1alpha1/clusters": list });
  const hub = api({ "/api/v1/namespaces": { apiVersion: "v1", kind: "NamespaceList", items: [] } });
  const client = createClient({ transport: withKarmada(hub, karmada), clock: systemClock, random: systemRandom });
  expect((await client.resource(ClusterKind).list()).resourceVersion).toBe("7");
  await client.json("GET", "/api/v1/namespaces");
  for (const path of ["/apis/tensorstack.dev/v1beta1", "/apis/evil-karmada.io/v1", "/apis"])
    await client.json("GET", path).catch(() => undefined);
  await client.json("GET", "/openapi/v3/apis/work.karmada.io/v1alpha1").catch(() => undefined);
  expect(karmada.asked.map((path) => path.replace(/\?.*/, ""))).toEqual([
    "/apis/cluster.karmada.io/v1alpha1/clusters",
    "/openapi/v3/apis/work.karmada.io/v1alpha1",
  ]);
  expect(hub.asked).toEqual([
    "/api/v1/namespaces",
    "/apis/tensorstack.dev/v1beta1",
    "/apis/evil-karmada.io/v1",
    "/apis",
  ]);
});

test("a real Karmada is known by the program that serves its Clusters", async () => {
  const path = "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.cluster.karmada.io";
  const client = (answers: Readonly<Record<string, JsonObject>>) =>
    createClient({ transport: api(answers), clock: systemClock, random: systemRandom });
  expect(await servesKarmada(client({ [path]: { spec: { service: { name: "karmada-aggregated-apiserver" } } } }))).toBe(
    true,
  );
  // A CustomResourceDefinition's group has an APIService too, without a service.
  expect(await servesKarmada(client({ [path]: { spec: { group: "cluster.karmada.io" } } }))).toBe(false);
  expect(await servesKarmada(client({}))).toBe(false);
});

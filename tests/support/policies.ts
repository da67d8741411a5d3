import type { ApiClient } from "../../src/kernel/client/index.js";
import type { JsonObject } from "../../src/kernel/kinds/index.js";

/** Lets ConfigMaps of the namespace `demo` out of the hub, to the named clusters or to all. */
export async function sendConfigMaps(
  hub: ApiClient,
  policy: { readonly name: string; readonly selector: JsonObject; readonly clusters?: readonly string[] },
): Promise<void> {
  const { name, selector, clusters } = policy;
  await hub.json("POST", "/apis/policy.karmada.io/v1alpha1/namespaces/demo/propagationpolicies", {
    apiVersion: "policy.karmada.io/v1alpha1",
    kind: "PropagationPolicy",
    metadata: { name, namespace: "demo" },
    spec: {
      resourceSelectors: [{ apiVersion: "v1", kind: "ConfigMap", ...selector }],
      placement: { clusterAffinity: clusters === undefined ? {} : { clusterNames: [...clusters] } },
    },
  });
}

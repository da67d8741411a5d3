import type { ApiClient } from "../../kernel/client/types.js";
import { ApiError } from "../../kernel/errors/index.js";
import type { KubeObject } from "../../kernel/kinds/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asObject, asString, equalJson, toJson, toJsonObject } from "../../kernel/schema/index.js";
import { ClusterPropagationPolicyKind, PropagationPolicyKind } from "../../modules/fleet/index.js";

/** Karmada's marks of who has claimed an object. */
const CLAIM = {
  name: "propagationpolicy.karmada.io/name",
  namespace: "propagationpolicy.karmada.io/namespace",
  clusterName: "clusterpropagationpolicy.karmada.io/name",
} as const;

/** What an object waits for whose policy is lazy: it says so nowhere, because nothing was decided. Empty: it waits for nothing. */
export async function lazinessOf(
  client: ApiClient,
  object: JsonObject,
  binding: KubeObject | undefined,
): Promise<string[]> {
  const annotations = asObject(asObject(object["metadata"])["annotations"]);
  const name = asString(annotations[CLAIM.name]);
  const clusterName = asString(annotations[CLAIM.clusterName]);
  const namespace = asString(annotations[CLAIM.namespace]);
  if (name === "" && clusterName === "") return [];
  const policy = await policyOf(client, { name, clusterName, namespace }).catch((error: unknown) => {
    // Who may see an object need not see its policy.
    if (error instanceof ApiError) return undefined;
    throw error;
  });
  if (policy === undefined) return [];
  const { activationPreference, placement = {} } = asObject(toJsonObject(policy)["spec"]);
  if (activationPreference !== "Lazy") return [];
  const who = `${policy.kind} ${name === "" ? clusterName : `${namespace}/${name}`} is Lazy (spec.activationPreference)`;
  if (binding === undefined) return [`waits: ${who}, and carries the object out when that itself is changed next`];
  const carried = asObject(toJsonObject(binding)["spec"])["placement"] ?? {};
  return equalJson(toJson(carried), toJson(placement))
    ? []
    : [`${who}: what it asks for now holds when the object itself is changed next`];
}

function policyOf(
  client: ApiClient,
  { name, clusterName, namespace }: { readonly name: string; readonly clusterName: string; readonly namespace: string },
): Promise<KubeObject | undefined> {
  return name === ""
    ? client.resource<KubeObject>(ClusterPropagationPolicyKind).find(clusterName)
    : client.resource<KubeObject>(PropagationPolicyKind).find(name, { namespace });
}

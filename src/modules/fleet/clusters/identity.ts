import type { ApiClient } from "../../../kernel/client/index.js";
import { NamespaceKind } from "../../../kernel/kinds/index.js";

/** What a cluster is told from others by, as Karmada does: the UID of its `kube-system`. */
export async function clusterIdentity(member: ApiClient): Promise<string> {
  return (await member.resource(NamespaceKind).get("kube-system")).metadata.uid;
}

import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Submit } from "./admission/index.js";
import { metadataOf, stringAt } from "./fields.js";
import { encodeJson, listPrefix } from "./store/index.js";
import type { ApiRequest, Store } from "./types.js";

const never = new AbortController().signal;
const nothing = new Uint8Array();

/** A request that the server sends through its own line. */
export function ownRequest(method: string, path: string, body: JsonObject | undefined): ApiRequest {
  const mark = path.indexOf("?");
  return {
    method,
    path: mark < 0 ? path : path.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? "" : path.slice(mark + 1)),
    headers: { "content-type": "application/json", "user-agent": "kube-apiserver" },
    body: body === undefined ? nothing : encodeJson(body),
    signal: never,
  };
}

/** A resource whose objects shall all go. */
interface Doomed {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

/** Deletes every object of a resource, finalizers counting; returns how many are still there. */
export async function deleteEverything(store: Store, submit: Submit, resource: Doomed): Promise<number> {
  const prefix = listPrefix(resource, "");
  for (const { value } of store.list(prefix).items) {
    const metadata = metadataOf(value);
    if (metadata["deletionTimestamp"] !== undefined) continue;
    await submit("DELETE", pathOf(resource, stringAt(metadata, "namespace"), stringAt(metadata, "name")));
  }
  return store.list(prefix).items.length;
}

function pathOf(resource: Doomed, namespace: string, name: string): string {
  const root = resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope = namespace === "" ? "" : `/namespaces/${namespace}`;
  return `${root}${scope}/${resource.plural}/${name}`;
}

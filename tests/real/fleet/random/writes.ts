import { setTimeout as sleep } from "node:timers/promises";
import type { ApiClient } from "../../../../src/kernel/client/index.js";
import { ApiError } from "../../../../src/kernel/errors/index.js";
import type { Json, JsonObject } from "../../../../src/kernel/kinds/object.js";
import { asObject, asString } from "../../../../src/kernel/schema/index.js";
import type { FleetSide } from "./sides.js";
import type { Ref, Write } from "./types.js";

const wide = new Set([
  "Namespace",
  "ClusterPropagationPolicy",
  "ClusterOverridePolicy",
  "WorkloadRebalancer",
  "Cluster",
  "Node",
]);

/** The path of a kind's objects, in a namespace unless it has none. */
export function pathOf(apiVersion: string, kind: string, namespace: string | undefined): string {
  const lower = kind.toLowerCase();
  const plural = lower.endsWith("y") ? `${lower.slice(0, -1)}ies` : lower.endsWith("s") ? `${lower}es` : `${lower}s`;
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return namespace === undefined || wide.has(kind) ? `${root}/${plural}` : `${root}/namespaces/${namespace}/${plural}`;
}

const json = { "content-type": "application/json" };
const mergePatch = { "content-type": "application/merge-patch+json" };
const jsonPatch = { "content-type": "application/json-patch+json" };

/** What came of a write: the object, or how it was refused. */
export type Written = { readonly object: JsonObject } | { readonly refusal: string };

/** Carries out a write. What races and namespaces on their way cost is tried again. */
export async function carryOut(side: FleetSide, namespace: string, write: Write): Promise<Written> {
  const client = write.on === undefined ? side.hub : side.members.get(write.on);
  if (client === undefined) throw new Error(`no member ${write.on}`);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return { object: await send(client, namespace, write) };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { httpCode: code, message } = error;
      const isPassing = code >= 500 || (code === 409 && error.status.reason === "Conflict");
      const waits = write.create !== undefined && code === 404;
      if (attempt < 20 && (isPassing || waits)) await sleep(250);
      else return { refusal: `${code} ${message}` };
    }
  }
}

async function send(client: ApiClient, namespace: string, write: Write): Promise<JsonObject> {
  const { create, patch, remove } = write;
  if (create !== undefined) {
    const { apiVersion, kind } = create;
    const path = pathOf(asString(apiVersion), asString(kind), namespace);
    return asObject(await client.json("POST", path, create, { headers: json }));
  }
  const objectPath = ({ apiVersion, kind, name }: Ref): string => `${pathOf(apiVersion, kind, namespace)}/${name}`;
  if (remove !== undefined) return asObject(await client.json("DELETE", objectPath(remove)));
  if (patch === undefined) throw new Error("a write does nothing");
  if (write.isStatus !== true)
    return asObject(await client.json("PATCH", objectPath(patch), write.with, headersFor(write.with)));
  const { metadata } = asObject(await client.json("GET", objectPath(patch)));
  const { generation } = asObject(metadata);
  const { status } = asObject(write.with);
  const speaks = ["Deployment", "StatefulSet", "DaemonSet"].includes(patch.kind);
  const body = { status: { ...asObject(status), ...(speaks ? { observedGeneration: generation ?? 1 } : {}) } };
  return asObject(await client.json("PATCH", `${objectPath(patch)}/status`, body, { headers: mergePatch }));
}

const headersFor = (body: Json | undefined) => ({ headers: Array.isArray(body) ? jsonPatch : mergePatch });

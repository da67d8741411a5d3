import type { ApiClient } from "../../../kernel/client/index.js";
import { ApiError, isConflict, isNotFound } from "../../../kernel/errors/index.js";
import { type HorizontalPodAutoscaler, type Kind, parseApiVersion } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString, toJsonObject } from "../../../kernel/schema/index.js";
import { NoProposalError } from "./readings.js";

/** The scale subresource of what is scaled. */
export interface ScaleTarget {
  readonly specReplicas: number;
  readonly statusReplicas: number;
  /** As text; empty: the target says none. */
  readonly selector: string;
  /** Sets the number of replicas. Throws `ApiError`. */
  resize(replicas: number): Promise<void>;
}

const maxConflicts = 5;

/** Reads the target's scale. Throws `ApiError` or `NoProposalError`. */
export async function readTarget(client: ApiClient, scaler: HorizontalPodAutoscaler): Promise<ScaleTarget> {
  const { scaleTargetRef: reference } = scaler.spec;
  const namespace = scaler.metadata.namespace ?? "";
  const { group, version, plural } = await kindOf(client, reference);
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const name = encodeURIComponent(reference.name);
  const path = `${root}/namespaces/${encodeURIComponent(namespace)}/${plural}/${name}/scale`;
  const read = async () => toJsonObject(asObject(await client.json("GET", path)));
  const scale = await read().catch((error: unknown) => {
    if (isNotFound(error) && error.status.details?.kind === undefined)
      throw new NoProposalError("the server could not find the requested resource");
    throw error;
  });
  return {
    specReplicas: asNumber(asObject(scale["spec"])["replicas"]) ?? 0,
    statusReplicas: asNumber(asObject(scale["status"])["replicas"]) ?? 0,
    selector: asString(asObject(scale["status"])["selector"]),
    async resize(replicas) {
      let latest = scale;
      for (let attempt = 1; ; attempt += 1) {
        try {
          await client.json("PUT", path, { ...latest, spec: { ...asObject(latest["spec"]), replicas } });
          return;
        } catch (error) {
          if (!isConflict(error) || attempt === maxConflicts) throw error;
          latest = await read();
        }
      }
    },
  };
}

/** The kind in the version that is named, or in any other that its group has. */
async function kindOf(client: ApiClient, reference: HorizontalPodAutoscaler["spec"]["scaleTargetRef"]): Promise<Kind> {
  const apiVersion = reference.apiVersion ?? "v1";
  const named = await client.findKind(apiVersion, reference.kind);
  if (named !== undefined) return named;
  const { group } = parseApiVersion(apiVersion);
  for (const version of await versionsOf(client, group)) {
    const kind = await client.findKind(version, reference.kind);
    if (kind !== undefined) return kind;
  }
  throw new NoProposalError(`no matches for kind "${reference.kind}" in group "${group}"`);
}

async function versionsOf(client: ApiClient, group: string): Promise<readonly string[]> {
  if (group === "") return ["v1"];
  try {
    const answer = asObject(await client.json("GET", `/apis/${encodeURIComponent(group)}`));
    return asObjects(answer["versions"]).map(({ groupVersion }) => asString(groupVersion));
  } catch (error) {
    if (error instanceof ApiError) return [];
    throw error;
  }
}

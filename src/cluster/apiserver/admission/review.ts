import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { AdmissionRequest } from "../types.js";

/** An object as webhooks and expressions see it. */
export function shown(object: JsonObject | undefined, request: AdmissionRequest): JsonObject | null {
  if (object === undefined) return null;
  const { group, version, kind } = kindOf(request);
  return { kind, apiVersion: group === "" ? version : `${group}/${version}`, ...object };
}

/** What kind the request's object is of. */
export function kindOf({ type, body = type }: AdmissionRequest): { group: string; version: string; kind: string } {
  return { group: body.group, version: body.version, kind: body.kind };
}

/** The options of the request. */
export function optionsOf({ operation, dryRun }: AdmissionRequest): JsonObject | null {
  const kinds: Record<string, string> = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" };
  const kind = kinds[operation];
  if (kind === undefined) return null;
  return { kind, apiVersion: "meta.k8s.io/v1", ...(dryRun ? { dryRun: ["All"] } : {}) };
}

/** Who asks. */
export function userInfoOf({ user }: AdmissionRequest): JsonObject {
  const extra = Object.entries(user.extra ?? {}).map(([key, values]): [string, string[]] => [key, [...values]]);
  return {
    username: user.username,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: [...user.groups],
    ...(extra.length === 0 ? {} : { extra: Object.fromEntries(extra) }),
  };
}

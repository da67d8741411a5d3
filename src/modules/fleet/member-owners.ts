import type { ClusterAccess } from "../../kernel/control/index.js";
import {
  type HorizontalPodAutoscaler,
  HorizontalPodAutoscalerKind,
  type Json,
  type JsonObject,
  type KubeObject,
  parseApiVersion,
} from "../../kernel/kinds/index.js";
import { equalJson, isObject } from "../../kernel/schema/index.js";
import { valueAt, withValueAt } from "./interpreters/fields.js";
import { jsonOf } from "./json.unsafe.js";
import { DELIVERY_MANAGER, type Target } from "./member-apply.js";

const REPLICAS = ["spec", "replicas"] as const;
/** How many fields are told of. */
const MAX_TOLD = 5;

/** A field of a member's object that is not as the hub wants it, and who made it so. */
export interface Drift {
  readonly path: string;
  /** Field managers; empty: nobody says so. */
  readonly managers: readonly string[];
}

/**
 * The manifest without its replicas, where an autoscaler of the member decides about them: it has set them (they are its own by managedFields of the
 * subresource `scale`), and still aims at the object. So the hub neither changes nor owns them. `undefined`: the hub decides.
 */
export async function withoutScaled(
  member: ClusterAccess,
  target: Target,
  current: KubeObject,
  signal: AbortSignal,
): Promise<{ readonly manifest: JsonObject; readonly autoscaler: string } | undefined> {
  const wanted = valueAt(target.manifest, REPLICAS);
  if (wanted === undefined || wanted === valueAt(jsonOf(current), REPLICAS)) return undefined;
  const { metadata } = await withOwners(member, target, current, signal);
  const isScaled = (metadata.managedFields ?? []).some(
    ({ subresource, manager, fieldsV1 }) =>
      subresource === "scale" && manager !== DELIVERY_MANAGER && owns(fieldsV1, REPLICAS),
  );
  if (!isScaled) return undefined;
  const { items } = await member.client
    .resource(HorizontalPodAutoscalerKind)
    .list({ namespace: target.namespace, signal });
  const autoscaler = items.find((item) => aimsAt(item, target));
  if (autoscaler === undefined) return undefined;
  return { manifest: withValueAt(target.manifest, REPLICAS, undefined), autoscaler: autoscaler.metadata.name };
}

/** An object with its owners, which the copies at hand do not keep. */
export async function withOwners(
  member: ClusterAccess,
  { kind, namespace, name }: Target,
  current: KubeObject,
  signal: AbortSignal,
): Promise<KubeObject> {
  if (current.metadata.managedFields !== undefined) return current;
  const scope = namespace === "" ? {} : { namespace };
  return (await member.client.dynamic(kind).find(name, { signal, ...scope })) ?? current;
}

function aimsAt({ spec }: HorizontalPodAutoscaler, { kind, name }: Target): boolean {
  const { scaleTargetRef } = spec ?? {};
  if (scaleTargetRef === undefined) return false;
  const { group } = parseApiVersion(scaleTargetRef.apiVersion ?? "");
  return scaleTargetRef.kind === kind.kind && scaleTargetRef.name === name && group === kind.group;
}

/** Which fields of a member's object are not as they are wanted, and whose they are. Lists are told of as a whole. */
export function driftOf(current: KubeObject, manifest: JsonObject): Drift[] {
  const paths: string[][] = [];
  const { status: _status, stringData: _stringData, ...wanted } = manifest;
  compare(current, wanted, [], paths);
  return paths.slice(0, MAX_TOLD).map((path) => ({
    path: path.join("."),
    managers: [
      ...new Set(
        (current.metadata.managedFields ?? []).flatMap(({ manager, fieldsV1 }) =>
          manager !== undefined && manager !== DELIVERY_MANAGER && owns(fieldsV1, path) ? [manager] : [],
        ),
      ),
    ],
  }));
}

function compare(actual: unknown, wanted: Json | undefined, path: readonly string[], found: string[][]): void {
  if (found.length >= MAX_TOLD) return;
  if (isObject(wanted)) {
    for (const [name, value] of Object.entries(wanted))
      compare(
        isObject(actual) && Object.hasOwn(actual, name) ? actual[name] : undefined,
        value,
        [...path, name],
        found,
      );
    return;
  }
  // What the member added to the items of a list is not told from what it changed.
  if (Array.isArray(wanted) ? !sameItems(actual, wanted) : wanted !== undefined && !equalJson(actual, wanted))
    found.push([...path]);
}

function sameItems(actual: unknown, wanted: readonly Json[]): boolean {
  const isIn = (one: unknown, other: Json | undefined): boolean => {
    if (isObject(other)) return isObject(one) && Object.entries(other).every(([name, value]) => isIn(one[name], value));
    return Array.isArray(other) ? sameItems(one, other) : equalJson(one, other);
  };
  return (
    Array.isArray(actual) && actual.length === wanted.length && wanted.every((item, index) => isIn(actual[index], item))
  );
}

/** Whether a field set has a field, or something in it. */
function owns(fields: unknown, path: readonly string[]): boolean {
  let place: unknown = fields;
  for (const name of path) place = isObject(place) ? place[`f:${name}`] : undefined;
  return place !== undefined;
}

import type { JsonObject } from "../../../kernel/kinds/object.js";
import { FieldSet } from "./field-set.js";
import { type Manager, type Managers, readManagers, writeManagers } from "./managers.js";

/*
 * A Scale keeps no record of who owns it: it shows who owns the number of replicas of the object that it stands for, and
 * what a write makes of that is carried back. Owners by update have the version in their identity, so on the way back they
 * are others than those who own the rest of the object, as upstream has it.
 */

/** Where objects of a version keep their number of replicas. */
export interface ReplicasPath {
  /** `spec`, `replicas`; absent: the version has no scale. */
  readonly path?: readonly string[];
}

/** Of a version of the object's kind; `undefined` for a version that is not served. */
export type ReplicasPaths = (apiVersion: string) => ReplicasPath | undefined;

const scaleVersion = "autoscaling/v1";
const inScale = ["f:spec", "f:replicas"];

const elements = (path: readonly string[]): string[] => path.map((name) => `f:${name}`);

function only(path: readonly string[]): FieldSet {
  const set = new FieldSet();
  set.insert(path);
  return set;
}

/** Writes the owners of the replicas of `parent` as owners of its `scale`. */
export function showOwners(scale: JsonObject, parent: JsonObject, paths: ReplicasPaths): void {
  const shown: Managers = new Map();
  for (const [identity, manager] of readManagers(parent)) {
    const path = paths(manager.apiVersion)?.path;
    if (path === undefined || !manager.set.has(elements(path))) continue;
    shown.set(identity, { ...manager, apiVersion: scaleVersion, set: only(inScale) });
  }
  writeManagers(scale, shown);
}

/** Writes what became of the owners of the `scale` into `parent`, which is in version `apiVersion`. */
export function carryOwners(parent: JsonObject, scale: JsonObject, apiVersion: string, paths: ReplicasPaths): void {
  const before = readManagers(parent);
  const ofScale = readManagers(scale);
  const result: Managers = new Map();
  for (const [identity, manager] of before) {
    const kept = afterwards(manager, paths(manager.apiVersion), ofScale.has(identity));
    if (kept !== undefined) result.set(identity, kept);
    if (kept === manager) ofScale.delete(identity);
  }
  const path = paths(apiVersion)?.path ?? [];
  for (const [identity, manager] of ofScale) {
    if (!manager.set.has(inScale)) continue;
    const time = before.get(identity)?.time ?? "";
    result.set(identity, { ...manager, apiVersion, time, set: only(elements(path)) });
  }
  writeManagers(parent, result);
}

/** What is left to an owner: all, unless somebody else scaled the object. */
function afterwards(manager: Manager, known: ReplicasPath | undefined, isOwner: boolean): Manager | undefined {
  if (known === undefined) return undefined;
  const path = known.path === undefined ? undefined : elements(known.path);
  if (path === undefined || !manager.set.has(path) || isOwner) return manager;
  const set = manager.set.difference(only(path));
  return set.isEmpty ? undefined : { ...manager, set };
}

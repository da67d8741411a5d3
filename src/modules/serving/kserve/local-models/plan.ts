/** Which nodes should have which models, and why not. Pure. */
import type { JsonObject, Node } from "../../../../kernel/kinds/index.js";
import { quantityToNumber, tryParseQuantity } from "../../../../kernel/kinds/index.js";
import { asList, asObject, asObjects, asString, toJsonObject } from "../../../../kernel/schema/index.js";
import type { LocalModelCache, LocalModelNodeGroup } from "../storage-kinds.js";
import { modelKey } from "./names.js";

/** A model that should lie on nodes. */
export interface WantedModel {
  readonly kind: "LocalModelCache" | "LocalModelNamespaceCache";
  readonly name: string;
  /** Of a LocalModelNamespaceCache. */
  readonly namespace: string | undefined;
  readonly key: string;
  readonly uri: string;
  readonly bytes: number;
  readonly groups: readonly string[];
  readonly account: string;
  readonly storage: JsonObject | undefined;
  readonly createdAt: string;
}

/** One of the caches as a model. */
export function wantedOf({ kind, metadata, spec }: LocalModelCache): WantedModel {
  const namespace = kind === "LocalModelNamespaceCache" ? metadata.namespace : undefined;
  const uri = spec.sourceModelUri.replace(/\/+$/, "");
  return {
    kind: namespace === undefined ? "LocalModelCache" : "LocalModelNamespaceCache",
    name: metadata.name,
    namespace,
    key: modelKey(uri, namespace),
    uri,
    bytes: bytesOf(spec.modelSize),
    groups: [...new Set(spec.nodeGroups)],
    account: spec.serviceAccountName ?? "default",
    storage: spec.storage === undefined ? undefined : toJsonObject(spec.storage),
    createdAt: metadata.creationTimestamp ?? "",
  };
}

/** Bytes of a quantity; 0 for what is none, or less: nobody makes room for others so. */
export function bytesOf(quantity: string | number): number {
  const parsed = tryParseQuantity(quantity);
  return parsed === undefined ? 0 : Math.max(0, Math.ceil(quantityToNumber(parsed)));
}

/** What is planned for a group of nodes. */
export interface GroupPlan {
  readonly name: string;
  readonly group: LocalModelNodeGroup;
  /** Why nothing can be put there. */
  readonly fault: string | undefined;
  readonly nodes: readonly Node[];
  /** Keys of the models that fit. */
  readonly keys: ReadonlySet<string>;
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/** What is planned for everything. */
export interface LocalPlan {
  readonly models: readonly WantedModel[];
  readonly groups: ReadonlyMap<string, GroupPlan>;
}

/** Models are given their place in order of age, as long as the sum of their sizes is within the group's limit. */
export function planModels(
  caches: readonly LocalModelCache[],
  groups: readonly LocalModelNodeGroup[],
  nodes: readonly Node[],
): LocalPlan {
  const models = caches
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map(wantedOf)
    .sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  return { models, groups: new Map(groups.map((group) => [group.metadata.name, planGroup(group, models, nodes)])) };
}

const orderOf = ({ createdAt, namespace = "", name }: WantedModel): string => `${createdAt} ${namespace}/${name}`;

function planGroup(group: LocalModelNodeGroup, models: readonly WantedModel[], nodes: readonly Node[]): GroupPlan {
  const limitBytes = bytesOf(group.spec.storageLimit);
  const keys = new Set<string>();
  let usedBytes = 0;
  for (const { key, bytes, groups } of models) {
    // Several caches of one model are one folder.
    if (!groups.includes(group.metadata.name) || keys.has(key) || usedBytes + bytes > limitBytes) continue;
    keys.add(key);
    usedBytes += bytes;
  }
  const fault =
    baseFolder(group) === undefined
      ? "spec.persistentVolumeSpec must be local or hostPath: folders of nodes are what models are kept in"
      : undefined;
  const affinity = asObject(asObject(toJsonObject(group.spec.persistentVolumeSpec)["nodeAffinity"])["required"]);
  const terms = affinity["nodeSelectorTerms"] === undefined ? undefined : asObjects(affinity["nodeSelectorTerms"]);
  return {
    ...{ name: group.metadata.name, group, fault, keys, usedBytes, limitBytes },
    nodes: nodes.filter((node) => terms === undefined || terms.some((term) => isChosen(node, term))),
  };
}

/** The folder of a group on its nodes. */
export function baseFolder({ spec }: LocalModelNodeGroup): string | undefined {
  const volume = toJsonObject(spec.persistentVolumeSpec);
  const path = asString(asObject(volume["local"])["path"]) || asString(asObject(volume["hostPath"])["path"]);
  return path === "" ? undefined : path.replace(/\/+$/, "");
}

/** One term of a node selector: all of its expressions; an empty one chooses nothing. */
function isChosen({ metadata }: Node, term: JsonObject): boolean {
  const [expressions, fields] = [asObjects(term["matchExpressions"]), asObjects(term["matchFields"])];
  if (expressions.length + fields.length === 0) return false;
  return (
    expressions.every((one) => isMet(metadata.labels?.[asString(one["key"])], one)) &&
    fields.every((one) => asString(one["key"]) === "metadata.name" && isMet(metadata.name, one))
  );
}

function isMet(value: string | undefined, { operator, values }: JsonObject): boolean {
  const wanted = asList(values).map(asString);
  switch (operator) {
    case "In":
      return value !== undefined && wanted.includes(value);
    case "NotIn":
      return value === undefined || !wanted.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return value !== undefined && Number(value) > Number(wanted[0]);
    case "Lt":
      return value !== undefined && Number(value) < Number(wanted[0]);
    default:
      return false;
  }
}

/** A model that a node should have, and for which group. */
export interface PlacedModel {
  readonly model: WantedModel;
  readonly group: GroupPlan;
}

/** What one node should have; each model once. */
export function modelsOfNode({ models, groups }: LocalPlan, node: string): PlacedModel[] {
  const placed = new Map<string, PlacedModel>();
  for (const model of models)
    for (const group of model.groups.flatMap((name) => groups.get(name) ?? []))
      if (
        group.fault === undefined &&
        group.keys.has(model.key) &&
        group.nodes.some(({ metadata }) => metadata.name === node)
      )
        if (!placed.has(model.key)) placed.set(model.key, { model, group });
  return [...placed.values()];
}

/** Why a model is not put where it should be, by group. */
export function planFaults(
  { groups }: LocalPlan,
  model: WantedModel,
): { readonly reason: string; readonly message: string }[] {
  return model.groups.flatMap((name) => {
    const group = groups.get(name);
    if (group === undefined) return [{ reason: "GroupNotFound", message: `there is no LocalModelNodeGroup ${name}` }];
    if (group.fault !== undefined)
      return [{ reason: "UnsupportedVolume", message: `LocalModelNodeGroup ${name}: ${group.fault}` }];
    if (!group.keys.has(model.key))
      return [
        {
          reason: "StorageLimitExceeded",
          message: `LocalModelNodeGroup ${name}: ${model.bytes} bytes do not fit beside the ${group.usedBytes} of older models within its storageLimit of ${group.limitBytes}`,
        },
      ];
    return group.nodes.length === 0
      ? [{ reason: "NoNodes", message: `LocalModelNodeGroup ${name}: its node affinity chooses no node` }]
      : [];
  });
}

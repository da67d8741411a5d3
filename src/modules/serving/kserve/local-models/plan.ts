/** Which nodes should have which models, and why not. Pure. */
import type { JsonObject, Node } from "../../../../kernel/kinds/index.js";
import { quantityToNumber, tryParseQuantity } from "../../../../kernel/kinds/index.js";
import { asList, asObject, asObjects, asString, toJsonObject } from "../../../../kernel/schema/index.js";
import { CA_BUNDLE_ANNOTATION } from "../../store-trust.js";
import type { LocalModelCache, LocalModelNodeGroup } from "../storage-kinds.js";
import { modelKey, NAMESPACE_LIMIT } from "./names.js";

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
  /** The ConfigMap with the authorities that its store is trusted by, in the jobs' namespace. */
  readonly caBundle: string | undefined;
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
    caBundle: metadata.annotations?.[CA_BUNDLE_ANNOTATION],
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
  /** The space of the models that have a place, by their keys. */
  readonly places: ReadonlyMap<string, number>;
  readonly usedBytes: number;
  readonly limitBytes: number;
  /** How much of it the models of one namespace may take, and how much those of each do. */
  readonly namespaceLimitBytes: number;
  readonly usedByNamespace: ReadonlyMap<string, number>;
}

/** What is planned for everything. */
export interface LocalPlan {
  readonly models: readonly WantedModel[];
  /** The same by URI. */
  readonly byUri: ReadonlyMap<string, readonly WantedModel[]>;
  readonly groups: ReadonlyMap<string, GroupPlan>;
}

/**
 * Models that have a place keep it; new ones, and what those grow by, are given theirs in order of age, as long as the sum is within the group's limit, and
 * that of each namespace within the namespaces'. A place does not shrink: what lies in it may be as large.
 */
export function planModels(
  caches: readonly LocalModelCache[],
  groups: readonly LocalModelNodeGroup[],
  nodes: readonly Node[],
): LocalPlan {
  const models = caches
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map(wantedOf)
    .sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  const byUri = new Map<string, WantedModel[]>();
  for (const model of models) {
    const alike = byUri.get(model.uri);
    if (alike === undefined) byUri.set(model.uri, [model]);
    else alike.push(model);
  }
  return {
    ...{ models, byUri },
    groups: new Map(groups.map((group) => [group.metadata.name, planGroup(group, models, nodes)])),
  };
}

const orderOf = ({ createdAt, namespace = "", name }: WantedModel): string => `${createdAt} ${namespace}/${name}`;

function planGroup(group: LocalModelNodeGroup, models: readonly WantedModel[], nodes: readonly Node[]): GroupPlan {
  const space = placesIn(
    group,
    models.filter(({ groups }) => groups.includes(group.metadata.name)),
  );
  const fault =
    baseFolder(group) === undefined
      ? "spec.persistentVolumeSpec must be local or hostPath: folders of nodes are what models are kept in"
      : undefined;
  const affinity = asObject(asObject(toJsonObject(group.spec.persistentVolumeSpec)["nodeAffinity"])["required"]);
  const terms = affinity["nodeSelectorTerms"] === undefined ? undefined : asObjects(affinity["nodeSelectorTerms"]);
  return {
    ...{ name: group.metadata.name, group, fault },
    ...space,
    nodes: nodes.filter((node) => terms === undefined || terms.some((term) => isChosen(node, term))),
  };
}

function placesIn(group: LocalModelNodeGroup, models: readonly WantedModel[]) {
  const limitBytes = bytesOf(group.spec.storageLimit);
  const said = group.metadata.annotations?.[NAMESPACE_LIMIT];
  const namespaceLimitBytes = said === undefined ? Math.floor(limitBytes / 2) : bytesOf(said);
  const places = new Map<string, number>();
  const usedByNamespace = new Map<string, number>();
  let usedBytes = 0;
  const give = ({ key, namespace }: WantedModel, bytes: number): void => {
    const more = bytes - (places.get(key) ?? 0);
    places.set(key, bytes);
    usedBytes += more;
    if (namespace !== undefined) usedByNamespace.set(namespace, (usedByNamespace.get(namespace) ?? 0) + more);
  };
  // Several caches of one model are one folder: the oldest says how large it is.
  const unique = [...new Map([...models].reverse().map((model) => [model.key, model])).values()].reverse();
  for (const model of unique) {
    const kept = group.status?.places?.[model.key];
    if (kept !== undefined) give(model, bytesOf(kept));
  }
  for (const model of unique) {
    const { key, bytes, namespace } = model;
    const more = bytes - (places.get(key) ?? 0);
    if (places.has(key) && more <= 0) continue;
    const ofNamespace = namespace === undefined ? 0 : (usedByNamespace.get(namespace) ?? 0) + more;
    if (usedBytes + more <= limitBytes && ofNamespace <= namespaceLimitBytes) give(model, bytes);
  }
  return { places, usedBytes, limitBytes, namespaceLimitBytes, usedByNamespace };
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
    for (const group of model.groups.flatMap((name) => groups.get(name) ?? [])) {
      const bytes = group.places.get(model.key);
      if (group.fault !== undefined || bytes === undefined || placed.has(model.key)) continue;
      if (group.nodes.some(({ metadata }) => metadata.name === node))
        placed.set(model.key, { model: { ...model, bytes }, group });
    }
  return [...placed.values()];
}

/** Why a model has less space than it asks for, in words; `undefined`: it has all of it. */
export function refusedSpace(
  { groups }: Pick<LocalPlan, "groups">,
  { key, bytes, groups: names, namespace }: WantedModel,
): { readonly reason: string; readonly message: string } | undefined {
  for (const name of names) {
    const group = groups.get(name);
    if (group === undefined) continue;
    const { places, usedBytes, limitBytes, usedByNamespace, namespaceLimitBytes } = group;
    const place = places.get(key);
    if (place !== undefined && place >= bytes) continue;
    const kept = place === undefined ? "" : `; it keeps its place of ${place} bytes`;
    const own = namespace === undefined ? 0 : (usedByNamespace.get(namespace) ?? 0) - (place ?? 0);
    const where = `LocalModelNodeGroup ${name}: ${bytes} bytes do not fit beside the`;
    if (namespace !== undefined && own + bytes > namespaceLimitBytes)
      return {
        reason: "NamespaceLimitExceeded",
        message: `${where} ${own} of its namespace within the ${namespaceLimitBytes} that one namespace may take (annotation ${NAMESPACE_LIMIT} of the group; default: half of its storageLimit)${kept}`,
      };
    return {
      reason: "StorageLimitExceeded",
      message: `${where} ${usedBytes - (place ?? 0)} of other models within its storageLimit of ${limitBytes}${kept}`,
    };
  }
  return undefined;
}

/** Why a model is not put where it should be, by group. */
export function planFaults(
  { groups }: Pick<LocalPlan, "groups">,
  model: WantedModel,
): { readonly reason: string; readonly message: string }[] {
  return model.groups.flatMap((name) => {
    const group = groups.get(name);
    if (group === undefined) return [{ reason: "GroupNotFound", message: `there is no LocalModelNodeGroup ${name}` }];
    if (group.fault !== undefined)
      return [{ reason: "UnsupportedVolume", message: `LocalModelNodeGroup ${name}: ${group.fault}` }];
    if (!group.places.has(model.key)) {
      const refused = refusedSpace({ groups }, { ...model, groups: [name] });
      return refused === undefined ? [] : [refused];
    }
    return group.nodes.length === 0
      ? [{ reason: "NoNodes", message: `LocalModelNodeGroup ${name}: its node affinity chooses no node` }]
      : [];
  });
}

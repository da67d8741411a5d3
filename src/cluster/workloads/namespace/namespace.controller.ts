import type { ApiClient } from "../../../kernel/client/index.js";
import type { ControllerSpec, ReconcileContext } from "../../../kernel/control/index.js";
import { isConflict, isNotFound, messageOf } from "../../../kernel/errors/index.js";
import { type KubeObject, type Namespace, NamespaceKind, withCondition } from "../../../kernel/kinds/index.js";
import { discoverResources, type ServedResource } from "./discovery.js";

const finalizer = "kubernetes";
const retryMs = 1000;

/** Empties namespaces that are being deleted, says in conditions what still stands in the way, and lets them go. */
export function namespaceController(): ControllerSpec<Namespace> {
  return {
    name: "namespace-controller",
    kind: NamespaceKind,
    concurrency: 4,
    async reconcile(_key, namespace, context) {
      if (namespace?.metadata.deletionTimestamp === undefined) return undefined;
      if (namespace.spec.finalizers?.includes(finalizer) !== true) return undefined;
      return empty(namespace, context);
    },
  };
}

/** What deleting everything came to. */
interface Emptied {
  /** Resources that could not be deleted, with the reason. */
  readonly failures: readonly string[];
  readonly discoveryErrors: readonly string[];
  /** Objects still there, by resource. */
  readonly remaining: ReadonlyMap<string, number>;
  /** Objects still there, by finalizer. */
  readonly finalizers: ReadonlyMap<string, number>;
  /** Pods are still there, and nothing else was looked at. */
  readonly isHeld: boolean;
}

async function empty(namespace: Namespace, context: ReconcileContext<Namespace>) {
  const { client } = context.cluster;
  const name = namespace.metadata.name;
  const { resources, errors } = await discoverResources(client);
  const inNamespace = resources.filter((resource) => resource.namespaced && resource.verbs.includes("delete"));
  // What protects or serves pods stays until they are gone (KEP-5080).
  const first = await deleteKinds(client, inNamespace.filter(isPods), name);
  const isHeld = first.remaining.size > 0;
  const rest = isHeld
    ? nothing
    : await deleteKinds(
        client,
        inNamespace.filter((one) => !isPods(one)),
        name,
      );
  const failures = [...first.failures, ...rest.failures];
  const emptied = { ...rest, failures, discoveryErrors: errors, isHeld };
  const isDone = failures.length === 0 && errors.length === 0 && rest.remaining.size === 0 && !isHeld;
  try {
    const current = await writeStatus(client, namespace, emptied, context.clock.now());
    if (!isDone) return { requeueAfterMs: retryMs };
    await finalize(client, current);
    return undefined;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    if (isConflict(error)) return { requeueAfterMs: 0 };
    throw error;
  }
}

/** What deleting the objects of some kinds came to. */
type Deleted = Pick<Emptied, "failures" | "remaining" | "finalizers">;

const nothing: Deleted = { failures: [], remaining: new Map(), finalizers: new Map() };

function isPods({ group, plural }: ServedResource): boolean {
  return group === "" && plural === "pods";
}

async function deleteKinds(client: ApiClient, resources: readonly ServedResource[], name: string): Promise<Deleted> {
  const failures: string[] = [];
  const remaining = new Map<string, number>();
  const finalizers = new Map<string, number>();
  for (const resource of resources) {
    try {
      const left = await deleteAll(client, resource, name);
      if (left.length > 0) remaining.set(labelOf(resource), left.length);
      for (const item of left.flatMap((object) => object.metadata.finalizers ?? []))
        finalizers.set(item, (finalizers.get(item) ?? 0) + 1);
    } catch (error) {
      // Its CRD went meanwhile, and its objects with it.
      if (!isNotFound(error)) failures.push(`${labelOf(resource)}: ${messageOf(error)}`);
    }
  }
  return { failures, remaining, finalizers };
}

/** Deletes every object of one resource; returns those that are still there. */
async function deleteAll(
  client: ApiClient,
  resource: ServedResource,
  namespace: string,
): Promise<readonly KubeObject[]> {
  const calls = client.dynamic(resource);
  const canList = resource.verbs.includes("list");
  if (canList && (await calls.list({ namespace, limit: 1 })).items.length === 0) return [];
  const options = { namespace, propagationPolicy: "Background" } as const;
  if (resource.verbs.includes("deletecollection")) await calls.deleteCollection(options);
  else if (canList) {
    const { items } = await calls.list({ namespace });
    for (const item of items) await calls.delete(item.metadata.name, options);
  }
  return canList ? (await calls.list({ namespace })).items : [];
}

async function finalize(client: ApiClient, namespace: Namespace): Promise<void> {
  const { name, resourceVersion, uid } = namespace.metadata;
  const finalizers = (namespace.spec.finalizers ?? []).filter((item) => item !== finalizer);
  await client.json("PUT", `/api/v1/namespaces/${name}/finalize`, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name, uid, resourceVersion },
    spec: { finalizers },
  });
}

async function writeStatus(
  client: ApiClient,
  namespace: Namespace,
  emptied: Emptied,
  nowMs: number,
): Promise<Namespace> {
  let conditions = namespace.status?.conditions ?? [];
  for (const condition of conditionsOf(emptied)) conditions = withCondition(conditions, condition, nowMs);
  const status = { ...namespace.status, phase: "Terminating", conditions };
  // The usual case: everything went at once, and so will the namespace.
  const isNews = JSON.stringify(status) !== JSON.stringify(namespace.status);
  const isUsual = emptied.remaining.size + emptied.failures.length + emptied.discoveryErrors.length === 0;
  if (!isNews || (isUsual && !emptied.isHeld)) return namespace;
  return client
    .resource(NamespaceKind)
    .updateStatus({ ...namespace, status }, { fieldManager: "namespace-controller" });
}

function conditionsOf({ failures, discoveryErrors, remaining, finalizers }: Emptied) {
  const condition = (type: string, isTrue: boolean, [yes, no]: [[string, string], [string, string]]) => {
    const [reason, message] = isTrue ? yes : no;
    return { type, status: isTrue ? "True" : "False", reason, message };
  };
  const counted = (map: ReadonlyMap<string, number>, middle: string) =>
    [...map]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, count]) => `${what}${middle}${count} resource instances`)
      .join(", ");
  const shortened = (texts: readonly string[]) => texts.join("; ").slice(0, 2048);
  return [
    condition("NamespaceDeletionDiscoveryFailure", discoveryErrors.length > 0, [
      ["DiscoveryFailed", `Discovery failed for some groups: ${shortened(discoveryErrors)}`],
      ["ResourcesDiscovered", "All resources successfully discovered"],
    ]),
    condition("NamespaceDeletionGroupVersionParsingFailure", false, [
      ["", ""],
      ["ParsedGroupVersions", "All legacy kube types successfully parsed"],
    ]),
    condition("NamespaceDeletionContentFailure", failures.length > 0, [
      [
        "ContentDeletionFailed",
        `Failed to delete all resource types, ${failures.length} remaining: ${shortened(failures)}`,
      ],
      ["ContentDeleted", "All content successfully deleted, may be waiting on finalization"],
    ]),
    condition("NamespaceContentRemaining", remaining.size > 0, [
      ["SomeResourcesRemain", `Some resources are remaining: ${counted(remaining, " has ")}`],
      ["ContentRemoved", "All content successfully removed"],
    ]),
    condition("NamespaceFinalizersRemaining", finalizers.size > 0, [
      [
        "SomeFinalizersRemain",
        `Some content in the namespace has finalizers remaining: ${counted(finalizers, " in ")}`,
      ],
      ["ContentHasNoFinalizers", "All content-preserving finalizers finished"],
    ]),
  ];
}

/** `configmaps.` (the core group is empty), `deployments.apps`. */
function labelOf({ plural, group }: ServedResource): string {
  return `${plural}.${group}`;
}
